"""The controls of a request, written as chat has them (wire-formats 8.2)."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.chat import settings
from relayd.wire.chat.decode import decode
from relayd.wire.losses import CannotTranslate
from relayd.wire.neutral import Caching, Output, Sampling, Shape, Thinking
from relayd.wire.parts import Document
from relayd.wire.paths import Target
from tests.wire.ways import able, going, request, says

OPENAI = able(output_field="max_completion_tokens", cache_marks=4)
CLOSED: Document = {"type": "object", "properties": {}, "additionalProperties": False}
OPEN: Document = {"type": "object", "properties": {"a": {}}}
CHAT = Target("chat", "generate")


def foreign(can: Capability = UNKNOWN, *, lenient: bool = False, **changes: Any) -> Document:
    """The members that another format's controls become."""
    document: Document = {}
    asked = request("responses", **changes)
    settings.foreign(asked, going("chat", can, lenient=lenient), document)
    return document


def test_the_limit_has_the_name_that_the_host_knows() -> None:
    """wire-formats, trap 146."""
    output = Output(limit=5)

    assert foreign(output=output) == {"max_tokens": 5}
    assert foreign(OPENAI, output=output) == {"max_completion_tokens": 5}


def test_sampling_and_stops_are_said_by_their_names() -> None:
    sampling = Sampling(temperature=0.5, seed=3)

    assert foreign(sampling=sampling, output=Output(stop=["a"], verbosity="low")) == {
        "temperature": 0.5,
        "seed": 3,
        "stop": ["a"],
        "verbosity": "low",
    }


@pytest.mark.parametrize("output", [Output(audio={"voice": "x"}), Output(image={"size": "1K"})])
def test_what_only_another_format_draws_or_speaks_is_missed(output: Output) -> None:
    with pytest.raises(CannotTranslate):
        foreign(output=output)
    assert foreign(output=output, lenient=True) == {}


def test_the_user_is_named_as_the_host_knows() -> None:
    assert foreign(user="u") == {"user": "u"}
    assert foreign(OPENAI, user="u") == {"safety_identifier": "u"}
    [long] = foreign(user="u" * 200).values()
    assert len(long) == 24
    assert long == foreign(user="u" * 200)["user"]


@pytest.mark.parametrize(
    ("tier", "said"), [("standard", "default"), ("flex", "flex"), ("odd", None), ("", None)]
)
def test_tiers_are_told_to_who_knows_them(tier: str, said: str | None) -> None:
    assert foreign(OPENAI, tier=tier).get("service_tier") == said
    assert "service_tier" not in foreign(tier=tier)


def test_keys_of_caches_are_told_to_who_knows_them() -> None:
    caching = Caching(key="k", options={"mode": "explicit"})

    assert foreign(caching=caching) == {}
    assert foreign(OPENAI, caching=caching) == {
        "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "explicit"},
    }


def test_effort_is_said_as_an_effort() -> None:
    assert foreign(thinking=Thinking("on", "low"))["reasoning_effort"] == "low"
    assert foreign(thinking=Thinking("off"))["reasoning_effort"] == "none"


def test_every_stream_is_asked_for_its_usage() -> None:
    assert foreign(stream=True) == {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (Shape("json"), {"type": "json_object"}),
        (Shape("schema"), {"type": "json_object"}),
        (
            Shape("schema", "n", "d", CLOSED, True),
            {"name": "n", "description": "d", "schema": CLOSED, "strict": True},
        ),
        (Shape("schema", "", "", OPEN), {"name": "answer", "schema": OPEN}),
        (Shape("schema", "", "", OPEN, True), {"name": "answer", "schema": OPEN}),
    ],
)
def test_a_form_is_demanded_as_far_as_it_can_be_enforced(shape: Shape, said: Document) -> None:
    found = foreign(output=Output(shape=shape))["response_format"]

    assert found.get("json_schema", found) == said


def test_a_form_that_is_no_object_is_refused_where_only_objects_are_made() -> None:
    listed = Output(shape=Shape("schema", schema={"type": "array", "items": {}}))
    with pytest.raises(CannotTranslate) as caught:
        foreign(OPENAI, output=listed)
    assert caught.value.param == "shape"
    assert foreign(output=listed)["response_format"]["json_schema"]["schema"]["type"] == "array"


def test_the_key_of_a_cache_is_made_of_who_asks_and_what_comes_first() -> None:
    def key(user: str, *texts: str) -> str:
        return settings.cache_key(request("messages", says("system", *texts), user=user))

    assert key("u", "a", "b") == key("u", "a", "b")
    assert len({key("u", "a"), key("v", "a"), key("u", "b"), key("u")}) == 4


@pytest.mark.parametrize(
    "body",
    [
        {
            "temperature": 1,
            "n": 1,
            "max_tokens": 5,
            "stop": ["a"],
            "modalities": ["text"],
            "verbosity": "low",
            "prompt_cache_key": "k",
            "prompt_cache_options": {"mode": "implicit"},
            "metadata": {"a": "b"},
            "service_tier": "default",
            "user": "u",
            "store": False,
            "reasoning_effort": "none",
        },
        {"response_format": {"type": "text"}, "reasoning": {"effort": "low"}},
        {"response_format": {"type": "json_object"}, "reasoning_effort": "odd"},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": OPEN, "strict": True, "odd": 1},
            }
        },
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"stream": True, "stream_options": {"include_obfuscation": False, "include_usage": True}},
        {"max_completion_tokens": 1, "max_tokens": 2, "provider": {"only": ["x"]}},
    ],
)
def test_controls_of_the_same_format_stay_as_they_were(body: Document) -> None:
    hello = [{"role": "user", "content": "a"}]
    document: Document = {}

    settings.native(decode({"model": "m", "messages": hello} | body, CHAT), document)

    assert document == body
