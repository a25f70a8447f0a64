"""Which upstream serves a model: names, formats, reloads, and what the operator says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BadCall, NoUpstream, Refused
from relayd.model import FormatName, ModelRule
from relayd.policy import pools as pools_module
from relayd.policy.doors import MOST_GATES
from relayd.policy.lease import Lease
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools
from relayd.routing import AffinityRules, BreakerRules, ModelRouting, RetryRules, Routing
from tests.support.pools import (
    BREAKER,
    NOW,
    ask,
    at,
    break_down,
    dice,
    digest,
    gate_of,
    key,
    no_connection,
    pools_of,
    served,
    status,
    upstream,
)


def by(pools: Pools, model: str) -> tuple[str, str, str]:
    lease = ask(pools, model=model)
    return lease.spec.name, lease.model, lease.rule


def turns(pools: Pools, count: int, now: float = NOW, model: str = "m") -> Counter[str]:
    return Counter(served(pools, now, model) for _ in range(count))


# --- names and formats --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name", "rule"),
    [
        ("gpt-4o", "exact-target", "gpt-4o"),
        ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o*"),
        ("gpt-3.5", "vendor/3.5", "gpt-*"),
        ("gpt-x-mini", "gpt-x-mini", "gpt-*-mini"),
        ("other", "other", "*"),
    ],
)
def test_exact_beats_wildcards_and_the_longest_start_wins(model: str, name: str, rule: str) -> None:
    rules = ("*", "gpt-*=vendor/*", "gpt-*-mini", "gpt-4o=exact-target", "gpt-4o*")
    for order in (rules, rules[::-1]):
        assert by(pools_of(upstream("up", *order)), model) == ("up", name, rule)


def test_of_two_rules_for_one_name_the_first_counts() -> None:
    assert by(pools_of(upstream("up", "m=one", "m=two")), "m") == ("up", "one", "m")


def test_those_that_spell_the_name_out_serve_it_alone() -> None:
    pools = pools_of(upstream("any", "*"), upstream("one", "m"), upstream("two", "m=theirs"))
    assert {by(pools, "m") for _ in range(4)} == {("one", "m", "m"), ("two", "theirs", "m")}
    assert by(pools, "other") == ("any", "other", "*")


def test_only_upstreams_that_speak_the_format_are_chosen() -> None:
    both = upstream("both", formats=("chat", "responses"))
    pools = pools_of(upstream("chat"), both, upstream("msg", formats=("messages",)))
    route = pools.route("m", "responses")
    assert [member.door.name for member in route.pool.members] == ["both/1"]
    assert [c.spec.name for c in pools.offering("m", "chat")] == ["chat", "both"]
    assert pools.offering("m", "gemini") == []
    assert [tuple(c)[1:] for c in pools.offering("m", "messages")] == [("m", ModelRule("m"))]


def test_a_model_is_asked_in_its_upstreams_formats_and_by_translation_in_the_others() -> None:
    one = upstream("one", formats=("messages",))
    own = upstream("own", "m", "n", formats=("chat", "gemini"), translate=False)
    pools = pools_of(upstream("any", "*", formats=("chat",)), own, one)

    def asked(model: str, translate: bool) -> dict[str, str]:
        found = pools.formats(model, translate)
        return {format: choice.spec.name for format, choice in found.items()}

    assert asked("m", False) == {"chat": "own", "messages": "one", "gemini": "own"}
    assert asked("m", True) == asked("m", False) | {"responses": "one"}
    assert asked("n", True) == {"chat": "own", "gemini": "own"}
    assert asked("x", True) == dict.fromkeys(("chat", "responses", "messages", "gemini"), "any")
    assert pools_of(own).formats("x", True) == {}


def translated(pools: Pools, model: str, format: FormatName) -> list[tuple[str, bool]]:
    """Who serves a model where the request can be translated, and who needs that."""
    members = pools.route(model, format, True).pool.members
    return [(member.door.name, member.translated) for member in members]


def test_behind_those_that_speak_the_format_come_all_others() -> None:
    pools = pools_of(
        upstream("first", tier=1, formats=("messages",)),
        upstream("last", tier=9),
        upstream("none", formats=("gemini",), translate=False),
        upstream("other", "else", formats=("gemini",)),
    )
    assert translated(pools, "m", "chat") == [("last/1", False), ("first/1", True)]
    assert translated(pools, "m", "responses") == [("first/1", True), ("last/1", True)]
    assert translated(pools, "m", "gemini")[0] == ("none/1", False)
    route = pools.route("m", "chat", True)
    assert [[m.door.name for m in tier.members] for tier in route.pool.tiers] == [
        ["last/1"],
        ["first/1"],
    ]
    lease = pools.choose(route, Wanted(), NOW)
    assert (lease.door.name, lease.translated) == ("last/1", False)
    other = pools.choose(route, Wanted(), NOW, [lease.target])
    assert (other.door.name, other.translated) == ("first/1", True)
    assert repr(route.pool.members[1]) == "<Member first/1 m translated held=1>"


def test_the_cheapest_that_speaks_the_format_comes_before_the_cheapest_of_all() -> None:
    pools = pools_of(
        upstream("dear", cost=9.0),
        upstream("cheap", cost=1.0, formats=("messages",)),
        strategy="cheapest",
    )
    route = pools.route("m", "chat", True)
    assert pools.choose(route, Wanted(), NOW).door.name == "dear/1"


def test_who_needs_a_translation_is_only_meant_by_a_wildcard_where_nobody_spells_it_out() -> None:
    exact = upstream("exact", formats=("messages",))
    glob = upstream("glob", "*", formats=("gemini",))
    assert translated(pools_of(glob, exact), "m", "chat") == [("exact/1", True)]
    assert translated(pools_of(glob, upstream("own")), "m", "chat") == [("own/1", False)]
    native = upstream("native", "*")
    assert translated(pools_of(native, exact), "m", "chat") == [
        ("native/1", False),
        ("exact/1", True),
    ]


def test_without_a_translation_only_the_format_itself_counts() -> None:
    pools = pools_of(upstream("own"), upstream("other", formats=("messages",)))
    assert len(pools.route("m", "chat", True).pool.members) == 2
    assert len(pools.route("m", "chat").pool.members) == 1
    assert pools.route("m", "chat", True) is pools.route("m", "chat", True)


def test_a_model_that_nobody_offers_is_not_found() -> None:
    pools = pools_of(upstream("up"))
    with pytest.raises(Refused) as caught:
        pools.route("x", "chat")
    exc = caught.value
    assert (exc.status, exc.code, exc.param) == (404, "model_not_found", "model")
    assert exc.message == "The model `x` does not exist or you do not have access to it."
    assert pools.known("m") and not pools.known("x")


def test_a_model_of_other_formats_says_which() -> None:
    pools = pools_of(upstream("a", formats=("messages",)), upstream("b", formats=("gemini",)))
    with pytest.raises(BadCall) as caught:
        pools.route("m", "chat")
    assert (caught.value.status, caught.value.param) == (400, "model")
    assert caught.value.message == (
        "The model `m` is not offered in the chat format; it is offered in: gemini, messages."
    )
    assert pools.known("m")


def test_the_listing_names_each_model_once_with_its_first_owner() -> None:
    pools = pools_of(upstream("a", "z", "gpt-*", "m=x"), upstream("b", "m", "a"))
    assert pools.listing() == (("z", "a"), ("m", "a"), ("a", "b"))


def test_the_closest_pattern_says_how_a_model_is_routed() -> None:
    pools = pools_of(
        upstream("up", "*", keys=2),
        strategy="fastest",
        hedge=True,
        models=(
            ModelRouting("*", fallbacks=("spare",)),
            ModelRouting("gpt-*", strategy="least_busy"),
            ModelRouting("gpt-5", hedge=False, fallbacks=("gpt-4",)),
        ),
    )
    found = {name: pools.route(name, "chat") for name in ("x", "gpt-4", "gpt-5")}
    assert [route.pool.strategy for route in found.values()] == ["fastest", "least_busy", "fastest"]
    assert [route.pool.hedge for route in found.values()] == [True, True, False]
    assert [route.fallbacks for route in found.values()] == [("spare",), (), ("gpt-4",)]


def test_a_model_that_no_pattern_matches_is_routed_as_usual() -> None:
    pools = pools_of(upstream("up", "*"), models=(ModelRouting("gpt-*", fallbacks=("x",)),))
    assert pools.route("other", "chat").fallbacks == ()


# --- state is bounded ---------------------------------------------------------------------------


def test_memory_is_bounded_whatever_names_clients_invent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools_module, "REMEMBERED_NAMES", 10)
    pools = pools_of(upstream("a", "*", weight=2), upstream("b", "*"))
    chosen = sum((turns(pools, 1, model=f"model-{n}") for n in range(300)), Counter[str]())
    assert chosen == {"a/1": 200, "b/1": 100}
    assert len(pools._routes) <= 10
    ask(pools, model="long" * 1000)
    assert all(len(model) < 100 for model, *_ in pools._routes)
    assert len(pools._pools) == 1


def test_failing_names_that_clients_invent_take_no_memory_either() -> None:
    pools = pools_of(upstream("up", "*", dialect="demo"))
    for n in range(2 * MOST_GATES):
        ask(pools, model=f"model-{n}").fail(status((500, 401, 429)[n % 3]), NOW)
    assert len(pools.doors["up/1"].gates) == MOST_GATES


def test_pools_are_bounded_and_stay_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools_module, "REMEMBERED_POOLS", 2)
    pools = pools_of(upstream("a", "x", "y", "z-*"), upstream("b", "z-*"))
    for model in ("x", "y", "z-1", "x", "y", "z-2"):
        ask(pools, model=model)
    assert len(pools._pools) <= 2
    assert sum((turns(pools, 1, model=f"z-{n}") for n in range(4)), Counter[str]())["a/1"] == 2


# --- a reload -----------------------------------------------------------------------------------


def test_a_reload_keeps_what_is_in_flight_and_whose_turn_it_is() -> None:
    specs = [upstream("a"), upstream("b")]
    pools = pools_of(*specs)
    lease = ask(pools)
    pools.reload([*specs, upstream("c", "new")])
    assert (pools.in_flight("a"), pools.in_flight("c")) == (1, 0)
    assert by(pools, "m")[0] == "b"
    assert by(pools, "new")[0] == "c"
    pools.reload([upstream("b")])
    assert repr(pools) == "Pools(<Door b/1 up in_flight=1 <Tally 0.0 of 0.0 failed>>)"
    lease.leave(NOW)
    with pytest.raises(Refused):
        pools.route("new", "chat")
    assert repr(pools_of()) == "Pools(no upstreams)"


def test_a_reload_keeps_what_is_known_of_names_that_stay() -> None:
    specs = [upstream("a", urls=2), upstream("b", keys=2), upstream("c")]
    pools = pools_of(*specs)
    at(pools, "a/1").fail(no_connection(), NOW)
    until = break_down(pools, "b/1")
    at(pools, "b/2").fail(status(401), NOW)
    pools.disable("c", None, NOW)
    for rules in (None, Routing(breaker=BREAKER, strategy="least_busy")):
        pools.reload(specs, rules)
        assert pools.doors["a/1"].site(NOW) == 1
        assert pools.doors["b/1"].blocked("m", 0, NOW) == until
        assert pools.doors["b/2"].refused == "The upstream answered 401."
        assert pools.doors["c/1"].disabled
        assert {served(pools) for _ in range(4)} == {"a/1"}


def test_a_reload_changes_weights_and_tiers() -> None:
    pools = pools_of(upstream("a"), upstream("b"))
    pools.reload([upstream("a", weight=3), upstream("b")])
    assert turns(pools, 8) == {"a/1": 6, "b/1": 2}
    pools.reload([upstream("a", tier=2), upstream("b", keys=(key("1", 3), key("2")))])
    assert turns(pools, 8) == {"b/1": 6, "b/2": 2}


def test_a_reload_changes_limits_and_keeps_count_for_those_that_stay() -> None:
    pools = pools_of(upstream("a", keys=[key(rpm=3)]))
    served(pools)
    pools.reload([upstream("a", keys=[key(rpm=3, concurrency=9)])])
    ask(pools), ask(pools)
    with pytest.raises(NoUpstream):
        ask(pools)
    pools.reload([upstream("a", keys=[key(rpm=4, tpm=10)])])
    lease = ask(pools, tokens=10)
    with pytest.raises(NoUpstream):
        ask(pools, tokens=1)
    pools.reload([upstream("a")])
    ask(pools, tokens=1000)
    lease.succeed(NOW, None, 5)  # the limit it was taken from is gone


def test_a_new_secret_is_given_a_new_chance() -> None:
    pools = pools_of(upstream("a", "m", "n", keys=[key(secret="old")]))
    straggler = ask(pools)
    ask(pools, model="n").fail(status(403), NOW)
    ask(pools).fail(status(401), NOW)
    pools.reload([upstream("a", "m", "n", keys=[key(secret="new")])])
    assert [served(pools, model=model) for model in ("m", "n")] == ["a/1", "a/1"]
    straggler.fail(status(401), NOW)
    assert pools.doors["a/1"].refused == ""


def test_a_reload_wakes_who_sleeps_in_a_pool_that_is_kept() -> None:
    pools = pools_of(upstream("a", keys=[key(secret="old")]), upstream("b"))
    pool = pools.route("m", "chat").pool
    at(pools, "a/1").fail(status(401), NOW)
    assert turns(pools, 4) == {"b/1": 4}
    pools.reload([upstream("a", keys=[key(secret="new")]), upstream("b")])
    assert pools.route("m", "chat").pool is pool
    assert set(turns(pools, 4)) == {"a/1", "b/1"}


def test_other_rules_for_breakers_are_in_force_at_once() -> None:
    pools = pools_of(upstream("a"), upstream("b"))
    break_down(pools, "a/1")
    at(pools, "b/1").fail(no_connection(), NOW)
    pools.reload([upstream("a"), upstream("b")], Routing(breaker=BreakerRules(enabled=False)))
    assert turns(pools, 4) == {"a/1": 2, "b/1": 2}
    for _ in range(20):
        ask(pools).fail(status(500), NOW)
    assert turns(pools, 4) == {"a/1": 2, "b/1": 2}


def test_a_lease_survives_the_base_url_that_it_was_for() -> None:
    specs = [upstream("a", urls=2)]
    for end in ("connected", "succeed", "fail", "leave"):
        pools = pools_of(*specs)
        ask(pools).fail(no_connection(), NOW)
        lease = ask(pools)
        assert lease.target == ("a/1", 1)
        pools.reload([upstream("a")])
        if end == "connected":
            lease.connected(NOW)
        elif end == "fail":
            lease.fail(no_connection(), NOW)
        else:
            lease.succeed(NOW, None) if end == "succeed" else lease.leave(NOW)
        pools.reload([upstream("a", urls=2)])
        assert pools.doors["a/1"].site(NOW) == 1


def test_what_a_reload_took_away_is_not_given_to_requests_that_wait() -> None:
    pools = pools_of(upstream("a", keys=2), upstream("b"))
    route = pools.route("m", "chat")
    pools.reload([upstream("a")])
    assert {pools.choose(route, Wanted(), NOW).door.name for _ in range(4)} == {"a/1"}
    pools.reload([upstream("a", keys=2), upstream("b")])
    assert set(turns(pools, 8)) == {"a/1", "a/2", "b/1"}


def test_the_budget_of_retries_is_kept_until_its_rules_change() -> None:
    pools = pools_of(upstream("a"))
    pools.budget.request(NOW)
    pools.reload([upstream("b")], replace(pools.routing, hedge=True))
    assert pools.budget.requests(NOW) == 1
    pools.reload([upstream("b")], replace(pools.routing, retries=RetryRules(floor=0)))
    assert pools.budget.requests(NOW) == 0
    assert pools.route("m", "chat").pool.budget is pools.budget


def test_conversations_are_forgotten_when_their_rules_change() -> None:
    pools = pools_of(upstream("a", keys=3), strategy="least_busy")
    served(pools, conversation=digest("x"))
    rules = pools.routing
    pools.reload([upstream("a", keys=3)], replace(rules, hedge=True))
    assert len(pools.affinity) == 1
    pools.reload([upstream("a", keys=3)], replace(rules, affinity=AffinityRules(entries=5)))
    assert repr(pools.affinity) == "Affinity(0 of 5)"


# --- the operator -------------------------------------------------------------------------------


def test_what_is_disabled_gets_nothing_until_it_is_enabled() -> None:
    for model in ("m", "x"):
        pools = pools_of(upstream("a", "m", "*", keys=2), upstream("b", "m", "*"))
        held = at(pools, "a/1", model=model)
        pools.disable("a", None, NOW)
        assert turns(pools, 4, model=model) == {"b/1": 4}
        held.succeed(NOW, 0.1)
        pools.enable("a", "2", NOW)
        assert set(turns(pools, 4, model=model)) == {"a/2", "b/1"}
        pools.enable("a", None, NOW)
        assert set(turns(pools, 8, model=model)) == {"a/1", "a/2", "b/1"}


def test_enabling_forgets_whatever_was_against_a_key() -> None:
    pools = pools_of(upstream("a", "m", "n", "o"), upstream("b", "m", "n", "o"))
    break_down(pools, "a/1")
    at(pools, "a/1", model="n").fail(status(429, 100), NOW)
    at(pools, "a/1", model="o").fail(status(403), NOW)
    for model in ("m", "n", "o"):
        assert turns(pools, 3, model=model) == {"b/1": 3}
    pools.enable("a", None, NOW)
    for model in ("m", "n", "o"):
        assert set(turns(pools, 4, model=model)) == {"a/1", "b/1"}
    at(pools, "a/1").fail(no_connection(), NOW)
    assert turns(pools, 2) == {"b/1": 2}
    pools.enable("a", "1", NOW)
    assert set(turns(pools, 4)) == {"a/1", "b/1"}


def test_unknown_names_are_no_keys() -> None:
    pools = pools_of(upstream("a"))
    for upstream_name, key_name in (("x", None), ("a", "2"), ("x", "1")):
        with pytest.raises(KeyError):
            pools.disable(upstream_name, key_name, NOW)
        with pytest.raises(KeyError):
            pools.enable(upstream_name, key_name, NOW)
    assert [door.name for door in pools.named("a")] == ["a/1"]


def test_a_good_probe_takes_a_refused_key_back() -> None:
    pools = pools_of(upstream("a", "m", "n"))
    door = pools.doors["a/1"]
    until = break_down(pools, "a/1")
    ask(pools, model="n").fail(status(403), NOW)
    pools.well(door, None)
    assert served(pools, model="n") == "a/1"
    assert door.blocked("m", 0, NOW) == until  # the list of models does not show that it answers
    pools.well(door, "m")
    assert served(pools, model="m") == "a/1"
    ask(pools).fail(status(401), NOW)
    with pytest.raises(NoUpstream):
        ask(pools)
    pools.well(door, None)
    assert served(pools) == "a/1"
    pools.disable("a", None, NOW)
    pools.well(door, None)
    with pytest.raises(NoUpstream):
        ask(pools)


def test_a_good_probe_shows_that_its_site_is_well_and_no_other() -> None:
    pools = pools_of(upstream("a", urls=2))
    door = pools.doors["a/1"]
    for _ in range(2):
        ask(pools).fail(no_connection(), NOW)
    pools.well(door, None)
    with pytest.raises(NoUpstream):
        ask(pools)
    pools.well(door, None, door.sites[1])
    assert ask(pools).site == 1


def test_a_good_probe_is_of_the_model_by_either_name() -> None:
    for name in ("m", "theirs"):
        pools = pools_of(upstream("a", "m=theirs", "n"))
        break_down(pools, "a/1")
        pools.well(pools.doors["a/1"], "n")
        with pytest.raises(NoUpstream):
            ask(pools)
        pools.well(pools.doors["a/1"], name)
        assert served(pools) == "a/1"


def test_the_report_has_a_line_for_each_door_in_configured_order() -> None:
    pools = pools_of(upstream("z", keys=2), upstream("a"))
    assert [line.name for line in pools.report(NOW)] == ["z/1", "z/2", "a/1"]


def test_without_dice_they_are_thrown_all_the_same() -> None:
    assert by(Pools([upstream("a")]), "m") == ("a", "m", "m")


# --- whatever happens ---------------------------------------------------------------------------

SPECS = [
    upstream("a", "m", "x-*", keys=(key("1", 2), key("2", concurrency=2)), urls=2),
    upstream("b", "m", "x-*", keys=[key(rpm=30, tpm=2000)], weight=2),
    upstream("c", "x-*", tier=2, dialect="demo"),
]
acts = st.tuples(
    st.sampled_from(
        "choose choose choose succeed fail leave reload disable enable well pass".split()
    ),
    st.integers(0, 50),
    st.integers(0, 50),
)
ERRORS = [*map(status, (401, 403, 408, 429, 500, 503)), no_connection()]


class Traffic:
    """Requests, failures, the operator and reloads, in any order."""

    def __init__(self) -> None:
        self.pools = pools_of(*SPECS)
        self.held: list[Lease] = []
        self.ended: list[Lease] = []
        self.now = NOW

    def act(self, what: str, a: int, b: int) -> None:
        if what == "choose":
            self._choose(a, b)
        elif what in ("succeed", "fail", "leave") and self.held:
            self._end(what, self.held.pop(a % len(self.held)), b)
        elif what == "reload":
            some = [spec for i, spec in enumerate(SPECS) if (a + 1) >> i & 1] or SPECS
            self.pools.reload([*some, upstream("d", "m", "x-*")], self.pools.routing)
        elif what in ("disable", "enable", "well"):
            door = list(self.pools.doors.values())[a % len(self.pools.doors)]
            self._operate(what, door.name.partition("/")[0], b)
        else:
            self.now += a / 5

    def _choose(self, a: int, b: int) -> None:
        route = self.pools.route(("m", "x-1", "x-2")[a % 3], "chat")
        tried = [lease.target for lease in self.held[: b % 3]]
        wanted = Wanted(b, a % 2, digest(b) if b % 2 else None, b % 3 == 0)
        try:
            lease = self.pools.choose(route, wanted, self.now, tried)
        except NoUpstream:
            return
        assert lease.target not in tried
        assert not lease.door.disabled and not lease.door.refused
        self.held.append(lease)
        self.pools.remember(route, lease, wanted, self.now)

    def _end(self, what: str, lease: Lease, b: int) -> None:
        if b % 2:
            lease.connected(self.now)
        if what == "succeed":
            lease.succeed(self.now, b / 10, b)
        elif what == "fail":
            lease.fail(ERRORS[b % len(ERRORS)], self.now)
        else:
            lease.leave(self.now)
        self.ended.append(lease)

    def _operate(self, what: str, name: str, b: int) -> None:
        if what == "well":
            self.pools.well(self.pools.named(name)[0], ("m", None)[b % 2])
        else:
            act = self.pools.disable if what == "disable" else self.pools.enable
            act(name, None, self.now)

    def check(self) -> None:
        held = Counter(id(lease.door) for lease in self.held)
        for door in self.pools.doors.values():
            assert door.in_flight == held[id(door)]
            most = door.key.limits.concurrency
            assert most is None or door.in_flight <= most
        for lease in (*self.held, *self.ended):
            assert lease.door.in_flight >= 0 and lease._tier.held >= 0

    def end(self) -> None:
        for lease in (*self.held, *self.ended, *self.ended):
            lease.leave(self.now)
        for lease in (*self.held, *self.ended):
            assert (lease.door.in_flight, lease._tier.held) == (0, 0)
            assert not any(member.held for member in lease._tier.members)


@given(st.lists(acts, max_size=120))
def test_in_flight_is_what_is_held_and_nothing_in_the_end(
    happens: list[tuple[str, int, int]],
) -> None:
    traffic = Traffic()
    for act in happens:
        traffic.act(*act)
        traffic.check()
    traffic.end()


def test_the_same_dice_make_the_same_choices() -> None:
    def run() -> list[str]:
        pools = Pools(SPECS, Routing(strategy="fastest"), dice(7))
        return [served(pools, model="x-1") for _ in range(20)]

    assert run() == run()


def test_two_public_names_for_one_model_share_its_breaker() -> None:
    pools = pools_of(upstream("a", "m=theirs", "n=theirs"), upstream("b", "m", "n"))
    until = break_down(pools, "a/1", model="m")
    assert gate_of(pools.doors["a/1"], "theirs").breaker.until == until
    assert turns(pools, 2, model="n") == {"b/1": 2}
