"""The `routing:` section, and what only the whole file shows about it: who offers which model.

Strategy: the section is read into records with their places kept; then, with the upstreams known,
`check` asks of every pattern and fallback whether anybody offers it, and whether the two share a
format, if only by translation. Two models may fall back on each other: a fallback's own fallbacks
are not followed. Upstreams without a key or disabled count as well, so that a file is not right on
one machine and wrong on another.

Bounds: patterns with stars are compared pairwise, and a silly file could ask for a billion
comparisons. So these draw on a budget, counted in characters, far above what a sane file needs;
what is left when it is used up is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import get_args

from relayd.config.document import Place, Problem, Wrong
from relayd.config.models import model_name
from relayd.config.values import (
    Reader,
    choice,
    distinct,
    fields,
    number,
    record,
    seconds,
    size,
    switch,
    whole,
)
from relayd.model import UpstreamSpec
from relayd.policy.globs import Glob
from relayd.routing import (
    AffinityRules,
    BreakerRules,
    ModelRouting,
    RealtimeRules,
    RetryRules,
    Routing,
    StateRules,
    Strategy,
    WaitingRules,
)
from relayd.wire.dialects import EVERY_FORMAT

BUDGET = 10_000_000  # characters compared: about half a second
COMPARISON = 20  # what one costs, beside its characters
HINT_COST = 50  # how much more a look for the nearest name costs than a comparison
USUAL = Routing()


@dataclass(frozen=True, slots=True)
class ModelLine:
    """The rules of one pattern, with the places to complain to."""

    rule: ModelRouting
    place: Place
    fallbacks: tuple[tuple[str, Place], ...] = ()


@dataclass(frozen=True, slots=True)
class RoutingLines:
    """The section as read; `place` is None where there is none."""

    routing: Routing = USUAL
    lines: tuple[ModelLine, ...] = ()
    place: Place | None = None


def routing(place: Place) -> RoutingLines:
    """Read the section."""
    values = fields(place, READERS)
    lines: tuple[ModelLine, ...] = values.pop("models", ())
    found = Routing(**values, models=tuple(line.rule for line in lines))
    return RoutingLines(found, lines, place)


def _models(place: Place) -> tuple[ModelLine, ...]:
    found = []
    for pattern, member in place.members().items():
        line = member.take(_model_line(pattern))
        if line:
            found.append(line)
    return tuple(found)


def _model_line(pattern: str) -> Reader:
    def read(place: Place) -> ModelLine:
        values = fields(place, _MODEL_READERS)
        fallbacks = values.pop("fallbacks", ())
        names = tuple(name for name, _ in fallbacks)
        rule = ModelRouting(model_name(pattern), fallbacks=names, **values)
        return ModelLine(rule, place, fallbacks)

    return read


def _fallbacks(place: Place) -> tuple[tuple[str, Place], ...]:
    return tuple(distinct(place, _one_model, "names no model: leave the line out").items())


def _one_model(place: Place) -> str:
    name = model_name(place.text())
    if "*" in name:
        raise Wrong("is a wildcard: name one model")
    return name


def _breaker(place: Place) -> BreakerRules:
    found = _BREAKER(place)
    if found.open_for > found.longest:
        raise Wrong(f"open_for ({found.open_for:g} s) is more than longest ({found.longest:g} s)")
    return found


# --- what only the whole file shows ---------------------------------------------------------------


class Offers:
    """Who offers what: the formats that a model can be had in. Owns the budget of comparisons."""

    def __init__(self, offered: Iterable[tuple[str, Iterable[str]]], budget: int = BUDGET) -> None:
        self.left = budget
        self._all: dict[str, set[str]] = {}
        for pattern, formats in offered:
            self._all.setdefault(pattern, set()).update(formats)
        self._globs = {one: formats for one, formats in self._all.items() if "*" in one}
        self._known: dict[str, frozenset[str] | None] = {}
        self._names = [one for one in self._all if "*" not in one]
        self._length = sum(map(len, self._names))

    def __repr__(self) -> str:
        return f"<Offers of {len(self._all)} names, {self.left} of the budget left>"

    def formats(self, pattern: str) -> frozenset[str] | None:
        """The formats in which what the pattern matches is offered, if only in part; empty where
        nobody offers it, None where the budget did not last."""
        if pattern not in self._known:
            self._known[pattern] = self._look_up(pattern)
        return self._known[pattern]

    def _look_up(self, pattern: str) -> frozenset[str] | None:
        found = set(self._all.get(pattern, ()))
        for other, formats in (self._all if "*" in pattern else self._globs).items():
            if self.left <= 0:
                return None
            self.left -= COMPARISON + len(pattern)
            if not formats <= found and overlap(pattern, other):
                found |= formats
        return frozenset(found)

    def nearest(self, name: str) -> str:
        """`; did you mean …?`, or nothing where no name is near or looking takes too long."""
        cost = HINT_COST * self._length
        if cost > self.left:
            return ""
        self.left -= cost
        near = get_close_matches(name, self._names, n=1)
        return f"; did you mean {near[0]!r}?" if near else ""


def overlap(one: str, other: str) -> bool:
    """Whether there is a name that both patterns match.

    With stars in both, only the literal ends can disagree: whatever stands between the stars of one
    is taken in by a star of the other.
    """
    if "*" not in one:
        return one == other if "*" not in other else Glob(other).match(one) is not None
    if "*" not in other:
        return Glob(one).match(other) is not None
    head, head_of_other = one[: one.index("*")], other[: other.index("*")]
    tail, tail_of_other = one[one.rindex("*") + 1 :], other[other.rindex("*") + 1 :]
    return (head.startswith(head_of_other) or head_of_other.startswith(head)) and (
        tail.endswith(tail_of_other) or tail_of_other.endswith(tail)
    )


def check(found: RoutingLines, specs: Iterable[UpstreamSpec], offers: Offers) -> None:
    """Complain about all that contradicts the upstreams.

    Arguments:
        found: the section.
        specs: every upstream of the file, also the unused ones.
        offers: what they offer, and whoever else there is.
    """
    for line in found.lines:
        _check_offers(line, offers)
    _check_costs(found, specs)


def offered_by(
    specs: Iterable[UpstreamSpec], *, translated: bool
) -> Iterator[tuple[str, Iterable[str]]]:
    """The patterns that upstreams offer, each with the formats in which it can be asked for.

    Arguments:
        translated: whether requests may be translated for upstreams that do not forbid it.
    """
    for spec in specs:
        formats = EVERY_FORMAT if translated and spec.translate else spec.formats
        for rule in spec.models:
            yield rule.pattern, formats


def _check_offers(line: ModelLine, offers: Offers) -> None:
    pattern = line.rule.pattern
    own = offers.formats(pattern)
    if own is not None and not own:
        line.place.complain(f"no upstream offers such a model{offers.nearest(pattern)}")
    for name, place in line.fallbacks:
        if name == pattern:
            place.complain("is the model itself")
        theirs = offers.formats(name)
        if theirs is None:
            continue
        if not theirs:
            place.complain(f"no upstream offers the model {name!r}{offers.nearest(name)}")
        elif own and not own & theirs:
            place.complain(
                f"shares no format with {pattern!r}: it is offered in {_listed(theirs)},"
                f" {pattern!r} in {_listed(own)}"
            )


def _listed(formats: Iterable[str]) -> str:
    return ", ".join(sorted(formats))


def _check_costs(found: RoutingLines, specs: Iterable[UpstreamSpec]) -> None:
    """`cheapest` without a single cost is a wish that cannot be met."""
    if any(rule.cost is not None for spec in specs for rule in spec.models):
        return
    wishes = [(line.rule.strategy, line.place) for line in found.lines]
    for strategy, place in [(found.routing.strategy, found.place), *wishes]:
        if strategy == "cheapest" and place:
            place.complain("strategy: cheapest needs a `cost` on the models of upstreams")


def is_about_models(problem: Problem) -> bool:
    """Whether a problem of an upstream leaves open what it offers, and in which formats. Then what
    `check` says would only repeat it in other words."""
    section, _, rest = problem.path.partition(".")
    _, _, line = rest.partition(".")
    about = ("models", "dialect", "formats")
    return section == "upstreams" and (not line or line.startswith(about))


responses = record(
    StateRules,
    {
        "entries": whole(1, 10_000_000),
        "ttl": seconds(1.0, 366 * 86400.0),
        "background": whole(0, 1_000_000),
        "trust_unknown": switch,
    },
)
realtime = record(
    RealtimeRules,
    {
        "idle_timeout": seconds(1.0, 86400.0),
        "max_session": seconds(1.0, 7 * 86400.0),
        "max_message": size(1024, 256 * 2**20),
    },
)
_MODEL_READERS: Mapping[str, Reader] = {
    "strategy": choice(*get_args(Strategy)),
    "hedge": switch,
    "fallbacks": _fallbacks,
}
_COUNT = whole(1, 1_000_000)
_BREAKER = record(
    BreakerRules,
    {
        "enabled": switch,
        "window": seconds(1.0, 3600.0),
        "volume": _COUNT,
        "ratio": number(0.01, 1.0),
        "consecutive": _COUNT,
        "open_for": seconds(),
        "longest": seconds(),
        "probes": whole(1, 1000),
    },
)
_RETRIES: Mapping[str, Reader] = {
    "attempts": whole(1, 10),
    "deadline": seconds(),
    "budget": number(0.0, 1.0),
    "window": seconds(1.0, 3600.0),
    "floor": whole(0, 1_000_000),
}
_AFFINITY: Mapping[str, Reader] = {
    "enabled": switch,
    "by_opening": switch,
    "ttl": seconds(1.0),
    "entries": whole(1, 10_000_000),
}
_WAITING: Mapping[str, Reader] = {"timeout": seconds(0.0, 3600.0), "places": _COUNT}

READERS: Mapping[str, Reader] = {
    "strategy": choice(*get_args(Strategy)),
    "hedge": switch,
    "longest_cooldown": seconds(0.0),
    "breaker": _breaker,
    "retries": record(RetryRules, _RETRIES),
    "affinity": record(AffinityRules, _AFFINITY),
    "waiting": record(WaitingRules, _WAITING),
    "models": _models,
}
