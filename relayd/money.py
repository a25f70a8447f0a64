"""Money: whole pico-dollars, so that sums are exact; decimal dollars only where people read it.

A price is dollars per million tokens, kept as micro-dollars per million: tokens times that are
pico-dollars. 64 bits hold 9.2 million dollars, which is what no amount may exceed.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

DOLLAR = 10**12  # pico-dollars
MOST = 9_000_000 * DOLLAR  # below 2**63, with room for a sum or two


def pico(dollars: str | int | float | Decimal) -> int:
    """Dollars, as people write them, in pico-dollars.

    Raises ValueError, with a message for people, for what is no decimal, not finite, finer than a
    pico-dollar or beyond nine million dollars. A float means its shortest decimal form.
    """
    return scaled(dollars, DOLLAR, "an amount of dollars")


def scaled(value: str | int | float | Decimal, scale: int, what: str) -> int:
    """A decimal number as whole units of 1/`scale`; ValueError as `pico` raises it."""
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is not {what}")
    text = value.strip().replace("_", "") if isinstance(value, str) else str(value)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is not {what}") from None
    # The size is looked at before the number is written out: 1e999999 would fill the memory.
    if not number.is_finite() or abs(number.adjusted()) > 40 or abs(number) * scale > MOST:
        raise ValueError(f"{text[:40]} is beyond what {what} can be")
    whole = number * scale
    if whole != whole.to_integral_value():
        raise ValueError(f"{text[:40]} is finer than {what} can be")
    return int(whole)


def shown(amount: int) -> str:
    """Pico-dollars as decimal dollars, exact, with two decimals or as many as it takes."""
    sign, (dollars, rest) = "-" if amount < 0 else "", divmod(abs(amount), DOLLAR)
    return f"{sign}{dollars}.{f'{rest:012d}'.rstrip('0').ljust(2, '0')}"


def number(amount: int) -> float:
    """Pico-dollars as a float of dollars, for JSON that clients read: the nearest there is."""
    return amount / DOLLAR
