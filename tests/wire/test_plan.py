"""In which format an upstream is spoken to, and what is called there."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from relayd.model import FormatName, Operation
from relayd.wire.capabilities import UNKNOWN
from relayd.wire.dialects import EVERY_FORMAT
from relayd.wire.paths import TAILS, VERBS, Target
from relayd.wire.plan import NATIVE_ONLY, NO_TRAITS, Traits, spoken, target, traits_of

ONE_ENDPOINT = replace(UNKNOWN, tools_endpoint="responses")
TOOLS = Traits(functions=True)
FUNCTION = {"type": "function"}


def test_the_clients_own_format_is_spoken_where_the_upstream_has_it() -> None:
    for client in EVERY_FORMAT:
        assert spoken(client, EVERY_FORMAT, UNKNOWN, TOOLS) == client
        assert spoken(client, [client], UNKNOWN, NO_TRAITS) == client


@pytest.mark.parametrize(
    ("client", "offered", "expected"),
    [
        ("messages", ("chat", "responses"), "responses"),
        ("messages", ("chat", "gemini"), "chat"),
        ("gemini", ("messages", "chat"), "chat"),
        ("responses", ("messages", "gemini"), "messages"),
        ("chat", ("gemini",), "gemini"),
    ],
)
def test_else_the_nearest_is(
    client: FormatName, offered: tuple[FormatName, ...], expected: FormatName
) -> None:
    assert spoken(client, offered, UNKNOWN, NO_TRAITS) == expected


def test_a_model_is_asked_where_its_provider_serves_it() -> None:
    only = replace(UNKNOWN, endpoints=("responses",))
    assert spoken("chat", ("chat", "responses"), only, NO_TRAITS) == "responses"
    assert spoken("messages", ("chat", "responses"), only, NO_TRAITS) == "responses"
    # A row that leaves nothing is about another provider's names.
    assert spoken("chat", ("chat",), only, NO_TRAITS) == "chat"


def test_tools_with_reasoning_go_to_the_endpoint_that_takes_both() -> None:
    """wire-formats, trap 141"""
    both: tuple[FormatName, ...] = ("chat", "responses")
    assert spoken("chat", both, ONE_ENDPOINT, TOOLS) == "responses"
    assert spoken("gemini", both, ONE_ENDPOINT, TOOLS) == "responses"
    assert spoken("chat", both, ONE_ENDPOINT, NO_TRAITS) == "chat"
    assert spoken("chat", both, ONE_ENDPOINT, Traits(functions=True, idle=True)) == "chat"
    assert spoken("chat", ("chat",), ONE_ENDPOINT, TOOLS) == "chat"
    # Who says nothing of effort has the model's own.
    calm = replace(ONE_ENDPOINT, default_effort="none")
    assert spoken("chat", both, calm, TOOLS) == "chat"
    assert spoken("chat", both, calm, Traits(functions=True, idle=False)) == "responses"
    # Who speaks to the upstream natively in yet another format is not sent away.
    assert spoken("messages", ("messages", "responses"), ONE_ENDPOINT, TOOLS) == "messages"


@pytest.mark.parametrize(
    ("document", "client", "expected"),
    [
        ({"tools": [FUNCTION]}, "chat", TOOLS),
        ({"tools": [FUNCTION], "reasoning_effort": "none"}, "chat", Traits(True, True)),
        ({"tools": [FUNCTION], "reasoning": {"effort": "none"}}, "responses", Traits(True, True)),
        ({"tools": [FUNCTION], "reasoning_effort": "low"}, "chat", Traits(True, False)),
        ({"tools": [FUNCTION], "reasoning": "none"}, "responses", TOOLS),
        ({"tools": [FUNCTION], "reasoning_effort": ["none"]}, "chat", TOOLS),
        ({"tools": [{"type": "custom"}, {"type": "web_search"}]}, "chat", NO_TRAITS),
        ({"tools": [{"type": "custom"}, FUNCTION]}, "responses", TOOLS),
        ({"tools": [{"name": "look"}]}, "messages", TOOLS),
        ({"tools": [{"functionDeclarations": []}]}, "gemini", TOOLS),
        ({"tools": "x"}, "messages", NO_TRAITS),
        ({"tools": [1]}, "gemini", NO_TRAITS),
        ({"tools": []}, "chat", NO_TRAITS),
    ],
)
def test_what_decides_is_read_of_any_document(
    document: dict[str, object], client: FormatName, expected: Traits
) -> None:
    assert traits_of(document, client) == expected


CALLS: dict[tuple[FormatName, Operation], str] = {
    ("chat", "generate"): "chat/completions",
    ("chat", "embed"): "embeddings",
    ("responses", "generate"): "responses",
    ("responses", "count_tokens"): "responses/input_tokens",
    ("messages", "generate"): "messages",
    ("messages", "count_tokens"): "messages/count_tokens",
    ("gemini", "generate"): "generateContent",
    ("gemini", "count_tokens"): "countTokens",
    ("gemini", "embed"): "batchEmbedContents",
}
CLIENTS = [
    *TAILS.values(),
    *(Target("gemini", operation, "m", verb=verb) for verb, operation in VERBS.items()),
]


@pytest.mark.parametrize(("client", "to"), list(product(CLIENTS, EVERY_FORMAT)))
def test_the_same_thing_is_called_in_the_other_format_or_nothing(
    client: Target, to: FormatName
) -> None:
    found = target(client, to, stream=False)
    # Pictures are drawn by models that talk; see below.
    operation: Operation = "generate" if client.operation == "image" else client.operation
    verb = CALLS.get((to, operation))
    if client.operation == "image" and to != "gemini":
        verb = None
    if client.format == to:
        assert found is client
    elif client.verb in NATIVE_ONLY or verb is None:
        assert found is None
    else:
        assert found is not None
        assert (found.format, found.operation, found.verb) == (to, operation, verb)
        assert found.model is None


def test_a_stream_is_called_by_its_own_verb_in_gemini() -> None:
    found = target(TAILS["messages"], "gemini", stream=True)
    assert found is not None
    assert (found.verb, found.stream, found.sse) == ("streamGenerateContent", True, True)


@pytest.mark.parametrize("stream", [False, True])
def test_pictures_are_drawn_by_what_answers_conversations(stream: bool) -> None:
    found = target(TAILS["images/edits"], "gemini", stream=stream)
    verb = "streamGenerateContent" if stream else "generateContent"
    assert found == Target("gemini", "generate", stream=stream, verb=verb)
    assert target(TAILS["images/variations"], "gemini", stream=stream) is None
    assert target(TAILS["images/generations"], "responses", stream=stream) is None
