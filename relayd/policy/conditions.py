"""What is wrong now, by looking at how the parts stand; and what of it is news.

A snapshot and a moment go in, alerts come out. A condition is told when it comes up, again after
`repeat` while it lasts, and when it is over; it is over when it has been away for `CALM` seconds,
so that what flickers is one alert and not a hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from relayd.alerting import DAY, Alert, AlertRules, Condition, Severity
from relayd.money import shown
from relayd.policy.reports import DoorReport

CALM: Final = 10.0
ERRORS_OVER: Final = 300.0  # seconds of which the share of failures is taken
FEW: Final = 20  # requests, of which a share says nothing


class Snapshot(NamedTuple):
    """How everything stands at one moment.

    Arguments:
        doors: the upstream keys.
        balances: (account, pico-dollars) of those that need one.
        ended, failed: requests since the start; failed are the upstreams' and our own failures.
        ledger: what is wrong with the ledger, in words; "" for nothing.
        ledger_full: requests are refused for it.
        certificates: (upstream, Unix seconds when the one that it shows expires).
        keys: (name, Unix seconds when it expires) of our own.
    """

    doors: Sequence[DoorReport] = ()
    balances: Sequence[tuple[str, int]] = ()
    ended: int = 0
    failed: int = 0
    ledger: str = ""
    ledger_full: bool = False
    certificates: Sequence[tuple[str, float]] = ()
    keys: Sequence[tuple[str, float]] = ()


class Conditions:
    """Knows what is wrong and what was told of it. Owns that memory, which is as large as there are
    upstreams, accounts and keys in trouble."""

    def __init__(self, rules: AlertRules) -> None:
        self.rules = rules
        self._known: dict[tuple[str, str], _Known] = {}
        self._samples: deque[tuple[float, int, int]] = deque()

    def __repr__(self) -> str:
        return f"<Conditions {len(self._known)} known>"

    def look(self, snapshot: Snapshot, now: float) -> list[Alert]:
        """What is news at `now`, in Unix seconds."""
        wrong = self._wrong(snapshot, now)
        found: dict[tuple[str, str], Condition] = {(one.kind, one.subject): one for one in wrong}
        news = []
        for key, condition in found.items():
            known = self._known.get(key)
            if known is None or known.condition.severity != condition.severity:
                since = now if known is None else known.since
                self._known[key] = _Known(condition, since, now, now)
                news.append(Alert("raised", condition, since))
                continue
            known.seen = now
            if self.rules.repeat and now - known.told >= self.rules.repeat:
                known.told = now
                news.append(Alert("still", condition, known.since))
        for key in [key for key, known in self._known.items() if now - known.seen >= CALM]:
            known = self._known.pop(key)
            news.append(Alert("over", known.condition, known.since))
        return news

    def _wrong(self, snapshot: Snapshot, now: float) -> Iterator[Condition]:
        yield from _upstreams(snapshot.doors)
        yield from self._balances(snapshot.balances)
        yield from self._errors(snapshot, now)
        if snapshot.ledger:
            severity: Severity = "critical" if snapshot.ledger_full else "warning"
            yield Condition("ledger", "", severity, snapshot.ledger)
        yield from self._expiring(snapshot, now)

    def _balances(self, balances: Sequence[tuple[str, int]]) -> Iterator[Condition]:
        for name, balance in balances:
            if balance <= 0:
                text = f"The account {name} has no balance left: its requests are refused."
                yield Condition("balance", name, "critical", text)
            elif balance < self.rules.balance_below:
                text = f"The account {name} has {shown(balance)} dollars left."
                yield Condition("balance", name, "warning", text)

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
            yield Condition("errors", "", "critical", text)

    def _expiring(self, snapshot: Snapshot, now: float) -> Iterator[Condition]:
        for upstream, until in snapshot.certificates:
            if until - now < self.rules.expiry:
                text = f"The certificate of the upstream {upstream} {_expires(until - now)}."
                yield Condition("certificate", upstream, "warning", text)
        for name, until in snapshot.keys:
            if until - now < self.rules.expiry:
                text = f"The API key {name} {_expires(until - now)}."
                yield Condition("key_expiry", name, "warning", text)


@dataclass(slots=True)
class _Known:
    """A condition: since when, when it was told last, when it was seen last."""

    condition: Condition
    since: float
    told: float
    seen: float


def _upstreams(doors: Sequence[DoorReport]) -> Iterator[Condition]:
    by_upstream: dict[str, list[DoorReport]] = {}
    for door in doors:
        by_upstream.setdefault(door.upstream, []).append(door)
        if door.state == "refused":
            text = f"The provider refused the key {door.name}: it is taken out."
            yield Condition("key_refused", door.name, "warning", text)
    for upstream, keys in by_upstream.items():
        # What an operator has switched off is no news to them.
        in_use = [door for door in keys if door.state != "disabled"]
        if in_use and not any(door.state in ("up", "full") for door in in_use):
            reasons = _reasons(in_use)
            text = f"The upstream {upstream} is down: none of its keys takes requests{reasons}."
            yield Condition("upstream_down", upstream, "critical", text)


def _reasons(doors: Sequence[DoorReport]) -> str:
    said: Mapping[str, None] = dict.fromkeys(door.why for door in doors if door.why)
    return f" ({'; '.join(said)})" if said else ""


def _expires(left: float) -> str:
    if left <= 0:
        return "has expired"
    return (
        f"expires in {left / DAY:.0f} days"
        if left >= 2 * DAY
        else f"expires in {left / 3600:.0f} h"
    )
