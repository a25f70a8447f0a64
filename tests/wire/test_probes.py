"""The cheapest request to a model: understood by every format, and bounded in each."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import FormatName
from relayd.wire import probes
from relayd.wire.dialects import DIALECTS, EVERY_FORMAT, request_target
from relayd.wire.formats import FORMATS

RELAY = DIALECTS["relay"]


@pytest.mark.parametrize("name", EVERY_FORMAT)
def test_a_probe_is_a_request_that_the_format_reads(name: FormatName) -> None:
    target, body = probes.one_token(RELAY, name, "some-model")
    asked = target._replace(model="some-model") if name == "gemini" else target
    head = FORMATS[name].read_head(body, asked)
    assert (head.model, head.stream) == ("some-model", False)
    assert request_target(RELAY, "http://a", target, "some-model").startswith("/v1")


@pytest.mark.parametrize(
    ("dialect", "name", "bound"),
    [
        ("openai", "chat", {"max_completion_tokens": 1}),
        ("groq", "chat", {"max_tokens": 1}),
        ("openai", "responses", {"max_output_tokens": 16}),
        ("anthropic", "messages", {"max_tokens": 1}),
        ("gemini", "gemini", {"generationConfig": {"maxOutputTokens": 1}}),
    ],
)
def test_a_probe_is_bounded(dialect: str, name: FormatName, bound: dict[str, Any]) -> None:
    document = orjson.loads(probes.one_token(DIALECTS[dialect], name, "m")[1])
    assert bound.items() <= document.items()
