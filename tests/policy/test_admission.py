"""Who is let in, what is set aside, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.accounts import NO_LIMITS, Account, Caps, Group, Key, Limits
from relayd.errors import Refused
from relayd.money import DOLLAR
from relayd.policy.admission import Admission, Grant, Standing
from relayd.policy.balances import Balances, Sums
from relayd.policy.buckets import Level
from relayd.policy.calendar import Calendar
from relayd.policy.keys import Caller, Names
from relayd.policy.prices import Price, Rates, Units
from relayd.policy.reservation import Ask

PRICE = Price(Rates.of({"input": 2, "output": 10}))
MOMENT = 1_795_262_400.0  # noon of 2026-11-21, UTC
TODAY = 20261121
TEAM = Account(1, "team")
LAPTOP = Key(7, "laptop", TEAM, b"", "sk-", 0.0)


def caller(group: Group | None = None, **of_key: Any) -> Caller:
    group = group or Group("default")
    return Caller(replace(LAPTOP, **of_key), group, Names(group.models), None)


def admission(granted: int | None = None, **options: Any) -> Admission:
    sums = Sums(granted={} if granted is None else {1: granted})
    return Admission(Balances(sums), Calendar("UTC"), **options)


def ask(who: Caller, price: Price | None = PRICE, **more: Any) -> Ask:
    return Ask(who, "m", price, 100, 400, more.pop("max_out", 50), **more)


def refusal(act: Callable[[], object], status: int, code: str) -> Refused:
    with pytest.raises(Refused) as caught:
        act()
    assert (caught.value.status, caught.value.code) == (status, code)
    return caught.value


def books(admission: Admission) -> tuple[object, ...]:
    """All there is to change, as a value."""
    parties = [*admission._keys.values(), *admission._accounts.values()]
    return tuple((repr(party.allowance), repr(party.spending)) for party in parties)


def test_what_is_reserved_is_what_the_request_may_cost() -> None:
    desk = admission(10_000)
    grant = desk.admit(ask(caller()), 0.0, MOMENT)
    assert (grant.reserved, grant.tokens, grant.day) == (100 * 2 + 50 * 10, 150, TODAY)
    assert (grant.price, grant.at, grant.caller.id) == (PRICE, 0.0, 7)
    assert desk.balances.available(1) == 9_300
    assert desk.in_flight(1) == 1
    assert desk.settle(grant, 400, 120, 1.0) == (400, 0)
    assert (desk.balances.balance(1), desk.balances.available(1)) == (9_600, 9_600)
    assert (desk.in_flight(1), desk.in_flight(2)) == (0, 0)
    assert desk.balances.key(7).on(TODAY) == 400


def test_a_grant_is_settled_once() -> None:
    desk = admission(10_000)
    grant = desk.admit(ask(caller()), 0.0, MOMENT)
    desk.settle(grant, 400, 120, 1.0)
    assert desk.settle(grant, 400, 120, 1.0) == (0, 0)
    assert (desk.balances.balance(1), desk.in_flight(1)) == (9_600, 0)
    assert repr(grant).endswith("700 reserved, 150 tokens, ended)")


def test_every_choice_is_reserved_for_and_silence_means_the_default() -> None:
    desk = admission(10**9, default_output=1000)
    assert desk.admit(ask(caller(), choices=3), 0.0, MOMENT).reserved == 200 + 3 * 500
    assert desk.admit(ask(caller(), max_out=None), 0.0, MOMENT).reserved == 200 + 10_000
    # Of the minute's tokens no more than the default is taken for each.
    large = desk.admit(ask(caller(), max_out=64_000, choices=2), 0.0, MOMENT)
    assert large.tokens == 100 + 2 * 1000


def test_a_balance_is_needed_from_the_first_credit_on() -> None:
    auto, on, off = Group("g"), Group("g", balance="on"), Group("g", balance="off")
    assert not admission().needs_balance(caller(auto))
    assert admission(0).needs_balance(caller(auto))
    assert admission().needs_balance(caller(on))
    assert not admission(0).needs_balance(caller(off))
    admission().admit(ask(caller(auto)), 0.0, MOMENT)
    admission(0).admit(ask(caller(off)), 0.0, MOMENT)
    refusal(lambda: admission().admit(ask(caller(on)), 0, MOMENT), 402, "insufficient_quota")


def test_who_has_not_enough_hears_how_much_there_is() -> None:
    desk = admission(699)
    exc = refusal(lambda: desk.admit(ask(caller()), 0.0, MOMENT), 402, "insufficient_quota")
    assert "0.000000000699 dollars are available" in exc.message
    assert exc.retry_after is None


DEAR = Price(Rates.of({"input": 20, "output": 100}))
CHEAP = Price(Rates.of({"input": 1, "output": 1}))


@pytest.mark.parametrize("price", [None, Price(Rates()), CHEAP, PRICE])
@pytest.mark.parametrize("strict", [False, True])
def test_the_dearest_model_that_may_answer_is_reserved_for(
    price: Price | None, strict: bool
) -> None:
    who = caller(Group("g", strict=strict))
    request = ask(who, price, fallbacks={"cheap": CHEAP, "dear": DEAR})
    needed = (400 if strict else 100) * 20 + 50 * 100
    grant = admission(needed).admit(request, 0.0, MOMENT)
    assert (grant.reserved, grant.price) == (needed, price)
    desk = admission(needed - 1)
    refusal(lambda: desk.admit(request, 0.0, MOMENT), 402, "insufficient_quota")


def test_a_fallback_s_price_does_not_stand_in_where_one_is_needed() -> None:
    request = ask(caller(), None, fallbacks={"dear": DEAR})
    desk = admission(refuse_unpriced=True)
    refusal(lambda: desk.admit(request, 0.0, MOMENT), 403, "model_not_priced")


def test_a_cap_is_held_against_the_dearest_model_that_may_answer() -> None:
    request = ask(caller(caps=Caps(day=6_999)), None, fallbacks={"dear": DEAR})
    refusal(lambda: admission().admit(request, 0.0, MOMENT), 402, "insufficient_quota")


def test_what_costs_nothing_needs_no_balance() -> None:
    desk = admission(0)
    desk.admit(ask(caller(), None), 0.0, MOMENT)
    desk.admit(ask(caller(), Price(Rates())), 0.0, MOMENT)


def test_with_nothing_to_reserve_there_has_to_be_something_left() -> None:
    group = Group("g", reserve_cap=0)
    refusal(lambda: admission(0).admit(ask(caller(group)), 0, MOMENT), 402, "insufficient_quota")
    admission(1).admit(ask(caller(group)), 0.0, MOMENT)


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        (
            Caps(day=1000),
            "0.000000001 dollars a day, 0.0000000007 of it spent or reserved."
            " A new day begins in 12 hours.",
        ),
        (
            Caps(month=1000),
            "dollars a month, 0.0000000007 of it spent or reserved. A new month begins in 10 days.",
        ),
        (Caps(ever=1000), "dollars in all, 0.0000000007 of it spent or reserved."),
    ],
)
@pytest.mark.parametrize("whose", ["this API key", "this account"])
def test_a_cap_refuses_and_says_which_and_until_when(whose: str, caps: Caps, said: str) -> None:
    who = caller(caps=caps) if whose == "this API key" else caller(Group("g", caps=caps))
    desk = admission()
    desk.admit(ask(who), 0.0, MOMENT)
    exc = refusal(lambda: desk.admit(ask(who), 0.0, MOMENT), 402, "insufficient_quota")
    assert exc.message.startswith(f"The spending cap of {whose} does not allow this request:")
    assert exc.message.endswith(said)
    near = MOMENT + 12 * 3600 - 90
    if caps.day:
        exc = refusal(lambda: desk.admit(ask(who), 0.0, near), 402, "insufficient_quota")
        assert exc.message.endswith("A new day begins in 2 min.")
        desk.settle(desk.admit(ask(who, None), 0.0, near), 0, 0, 0.0)


def test_a_new_day_has_its_own_cap() -> None:
    desk, who = admission(), caller(caps=Caps(day=1000))
    desk.settle(desk.admit(ask(who), 0.0, MOMENT), 900, 0, 0.0)
    refusal(lambda: desk.admit(ask(who), 0.0, MOMENT), 402, "insufficient_quota")
    desk.admit(ask(who), 0.0, MOMENT + 86_400)


def test_a_model_that_is_not_allowed_does_not_exist() -> None:
    who = caller(Group("g", models=("gpt-*",)))
    exc = refusal(lambda: admission().admit(ask(who), 0.0, MOMENT), 404, "model_not_found")
    assert exc.message == "The model `m` does not exist or you do not have access to it."


def test_a_model_without_a_price_is_free_or_refused() -> None:
    assert admission().admit(ask(caller(), None), 0.0, MOMENT).reserved == 0
    desk = admission(refuse_unpriced=True)
    refusal(lambda: desk.admit(ask(caller(), None), 0.0, MOMENT), 403, "model_not_priced")


@pytest.mark.parametrize("limits", [Limits(rpm=1), Limits(tpm=200), Limits(concurrency=1)])
@pytest.mark.parametrize("whose", ["this API key", "this account"])
def test_a_limit_refuses_whose_ever_it_is(whose: str, limits: Limits) -> None:
    who = caller(limits=limits) if whose == "this API key" else caller(Group("g", limits=limits))
    desk = admission()
    desk.admit(ask(who), 0.0, MOMENT)
    exc = refusal(lambda: desk.admit(ask(who), 0.0, MOMENT), 429, "rate_limit_exceeded")
    assert whose in exc.message
    assert exc.retry_after is not None and exc.retry_after > 0


def test_keys_of_one_account_share_its_limits() -> None:
    group = Group("g", limits=Limits(rpm=1))
    desk = admission()
    desk.admit(ask(caller(group)), 0.0, MOMENT)
    other = ask(caller(group, id=8))
    refusal(lambda: desk.admit(other, 0.0, MOMENT), 429, "rate_limit_exceeded")


def test_the_true_tokens_replace_the_estimate() -> None:
    who = caller(limits=Limits(tpm=600))
    desk = admission()
    desk.settle(desk.admit(ask(who), 0.0, MOMENT), 0, 10, 0.0)
    assert desk.standing(who, 0.0).tokens == Level(600, 590, 1.0)
    desk.settle(desk.admit(ask(who), 0.0, MOMENT), 0, None, 0.0)
    assert desk.standing(who, 0.0).tokens == Level(600, 440, 16.0)


def test_a_count_beyond_all_reason_closes_nobody_for_years() -> None:
    """One reply that told of 10**12 tokens did, and so did a request for two thousand million."""
    who = caller(Group("g", limits=Limits(tpm=60_000)), limits=Limits(tpm=600))
    desk = admission(default_output=100)
    grant = desk.admit(ask(who, choices=2**31), 0.0, MOMENT)
    assert grant.tokens == 100 + 50 * 128
    assert desk.settle(grant, 0, 10**12, 0.0) == (0, 0)
    tokens = desk.standing(who, 0.0).tokens
    assert tokens is not None and tokens.reset == grant.tokens / 10 + 10 * 60

    unlimited = caller(id=8)
    desk.settle(desk.admit(ask(unlimited), 0.0, MOMENT), 0, 10**12, 0.0)
    assert desk.standing(unlimited, 0.0).tokens is None


def test_a_count_below_nothing_gives_back_no_more_than_was_taken() -> None:
    who = caller(limits=Limits(tpm=600))
    desk = admission()
    desk.admit(ask(who), 0.0, MOMENT)
    desk.settle(desk.admit(ask(who), 0.0, MOMENT), 0, -(10**12), 0.0)
    assert desk.standing(who, 0.0).tokens == Level(600, 450, 15.0)


def test_headers_tell_of_the_tightest_limit() -> None:
    who = caller(Group("g", limits=Limits(rpm=5, tpm=6000)), limits=Limits(rpm=60))
    assert admission().standing(who, 0.0) == Standing(Level(5, 5, 0.0), Level(6000, 6000, 0.0))
    assert admission().standing(caller(), 0.0) == (None, None)
    equal = caller(Group("g", limits=Limits(rpm=60)), limits=Limits(rpm=60))
    assert admission().standing(equal, 0.0).requests == Level(60, 60, 0.0)


def test_new_limits_hold_at_once_and_what_is_open_is_counted_on() -> None:
    desk = admission()
    grant = desk.admit(ask(caller(limits=Limits(concurrency=5))), 0.0, MOMENT)
    narrow = ask(caller(Group("g", limits=Limits(rpm=10)), limits=Limits(concurrency=1)))
    refusal(lambda: desk.admit(narrow, 0.0, MOMENT), 429, "rate_limit_exceeded")
    desk.settle(grant, 0, 0, 0.0)
    desk.admit(narrow, 0.0, MOMENT)


def test_who_is_no_more_is_forgotten_unless_something_is_open() -> None:
    desk = admission()
    grant = desk.admit(ask(caller()), 0.0, MOMENT)
    desk.settle(desk.admit(ask(caller(id=8)), 0.0, MOMENT), 0, 0, 0.0)
    desk.retain([], [])
    assert (set(desk._keys), set(desk._accounts)) == ({7}, {1})
    desk.settle(grant, 5, 0, 0.0)
    desk.retain([7], [])
    assert (set(desk._keys), set(desk._accounts)) == ({7}, set())
    assert desk.balances.spent(1) == 5


def test_a_strict_account_pays_no_more_than_there_is() -> None:
    who = caller(Group("g", strict=True))
    desk = admission(1400)
    grant = desk.admit(ask(who), 0.0, MOMENT)
    assert desk.settle(grant, 1500, 0, 0.0) == (1400, 100)
    assert desk.balances.balance(1) == 0


def test_others_reservations_are_not_touched() -> None:
    who = caller(Group("g", strict=True))
    desk = admission(2700)
    one, other = (desk.admit(ask(who), 0.0, MOMENT) for _ in range(2))
    assert desk.settle(one, 9000, 0, 0.0) == (1400, 7600)
    assert desk.settle(other, 9000, 0, 0.0) == (1300, 7700)
    assert desk.balances.balance(1) == 0


def test_a_strict_cap_is_not_overdrawn_either() -> None:
    for who in (
        caller(Group("g", strict=True), caps=Caps(day=1350)),
        caller(Group("g", strict=True, caps=Caps(month=1350))),
    ):
        desk = admission()
        grant = desk.admit(ask(who), 0.0, MOMENT)
        assert desk.settle(grant, 9000, 0, 0.0) == (1350, 7650)


def test_a_balance_taken_back_meanwhile_is_not_overdrawn() -> None:
    desk = admission(5000)
    grant = desk.admit(ask(caller(Group("g", strict=True))), 0.0, MOMENT)
    desk.balances.set_granted({1: -100})
    assert desk.settle(grant, 500, 0, 0.0) == (0, 500)


def test_what_is_cancelled_is_as_if_it_had_never_been() -> None:
    of_key, of_account = Limits(rpm=10, tpm=1000), Limits(concurrency=1)
    desk, who = admission(5000), caller(Group("g", limits=of_account), limits=of_key)
    before = (desk.standing(who, 0.0), desk.balances.available(1))
    grant = desk.admit(ask(who), 0.0, MOMENT)
    desk.cancel(grant, 0.0)
    desk.cancel(grant, 0.0)
    assert (desk.standing(who, 0.0), desk.balances.available(1)) == before
    assert desk.in_flight(1) == 0


def test_a_negative_cost_is_none() -> None:
    desk = admission(5000)
    assert desk.settle(desk.admit(ask(caller()), 0.0, MOMENT), -5, 0, 0.0) == (0, 0)


def test_it_shows_what_is_open() -> None:
    desk = admission(5000)
    grant = desk.admit(ask(caller()), 0.0, MOMENT)
    assert repr(desk).startswith("Admission(1 in flight, Balances(1 accounts with credit")
    assert repr(grant) == (
        "Grant(Caller('laptop' of 'team', group 'default'), 700 reserved, 150 tokens, open)"
    )


# --- whatever happens -----------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["admit", "settle"]),
        st.integers(0, 500),  # tokens, or which of the open ones
        st.integers(0, 20_000),  # output asked for, or cost
        st.floats(0, 7_000),
    ),
    max_size=60,
)
limits = st.builds(
    Limits,
    st.none() | st.integers(1, 20),
    st.none() | st.integers(1, 50_000),
    st.none() | st.integers(1, 5),
)
caps = st.builds(Caps, *[st.none() | st.integers(0, 10**5)] * 3)


def play(desk: Admission, who: Caller, moves: list[Any]) -> tuple[int, int]:
    """Do as told; afterwards everything is settled. What was paid, and what was not."""
    now, paid, rest = 0.0, 0, 0
    grants: list[Grant] = []

    def end(grant: Grant, cost: int) -> None:
        nonlocal paid, rest
        one, other = desk.settle(grant, cost, cost // 10, now)
        assert one + other == cost
        paid, rest = paid + one, rest + other

    for what, n, amount, pause in moves:
        now += pause
        before = books(desk)
        if what == "settle" and grants:
            end(grants.pop(n % len(grants)), amount)
            continue
        try:
            wanted = Ask(who, "m", PRICE, n, 4 * n, amount)
            grants.append(desk.admit(wanted, now, MOMENT + now))
        except Refused:
            # The first refusal may be what creates the books, empty.
            assert not before or books(desk) == before
    for grant in grants:
        end(grant, 777)
    return paid, rest


@given(steps, limits, limits, caps, caps)
def test_a_refusal_changes_nothing_and_all_is_given_back(
    moves: list[Any], of_key: Limits, of_account: Limits, key_caps: Caps, account_caps: Caps
) -> None:
    who = caller(Group("g", limits=of_account, caps=account_caps), limits=of_key, caps=key_caps)
    desk = admission(10**6)
    paid, rest = play(desk, who, moves)
    assert (rest, desk.in_flight(1)) == (0, 0)
    assert (desk.balances.account(1).reserved, desk.balances.key(7).reserved) == (0, 0)
    assert 10**6 - desk.balances.balance(1) == paid == desk.balances.key(7).ever


@given(steps, caps, caps, st.integers(0, 10**5))
def test_strict_overdraws_nothing_ever(
    moves: list[Any], key_caps: Caps, account_caps: Caps, granted: int
) -> None:
    who = caller(Group("g", strict=True, caps=account_caps), caps=key_caps)
    desk = admission(granted)
    paid, _ = play(desk, who, moves)
    assert granted - paid == desk.balances.balance(1) >= 0
    for spending, most in (
        (desk.balances.key(7), key_caps),
        (desk.balances.account(1), account_caps),
    ):
        assert most.ever is None or spending.ever <= most.ever
        assert all(most.day is None or n <= most.day for n in spending._days.values())
        assert all(most.month is None or n <= most.month for n in spending._months.values())


def test_a_balance_for_a_hundred_lets_in_a_hundred() -> None:
    per_request = Price(Rates(), request=DOLLAR // 100)
    desk, who = admission(DOLLAR), caller(Group("g", strict=True, limits=NO_LIMITS))
    grants = []
    for _ in range(500):
        try:
            grants.append(desk.admit(ask(who, per_request), 0.0, MOMENT))
        except Refused as exc:
            assert exc.status == 402
    for grant in grants:
        desk.settle(grant, DOLLAR // 100, 10, 1.0)
    assert (len(grants), desk.balances.balance(1)) == (100, 0)


PICTURES = Price(Rates(), units=Units(image=100, characters=3))


def test_what_names_no_model_is_asked_for_by_any_key() -> None:
    who = caller(models=("m",))
    desk = admission()
    grant = desk.admit(Ask(who, "", Price(Rates.of({})), 0, 0, 0), 0.0, MOMENT)
    assert (grant.reserved, grant.tokens) == (0, 0)
    refusal(lambda: desk.admit(Ask(who, "n", PRICE, 0, 0, 0), 0.0, MOMENT), 404, "model_not_found")


# --- before anything is known of a request --------------------------------------------------------


def test_a_request_that_is_not_known_yet_takes_a_place_and_nothing_else() -> None:
    desk, who = admission(1), caller(limits=Limits(concurrency=1, rpm=1, tpm=1))
    desk.leave(desk.enter(who, True, 0.0, MOMENT))
    before = books(desk)
    place = desk.enter(who, True, 0.0, MOMENT)
    assert desk.in_flight(1) == 1
    refusal(lambda: desk.enter(who, True, 0.0, MOMENT), 429, "rate_limit_exceeded")
    refusal(lambda: desk.admit(ask(who, None), 0.0, MOMENT), 429, "rate_limit_exceeded")
    desk.leave(place)
    assert books(desk) == before


@pytest.mark.parametrize("multiplier", [1_000_000, 0])
@pytest.mark.parametrize("costs", [True, False])
def test_who_has_no_money_is_refused_where_everything_costs_some(
    costs: bool, multiplier: int
) -> None:
    desk, who = admission(0), caller(Group("g", balance="on", multiplier=multiplier))
    if costs and multiplier:
        refusal(lambda: desk.enter(who, costs, 0.0, MOMENT), 402, "insufficient_quota")
    else:
        desk.enter(who, costs, 0.0, MOMENT)


@pytest.mark.parametrize("where", ["key", "account"])
def test_who_is_over_a_limit_is_refused_before_anything_is_known(where: str) -> None:
    limits = Limits(concurrency=1)
    who = caller(limits=limits) if where == "key" else caller(Group("g", limits=limits))
    desk = admission()
    grant = desk.admit(ask(who), 0.0, MOMENT)
    refusal(lambda: desk.enter(who, False, 0.0, MOMENT), 429, "rate_limit_exceeded")
    desk.settle(grant, 0, 0, 0.0)
    desk.enter(who, False, 0.0, MOMENT)
