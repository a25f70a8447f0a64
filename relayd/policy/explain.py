"""Why a door is closed, in words: for the operator with names, for the client without.

The client of a request that nobody can serve learns how many upstream keys stand in which way, and
when to come again; the operator's log and the admin pages learn which, and why each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf

from relayd.errors import AllFull, NoUpstream
from relayd.policy.breakers import Breaker
from relayd.policy.doors import LATELY, Door
from relayd.policy.gates import Gate
from relayd.policy.reports import STATES, DoorReport

# States in the order of how much they say about a door that is in several.
WORDS: Mapping[str, str] = {
    "disabled": "switched off",
    "refused": "refused by its provider",
    "open": "failing",
    "half_open": "being probed",
    "cooling": "rate limited",
    "full": "at its limits",
    "up": "tried",
}
USUAL_WAIT = 5.0  # seconds to advise where no door has a time of its own
LONGEST_DETAIL = 2000


def state_of(door: Door, model: str, tokens: int, now: float) -> tuple[str, str, float | None]:
    """How a door stands to a request: state, why, and seconds until that may change (None: not by
    itself)."""
    stands = _of_the_key(door, now)
    if stands is not None:
        return stands
    gate = door.gates.get(model)
    if gate is not None and gate.blocked(now):
        return gate.state(now), gate.why, _gate_wait(gate, now)
    return _of_its_limits(door, tokens, now)


def no_upstream(
    doors: Sequence[Door], models: Mapping[str, str], asked: str, tokens: int, now: float
) -> NoUpstream:
    """The error for a request that no door lets through: AllFull where waiting may help.

    Arguments:
        models: by door, its upstream's name of the model.
        asked: the public name.
    """
    stands = [(door, *state_of(door, models[door.name], tokens, now)) for door in doors]
    counts = Counter(WORDS[state] for _, state, _, _ in stands)
    summary = ", ".join(f"{count} {words}" for words, count in counts.items())
    what = f"the model `{asked[:200]}`" if asked else "this"
    message = f"No upstream can serve {what} now ({summary})."
    detail = "; ".join(_line(door.name, state, why, wait) for door, state, why, wait in stands)
    detail = detail[:LONGEST_DETAIL]
    states = {state for _, state, _, _ in stands}
    if "full" in states:
        waits = [wait for _, state, _, wait in stands if state == "full" and wait is not None]
        return AllFull(message, wait=min(waits, default=None), detail=detail)
    again = min((wait for *_, wait in stands if wait), default=USUAL_WAIT)
    if states <= {"cooling", "refused", "disabled"} and "cooling" in states:
        return NoUpstream(
            message, status=429, code="rate_limit_exceeded", retry_after=again, detail=detail
        )
    return NoUpstream(message, retry_after=again, detail=detail)


def stands(door: Door, now: float) -> tuple[str, str, float | None]:
    """How a door stands as a whole: as `state_of`, whatever is asked for.

    What failed is not well again because the time has come to try: only who got through knows.
    But where nobody has tried for LATELY since, nothing is known against it. Breakers and rate
    limits are a model's; they are the door's where none of the models that it served lately is
    without: then the one that is best off speaks for it.
    """
    state, why, until = _of_the_key(door, now) or _of_its_limits(door, 0, now)
    if state not in ("up", "full"):
        return state, why, until
    if all(_is_in_doubt(site.breaker, now) for site in door.sites):
        return "half_open", door.sites[0].why or "cannot be reached", 0.0
    shut = {gate: _summary(gate, now) for gate in door.gates.values()}
    worst = {gate: told for gate, told in shut.items() if told != "up"}
    if not worst or door.serves_any(now):
        return state, why, until
    best = min(worst, key=lambda gate: STATES.index(worst[gate]))
    return worst[best], best.why, _gate_wait(best, now)


def _summary(gate: Gate, now: float) -> str:
    """How a model stands at its key, as far as that is still known."""
    state = gate.state(now)
    if state not in ("open", "half_open") or now < gate.breaker.until:
        return state
    return "half_open" if _is_in_doubt(gate.breaker, now) else "up"


def _is_in_doubt(breaker: Breaker, now: float) -> bool:
    """Whether it has opened, and nobody knows since whether all is well again."""
    return breaker.state != "closed" and now - breaker.until <= LATELY


def report(door: Door, now: float) -> DoorReport:
    """All that an operator wants to see of one door."""
    state, why, until = stands(door, now)
    troubled = tuple(
        (model, gate.state(now), _gate_wait(gate, now), gate.why)
        for model, gate in door.gates.items()
        if gate.state(now) != "up"
    )
    return DoorReport(
        upstream=door.spec.name,
        key=door.key.name,
        tier=door.spec.tier,
        weight=door.spec.weight * door.key.weight,
        state=state,
        why=why,
        until=None if state == "up" else until,
        in_flight=door.in_flight,
        requests=door.requests,
        failures=door.failures,
        success_ratio=door.tally.ratio(now),
        first_byte=door.first_byte.value(now) or None,
        first_byte_p95=door.quantiles.quantile(0.95),
        models=troubled,
        served=None if door.served_at is None else now - door.served_at,
    )


def _of_the_key(door: Door, now: float) -> tuple[str, str, float | None] | None:
    """As `state_of`, whatever the model; None when nothing is against the key."""
    if door.disabled:
        ago = f"by the operator, {now - door.disabled_at:.0f} s ago"
        return "disabled", ago if door.disabled_at else "no longer configured", None
    if door.refused:
        return "refused", door.refused, None
    if all(not site.breaker.allows(now) for site in door.sites):
        until = min(site.breaker.until for site in door.sites)
        return "open", door.sites[0].why or "cannot be reached", max(until - now, 0.0)
    return None


def _of_its_limits(door: Door, tokens: int, now: float) -> tuple[str, str, float | None]:
    room = door.room(tokens, now)
    if room is None or room > 0:
        return "full", _limits(door), room
    return "up", "", 0.0


def _gate_wait(gate: Gate, now: float) -> float | None:
    if gate.refused:
        return None
    until = max(gate.cooled_until, gate.breaker.until)
    return max(until - now, 0.0) if until < inf else None


def _limits(door: Door) -> str:
    limits = door.key.limits
    named = (("rpm", limits.rpm), ("tpm", limits.tpm), ("concurrency", limits.concurrency))
    return ", ".join(f"{name} {value}" for name, value in named if value is not None)


def _line(name: str, state: str, why: str, wait: float | None) -> str:
    again = f", again in {wait:.0f} s" if wait else ""
    return f"{name} {WORDS[state]}{f' ({why})' if why else ''}{again}"
