"""What requests cost, and which line of a price list a model goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.model import ModelRule, UpstreamSpec, Usage
from relayd.money import DOLLAR
from relayd.policy.prices import (
    MOST_COST,
    MOST_TOKENS,
    MOST_UNITS,
    REMEMBERED_LENGTH,
    REMEMBERED_NAMES,
    Price,
    PriceBook,
    Rates,
    Units,
    Unpriced,
    charged,
)

EVERY = Rates(
    input=1_000,
    output=2_000,
    cache_read=100,
    cache_write_5m=1_250,
    cache_write_1h=1_999,
    reasoning=3_001,
    audio_in=5_003,
    audio_out=7_001,
    image_in=11_003,
    image_out=13_007,
)
COUNTS = [f.name for f in fields(Usage) if f.name not in ("server_tools", "total_reported")]


def usages(most: int = 10_000, least: int = 0) -> st.SearchStrategy[Usage]:
    count = st.none() | st.integers(least, most)
    return st.builds(Usage, **dict.fromkeys(COUNTS, count))


def all_rates(most: int = 10**9) -> st.SearchStrategy[Rates]:
    return st.builds(Rates, **dict.fromkeys(Rates._fields, st.integers(0, most)))


def prices() -> st.SearchStrategy[Price]:
    tier = st.tuples(st.integers(1, 30_000), all_rates())
    return st.builds(Price, all_rates(), st.lists(tier, max_size=3), st.integers(0, DOLLAR))


def reference(price: Price, usage: Usage) -> Decimal:
    """The same bill the long way: token by kind, each kind once, in decimal dollars."""

    def known(name: str) -> int:
        return getattr(usage, name) or 0

    kinds = dict.fromkeys(Rates._fields, 0)
    prompt = known("in_uncached")
    kinds["audio_in"] = min(known("in_audio"), prompt)
    kinds["image_in"] = min(known("in_image"), prompt - kinds["audio_in"])
    kinds["input"] = prompt - kinds["audio_in"] - kinds["image_in"] + known("tool_prompt")
    kinds["cache_read"] = known("cache_read")
    kinds["cache_write_1h"] = known("cache_write_1h")
    kinds["cache_write_5m"] = usage.cache_write - kinds["cache_write_1h"]
    left = known("out_total")
    for kind, name in (
        ("audio_out", "out_audio"),
        ("image_out", "out_image"),
        ("reasoning", "reasoning"),
    ):
        kinds[kind] = min(known(name), left)
        left -= kinds[kind]
    kinds["output"] = left
    assert sum(kinds.values()) == usage.total  # every token once
    rates = price.rates
    for above, tier in sorted(price.tiers):
        if usage.total - known("out_total") > above:
            rates = tier
    million = Decimal(1_000_000)
    # A rate of 2,500,000 pico-dollars a token is 2.5 dollars for a million.
    per_token = {kind: Decimal(getattr(rates, kind)) / million / million for kind in kinds}
    dollars = sum((per_token[kind] * count for kind, count in kinds.items()), Decimal(0))
    return dollars + Decimal(price.request) / DOLLAR


@given(prices(), usages())
def test_a_cost_is_the_decimal_bill_to_the_pico_dollar(price: Price, usage: Usage) -> None:
    assert price.cost(usage) == reference(price, usage) * DOLLAR


@given(st.integers(0, MOST_COST // 100), st.integers(0, 100_000_000))
def test_a_multiplier_is_applied_once_and_rounded_up(raw: int, multiplier: int) -> None:
    exact = Decimal(raw) * multiplier / 1_000_000
    whole = int(exact.to_integral_value(ROUND_CEILING))

    assert charged(raw, multiplier) == min(whole, MOST_COST)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(), 0),
        (Usage(in_uncached=3), 3 * 1_000),
        (Usage(in_uncached=3, tool_prompt=2), 5 * 1_000),
        (Usage(in_uncached=3, cache_read=7), 3 * 1_000 + 7 * 100),
        (Usage(cache_write_5m=1, cache_write_1h=1), 1_250 + 1_999),
        (Usage(cache_write_30m=1, cache_write_12h=1, cache_write_other=1), 3 * 1_250),
        (Usage(out_total=10), 10 * 2_000),
        (Usage(out_total=10, reasoning=4), 6 * 2_000 + 4 * 3_001),
        # A subset that is larger than its whole is the whole, never more.
        (Usage(out_total=10, reasoning=40), 10 * 3_001),
        (Usage(in_uncached=10, in_audio=4, in_image=3), 3 * 1_000 + 4 * 5_003 + 3 * 11_003),
        (Usage(in_uncached=10, in_audio=8, in_image=8), 8 * 5_003 + 2 * 11_003),
        (Usage(out_total=10, out_audio=4, out_image=3), 3 * 2_000 + 4 * 7_001 + 3 * 13_007),
        (Usage(out_total=10, out_audio=6, reasoning=9), 6 * 7_001 + 4 * 3_001),
        (Usage(out_total=10, out_audio=6, out_image=9), 6 * 7_001 + 4 * 13_007),
        # Audio in the cache is paid as cache, not twice.
        (Usage(in_uncached=2, cache_read=8, in_audio=10), 2 * 5_003 + 8 * 100),
        (Usage(in_uncached=2, in_video=2), 2 * 1_000),
    ],
)
def test_every_token_is_billed_once_at_its_own_rate(usage: Usage, cost: int) -> None:
    assert Price(EVERY).cost(usage) == cost


def test_rates_that_are_not_written_follow_from_others() -> None:
    assert Rates.of({"input": 1, "output": 2}) == Rates(1, 2, 1, 1, 1, 2, 1, 2, 1, 2)
    assert Rates.of({"input": 1, "cache_write_5m": 5}).cache_write_1h == 5
    assert Rates.of({"cache_read": 3}) == Rates(cache_read=3)
    assert Rates.of(EVERY._asdict()) == EVERY


def test_the_size_of_the_whole_prompt_decides_the_tier() -> None:
    price = Price(Rates(input=1), [(200, Rates(input=3)), (100, Rates(input=2))])

    assert [price.cost(Usage(in_uncached=n)) for n in (100, 101, 200, 201)] == [100, 202, 400, 603]
    assert price.cost(Usage(in_uncached=60, cache_read=20, cache_write_1h=11, tool_prompt=10)) == (
        70 * 2
    )
    # The reply does not count.
    assert price.cost(Usage(in_uncached=100, out_total=1_000)) == 100


@given(prices(), usages())
def test_no_usage_of_so_many_tokens_costs_more_than_the_ceiling(price: Price, usage: Usage) -> None:
    out = usage.out_total or 0

    assert price.cost(usage) <= price.ceiling(usage.total - out, out)
    assert price.cost(usage) <= price.ceiling(usage.total + 5, out + 5)


def test_the_ceiling_is_what_the_dearest_tokens_cost() -> None:
    assert Price(EVERY, request=7).ceiling(10, 3) == 7 + 10 * 11_003 + 3 * 13_007
    assert Price(EVERY, request=7).ceiling(-1, -1) == 7
    dearer = Price(Rates(input=1), [(100, Rates(input=3))])
    assert (dearer.ceiling(100, 0), dearer.ceiling(101, 0)) == (100, 303)
    cheaper = Price(Rates(input=5, output=5), [(100, Rates(input=1, output=6))])
    assert cheaper.ceiling(100, 1) == 505
    assert cheaper.ceiling(200, 1) == 200 * 5 + 6


@given(usages(10**30, -(10**30)), prices())
def test_absurd_counts_cost_a_bounded_sum(usage: Usage, price: Price) -> None:
    assert 0 <= price.cost(usage) <= MOST_COST < 2**63
    assert 0 <= price.ceiling(usage.in_uncached or 0, usage.out_total or 0) <= MOST_COST


@pytest.mark.parametrize("name", COUNTS)
def test_a_negative_count_is_none_and_an_absurd_one_is_cut_off(name: str) -> None:
    def cost(count: int) -> int:
        counts: dict[str, Any] = {"in_uncached": 50, "out_total": 50, name: count}
        return Price(EVERY).cost(Usage(**counts))

    assert cost(-1) == cost(-(10**30)) == cost(0)
    assert cost(10**30) == cost(MOST_TOKENS) <= MOST_COST


def test_prices_are_equal_when_their_parts_are() -> None:
    one, same = (Price(EVERY, [(5, EVERY)], 3) for _ in range(2))

    assert one == same
    assert hash(one) == hash(same)
    assert one != Price(EVERY, [(5, EVERY)], 4)
    assert one != "a price"
    assert "above [5]" in repr(one)
    assert repr(Price(EVERY)) == "Price(1000 in, 2000 out, pico a token)"


# --- the book -------------------------------------------------------------------------------------


# --- what is not sold by the token ----------------------------------------------------------------

UNITS = Units(image=5, minute=600, characters=7, search=11)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(), 0),
        (Usage(images=3), 15),
        (Usage(audio_ms=60_000), 600),
        (Usage(audio_ms=1), 1),  # rounded up: nothing is free
        (Usage(characters=2), 14),
        (Usage(searches=2), 22),
        (Usage(images=1, audio_ms=1, characters=1, searches=1), 24),
        (Usage(images=-3, characters=-1), 0),
        (Usage(images=10**30), 5 * MOST_UNITS),
    ],
)
def test_a_unit_is_billed_by_its_own_price(usage: Usage, cost: int) -> None:
    assert UNITS.cost(usage) == cost
    assert Price(Rates(), units=UNITS).cost(usage) == cost


def test_units_come_on_top_of_tokens_and_of_the_request() -> None:
    price = Price(Rates.of({"input": 2, "output": 3}), request=100, units=UNITS)

    assert price.cost(Usage(in_uncached=10, out_total=10, images=2)) == 100 + 50 + 10
    assert price.ceiling(10, 10) == 150
    assert price.ceiling(10, 10, Usage(images=2)) == 160
    assert Price(Rates.of({"input": 2, "output": 3})).ceiling(1, 1, Usage(images=2)) == 5


def test_prices_of_nothing_are_no_units() -> None:
    assert Price(Rates(), units=Units()).units is None
    assert Price(Rates(), units=Units()) == Price(Rates())
    assert Price(Rates(), units=UNITS) != Price(Rates())
    assert "image=5" in repr(Price(Rates(), units=UNITS))


def price(number: int) -> Price:
    return Price(Rates(input=number))


def book(lines: Mapping[str, int], *rules: ModelRule) -> PriceBook:
    spec = UpstreamSpec("up", "demo", ("http://a",), (), rules, ("chat",))
    return PriceBook([(pattern, price(number)) for pattern, number in lines.items()], specs=[spec])


def found(book: PriceBook, model: str) -> int | None:
    price = book.find(model)
    return price.rates.input if price else None


def test_the_exact_name_counts_then_the_most_particular_wildcard() -> None:
    prices = book({"*": 1, "gpt-*": 2, "gpt-4*": 3, "*-mini": 4, "gpt-4o": 5, "gpt-*-mini": 6})

    names = ["other", "gpt-5", "gpt-4", "x-mini", "gpt-4o", "gpt-5-mini", "gpt-4o-mini"]
    assert [found(prices, name) for name in names] == [1, 2, 3, 4, 5, 6, 3]
    line = prices.line("gpt-4-x")
    assert line
    assert line.pattern == "gpt-4*"
    assert found(book({"gpt-*": 2}), "claude") is None


def test_a_name_that_is_only_mapped_costs_what_its_target_does() -> None:
    prices = book(
        {"*": 1, "m-large": 2, "own": 3, "v-*": 4},
        ModelRule("large", "m-large"),
        ModelRule("own", "m-large"),
        ModelRule("v-own", "m-large"),
        ModelRule("vendor/*", "*"),
        ModelRule("vendor/m-*", "m-l*"),
        ModelRule("same"),
        ModelRule("nowhere", "unpriced"),
    )

    assert found(prices, "large") == 2
    assert found(prices, "own") == 3
    assert found(prices, "v-own") == 4  # a wildcard is a line of its own too
    assert found(prices, "vendor/m-large") == 2
    assert found(prices, "vendor/m-arge") == 2
    assert found(prices, "vendor/x") == 1
    assert found(prices, "same") == 1
    assert found(prices, "nowhere") == 1


def test_of_two_lines_for_one_pattern_the_first_counts() -> None:
    prices = PriceBook([("a", price(1)), ("a", price(2))])

    assert found(prices, "a") == 1
    assert repr(prices) == "PriceBook(1 lines, unpriced: free)"


def test_the_book_says_whether_models_without_a_price_are_refused() -> None:
    assert not PriceBook().refuses
    assert PriceBook(unpriced="refuse").refuses
    assert PriceBook(unpriced="refuse").find("any") is None


@pytest.mark.parametrize(
    ("lines", "unpriced", "expected"),
    [
        ({"a": 1}, "free", False),
        ({"a": 1}, "refuse", True),
        ({"a": 1, "*": 1}, "free", True),
        ({"a": 0, "*": 1}, "free", False),
    ],
)
def test_the_book_says_whether_anything_is_free(
    lines: dict[str, int], unpriced: Unpriced, expected: bool
) -> None:
    prices = [(name, Price(Rates.of({"input": rate}))) for name, rate in lines.items()]
    assert PriceBook(prices, unpriced).charges_all is expected


def test_what_is_sold_by_other_units_than_tokens_is_not_free() -> None:
    assert PriceBook([("*", Price(Rates.of({}), units=Units(image=1)))]).charges_all


def test_what_names_come_to_is_remembered_within_bounds() -> None:
    prices = book({"a*": 1})

    for number in range(REMEMBERED_NAMES + 10):
        assert found(prices, f"a{number}") == 1
    assert found(prices, "a" * (REMEMBERED_LENGTH + 1)) == 1
    assert 0 < len(prices._known) <= REMEMBERED_NAMES
    assert "a" * (REMEMBERED_LENGTH + 1) not in prices._known
