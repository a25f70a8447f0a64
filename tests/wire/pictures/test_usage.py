"""What pictures cost, in tokens."""

from __future__ import annotations

import pytest

from relayd.model import Usage
from relayd.wire.pictures.usage import added_up, usage_document, usage_of


def test_the_counts_are_read_and_written() -> None:
    raw = {
        "input_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40, "cached_tokens": 20},
        "output_tokens": 1000,
        "output_tokens_details": {"text_tokens": 100, "image_tokens": 900},
        "total_tokens": 1050,
    }
    found = usage_of(raw)
    assert found == Usage(
        in_uncached=30,
        cache_read=20,
        out_total=1000,
        in_image=40,
        out_image=900,
        total_reported=1050,
    )
    told = usage_document(found)
    raw["input_tokens_details"] = {"text_tokens": 10, "image_tokens": 40}
    assert told == raw


def test_all_output_is_pictures_where_nothing_else_is_said() -> None:
    found = usage_of({"input_tokens": 5, "output_tokens": 1000})
    assert found is not None
    assert (found.out_image, found.in_image) == (1000, None)
    assert usage_document(found)["output_tokens_details"] == {
        "text_tokens": 0,
        "image_tokens": 1000,
    }


@pytest.mark.parametrize("raw", [None, [], {}, {"input_tokens": "5"}, {"cost": 1}])
def test_what_counts_nothing_is_no_usage(raw: object) -> None:
    assert usage_of(raw) is None


def test_a_total_alone_is_one() -> None:
    assert usage_of({"total_tokens": 9}) == Usage(in_uncached=9, total_reported=9)


def test_parts_are_never_more_than_the_whole() -> None:
    told = usage_document(Usage(in_uncached=3, in_image=9, out_total=5, out_image=9))
    assert told["input_tokens_details"] == {"text_tokens": 0, "image_tokens": 3}
    assert told["output_tokens_details"] == {"text_tokens": 0, "image_tokens": 5}


def test_the_sum_of_several_is_of_what_is_known() -> None:
    one, other = Usage(in_uncached=3, images=1), Usage(in_uncached=4, out_total=5)
    assert added_up([None, one, None, other]) == Usage(in_uncached=7, out_total=5, images=1)
    assert one == Usage(in_uncached=3, images=1)
    assert added_up([None]) is None
    alone = added_up([one])
    assert alone == one
    assert alone is not one
