"""Amounts: exact from what people write to what they read."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.money import DOLLAR, MOST, number, pico, scaled, shown

AMOUNTS = st.integers(-MOST, MOST)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("20", 20 * DOLLAR),
        (" 0.1 ", DOLLAR // 10),
        ("-5", -5 * DOLLAR),
        ("1_000", 1000 * DOLLAR),
        ("1e-12", 1),
        (0.1, DOLLAR // 10),  # a float is its shortest decimal form
        (3, 3 * DOLLAR),
        (Decimal("0.000000000001"), 1),
        ("0", 0),
        ("-0", 0),
        ("9000000", MOST),
    ],
)
def test_an_amount_is_what_is_written(written: str | int | float | Decimal, amount: int) -> None:
    assert pico(written) == amount


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "'' is not an amount of dollars"),
        ("ten", "'ten' is not an amount of dollars"),
        ("1,5", "'1,5' is not an amount of dollars"),
        ("$5", "is not an amount of dollars"),
        ("x" * 100, f"'{'x' * 40}' is not an amount"),
        (True, "True is not an amount of dollars"),
        ("nan", "nan is beyond what an amount of dollars can be"),
        ("inf", "inf is beyond"),
        (float("-inf"), "-inf is beyond"),
        ("9000000.000000000001", "is beyond"),
        ("-9000001", "is beyond"),
        ("1e999999", "1e999999 is beyond"),
        ("1e-999999", "1e-999999 is beyond"),
        ("0.0000000000001", "is finer than an amount of dollars can be"),
        (0.1 + 0.2, "is finer than"),
    ],
)
def test_what_is_no_amount_is_refused_with_a_message(written: str | float, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        pico(written)
    assert message in str(caught.value)


def test_other_units_have_a_scale_and_a_name() -> None:
    assert scaled("2.5", 10**6, "a price") == 2_500_000
    with pytest.raises(ValueError, match=r"^0.0000001 is finer than a price can be$"):
        scaled("0.0000001", 10**6, "a price")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00"),
        (1, "0.000000000001"),
        (-1, "-0.000000000001"),
        (DOLLAR, "1.00"),
        (1_234_500_000_000, "1.2345"),
        (-25 * DOLLAR // 10, "-2.50"),
        (MOST, "9000000.00"),
    ],
)
def test_an_amount_is_shown_exactly(amount: int, text: str) -> None:
    assert shown(amount) == text


@given(AMOUNTS)
def test_what_is_shown_is_read_back_to_the_pico(amount: int) -> None:
    assert pico(shown(amount)) == amount
    assert Decimal(shown(amount)) * DOLLAR == amount


@given(AMOUNTS)
def test_the_number_for_json_is_the_nearest_there_is(amount: int) -> None:
    assert number(amount) == float(Decimal(amount) / DOLLAR)


@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    try:
        assert -MOST <= pico(text) <= MOST
    except ValueError as error:
        assert len(str(error)) < 500  # forty characters, each escaped at worst
