"""Which upstream serves a model: who offers it, in which format, and whose turn it is.

An upstream's rules map public names to its own. Within one upstream the exact name beats
wildcards, and among wildcards the longest literal start wins. Across upstreams those that speak
the client's format are candidates; the exact name beats wildcards there too, and equals take turns
by weight. The turns belong to the set of rules
that match, not to the model: all models behind `gpt-*` share one rotation, so state is bounded by
the configuration, whatever names clients invent. What a name resolves to is remembered, in a
bounded table, for the hot path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from relayd.errors import BadCall, NoUpstream, Refused
from relayd.model import FormatName, UpstreamSpec
from relayd.policy.globs import Glob, fill
from relayd.policy.rotation import Rotation

REMEMBERED_NAMES = 4096
REMEMBERED_LENGTH = 256  # a longer model name is looked up anew: memory stays bounded
REMEMBERED_ROTATIONS = 4096


class Choice(NamedTuple):
    """One way to serve a model: the upstream, its name for the model, the rule that matched."""

    spec: UpstreamSpec
    model: str
    rule: str


class Listed(NamedTuple):
    """A line of the model list."""

    name: str
    owner: str


class Door:
    """How many requests one upstream holds. Lives as long as the upstream's name does."""

    __slots__ = ("in_flight", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.in_flight = 0

    def __repr__(self) -> str:
        return f"{self.name}: {self.in_flight} in flight"


class Lease:
    """A choice taken: the upstream holds one request more until `release`."""

    __slots__ = ("_door", "model", "rule", "spec")

    def __init__(self, choice: Choice, door: Door) -> None:
        self.spec, self.model, self.rule = choice
        self._door: Door | None = door
        door.in_flight += 1

    def __repr__(self) -> str:
        state = "released" if self._door is None else "held"
        return f"Lease({self.spec.name}, {self.model}, by rule {self.rule}, {state})"

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        if self._door is not None:
            self._door.in_flight -= 1
            self._door = None


class _Catalogue:
    """What one upstream offers."""

    __slots__ = ("_exact", "_globs", "spec")

    def __init__(self, spec: UpstreamSpec) -> None:
        self.spec = spec
        # Of two rules for the same name the first counts, as everywhere in the configuration.
        self._exact = {r.pattern: r for r in reversed(spec.models) if not r.is_wildcard}
        globs = [(Glob(r.pattern), r) for r in spec.models if r.is_wildcard]
        self._globs = sorted(globs, key=lambda pair: pair[0].particularity, reverse=True)

    def find(self, model: str) -> Choice | None:
        rule = self._exact.get(model)
        if rule is not None:
            return Choice(self.spec, rule.target or model, rule.pattern)
        for glob, rule in self._globs:
            stars = glob.match(model)
            if stars is not None:
                name = fill(rule.target, stars) if rule.target else model
                return Choice(self.spec, name, rule.pattern)
        return None


class _Route(NamedTuple):
    """The candidates for one model in one format, and the rotation that they share with others."""

    choices: tuple[Choice, ...]
    rotation: Rotation


class Pools:
    """All upstreams. Owns their doors (requests in flight) and rotations, also over a `reload`."""

    def __init__(self, specs: Sequence[UpstreamSpec]) -> None:
        self._doors: dict[str, Door] = {}
        self._rotations: dict[tuple[tuple[str, str, int], ...], Rotation] = {}
        self._routes: dict[tuple[str, str], _Route] = {}
        self.reload(specs)

    def __repr__(self) -> str:
        return f"Pools({', '.join(map(repr, self._doors.values())) or 'no upstreams'})"

    def reload(self, specs: Sequence[UpstreamSpec]) -> None:
        """Replace the upstreams; names that stay keep their requests in flight and their turns."""
        self._catalogues = [_Catalogue(spec) for spec in specs]
        self._doors = {s.name: self._doors.get(s.name) or Door(s.name) for s in specs}
        self._listing = tuple(_listed(specs))
        self._routes.clear()

    def in_flight(self, upstream: str) -> int:
        """How many requests that upstream holds."""
        return self._doors[upstream].in_flight

    def listing(self) -> tuple[Listed, ...]:
        """The models that can be named (no wildcards), in configured order, each once."""
        return self._listing

    def known(self, model: str) -> bool:
        """Whether any upstream offers the model, in whatever format."""
        return bool(self._offers(model))

    def offering(self, model: str, format: FormatName) -> list[Choice]:
        """Who offers the model and speaks the format itself, in configured order.

        Those that spell the name out come alone: whoever lists a model means it more than `*`.
        """
        found = [choice for choice in self._offers(model) if format in choice.spec.formats]
        return [choice for choice in found if "*" not in choice.rule] or found

    def choose(
        self, model: str, format: FormatName, *, tried: frozenset[str] = frozenset()
    ) -> Lease:
        """Whose turn it is to serve the model, leaving out the upstreams named in `tried`.

        Raises Refused (404) when nobody offers the model, BadCall (400) when it is offered in other
        formats only, NoUpstream (503) when everyone was tried.
        """
        route = self._routes.get((model, format)) or self._route(model, format)
        if tried:
            without = {i for i, choice in enumerate(route.choices) if choice.spec.name in tried}
            turn = route.rotation.next(without)
        else:
            turn = route.rotation.next()
        if turn is None:
            raise NoUpstream(
                f"No upstream that offers the model `{model}` could serve this request."
            )
        choice = route.choices[turn]
        return Lease(choice, self._doors[choice.spec.name])

    def _offers(self, model: str) -> list[Choice]:
        found = (catalogue.find(model) for catalogue in self._catalogues)
        return [choice for choice in found if choice is not None]

    def _route(self, model: str, format: FormatName) -> _Route:
        choices = self.offering(model, format)
        if not choices:
            raise self._not_offered(model, format)
        rotation = self._rotation(choices)
        route = _Route(tuple(choices), rotation)
        if len(model) <= REMEMBERED_LENGTH:
            if len(self._routes) >= REMEMBERED_NAMES:
                self._routes.clear()
            self._routes[model, format] = route
        return route

    def _rotation(self, choices: Iterable[Choice]) -> Rotation:
        turns = tuple((c.spec.name, c.rule, c.spec.weight) for c in choices)
        rotation = self._rotations.get(turns)
        if rotation is None:
            if len(self._rotations) >= REMEMBERED_ROTATIONS:
                self._rotations.clear()
                self._routes.clear()  # they hold rotations that would no longer be shared
            rotation = self._rotations[turns] = Rotation([weight for _, _, weight in turns])
        return rotation

    def _not_offered(self, model: str, format: FormatName) -> Refused | BadCall:
        formats = sorted({name for choice in self._offers(model) for name in choice.spec.formats})
        shown = model[:REMEMBERED_LENGTH]
        if not formats:
            return Refused(
                f"The model `{shown}` does not exist or you do not have access to it.",
                status=404,
                code="model_not_found",
                param="model",
            )
        return BadCall(
            f"The model `{shown}` is not offered in the {format} format; it is offered in:"
            f" {', '.join(formats)}.",
            param="model",
        )


def _listed(specs: Iterable[UpstreamSpec]) -> list[Listed]:
    first: dict[str, Listed] = {}
    for spec in specs:
        for rule in spec.models:
            if not rule.is_wildcard:
                first.setdefault(rule.pattern, Listed(rule.pattern, spec.name))
    return list(first.values())
