"""A Responses request, read into the hub: its members."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.neutral import Request, Shape
from relayd.wire.parts import Text
from relayd.wire.paths import Target
from relayd.wire.responses.decode import LOSSES, decode, decode_count

TARGET = Target("responses", "generate", verb="responses")


def decoded(**members: Any) -> Request:
    return decode({"model": "m", "input": "Hi", **members}, TARGET)


def refused(request: Request, *, lenient: bool = False) -> CannotTranslate:
    losses = Losses("chat", lenient=lenient)
    with pytest.raises(CannotTranslate) as caught:
        losses.of_request(request)
    return caught.value


def dropped(request: Request, *, lenient: bool = False) -> tuple[str, ...]:
    losses = Losses("chat", lenient=lenient)
    losses.of_request(request)
    return losses.dropped


def test_every_member_has_its_place() -> None:
    request = decoded(
        instructions="Be short.",
        parallel_tool_calls=False,
        temperature=0.5,
        top_p=1,
        top_logprobs=2,
        max_output_tokens=100.0,
        metadata={"a": "b"},
        store=False,
        stream=True,
        prompt_cache_key="k",
        prompt_cache_options={"ttl": "12h"},
        service_tier="default",
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        user="u",
    )
    assert request.source == "responses"
    assert request.model == "m"
    assert request.instructions == [Text("Be short.", at="instructions")]
    assert request.parallel is False
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_logprobs) == (0.5, 1, 2)
    assert sampling.logprobs is True
    assert request.output.limit == 100
    assert request.metadata == {"a": "b"}
    assert (request.store, request.stream) == (False, True)
    assert (request.caching.key, request.caching.options) == ("k", {"ttl": "12h"})
    assert request.tier == "standard"
    assert (request.user, request.param("user")) == ("u", "user")
    assert dropped(request) == ()


def test_nothing_said_is_nothing_known() -> None:
    request = decode({}, TARGET)
    assert (request.model, request.messages, request.tools) == ("", [], [])
    assert request.tool_choice is None
    assert request.parallel is None
    assert request.store is None
    assert request.metadata is None
    assert request.thinking.mode is None
    assert (request.tier, request.user, request.stream) == ("", "", False)


def test_the_newer_name_of_the_user_counts() -> None:
    request = decoded(user="old", safety_identifier="new")
    assert (request.user, request.param("user")) == ("new", "safety_identifier")
    assert request.extra["user"].value == "old"


@pytest.mark.parametrize(
    "name", ["previous_response_id", "conversation", "background", "prompt", "moderation"]
)
def test_state_is_refused_where_it_cannot_be_kept(name: str) -> None:
    """wire-formats, trap 54; 12, no. 10 and 14."""
    request = decoded(**{name: {"id": "x"}})
    assert refused(request, lenient=True).param == name
    assert LOSSES[name] == "refuse"


def test_a_reference_to_an_item_is_refused() -> None:
    """wire-formats, trap 54."""
    request = decode({"input": [{"type": "item_reference", "id": "msg_1"}]}, TARGET)
    assert refused(request, lenient=True).param == "input[0]"


@pytest.mark.parametrize("name", ["context_management", "max_tool_calls", "a_new_member"])
def test_what_is_missed_is_refused_or_reported(name: str) -> None:
    request = decoded(**{name: 3})
    assert refused(request).param == name
    assert dropped(request, lenient=True) == (name,)


@pytest.mark.parametrize(
    "name",
    ["include", "client_metadata", "stream_options", "truncation", "prompt_cache_retention"],
)
def test_what_nobody_misses_is_left_out_in_silence(name: str) -> None:
    said = ["web_search_call.results"] if name == "include" else {"x": 1}
    assert dropped(decoded(**{name: said})) == ()


@pytest.mark.parametrize(
    ("said", "shape"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, Shape("json")),
        (
            {"type": "json_schema", "name": "n", "description": "d", "schema": {}, "strict": True},
            Shape("schema", "n", "d", {}, True),
        ),
        ({"type": "json_schema"}, Shape("schema")),
    ],
)
def test_the_form_of_the_answer_is_read(said: Any, shape: Shape | None) -> None:
    request = decoded(text={"format": said, "verbosity": "low"})
    assert request.output.shape == shape
    assert request.output.verbosity == "low"
    assert dropped(request) == ()


def test_a_form_that_nobody_knows_is_refused() -> None:
    request = decoded(text={"format": {"type": "grammar"}, "tone": "dry"})
    assert request.output.shape is None
    assert {name: extra.loss for name, extra in request.extra.items()} == {
        "text.tone": "lenient",
        "text.format": "refuse",
    }
    assert refused(request, lenient=True).param == "text.format"
    schema = decoded(text={"format": {"type": "json_schema", "new": 1}})
    assert dropped(schema) == ("text.format.new",)


@pytest.mark.parametrize(
    ("said", "mode", "effort", "show"),
    [
        ({"effort": "high"}, "on", "high", None),
        ({"effort": "none"}, "off", "none", None),
        ({"summary": "auto"}, None, None, "summary"),
        ({}, None, None, None),
    ],
)
def test_thinking_is_read(said: Any, mode: Any, effort: Any, show: Any) -> None:
    thinking = decoded(reasoning=said).thinking
    assert (thinking.mode, thinking.effort, thinking.show) == (mode, effort, show)


def test_what_only_openai_says_of_thinking_is_kept() -> None:
    request = decoded(reasoning={"effort": "huge", "context": "all_turns", "mode": "pro"})
    assert request.thinking.effort is None
    assert {name: extra.loss for name, extra in request.thinking.extra.items()} == {
        "effort": "lenient",
        "context": "silent",
        "mode": "lenient",
    }
    assert refused(request).param == "reasoning.effort"


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": 3}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"instructions": []}, "instructions"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_logprobs": 1.5}, "top_logprobs"),
        ({"text": {"format": []}}, "text.format"),
        ({"text": []}, "text"),
        ({"include": [1]}, "include[0]"),
        ({"reasoning": {"effort": 1}}, "reasoning.effort"),
        ({"metadata": []}, "metadata"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_wrong_type_is_named(members: Any, param: str) -> None:
    with pytest.raises(BadCall) as caught:
        decoded(**members)
    assert caught.value.param == param


def test_a_count_is_asked_for_in_the_same_words() -> None:
    assert decode_count({"model": "m", "input": "Hi"}, TARGET) == decoded()
