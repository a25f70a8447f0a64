"""Which words of others become labels."""

from __future__ import annotations

import orjson
import pytest

from relayd.metrics.words import FIELDS, field, reason
from tests.support.speech import FORMATS, SPEECHES


@pytest.mark.parametrize("name", FORMATS)
def test_what_clients_of_a_format_send_is_known(name: str) -> None:
    _, body = SPEECHES[name].ask("model", stream=True)
    assert set(orjson.loads(body)) <= FIELDS


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("seed", "seed"),
        ("tools[0].strict", "tools"),
        ("generationConfig.topK", "generationConfig"),
        ("theButlerHidTheEmerald", "other"),
        ("", "other"),
        ("x" * 999, "other"),
    ],
)
def test_a_field_that_no_format_knows_is_other(path: str, name: str) -> None:
    assert field(path) == name


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("ok", "ok"),
        ("upstream_500", "upstream_500"),
        ("upstream_529", "upstream_529"),
        ("upstream_599", "upstream_5xx"),
        ("upstream_987", "upstream_9xx"),
        ("upstream_timeout", "upstream_timeout"),
    ],
)
def test_a_status_that_nobody_knows_is_that_of_its_hundred(code: str, label: str) -> None:
    assert reason(code) == label


def test_however_many_statuses_an_upstream_has_the_labels_are_few() -> None:
    assert len({reason(f"upstream_{status}") for status in range(100, 1000)}) < 90
