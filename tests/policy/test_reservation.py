"""What is set aside for a request of 100 tokens (400 bytes) that asks for 50."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.accounts import Account, Group, Key
from relayd.model import Usage
from relayd.policy.keys import Caller, Names
from relayd.policy.prices import Price, Rates, Units
from relayd.policy.reservation import Ask, opening_cost, reserved_for, tokens_for

PRICE = Price(Rates.of({"input": 2, "output": 10}))
CHEAP = Price(Rates.of({"input": 1, "output": 1}))
DEAR = Price(Rates.of({"input": 20, "output": 100}))
PICTURES = Price(Rates(), units=Units(image=100, characters=3))
KEY = Key(7, "laptop", Account(1, "team"), b"", "sk-", 0.0)


def ask(group: Group | None = None, price: Price | None = PRICE, **more: Any) -> Ask:
    who = Caller(KEY, group or Group("g"), Names(()), None)
    return Ask(who, "m", price, 100, 400, **more)


@pytest.mark.parametrize(
    ("group", "reserved"),
    [
        (Group("g"), 700),
        (Group("g", multiplier=1_500_000), 1050),
        (Group("g", multiplier=1), 1),
        (Group("g", multiplier=0), 0),
        (Group("g", reserve_cap=300), 300),
        (Group("g", reserve_cap=None), 700),
        (Group("g", strict=True), 1300),
        (Group("g", strict=True, reserve_cap=300), 1300),
    ],
)
def test_the_group_says_how_much_is_reserved(group: Group, reserved: int) -> None:
    assert reserved_for(ask(group), 50) == (reserved, reserved)


def test_every_choice_is_reserved_for() -> None:
    assert reserved_for(ask(choices=3), 50)[0] == 200 + 3 * 500


def test_where_nothing_is_reserved_of_what_costs_something_a_little_is_needed() -> None:
    assert reserved_for(ask(Group("g", reserve_cap=0)), 50) == (0, 1)


def test_the_dearest_model_that_may_answer_is_reserved_for() -> None:
    wanted = ask(price=CHEAP, fallbacks={"dear": DEAR, "middle": PRICE})

    assert reserved_for(wanted, 50)[0] == 100 * 20 + 50 * 100


def test_pictures_are_reserved_for_and_what_was_read_is_paid_whatever_comes_of_it() -> None:
    wanted = ask(price=PICTURES, units=Usage(images=4, characters=10))

    assert reserved_for(wanted, 50)[0] == 430
    assert opening_cost(wanted, PICTURES, 430) == 30


def test_the_dearest_fallback_is_reserved_for_by_its_units_too() -> None:
    dear = Price(Rates(), units=Units(image=900))
    wanted = ask(price=PICTURES, units=Usage(images=2), fallbacks={"f": dear})

    assert reserved_for(wanted, 50)[0] == 1800


@pytest.mark.parametrize(
    ("group", "price", "cost"),
    [
        (Group("g"), PRICE, 200),
        (Group("g", multiplier=2_000_000), PRICE, 400),
        (Group("g", leaving="free"), PRICE, 0),
        (Group("g"), Price(Rates.of({"input": 2}), [(50, Rates.of({"input": 3}))], 7), 307),
        (Group("g", strict=True), PRICE, 200),
    ],
)
def test_what_is_never_heard_of_again_costs_its_prompt(
    group: Group, price: Price, cost: int
) -> None:
    assert opening_cost(ask(group, price), price, 10**6) == cost


def test_a_strict_account_never_pays_more_than_was_reserved() -> None:
    assert opening_cost(ask(Group("g", strict=True)), PRICE, 150) == 150
    assert opening_cost(ask(), PRICE, 150) == 200


def test_a_dear_fallback_does_not_make_a_crash_dearer() -> None:
    assert opening_cost(ask(fallbacks={"dear": DEAR}), PRICE, 7000) == 200


def test_of_a_minutes_tokens_each_choice_takes_its_share_up_to_a_bound() -> None:
    assert tokens_for(ask(), 50) == 150
    assert tokens_for(ask(choices=3), 50) == 250
    assert tokens_for(ask(choices=10**9), 50) == 100 + 128 * 50
