"""How many retries may be made."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.budget import SLOTS, RetryBudget
from relayd.routing import RetryRules

RULES = RetryRules(budget=0.2, window=10.0, floor=3)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.7, 3.0, 12.0]), st.booleans()), max_size=150),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    st.integers(0, 4),
)
def test_retries_never_exceed_their_share_and_the_floor(
    given: list[tuple[float, bool]], share: float, floor: int
) -> None:
    budget, now = RetryBudget(RetryRules(budget=share, window=10.0, floor=floor)), 100.0
    requests: list[float] = []
    retries: list[float] = []
    for pause, is_retry in given:
        now += pause
        first = int(now) - SLOTS  # a slot is one second wide
        asked = sum(int(at) > first for at in requests)
        made = sum(int(at) > first for at in retries)
        assert (budget.requests(now), budget.spent(now)) == (asked, made)
        assert budget.allows(now) == (made + 1 <= floor + share * asked)
        if not is_retry:
            budget.request(now)
            requests.append(now)
        elif budget.allows(now):
            budget.spend(now)
            retries.append(now)
            assert budget.spent(now) <= floor + share * budget.requests(now)


def test_those_with_little_traffic_have_the_floor() -> None:
    budget = RetryBudget(RULES)
    for _ in range(3):
        assert budget.allows(1.0)
        budget.spend(1.0)
    assert not budget.allows(1.0)
    assert budget.allows(11.0)


def test_an_outage_is_not_multiplied() -> None:
    budget, retries = RetryBudget(RULES), 0
    for i in range(10_000):
        now = 100.0 + i / 1000
        budget.request(now)
        while budget.allows(now):
            budget.spend(now)
            retries += 1
    assert retries <= 2003


def test_it_shows_both_counts() -> None:
    budget = RetryBudget(RULES)
    budget.request(1.0)
    budget.spend(1.0)
    assert repr(budget) == "RetryBudget(1 spent, 1 requests)"
