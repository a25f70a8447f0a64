"""The log of requests: written in batches, read as rows or as a report, thinned by days."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

from relayd.model import Entry
from relayd.store import entries as log
from relayd.store import holdings, reports
from relayd.store.batches import SETTLE
from relayd.store.days import LAST_DAY, LAST_DAYS, begun_everywhere, within
from relayd.store.keys import KeyTable
from relayd.store.questions import EVERY_REQUEST, LONGEST_EXACT_REPORT, UsageFilter, UsageRow
from relayd.store.refusals import NotFound
from relayd.store.verify import differences
from relayd.store.where import Where

_MOMENT = 0.001  # seconds; dates are told to the microsecond, and floats no better

# Rows that are deleted in one transaction: the ledger's own waits no longer than that takes.
PRUNED_AT_ONCE = 5000

# Lines of a report that are made before others of the loop have their turn.
ROWS_AT_ONCE = 500


class UsageTable(KeyTable):
    """The log of requests and the sums over it."""

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        try:
            await self._insert(entries, log.cells_of)
        except (OverflowError, UnicodeError):
            await self._insert(entries, log.storable_cells_of)

    async def usage(
        self,
        since: float,
        until: float | None,
        by: tuple[str, ...],
        filters: UsageFilter = EVERY_REQUEST,
        *,
        limit: int | None = None,
    ) -> list[UsageRow]:
        wanted = reports.Wanted(by, await self._fits(filters), limit)
        days = await self.usage_days(since, until)
        query = reports.exact(wanted, since, until)
        if days:  # a report without an end takes the last months whole
            query = reports.in_days(wanted, days[0], LAST_DAY if until is None else days[1])
        rows = await self._search(query.text, *query.parameters)
        found: list[UsageRow] = []
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[first : first + ROWS_AT_ONCE]
            found += [reports.usage_row(row, len(by)) for row in some]
            await asyncio.sleep(0)
        return found

    async def usage_days(self, since: float, until: float | None) -> tuple[int, int] | None:
        newest, newest_day, pruned_before = (await self._read(_EXTENT))[0]
        first_day = self._day_at(since)
        if until is None:
            until, last_day = newest, newest_day
        else:
            last_day = self._day_at(until - _MOMENT)  # the moment itself is left out
        if until - since <= LONGEST_EXACT_REPORT and first_day >= pruned_before:
            return None
        return first_day, max(first_day, last_day)

    async def rows(
        self,
        filters: UsageFilter = EVERY_REQUEST,
        limit: int = 50,
        before: str | None = None,
        *,
        since: float = 0.0,
        until: float | None = None,
    ) -> list[Entry]:
        where = Where()
        where.add("u.started_at >= ?", since)
        where.add("u.started_at < ?", until)
        for column, value in await self._fits(filters):
            where.add(f"u.{'model_asked' if column == 'model' else column} = ?", value)
        if before is not None:
            started_at = await self._started_at(before)
            where.add("(u.started_at, u.request_id) < (?, ?)", started_at, before)
        query = log.newest_first(str(where))
        found = await self._search(query, *where.values, max(limit, 0))
        return [log.entry_of(row) for row in found]

    async def verify(self) -> list[str]:
        async with self._snapshot() as db:
            return await differences(db)

    async def prune(self, before_day: int) -> int:
        begun = begun_everywhere(before_day)
        async with self._transaction() as db:
            # First of all that the rows are going: sums of those days stand alone from now on.
            update = "UPDATE usage_pruned SET before_day = max(before_day, ?)"
            await db.execute(update, (before_day,))
        deleted, last = 0, (-math.inf, "")
        # Looked for beside the ledger, which waits for nothing but the deletion of what was found.
        while found := await self._read(_NEXT, *last, begun, PRUNED_AT_ONCE, before_day):
            *last, count, old = found[0]
            if count:
                async with self._transaction() as db:
                    deleted += (await db.execute(_DELETE, (old,))).rowcount
        return deleted

    async def estimates(self) -> dict[str, tuple[float, float]]:
        rows = await self._read("SELECT model, bytes, tokens FROM estimates")
        return {model: (size, tokens) for model, size, tokens in rows}

    async def save_estimates(self, estimates: Mapping[str, tuple[float, float]]) -> None:
        async with self._transaction() as db:
            await db.execute("DELETE FROM estimates")
            rows = [(model, *learned) for model, learned in estimates.items()]
            await db.executemany("INSERT INTO estimates VALUES (?, ?, ?)", rows)

    def _day_at(self, moment: float) -> int:
        return LAST_DAY if moment > LAST_DAYS else self._day_of(within(moment))

    async def _insert(self, entries: Sequence[Entry], cells_of: log.CellsOf) -> None:
        """The one door to the log: whatever comes in by it is in all sums (`batches`)."""
        async with self._transaction() as db:
            for statement, cells in log.inserts(entries, cells_of):
                await db.execute(statement, cells)
            await db.execute(SETTLE)
            await holdings.note(db, entries)

    async def _fits(self, filters: UsageFilter) -> tuple[tuple[str, object], ...]:
        """The columns that must have a value, by names that rows and sums share."""
        found: list[tuple[str, object]] = []
        if filters.key is not None:
            found.append(("key_id", (await self.key(filters.key)).id))
        if filters.account is not None:
            found.append(("account_id", (await self.account(filters.account)).id))
        plain = [(name, getattr(filters, name)) for name in ("model", "upstream", "outcome")]
        return (*found, *((name, value) for name, value in plain if value is not None))

    async def _started_at(self, request_id: str) -> float:
        with_id = "SELECT started_at FROM usage WHERE request_id = ?"
        found = await self._read(with_id, request_id)
        if not found:
            raise NotFound(f"there is no request {request_id[:50]!r}")
        return float(found[0][0])


# When the newest row started, the newest day of all, and the day before which rows are gone.
_EXTENT = """SELECT coalesce((SELECT max(started_at) FROM usage), 0),
    coalesce((SELECT max(day) FROM usage_daily_all), 0), before_day FROM usage_pruned"""
# A few rows on from the last: by start, which is indexed; the days of zones overlap, so the row's
# own day decides. One line comes of it: each would be a wait for the interpreter lock.
_NEXT = """WITH few AS MATERIALIZED (SELECT started_at, request_id, day FROM usage
        WHERE (started_at, request_id) > (?, ?) AND started_at < ?
        ORDER BY started_at, request_id LIMIT ?),
    old AS (SELECT request_id FROM few WHERE day < ?)
    SELECT started_at, request_id, (SELECT count(*) FROM old),
        (SELECT json_group_array(request_id) FROM old)
    FROM few ORDER BY started_at DESC, request_id DESC LIMIT 1"""
_DELETE = "DELETE FROM usage WHERE request_id IN (SELECT value FROM json_each(?))"
