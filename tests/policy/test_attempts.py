"""Who is asked next, and when it is enough."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import (
    AllFull,
    BadCall,
    BadReply,
    BadStatus,
    BrokenStream,
    ClientGone,
    NoAnswer,
    NoUpstream,
    RelayError,
)
from relayd.policy.attempts import REST, Attempts, retried
from relayd.policy.lease import Lease
from relayd.policy.pool import Target, Wanted
from relayd.policy.pools import Pools
from relayd.routing import RetryRules
from tests.support.pools import (
    NOW,
    ask,
    at,
    break_down,
    dice,
    digest,
    key,
    no_answer,
    no_connection,
    pools_of,
    status,
    upstream,
)

GENEROUS = RetryRules(attempts=10, floor=1000)


def attempts_of(pools: Pools, *models: str, **wanted: Any) -> Attempts:
    routes = [pools.route(model, "chat") for model in models or ("m",)]
    return Attempts(pools, routes, Wanted(**wanted), dice())


def fail(attempts: Attempts, lease: Lease, error: RelayError, now: float = NOW) -> float | None:
    lease.fail(error, now)
    return attempts.failed(error, now)


def walk(attempts: Attempts, error: RelayError, now: float = NOW) -> list[tuple[str, Target]]:
    """Everybody who is asked while all fail alike: for which model, and where."""
    asked = []
    while True:
        lease = attempts.next(now)
        asked.append((lease.model, lease.target))
        if fail(attempts, lease, error, now) is None:
            return asked


# --- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "yes"),
    [
        (no_connection(), True),
        (no_answer(), True),
        (BadReply("?"), True),
        (NoUpstream("no connection is free"), True),
        *[(status(code), True) for code in (401, 402, 403, 408, 425, 429)],
        *[(status(code), True) for code in (500, 502, 503, 504, 520, 521, 522, 523, 524, 529)],
        *[(status(code), False) for code in (400, 404, 418, 501, 505)],
        (BadStatus("bad key", upstream_status=400, code="upstream_credential"), True),
        (BrokenStream("cut"), False),
        (BadCall("no"), False),
        (ClientGone("left"), False),
        (RelayError("a bug"), False),
    ],
)
def test_only_what_another_attempt_can_heal_is_tried_again(error: RelayError, yes: bool) -> None:
    assert retried(error) is yes
    attempts = attempts_of(pools_of(upstream("a"), upstream("b")))
    assert fail(attempts, attempts.next(NOW), error) == (0.0 if yes else None)


# --- targets ------------------------------------------------------------------------------------


def test_every_target_is_asked_once_tier_by_tier_then_one_again() -> None:
    pools = pools_of(
        upstream("c", tier=2), upstream("a", keys=2), upstream("b", urls=2), retries=GENEROUS
    )
    attempts = attempts_of(pools)
    asked = [target for _, target in walk(attempts, status(500))]
    assert set(asked[:4]) == {("a/1", 0), ("a/2", 0), ("b/1", 0), ("b/1", 1)}
    assert asked[4] == ("c/1", 0)
    assert len(asked) == 6 and attempts.count == 6
    assert repr(attempts) == f"<Attempts 6 tried={asked} at=m>"


def test_a_second_try_prefers_another_upstream_to_a_sister_of_the_key_that_failed() -> None:
    for strategy in ("weighted", "least_busy", "fastest"):
        specs = [upstream("a", keys=3, urls=2), upstream("b"), upstream("c", tier=2)]
        pools = pools_of(*specs, strategy=strategy, retries=GENEROUS)
        for conversation in (None, *map(digest, range(9))):
            attempts = attempts_of(pools, conversation=conversation)
            first = attempts.next(NOW)
            assert fail(attempts, first, status(408)) == 0.0
            second = attempts.next(NOW)
            assert {first.spec.name, second.spec.name} == {"a", "b"}
            assert fail(attempts, second, status(408)) == 0.0
            assert attempts.next(NOW).spec.name == "a"  # before the next tier


class Trial:
    """One request through upstreams that fail at random."""

    def __init__(self, draw: Any) -> None:
        specs = [
            upstream(f"u{i}", "m", "n", tier=draw(st.integers(1, 2)), **shape)
            for i, shape in enumerate(draw(st.lists(SHAPES, min_size=1, max_size=4)))
        ]
        self.draw = draw
        self.pools = pools_of(*specs, retries=GENEROUS)
        self.attempts = attempts_of(self.pools, *draw(st.sampled_from([("m",), ("m", "n")])))
        self.tried: dict[str, list[Target]] = {"m": [], "n": []}
        self.others = False
        self.others = False

    def run(self) -> None:
        now = NOW
        while True:
            lease = self.attempts.next(now)
            tried = self.tried[lease.model]
            assert lease.target not in tried or not self.others
            tried.append(lease.target)
            now += self.draw(st.sampled_from([0.0, 0.5]))
            error = self.draw(st.sampled_from(ERRORS))
            lease.fail(error, now)
            route = self.pools.route(lease.model, "chat")
            self.others = self.pools.free(route, self.attempts.wanted, now, tried)
            rest = self.attempts.failed(error, now)
            if rest is None:
                assert not self.others or len(tried) >= GENEROUS.attempts
                return
            assert (rest == 0.0) or (REST[0] <= rest <= REST[1] and not self.others)


SHAPES = st.fixed_dictionaries({"keys": st.integers(1, 2), "urls": st.integers(1, 2)})
ERRORS = [*map(status, (401, 403, 429, 500, 503)), no_connection(), no_answer()]


@given(st.data())
def test_no_target_is_asked_twice_while_another_is_left(data: st.DataObject) -> None:
    trial = Trial(data.draw)
    trial.run()
    assert all(door.in_flight == 0 for door in trial.pools.doors.values())
    for tried in trial.tried.values():
        assert len(tried) - len(set(tried)) <= 1


@pytest.mark.parametrize(
    "error", [status(500), status(503), BadReply("?"), NoAnswer("it hung up", status=502)]
)
def test_the_only_target_is_asked_once_more_after_a_short_rest(error: RelayError) -> None:
    attempts = attempts_of(pools_of(upstream("a")))
    rest = fail(attempts, attempts.next(NOW), error)
    assert rest is not None and REST[0] <= rest <= REST[1]
    again = attempts.next(NOW + rest)
    assert again.target == ("a/1", 0)
    assert fail(attempts, again, error, NOW + rest) is None
    assert attempts.count == 2


@pytest.mark.parametrize("error", [status(429), status(401), status(504), no_answer()])
def test_a_failure_that_says_not_now_is_not_repeated_at_the_same_target(error: RelayError) -> None:
    attempts = attempts_of(pools_of(upstream("a"), longest_cooldown=0.0))
    assert fail(attempts, attempts.next(NOW), error) is None


def test_nobody_rests_for_a_target_that_has_closed_meanwhile() -> None:
    pools = pools_of(upstream("a"))
    attempts = attempts_of(pools)
    lease = attempts.next(NOW)
    break_down(pools, "a/1")
    assert fail(attempts, lease, status(500)) is None
    assert attempts.route.pool.budget.spent(NOW) == 0


def test_a_target_that_closes_during_the_rest_leaves_the_failure_as_it_was() -> None:
    pools = pools_of(upstream("a"))
    attempts = attempts_of(pools)
    error = status(500)
    assert fail(attempts, attempts.next(NOW), error)
    break_down(pools, "a/1")
    with pytest.raises(BadStatus) as caught:
        attempts.next(NOW + 0.2)
    assert caught.value is error


# --- how often ----------------------------------------------------------------------------------


def test_attempts_are_counted_for_each_model() -> None:
    specs = [upstream(f"u{i}", "m", "n") for i in range(5)]
    attempts = attempts_of(pools_of(*specs, retries=RetryRules(attempts=2)), "m", "n")
    assert [model for model, _ in walk(attempts, status(500))] == ["m", "m", "n", "n"]


def test_one_attempt_is_no_retry_and_no_repetition() -> None:
    for count in (1, 2):
        specs = [upstream(f"u{i}") for i in range(count)]
        attempts = attempts_of(pools_of(*specs, retries=RetryRules(attempts=1)))
        assert len(walk(attempts, status(500))) == 1


def test_no_attempt_begins_after_the_deadline() -> None:
    pools = pools_of(upstream("a"), upstream("b"), upstream("c"), retries=RetryRules(deadline=10.0))
    attempts = attempts_of(pools)
    assert fail(attempts, attempts.next(NOW), no_answer(), NOW + 9.9) == 0.0
    assert fail(attempts, attempts.next(NOW + 9.9), no_answer(), NOW + 10) is None


def test_retries_stay_within_the_budget() -> None:
    specs = [upstream(f"u{i}") for i in range(4)]
    pools = pools_of(*specs, retries=RetryRules(budget=0.2, floor=3, window=10.0))
    total = 0
    for _ in range(100):
        attempts = attempts_of(pools)
        walk(attempts, status(408))  # which closes nobody
        total += attempts.count - 1
    assert total == 3 + 20
    assert pools.route("m", "chat").pool.budget.requests(NOW) == 100
    later = attempts_of(pools)
    walk(later, status(408), NOW + 20)
    assert later.count == 4


def test_all_models_share_one_budget() -> None:
    rules = RetryRules(floor=0, budget=0.5)
    pools = pools_of(upstream("a", "m", "o"), upstream("b", "n", "o"), retries=rules)
    total = 0
    for n in range(30):
        attempts = attempts_of(pools, "m", "n") if n % 2 else attempts_of(pools, "o")
        if n < 20:
            attempts.next(NOW).succeed(NOW, 0.1)
        else:
            walk(attempts, status(408))
            total += attempts.count - 1
    assert total == 10
    assert (pools.budget.requests(NOW), pools.budget.spent(NOW)) == (30, 10)


# --- fallbacks ----------------------------------------------------------------------------------


def test_fallbacks_are_asked_in_their_order_when_nobody_else_is_left() -> None:
    pools = pools_of(upstream("a", "m", keys=2), upstream("b", "n"), upstream("c", "o"))
    attempts = attempts_of(pools, "m", "n", "o")
    seen = []
    for _ in range(4):
        lease = attempts.next(NOW)
        seen.append((attempts.route.asked, attempts.fell_back, lease.spec.name))
        fail(attempts, lease, status(500))
    assert seen == [("m", False, "a"), ("m", False, "a"), ("n", True, "b"), ("o", True, "c")]


def test_a_model_that_cannot_be_served_falls_back_at_once_and_free_of_charge() -> None:
    pools = pools_of(upstream("a", "m"), upstream("b", "n"), upstream("c", "o"))
    for name in "ab":
        pools.disable(name, None, NOW)
    attempts = attempts_of(pools, "m", "n", "o")
    assert attempts.next(NOW).door.name == "c/1"
    assert (attempts.count, attempts.fell_back) == (1, True)
    budget = attempts.route.pool.budget
    assert (budget.requests(NOW), budget.spent(NOW)) == (1, 0)


def test_a_fallback_that_nobody_serves_is_passed_over() -> None:
    pools = pools_of(upstream("a", "m"), upstream("b", "n"), upstream("c", "o"))
    pools.disable("b", None, NOW)
    attempts = attempts_of(pools, "m", "n", "o")
    assert [model for model, _ in walk(attempts, no_answer())] == ["m", "o"]


def test_without_a_fallback_that_serves_the_same_target_is_asked_again() -> None:
    pools = pools_of(upstream("a", "m"), upstream("b", "n"))
    pools.disable("b", None, NOW)
    attempts = attempts_of(pools, "m", "n")
    assert fail(attempts, attempts.next(NOW), status(500))
    assert attempts.next(NOW + 0.2).target == ("a/1", 0)
    assert not attempts.fell_back


def test_the_same_key_may_serve_a_fallback_but_others_come_first() -> None:
    alone = attempts_of(pools_of(upstream("a", "m", "n")), "m", "n")
    asked = walk(alone, no_answer())
    assert asked == [("m", ("a/1", 0)), ("n", ("a/1", 0))]
    for _ in range(3):
        pools = pools_of(upstream("a", "m", "n"), upstream("b", "n"))
        both = attempts_of(pools, "m", "n")
        ask(pools, model="n").leave(NOW)
        asked = walk(both, no_answer())
        assert asked == [("m", ("a/1", 0)), ("n", ("b/1", 0)), ("n", ("a/1", 0))]


# --- nobody -------------------------------------------------------------------------------------


def test_when_nobody_can_be_asked_at_all_the_model_asked_for_is_named() -> None:
    pools = pools_of(upstream("a", "m"), upstream("b", "n"))
    for name in "ab":
        pools.disable(name, None, NOW)
    attempts = attempts_of(pools, "m", "n")
    with pytest.raises(NoUpstream, match="`m`") as caught:
        attempts.next(NOW)
    assert not isinstance(caught.value, AllFull)
    assert (attempts.count, attempts.fell_back) == (0, False)


def test_who_waits_waits_for_any_of_the_models() -> None:
    for full in ("m", "n"):
        limited, other = key(concurrency=1), key()
        pools = pools_of(
            upstream("a", "m", keys=[limited if full == "m" else other]),
            upstream("b", "n", keys=[limited if full == "n" else other]),
        )
        pools.disable("b" if full == "m" else "a", None, NOW)
        held = ask(pools, model=full)
        attempts = attempts_of(pools, "m", "n")
        with pytest.raises(AllFull, match=f"`{full}`"):
            attempts.next(NOW)
        assert attempts.route.asked == "m"
        held.leave(NOW)
        assert attempts.next(NOW).model == full


def test_after_a_failure_that_failure_is_told() -> None:
    pools = pools_of(upstream("a"), upstream("b"))
    attempts = attempts_of(pools)
    error = no_answer()
    assert fail(attempts, attempts.next(NOW), error) == 0.0
    pools.disable("a", None, NOW)
    pools.disable("b", None, NOW)
    with pytest.raises(NoAnswer) as caught:
        attempts.next(NOW)
    assert caught.value is error


# --- hedging ------------------------------------------------------------------------------------


def test_another_is_asked_beside_and_never_the_same() -> None:
    pools = pools_of(upstream("a"), upstream("b"))
    attempts = attempts_of(pools)
    first, second = attempts.next(NOW), attempts.another(NOW)
    assert second is not None and second.target != first.target
    assert attempts.count == 2
    assert attempts.another(NOW) is None  # nobody is left
    assert attempts.route.pool.budget.spent(NOW) == 1


def test_another_is_within_budget_and_number() -> None:
    specs = [upstream(name) for name in "abc"]
    poor = attempts_of(pools_of(*specs, retries=RetryRules(floor=0)))
    poor.next(NOW)
    assert poor.another(NOW) is None
    few = attempts_of(pools_of(*specs, retries=RetryRules(attempts=2)))
    lease = few.next(NOW)
    assert few.another(NOW) is not None
    assert few.another(NOW) is None
    assert fail(few, lease, status(500)) is None


def test_a_place_elsewhere_is_found_beside_what_is_held() -> None:
    pools = pools_of(upstream("a", keys=[key(concurrency=1)]), upstream("b", tier=2))
    held = at(pools, "a/1")
    assert attempts_of(pools).next(NOW).door.name == "b/1"
    held.leave(NOW)
    assert attempts_of(pools).next(NOW).door.name == "a/1"


# --- who has no words for the request ------------------------------------------------------------


def test_who_is_passed_over_was_not_asked_nor_are_its_other_keys() -> None:
    pools = pools_of(upstream("a", keys=2, urls=2), upstream("b", tier=2))
    attempts = attempts_of(pools)
    lease = attempts.next(NOW)
    assert lease.spec.name == "a"
    lease.leave(NOW)
    attempts.pass_over(lease)
    assert attempts.count == 0
    assert attempts.is_anybody_left
    assert attempts.next(NOW).spec.name == "b"
    assert attempts.count == 1
    assert pools.budget.requests(NOW) == 1  # it is still one request, and no retry


def test_where_all_are_passed_over_nobody_is_left() -> None:
    attempts = attempts_of(pools_of(upstream("a")))
    lease = attempts.next(NOW)
    lease.leave(NOW)
    attempts.pass_over(lease)
    assert not attempts.is_anybody_left
    with pytest.raises(NoUpstream):
        attempts.next(NOW)


def test_who_is_passed_over_for_one_model_may_serve_another() -> None:
    pools = pools_of(upstream("a", "m", "other"))
    attempts = attempts_of(pools, "m", "other")
    lease = attempts.next(NOW)
    lease.leave(NOW)
    attempts.pass_over(lease)
    assert attempts.is_anybody_left
    assert attempts.next(NOW).model == "other"
    assert attempts.fell_back


def test_who_is_passed_over_is_neither_raced_nor_repeated() -> None:
    pools = pools_of(upstream("a"), upstream("b", tier=2))
    attempts = attempts_of(pools)
    lease = attempts.next(NOW)
    lease.leave(NOW)
    attempts.pass_over(lease)
    second = attempts.next(NOW)
    assert attempts.another(NOW) is None
    rest = fail(attempts, second, status(500))
    assert rest is not None and rest > 0  # the same once more: nobody else has words for it
    assert attempts.next(NOW).spec.name == "b"


def test_the_models_that_may_answer_instead_are_named() -> None:
    pools = pools_of(upstream("a", "m", "n"))
    assert attempts_of(pools, "m", "n").fallbacks == ["n"]
    assert attempts_of(pools, "m").fallbacks == []
