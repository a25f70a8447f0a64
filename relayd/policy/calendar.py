"""Which calendar day a moment belongs to, in the operator's time zone.

A day is a number such as 20261121, its month is `day // 100`. A day begins at the first moment at
which the zone's clocks show its midnight or later, and ends where the next one begins, so it may
have 23 or 25 hours, or none (Samoa left one out), and days never go backward, not even where
clocks set back at midnight show yesterday again. The day of the last question is remembered: until
its end, and for a clock that steps back within it, the answer is two comparisons.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


class Calendar:
    """Days and months of one time zone. Owns the day it was last asked for.

    Arguments:
        zone: a name of the IANA database, such as `Europe/Berlin`. Raises ValueError for others.
    """

    __slots__ = ("_begin", "_day", "_end", "_zone", "zone")

    def __init__(self, zone: str = "UTC") -> None:
        try:
            self._zone = ZoneInfo(zone)
        # A key that is no path inside the database, one that is a folder, one that is nothing.
        except (ValueError, OSError, LookupError):
            raise ValueError("is not a time zone such as UTC or Europe/Berlin") from None
        self.zone = zone
        self._day, self._begin, self._end = 0, 0.0, 0.0

    def __repr__(self) -> str:
        return f"Calendar({self.zone!r})"

    def day(self, moment: float) -> int:
        """The day, as 20261121."""
        if not self._begin <= moment < self._end:
            self._turn_to(moment)
        return self._day

    def day_left(self, moment: float) -> float:
        """Seconds until the day ends."""
        self.day(moment)
        return self._end - moment

    def month_left(self, moment: float) -> float:
        """Seconds until the month ends."""
        year, month = divmod(self.day(moment) // 100, 100)
        after = date(year + month // 12, month % 12 + 1, 1)
        return self._midnight(after) - moment

    def _turn_to(self, moment: float) -> None:
        day = datetime.fromtimestamp(moment, self._zone).date()
        begin, end = self._midnight(day), self._midnight(day + _DAY)
        while moment >= end:  # clocks that were set back over midnight
            day += _DAY
            begin, end = end, self._midnight(day + _DAY)
        self._day = day.year * 10_000 + day.month * 100 + day.day
        self._begin, self._end = begin, end

    def _midnight(self, day: date) -> float:
        """The first of two midnights; the moment of the leap where clocks leap over it."""
        return datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()
