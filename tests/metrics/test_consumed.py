"""What requests consumed beside plain tokens, as a scrape shows it."""

from __future__ import annotations

import pytest

from relayd.metrics.consumed import Consumption, collect
from relayd.model import Entry, Usage
from relayd.money import pico
from tests.support.exposition import Samples

MODEL = {"model": "m", "upstream": "up"}


def shown(*usages: Usage, cost: int = 0) -> Samples:
    """The page after these, all of one model."""
    consumed = Consumption()
    for usage in usages:
        consumed.add(Entry("req_1", 0.0, usage=usage, cost=cost))
    return Samples("".join(collect({("m", "up"): consumed})))


@pytest.mark.parametrize(
    ("usage", "unit", "number"),
    [
        (Usage(images=2), "images", 4),
        (Usage(audio_ms=1500), "audio_seconds", 3),
        (Usage(characters=12), "characters", 24),
        (Usage(searches=1), "searches", 2),
        (Usage(server_tools={"web_search": 3, "what a provider calls it": 2}), "tool_uses", 10),
    ],
)
def test_what_is_not_counted_in_tokens_has_a_unit(usage: Usage, unit: str, number: float) -> None:
    seen = shown(usage, usage)
    assert seen.value("relayd_units_total", **MODEL, unit=unit) == number
    assert seen.total("relayd_units_total") == number


def test_tokens_of_media_are_told_by_side_and_kind() -> None:
    usage = Usage(in_uncached=90, out_total=50, in_audio=30, in_image=20, in_video=9, out_audio=40)
    seen = shown(usage, Usage(out_image=7))
    told = {
        (side, kind): seen.value("relayd_media_tokens_total", **MODEL, side=side, kind=kind)
        for side, kind in (
            *(("input", "audio"), ("input", "image"), ("input", "video")),
            *(("output", "audio"), ("output", "image")),
        )
    }
    assert list(told.values()) == [30, 20, 9, 40, 7]
    assert seen.value("relayd_tokens_total", **MODEL, kind="output") == 50


def test_text_makes_no_series_of_other_things() -> None:
    seen = shown(Usage(in_uncached=1, out_total=2), Usage())
    assert seen.total("relayd_tokens_total") == 3
    assert seen.total("relayd_units_total") == seen.total("relayd_media_tokens_total") == 0


def test_money_is_in_dollars() -> None:
    seen = shown(Usage(), Usage(), cost=pico("0.25"))
    assert seen.value("relayd_cost_dollars_total", **MODEL) == 0.5
    assert repr(Consumption()) == "<Consumption 0 in, 0 out>"
