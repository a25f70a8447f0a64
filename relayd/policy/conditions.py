"""What is wrong now, by looking at how the parts stand; and what of it is news.

A snapshot and a moment go in, alerts come out. A condition is told when it comes up or gets worse,
again after `repeat` while it lasts, and when it is over: when it has been away for `CALM` seconds.
What comes back soon after it was over has to stay away for twice as long the next time, and so on,
so that what flaps is a few alerts and not a hundred; what gets better only (a balance of nothing
becomes a low one) is told in the same patience.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from relayd.alerting import DAY, Alert, AlertRules, Condition, Severity, State
from relayd.money import shown
from relayd.policy.outages import Outages, over
from relayd.policy.reports import DoorReport

CALM: Final = 10.0
LONGEST_CALM: Final = 600.0
FLAPPING: Final = 900.0  # seconds after which what comes back is no longer what flaps
ERRORS_OVER: Final = 300.0  # seconds of which the share of failures is taken
FEW: Final = 20  # requests, of which a share says nothing
LATE_OVER: Final = 60.0  # seconds of which the loop may be late
MOST_LATE: Final = 6.0  # for so many
EXPIRED: Final = DAY  # seconds for which a key that has expired is told of


class Customers(NamedTuple):
    """Of those who have keys of ours: (account, pico-dollars) of those that need a balance, and
    (key, Unix seconds when it expires)."""

    balances: Sequence[tuple[str, int]] = ()
    keys: Sequence[tuple[str, float]] = ()


class Snapshot(NamedTuple):
    """How everything stands at one moment.

    Arguments:
        doors: the upstream keys.
        balances, keys: as in `Customers`.
        ended, failed: requests since the start that were relayed, or should have been; failed are
            the upstreams' and our own failures.
        ledger: what is wrong with the ledger, in words; "" for nothing.
        ledger_full: requests are refused for it.
        certificates: (upstream, Unix seconds when the one that it shows expires).
        moment: Unix seconds of it.
        reload_failed: the configuration in use is not the latest one.
        lines_lost: of the log, since the start.
        late: seconds that the event loop was late since the look before.
    """

    doors: Sequence[DoorReport] = ()
    balances: Sequence[tuple[str, int]] = ()
    ended: int = 0
    failed: int = 0
    ledger: str = ""
    ledger_full: bool = False
    certificates: Sequence[tuple[str, float]] = ()
    keys: Sequence[tuple[str, float]] = ()
    moment: float = 0.0
    reload_failed: bool = False
    lines_lost: int = 0
    late: float = 0.0


class Conditions:
    """Knows what is wrong and what was told of it. Owns that memory, which is as large as there are
    upstreams, accounts and keys in trouble."""

    def __init__(self, rules: AlertRules) -> None:
        self.rules = rules
        self._known: dict[tuple[str, str], _Known] = {}
        # What was over not long ago: when, and how long it had to be away for that.
        self._past: dict[tuple[str, str], tuple[float, float]] = {}
        self._outages = Outages()
        self._samples: deque[tuple[float, int, int]] = deque()
        self._late: deque[tuple[float, float]] = deque()
        self._lines_lost = 0
        self._moment = 0.0  # of the last look, in Unix seconds

    def __repr__(self) -> str:
        return f"<Conditions {len(self._known)} known>"

    def look(self, snapshot: Snapshot, now: float) -> list[Alert]:
        """What is news at `now`, in seconds of a clock that does not jump."""
        moment, news = snapshot.moment, []
        self._moment = moment
        for condition in self._wrong(snapshot, now):
            key = condition.kind, condition.subject
            known = self._known.get(key)
            if known is None:
                if condition.quiet:
                    continue
                self._known[key] = known = _Known(condition, now, moment, self._calm(key, now))
                state: State | None = "raised"
            else:
                state = known.see(condition, now, self.rules.repeat)
            if state is not None:
                news.append(Alert(state, known.condition, known.since, moment))
        for gone in [key for key, known in self._known.items() if known.is_over(now)]:
            known = self._known.pop(gone)
            self._past[gone] = now, known.calm
            # Whoever hears of what is critical only, hears that it is over, too.
            said = over(known.condition, snapshot.doors, now - known.began)
            condition = known.condition._replace(severity=known.worst, over=said)
            news.append(Alert("over", condition, known.since, moment))
        return news

    def standing(self) -> list[Alert]:
        """All that was told and lasts, for who has not heard of it."""
        known = self._known.values()
        return [Alert("raised", one.condition, one.since, self._moment) for one in known]

    def _calm(self, key: tuple[str, str], now: float) -> float:
        """For how long it has to be away, to be over."""
        past = self._past
        for old in [old for old, (at, _) in past.items() if now - at >= FLAPPING]:
            del past[old]
        return min(past.pop(key)[1] * 2, LONGEST_CALM) if key in past else CALM

    def _wrong(self, snapshot: Snapshot, now: float) -> Iterator[Condition]:
        yield from self._outages.look(snapshot.doors, now)
        if snapshot.ledger:
            severity: Severity = "critical" if snapshot.ledger_full else "warning"
            better = "The ledger keeps up again."
            level = int(snapshot.ledger_full)
            yield Condition("ledger", "", severity, snapshot.ledger, better, level)
        yield from self._errors(snapshot, now)
        yield from self._process(snapshot, now)
        yield from self._expiring(snapshot)
        yield from self._balances(snapshot.balances)

    def _balances(self, balances: Sequence[tuple[str, int]]) -> Iterator[Condition]:
        """Customers', whose business it is as well: told once."""
        below = self.rules.balance_below
        for name, balance in balances:
            if balance > 0 and balance >= below:
                continue
            if balance > 0:
                text = f"The account {name} has {shown(balance)} dollars left."
            else:
                text = f"The account {name} has no balance left: its requests are refused."
            better = f"The account {name} has balance again."
            level = int(balance <= 0)
            yield Condition("balance", name, "warning", text, better, level, lasting=False)

    def _errors(self, snapshot: Snapshot, now: float) -> Iterator[Condition]:
        """The share of failures among the requests of the last minutes."""
        samples = self._samples
        samples.append((now, snapshot.ended, snapshot.failed))
        while now - samples[0][0] > ERRORS_OVER:
            samples.popleft()
        _, ended_then, failed_then = samples[0]
        ended, failed = snapshot.ended - ended_then, snapshot.failed - failed_then
        ratio = self.rules.error_ratio
        if ratio and ended >= FEW and failed >= ratio * ended:
            text = f"{failed / ended:.0%} of the last {ended} requests failed."
            yield Condition("errors", "", "critical", text, "Requests go well again.")

    def _process(self, snapshot: Snapshot, now: float) -> Iterator[Condition]:
        """What this process has to say of itself."""
        if snapshot.reload_failed:
            text = "The configuration could not be reloaded: the one from before is in use."
            yield Condition("reload", "", "warning", text, "The configuration was reloaded.")
        before, self._lines_lost = self._lines_lost, snapshot.lines_lost
        if snapshot.lines_lost > before:
            text = "Lines of the log are lost: its disk is full, or nobody reads it."
            better = f"The log is written again; {snapshot.lines_lost} lines were lost in all."
            yield Condition("log", "", "warning", text, better)
        late = self._late
        late.append((now, snapshot.late))
        while now - late[0][0] > LATE_OVER:
            late.popleft()
        held_up = sum(seconds for _, seconds in late)
        if held_up >= MOST_LATE:
            text = f"All requests had to wait for {held_up:.0f} s of the last minute: relayd was"
            text += " held up, by too much work or by a machine that is too busy."
            yield Condition("loop", "", "warning", text, "relayd is no longer held up.")

    def _expiring(self, snapshot: Snapshot) -> Iterator[Condition]:
        expiry = self.rules.expiry
        for upstream, until in snapshot.certificates:
            left = until - snapshot.moment
            if left < expiry:
                name = f"The certificate of the upstream {upstream}"
                text, better = f"{name} {_expires(left)}.", f"{name} was renewed."
                yield Condition("certificate", upstream, "warning", text, better, int(left <= 0))
        for key, until in snapshot.keys:
            left = until - snapshot.moment
            if -EXPIRED < left < expiry:
                name, level = f"The API key {key}", int(left <= 0)
                text = f"{name} {_expires(left)}."
                better = "no longer expires soon" if left > 0 else "has expired, or was extended"
                better = f"{name} {better}."
                yield Condition("key_expiry", key, "warning", text, better, level, lasting=False)


@dataclass(slots=True)
class _Known:
    """A condition that was told.

    Arguments:
        condition: as it was at its worst of late.
        seen: when it was seen last.
        since: when it came up, in Unix seconds.
        calm: seconds for which it has to be away, to be over.
        told: when it was told last.
        bad: when it was seen last as bad as it is known.
        began: when it was told first.
        worst: that it ever was.
    """

    condition: Condition
    seen: float
    since: float
    calm: float
    told: float = 0.0
    bad: float = 0.0
    began: float = 0.0
    worst: Severity = "warning"

    def __post_init__(self) -> None:
        self.told = self.bad = self.began = self.seen
        self.worst = self.condition.severity

    def see(self, condition: Condition, now: float, repeat: float) -> State | None:
        """It is there at `now`: what is to be told of that."""
        self.seen = now
        if condition.quiet:
            return None
        before = self.condition.level
        if condition.level < before:
            if now - self.bad < self.calm:
                return None
            self.calm = min(self.calm * 2, LONGEST_CALM)  # it may soon be worse again
        self.condition, self.bad = condition, now
        if condition.severity == "critical":
            self.worst = "critical"
        if condition.level != before:
            self.told = now
            return "raised"
        if repeat and condition.lasting and now - self.told >= repeat:
            self.told = now
            return "still"
        return None

    def is_over(self, now: float) -> bool:
        return now - self.seen >= self.calm


def _expires(left: float) -> str:
    if left <= 0:
        return "has expired"
    return (
        f"expires in {left / DAY:.0f} days"
        if left >= 2 * DAY
        else f"expires in {left / 3600:.0f} h"
    )
