"""Which upstream serves a model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BadCall, NoUpstream, Refused
from relayd.model import FormatName, ModelRule, Secret, UpstreamSpec
from relayd.policy import pools as pools_module
from relayd.policy.pools import Pools


def upstream(name: str, *models: str, **changes: Any) -> UpstreamSpec:
    """An upstream that offers `models`, each a pattern or `pattern=target`."""
    rules = tuple(
        ModelRule(p, target or None) for p, _, target in (m.partition("=") for m in models)
    )
    formats: tuple[FormatName, ...] = changes.pop("formats", ("chat",))
    return UpstreamSpec(name, "openai", "http://up", Secret("k"), rules, formats, **changes)


def served(pools: Pools, model: str) -> tuple[str, str, str]:
    lease = pools.choose(model, "chat")
    return lease.spec.name, lease.model, lease.rule


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
        assert served(Pools([upstream("up", *order)]), model) == ("up", name, rule)


def test_of_two_rules_for_one_name_the_first_counts() -> None:
    assert served(Pools([upstream("up", "m=one", "m=two")]), "m") == ("up", "one", "m")


@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 20))
def test_upstreams_take_exact_shares_by_weight(weights: list[int], start: int) -> None:
    pools = Pools([upstream(f"u{i}", "m-*", weight=w) for i, w in enumerate(weights)])
    turns = [pools.choose(f"m-{n % 3}", "chat").spec.name for n in range(start + sum(weights))]
    assert Counter(turns[start:]) == {f"u{i}": w for i, w in enumerate(weights)}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.data())
def test_tried_upstreams_are_skipped_until_none_is_left(
    weights: list[int], data: st.DataObject
) -> None:
    names = [f"u{i}" for i in range(len(weights))]
    pools = Pools([upstream(n, "m", weight=w) for n, w in zip(names, weights, strict=True)])
    for _ in range(10):
        tried = frozenset(data.draw(st.sets(st.sampled_from([*names, "elsewhere"]))))
        if tried >= set(names):
            with pytest.raises(NoUpstream) as caught:
                pools.choose("m", "chat", tried=tried)
            assert caught.value.status == 503
        else:
            assert pools.choose("m", "chat", tried=tried).spec.name not in tried


def test_only_upstreams_that_speak_the_format_are_chosen() -> None:
    both = upstream("both", "m", formats=("chat", "responses"))
    pools = Pools([upstream("chat", "m"), both, upstream("msg", "m", formats=("messages",))])
    assert {pools.choose("m", "responses").spec.name for _ in range(5)} == {"both"}
    assert [c.spec.name for c in pools.offering("m", "chat")] == ["chat", "both"]
    assert pools.offering("m", "gemini") == []
    assert [tuple(c)[1:] for c in pools.offering("m", "messages")] == [("m", "m")]


def test_a_model_that_nobody_offers_is_not_found() -> None:
    pools = Pools([upstream("up", "m")])
    with pytest.raises(Refused) as caught:
        pools.choose("x", "chat")
    exc = caught.value
    assert (exc.status, exc.code, exc.param) == (404, "model_not_found", "model")
    assert exc.message == "The model `x` does not exist or you do not have access to it."
    assert pools.known("m") and not pools.known("x")


def test_a_model_of_other_formats_says_which() -> None:
    pools = Pools(
        [upstream("a", "m", formats=("messages",)), upstream("b", "m", formats=("gemini",))]
    )
    with pytest.raises(BadCall) as caught:
        pools.choose("m", "chat")
    assert (caught.value.status, caught.value.param) == (400, "model")
    assert caught.value.message == (
        "The model `m` is not offered in the chat format; it is offered in: gemini, messages."
    )
    assert pools.known("m")


def test_the_listing_names_each_model_once_with_its_first_owner() -> None:
    pools = Pools([upstream("a", "z", "gpt-*", "m=x"), upstream("b", "m", "a")])
    assert pools.listing() == (("z", "a"), ("m", "a"), ("a", "b"))


def test_a_lease_counts_until_it_is_released_once() -> None:
    pools = Pools([upstream("up", "m=theirs"), upstream("idle", "other")])
    first, second = pools.choose("m", "chat"), pools.choose("m", "chat")
    assert pools.in_flight("up") == 2
    assert repr(pools) == "Pools(up: 2 in flight, idle: 0 in flight)"
    assert repr(first) == "Lease(up, theirs, by rule m, held)"
    first.release()
    first.release()
    assert (pools.in_flight("up"), repr(first)) == (1, "Lease(up, theirs, by rule m, released)")
    second.release()
    assert pools.in_flight("up") == 0
    assert repr(Pools([])) == "Pools(no upstreams)"


def test_a_reload_keeps_what_is_in_flight_and_whose_turn_it_is() -> None:
    specs = [upstream("a", "m"), upstream("b", "m")]
    pools = Pools(specs)
    lease = pools.choose("m", "chat")
    pools.reload([*specs, upstream("c", "new")])
    assert (pools.in_flight("a"), pools.in_flight("c")) == (1, 0)
    assert served(pools, "m")[0] == "b"
    assert served(pools, "new")[0] == "c"
    pools.reload([upstream("b", "m")])
    assert repr(pools) == "Pools(b: 1 in flight)"
    lease.release()
    with pytest.raises(Refused):
        pools.choose("new", "chat")


def test_memory_is_bounded_whatever_names_clients_invent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools_module, "REMEMBERED_NAMES", 10)
    pools = Pools([upstream("a", "*", weight=2), upstream("b", "*")])
    turns = [served(pools, f"model-{n}")[0] for n in range(300)]
    assert Counter(turns) == {"a": 200, "b": 100}
    assert len(pools._routes) <= 10
    pools.choose("long" * 1000, "chat")
    assert all(len(model) < 100 for model, _ in pools._routes)
    assert len(pools._rotations) == 1


def test_rotations_are_bounded_and_stay_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools_module, "REMEMBERED_ROTATIONS", 2)
    pools = Pools([upstream("a", "x", "y", "z-*"), upstream("b", "z-*")])
    for model in ("x", "y", "z-1", "x", "y", "z-2"):
        pools.choose(model, "chat")
    assert len(pools._rotations) <= 2
    assert [served(pools, f"z-{n}")[0] for n in range(4)].count("a") == 2
