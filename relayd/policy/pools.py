"""Which upstream key serves a model: who offers it, in which format, and whose turn it is.

An upstream's rules map public names to its own; which rule is meant is told in `offers`. Those that
speak the client's format are candidates; behind them, where the request can be translated, come
those that do not speak it. The keys of the candidates are a pool (`pool`),
where tiers, affinity, strategy and health decide. Pools belong to the set of rules
that match, not to the model: all models behind `gpt-*` share one, so state is bounded by the
configuration, whatever names clients invent. What a name resolves to is remembered, in a bounded
table, for the hot path.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, get_args

from relayd.errors import BadCall, Refused
from relayd.model import FormatName, UpstreamSpec
from relayd.policy.affinity import Affinity
from relayd.policy.breakers import Breaker
from relayd.policy.budget import RetryBudget
from relayd.policy.changes import Change, Hear, nobody
from relayd.policy.doors import Door
from relayd.policy.explain import no_upstream, report
from relayd.policy.gates import Site
from relayd.policy.globs import Glob
from relayd.policy.lease import Lease
from relayd.policy.offers import Catalogue, Choice, Listed, listed, speaking, translating
from relayd.policy.pool import Pool, Target, Wanted
from relayd.policy.reports import DoorReport
from relayd.policy.tiers import Member
from relayd.routing import ModelRouting, Routing

REMEMBERED_NAMES = 4096
REMEMBERED_LENGTH = 256  # a longer model name is looked up anew: memory stays bounded
REMEMBERED_POOLS = 1024


class Route(NamedTuple):
    """How one model in one format is served.

    Arguments:
        asked: the public name.
        pool: who can serve it.
        models: by door, the upstream's name of it.
        fallbacks: public names to ask for instead.
    """

    asked: str
    pool: Pool
    models: dict[str, str]
    fallbacks: tuple[str, ...]


class Pools:
    """All upstreams. Owns doors, sites, pools, the table of conversations and the budget of
    retries, also over a `reload`.

    Arguments:
        specs: the upstreams.
        routing: the rules.
        rng: draws and jitter.

    `on_change` is called with each change of state that a request or a probe brings about.
    """

    def __init__(
        self,
        specs: Sequence[UpstreamSpec],
        routing: Routing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._rng = rng or random.Random()
        self.on_change: Hear = nobody
        self.doors: dict[str, Door] = {}
        self._sites: dict[tuple[str, str], Site] = {}
        self._pools: dict[tuple[object, ...], Pool] = {}
        self._routes: dict[tuple[str, str, bool], Route] = {}
        self.routing = Routing()
        self.affinity = Affinity(self.routing.affinity)
        self.budget = RetryBudget(self.routing.retries)
        self._matches: list[tuple[Glob, ModelRouting]] = []
        self._exact_routing: dict[str, ModelRouting] = {}
        self.reload(specs, routing)

    def __repr__(self) -> str:
        return f"Pools({', '.join(map(repr, self.doors.values())) or 'no upstreams'})"

    def reload(self, specs: Sequence[UpstreamSpec], routing: Routing | None = None) -> None:
        """Replace the upstreams; names that stay keep what is known of them."""
        if routing is not None and routing != self.routing:
            self._reroute(routing)
        self._catalogues = [Catalogue(spec) for spec in specs]
        self._sites = {
            (s.name, url): self._sites.get((s.name, url)) or self._new_site()
            for s in specs
            for url in s.base_urls
        }
        before = self.doors
        self.doors = {door.name: door for spec in specs for door in self._doors_of(spec)}
        for name in before.keys() - self.doors.keys():
            before[name].disabled = True  # requests that wait may still know it
        self._listing = tuple(listed(specs))
        self._routes.clear()
        self._pools = {
            key: pool
            for key, pool in self._pools.items()
            if all(self.doors.get(m.door.name) is m.door for m in pool.members)
        }
        self.wake()

    def _reroute(self, routing: Routing) -> None:
        """Go by other rules; what was built for those of before is built anew."""
        old, self.routing = self.routing, routing
        self._pools.clear()
        if routing.breaker != old.breaker:
            self._sites.clear()
        if routing.retries != old.retries:
            self.budget = RetryBudget(routing.retries)
        if routing.affinity != old.affinity:
            self.affinity = Affinity(routing.affinity)
        self._matches = [(Glob(m.pattern), m) for m in routing.models if "*" in m.pattern]
        self._exact_routing = {m.pattern: m for m in routing.models if "*" not in m.pattern}

    def _new_site(self) -> Site:
        return Site(Breaker(self.routing.breaker, self._rng))

    def _doors_of(self, spec: UpstreamSpec) -> Iterator[Door]:
        sites = [self._sites[spec.name, url] for url in spec.base_urls]
        for key in spec.keys:
            door = self.doors.get(f"{spec.name}/{key.name}")
            if door is None:
                door = Door(spec, key, sites, self.routing, self._rng, hear=self._hear)
            else:
                door.adopt(spec, key, sites, self.routing)
            yield door

    def _hear(self, change: Change) -> None:
        self.on_change(change)

    # --- what there is --------------------------------------------------------------------------

    def in_flight(self, upstream: str) -> int:
        """How many requests that upstream holds."""
        return sum(d.in_flight for d in self.doors.values() if d.spec.name == upstream)

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
        return speaking(self._offers(model), format)

    def translating(self, model: str, format: FormatName) -> list[Choice]:
        """Who offers the model in other formats only, and may be asked by a translation."""
        return translating(self._offers(model), format)

    def formats(self, model: str, translate: bool) -> dict[FormatName, Choice]:
        """By format in which the model can be asked, the first who would be.

        Arguments:
            translate: requests can be translated to other formats.
        """
        offers = self._offers(model)
        found: dict[FormatName, Choice] = {}
        for format in get_args(FormatName):
            choices = speaking(offers, format)
            if not choices and translate:
                choices = translating(offers, format)
            if choices:
                found[format] = choices[0]
        return found

    def report(self, now: float) -> list[DoorReport]:
        """How every door does, in configured order."""
        return [report(door, now) for door in self.doors.values()]

    # --- choosing -------------------------------------------------------------------------------

    def route(self, model: str, format: FormatName, translate: bool = False) -> Route:
        """How a model is served.

        Arguments:
            translate: the request can be translated to other formats.
        Raises Refused (404) when nobody offers the model, BadCall (400) when it is offered in other
        formats only.
        """
        return self._routes.get((model, format, translate)) or self._route(model, format, translate)

    def choose(
        self, route: Route, wanted: Wanted, now: float, tried: Collection[Target] = ()
    ) -> Lease:
        """Whose turn it is to serve a request, leaving out the targets in `tried`.

        Raises NoUpstream when nobody can, AllFull when waiting may help.
        """
        found = route.pool.choose(route.models, wanted, self.affinity, now, tried)
        if found is None:
            doors = [member.door for member in route.pool.members]
            raise no_upstream(doors, route.models, route.asked, wanted.tokens, now)
        model = route.models[found[0].door.name]
        return Lease(found, model, wanted.tokens, now, wanted.request)

    def free(self, route: Route, wanted: Wanted, now: float, tried: Collection[Target]) -> bool:
        """Whether anybody who was not tried lets the request through."""
        return route.pool.is_free(route.models, wanted, now, tried)

    def remember(self, route: Route, lease: Lease, wanted: Wanted, now: float) -> None:
        """The request went well there: its conversation stays, if it would not go there anyway."""
        if wanted.conversation is None or not route.pool.has_choice:
            return
        if route.pool.is_home(lease.door, wanted.conversation):
            self.affinity.drop(wanted.conversation)  # it may have been elsewhere meanwhile
        else:
            self.affinity.keep(wanted.conversation, lease.door.name, now)

    def _route(self, model: str, format: FormatName, translate: bool) -> Route:
        choices = self.offering(model, format)
        others = self.translating(model, format) if translate else []
        if choices and not choices[0].rule.is_wildcard:
            others = [other for other in others if not other.rule.is_wildcard]
        if not (choices or others):
            raise self._not_offered(model, format)
        how = self._routing_of(model)
        members = [
            Member(self.doors[f"{choice.spec.name}/{key.name}"], choice.rule, translated)
            for found, translated in ((choices, False), (others, True))
            for choice in found
            for key in choice.spec.keys
        ]
        models = {
            f"{choice.spec.name}/{key.name}": choice.model
            for choice in (*choices, *others)
            for key in choice.spec.keys
        }
        route = Route(model, self._pool(members, how), models, how.fallbacks)
        if len(model) <= REMEMBERED_LENGTH:
            if len(self._routes) >= REMEMBERED_NAMES:
                self._routes.clear()
            self._routes[model, format, translate] = route
        return route

    def _routing_of(self, model: str) -> ModelRouting:
        exact = self._exact_routing.get(model)
        if exact is not None:
            return exact
        found = [(glob, how) for glob, how in self._matches if glob.match(model) is not None]
        if not found:
            return ModelRouting("")
        return max(found, key=lambda pair: pair[0].particularity)[1]

    def _pool(self, members: list[Member], how: ModelRouting) -> Pool:
        turns = (
            (m.door.name, m.rule, m.door.spec.weight, m.door.spec.tier, m.translated)
            for m in members
        )
        weights = tuple(m.door.key.weight for m in members)
        key = (how.pattern, weights, *turns)
        pool = self._pools.get(key)
        if pool is None:
            if len(self._pools) >= REMEMBERED_POOLS:
                self._pools.clear()
                self._routes.clear()  # they hold pools that would no longer be shared
            hedge = self.routing.hedge if how.hedge is None else how.hedge
            strategy = how.strategy or self.routing.strategy
            pool = Pool(members, self.routing, strategy, hedge, self._rng, self.budget)
            self._pools[key] = pool
        return pool

    def _offers(self, model: str) -> list[Choice]:
        found = (catalogue.find(model) for catalogue in self._catalogues)
        return [choice for choice in found if choice is not None]

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

    # --- the operator ---------------------------------------------------------------------------

    def named(self, upstream: str, key: str | None = None) -> list[Door]:
        """The doors of an upstream, or one of them. Raises KeyError when there is none."""
        if key is not None:
            return [self.doors[f"{upstream}/{key}"]]
        found = [door for door in self.doors.values() if door.spec.name == upstream]
        if not found:
            raise KeyError(upstream)
        return found

    def disable(self, upstream: str, key: str | None, now: float) -> None:
        """Send nothing more there, until `enable` or a restart. Raises KeyError."""
        for door in self.named(upstream, key):
            door.disabled, door.disabled_at = True, now

    def enable(self, upstream: str, key: str | None, now: float) -> None:
        """Take it back, whatever was against it. Raises KeyError."""
        for door in self.named(upstream, key):
            door.disabled = False
            door.reset()
        self.wake()

    def well(
        self, door: Door, model: str | None, site: Site | None = None, now: float = 0.0
    ) -> None:
        """A probe was answered well; see `Door.well`."""
        door.well(model, site, now)
        self.wake()

    def wake(self) -> None:
        """Some door may be well before its time: ask all of them again."""
        for pool in self._pools.values():
            for tier in pool.tiers:
                tier.wake()
