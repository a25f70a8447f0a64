"""LiteLLM's price map, made into lines of the price list."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.price_map import PriceMap, read_map
from relayd.policy.prices import MOST_TIERS

CHAT = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "mode": "chat"}


def read(models: dict[str, Any], *providers: str) -> PriceMap:
    return read_map(orjson.dumps(models), providers)


def line(**entry: Any) -> Any:
    """The one line that an entry becomes, or the reason why it does not."""
    found = read({"m": entry})
    return found.prices.get("m") or found.left_out["m"]


def test_rates_become_dollars_for_a_million_tokens() -> None:
    found = line(
        **CHAT,
        cache_read_input_token_cost=2.1875e-07,
        cache_creation_input_token_cost=3.125e-06,
        cache_creation_input_token_cost_above_1hr=5e-06,
        output_cost_per_reasoning_token=1.2e-05,
        input_cost_per_audio_token=4e-05,
        output_cost_per_audio_token=8e-05,
        input_cost_per_image_token=1e-05,
        output_cost_per_image_token=4e-05,
        input_cost_per_request=0.005,
        max_tokens=100,
        output_cost_per_image=None,
    )

    assert found == {
        "input": 2.5,
        "output": 10,
        "cache_read": 0.21875,
        "cache_write_5m": 3.125,
        "cache_write_1h": 5,
        "reasoning": 12,
        "audio_in": 40,
        "audio_out": 80,
        "image_in": 10,
        "image_out": 40,
        "request": 0.005,
    }


def test_rates_of_long_prompts_become_tiers_in_order() -> None:
    found = line(
        **CHAT,
        input_cost_per_token_above_200k_tokens=5e-06,
        output_cost_per_token_above_200k_tokens=1.5e-05,
        cache_creation_input_token_cost_above_1hr_above_200k_tokens=1e-05,
        input_cost_per_token_above_128k_tokens=3e-06,
    )

    assert found == {
        "input": 2.5,
        "output": 10,
        "tiers": [
            {"above": 128_000, "input": 3},
            {"above": 200_000, "input": 5, "output": 15, "cache_write_1h": 10},
        ],
    }


def test_tiers_written_as_ranges_are_read_too() -> None:
    ranges = [
        {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "range": [0, 32000.0]},
        {"input_cost_per_token": 3e-06, "output_cost_per_token": None, "range": [32000.0, 1e6]},
    ]

    assert line(tiered_pricing=ranges) == {
        "input": 1,
        "output": 2,
        "tiers": [{"above": 32_000, "input": 3}],
    }


@pytest.mark.parametrize(
    "ranges", [[1], [{}], [{"range": []}], [{"range": ["x"]}], [{"range": [1e300]}], [{"range": 1}]]
)
def test_ranges_of_another_form_leave_the_model_out(ranges: Any) -> None:
    assert line(**CHAT, tiered_pricing=ranges) == "has tiers of another form"


def test_a_missing_side_is_free_as_the_map_means_it() -> None:
    assert line(input_cost_per_token=1e-07) == {"input": 0.1, "output": 0}
    assert line(input_cost_per_request=0.01) == {"request": 0.01}
    assert line(input_cost_per_token=0.0, output_cost_per_token=0) == {"input": 0, "output": 0}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"output_cost_per_image": 0.06, "mode": "x"}, "is priced by output_cost_per_image"),
        ({"mode": "chat"}, "has no price"),
        ({"cache_read_input_token_cost": 1e-6}, "has no price"),
        (
            {**CHAT, "input_cost_per_token": 0, "output_cost_per_token": 0, "cost_per_hour": 1},
            "is priced by cost_per_hour",
        ),
        ({"input_cost_per_token": "2e-6"}, "input_cost_per_token is not a number"),
        ({"input_cost_per_token": True}, "input_cost_per_token is not a number"),
        ({"input_cost_per_token": -1e-6}, "input_cost_per_token is beyond what a price can be"),
        ({"input_cost_per_token": 1e300}, "input_cost_per_token is beyond what a price can be"),
        ({"input_cost_per_token": 1.5e-12}, "input_cost_per_token is finer than a price can be"),
        (
            {**CHAT, **{f"input_cost_per_token_above_{n + 1}k_tokens": 1 for n in range(17)}},
            f"has more than {MOST_TIERS} tiers",
        ),
    ],
)
def test_what_cannot_be_billed_is_left_out_with_the_reason(
    entry: dict[str, Any], reason: str
) -> None:
    assert line(**entry) == reason


def test_the_dust_of_binary_arithmetic_is_rounded_away() -> None:
    assert line(input_cost_per_token=3.0000000000000004e-07) == {"input": 0.3, "output": 0}


def test_costs_that_have_no_place_are_counted() -> None:
    found = read({n: {**CHAT, "search_context_cost_per_query": {}} for n in ("a", "b")})

    assert len(found.prices) == 2
    assert dict(found.unused) == {"search_context_cost_per_query": 2}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"mode": "image_generation", "output_cost_per_image": 0.04}, {"image": 0.04}),
        (
            {"mode": "image_generation", "input_cost_per_image": 0.03, "input_cost_per_pixel": 1},
            {"image": 0.03},
        ),
        (
            {
                "mode": "audio_transcription",
                "input_cost_per_second": 0.0001,
                "output_cost_per_second": 0.0,
            },
            {"minute": 0.006},
        ),
        ({"mode": "audio_speech", "input_cost_per_character": 1.5e-05}, {"characters": 15}),
        (
            {"mode": "rerank", "input_cost_per_query": 0.002, "input_cost_per_token": 0.0},
            {"input": 0, "output": 0, "search": 0.002},
        ),
    ],
)
def test_what_costs_nothing_by_the_token_costs_by_what_it_makes(
    entry: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert line(**entry) == expected


@pytest.mark.parametrize(
    "entry",
    [
        {**CHAT, "mode": "image_generation", "output_cost_per_image": 0.04},
        {**CHAT, "output_cost_per_image": 0.04},
    ],
)
def test_nothing_is_paid_twice(entry: dict[str, Any]) -> None:
    assert line(**entry) == {"input": 2.5, "output": 10}


def test_a_unit_that_is_free_or_of_another_kind_is_no_price() -> None:
    free = {"mode": "image_generation", "output_cost_per_image": 0.0}
    assert line(**free) == "is priced by output_cost_per_image"
    assert line(mode=7, output_cost_per_image=0.1) == "is priced by output_cost_per_image"


def test_odd_names_and_the_example_are_left_out() -> None:
    found = read({"sample_spec": CHAT, "a b": CHAT, "vendor/*": CHAT, "x" * 257: CHAT, "m": [1]})

    assert found.prices == {}
    assert found.left_out == {
        **dict.fromkeys(["a b", "vendor/*", "x" * 257], "is not the name of a model"),
        "m": "has no fields",
    }


def test_providers_are_chosen_and_their_names_cut_off() -> None:
    def entry(provider: str, dollars: int) -> dict[str, Any]:
        return {"litellm_provider": provider, "input_cost_per_token": dollars / 10**6}

    models = {
        "groq/llama": entry("groq", 1),
        "far/llama": entry("far", 2),
        "far/other": entry("far", 3),
        "openai-model": entry("openai", 4),
        "strange": 5,
    }

    assert read(models, "groq", "far").prices == {
        "llama": {"input": 1, "output": 0},
        "other": {"input": 3, "output": 0},
    }
    assert read(models, "far", "groq").prices["llama"]["input"] == 2
    assert set(read(models).prices) == {"groq/llama", "far/llama", "far/other", "openai-model"}
    with pytest.raises(ValueError, match="holds no such model"):
        read(models, "nobody")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not JSON"),
        (b"input: 1", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 2000, "is not JSON"),
        (b"[]", "is not a price map"),
        (b"{}", "holds no such model"),
        (b'{"sample_spec": {}}', "holds no such model"),
    ],
)
def test_what_is_no_map_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_map(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["input_cost_per_token", "input_cost_per_token_above_1k_tokens", "tiered_pricing", "cost"]
)


@given(st.dictionaries(st.text(max_size=5), st.dictionaries(KEYS, JSON) | JSON, min_size=1))
def test_any_json_is_read_or_left_out(models: dict[str, Any]) -> None:
    found = read_map(orjson.dumps({**models, "known": CHAT}))

    assert found.prices.keys() | found.left_out.keys() == {*models, "known"} - {"sample_spec"}
