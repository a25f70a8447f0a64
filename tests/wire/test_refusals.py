"""What must be a clear 400, and is never left out in silence: the 26 rows of wire-formats 12.

Each row is a client's request, the model that it would go to, and the member of the client's own
document that the refusal names. Rows that a lenient key, group or upstream may have left out are
marked so: they then stand in `x-relayd-dropped`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson
import pytest

from relayd.config.capabilities import shipped
from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.capabilities import Capabilities, Capability
from relayd.wire.formats import FORMATS
from relayd.wire.losses import Losses
from relayd.wire.paths import Target
from relayd.wire.setting import Going, Rules

Document = dict[str, Any]
TABLE = Capabilities(shipped())

# A model of each format that takes much; a row that needs another one names it.
MODELS: Final[dict[FormatName, str]] = {
    "chat": "some-host-model",
    "responses": "gpt-5.6",
    "messages": "claude-opus-5",
    "gemini": "gemini-3-flash",
}
HI: Final = {"role": "user", "content": "Hi"}
BODIES: Final[dict[FormatName, Document]] = {
    "chat": {"model": "m", "messages": [HI]},
    "responses": {"model": "m", "input": "Hi"},
    "messages": {"model": "m", "max_tokens": 100, "messages": [HI]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}
FUNCTION: Final = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
TOOL: Final = {"name": "f", "input_schema": {"type": "object"}}
CUSTOM: Final = {
    "type": "custom",
    "custom": {"name": "p", "format": {"type": "grammar", "grammar": {"syntax": "lark"}}},
}
SCHEMA: Final = {
    "type": "json_schema",
    "json_schema": {"name": "s", "schema": {"type": "object", "properties": {}}},
}


class Row(NamedTuple):
    """One refusal.

    Attributes:
        number: of its row in the list.
        param: what it names.
        lenient: it may be left out.
        can: what the model takes, where the table's row is not meant.
    """

    number: int
    client: FormatName
    body: Document
    up: FormatName
    param: str
    lenient: bool = False
    model: str = ""
    can: Capability | None = None
    rules: Rules = Rules()

    def __repr__(self) -> str:
        return f"{self.number}-{self.client}-{self.up}-{self.param}"


def said(*parts: Document) -> Document:
    """A chat or Messages body whose one message says these parts."""
    return {"messages": [{"role": "user", "content": list(parts)}]}


def items(*items: Document) -> Document:
    return {"input": [{"role": "user", "content": "Hi"}, *items]}


def told(*parts: Document) -> Document:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


def call(arguments: str) -> Document:
    function = {"name": "f", "arguments": arguments}
    calls = [{"id": "c1", "type": "function", "function": function}]
    return {
        "messages": [
            HI,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ],
        "tools": [FUNCTION],
    }


AUDIO: Final = {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}}
YOUTUBE: Final = {"fileData": {"fileUri": "https://youtu.be/x", "mimeType": "video/mp4"}}
CONFIG: Final = "generationConfig"

ROWS: Final = [
    Row(1, "chat", {"n": 2}, "messages", "n"),
    Row(1, "chat", {"n": 2}, "responses", "n"),
    Row(1, "gemini", {CONFIG: {"candidateCount": 2}}, "messages", f"{CONFIG}.candidateCount"),
    Row(1, "gemini", {CONFIG: {"candidateCount": 2}}, "responses", f"{CONFIG}.candidateCount"),
    Row(2, "chat", {"logprobs": True, "top_logprobs": 2}, "messages", "logprobs"),
    Row(
        2, "gemini", {CONFIG: {"responseLogprobs": True}}, "messages", f"{CONFIG}.responseLogprobs"
    ),
    Row(3, "chat", {"logit_bias": {"1": 5}}, "messages", "logit_bias", lenient=True),
    Row(3, "chat", {"logit_bias": {"1": 5}}, "responses", "logit_bias", lenient=True),
    Row(3, "chat", {"logit_bias": {"1": 5}}, "gemini", "logit_bias", lenient=True),
    Row(4, "chat", {"presence_penalty": 1}, "messages", "presence_penalty", lenient=True),
    Row(4, "chat", {"frequency_penalty": 1}, "responses", "frequency_penalty", lenient=True),
    Row(4, "chat", {"seed": 1}, "messages", "seed", lenient=True),
    Row(4, "gemini", {CONFIG: {"seed": 1}}, "responses", f"{CONFIG}.seed", lenient=True),
    Row(5, "chat", {"temperature": 0.5}, "messages", "temperature", lenient=True),
    Row(5, "responses", {"top_p": 0.5}, "messages", "top_p", lenient=True),
    Row(5, "messages", {"top_k": 5}, "gemini", "top_k", lenient=True, model="gemini-3.6-flash"),
    Row(5, "gemini", {CONFIG: {"topP": 0.5}}, "messages", f"{CONFIG}.topP", lenient=True),
    Row(6, "chat", {"stop": ["x"]}, "responses", "stop"),
    Row(6, "messages", {"stop_sequences": ["x"]}, "responses", "stop_sequences"),
    Row(6, "gemini", {CONFIG: {"stopSequences": ["x"]}}, "responses", f"{CONFIG}.stopSequences"),
    Row(7, "chat", said(AUDIO), "messages", "messages[0].content[0]"),
    Row(7, "chat", said(AUDIO), "responses", "messages[0].content[0]"),
    Row(
        7,
        "chat",
        {"modalities": ["text", "audio"], "audio": {"voice": "v", "format": "wav"}},
        "messages",
        "audio",
    ),
    Row(
        7,
        "gemini",
        {CONFIG: {"responseModalities": ["AUDIO"]}},
        "responses",
        f"{CONFIG}.responseModalities",
    ),
    Row(
        8,
        "chat",
        said({"type": "file", "file": {"file_id": "file-1"}}),
        "messages",
        "messages[0].content[0]",
    ),
    Row(
        8,
        "messages",
        said({"type": "image", "source": {"type": "file", "file_id": "file-1"}}),
        "chat",
        "messages[0].content[0]",
    ),
    Row(
        8,
        "responses",
        items({"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}),
        "messages",
        "input[1].content[0]",
    ),
    Row(8, "gemini", told(YOUTUBE), "chat", "contents[0].parts[0]"),
    Row(
        9,
        "chat",
        said({"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}),
        "gemini",
        "messages[0].content[0]",
    ),
    Row(10, "responses", {"previous_response_id": "resp_1"}, "chat", "previous_response_id"),
    Row(10, "responses", {"conversation": "conv_1"}, "messages", "conversation"),
    Row(10, "responses", {"background": True}, "gemini", "background"),
    Row(10, "responses", {"prompt": {"id": "p"}}, "chat", "prompt"),
    Row(10, "responses", items({"type": "item_reference", "id": "x"}), "chat", "input[1]"),
    Row(
        11,
        "responses",
        {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]},
        "messages",
        "tools[0]",
        lenient=True,
    ),
    Row(
        11,
        "messages",
        {"tools": [{"type": "bash_20250124", "name": "bash"}]},
        "chat",
        "tools[0]",
        lenient=True,
    ),
    Row(11, "gemini", {"tools": [{"codeExecution": {}}]}, "chat", "tools[0]", True),
    Row(11, "gemini", {"tools": [{"googleMaps": {}}]}, "messages", "tools[0]", True),
    Row(
        12,
        "chat",
        {"tools": [CUSTOM]},
        "messages",
        "tools[0]",
        rules=Rules(wrap_custom=False),
    ),
    Row(
        13,
        "chat",
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "messages",
        "tool_choice",
    ),
    Row(
        13,
        "messages",
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}},
        "responses",
        "tool_choice",
    ),
    Row(
        14,
        "chat",
        {"prediction": {"type": "content", "content": "x"}},
        "messages",
        "prediction",
        True,
    ),
    Row(14, "chat", {"web_search_options": {}}, "messages", "web_search_options", True),
    Row(14, "chat", {"moderation": {"model": "m"}}, "gemini", "moderation"),
    Row(15, "messages", {"container": "c_1"}, "chat", "container"),
    Row(15, "messages", {"mcp_servers": [{"url": "https://e.org"}]}, "responses", "mcp_servers"),
    Row(
        15,
        "messages",
        {"context_management": {"edits": [{"type": "x"}]}},
        "chat",
        "context_management",
        lenient=True,
    ),
    Row(
        15,
        "messages",
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
                        {
                            "type": "web_search_tool_result",
                            "tool_use_id": "s1",
                            "content": [{"type": "web_search_result", "url": "u", "title": "t"}],
                        },
                        {"type": "text", "text": "So"},
                    ],
                },
                HI,
            ]
        },
        "chat",
        "messages[1].content[0]",
    ),
    Row(16, "gemini", {"cachedContent": "cachedContents/1"}, "chat", "cachedContent"),
    Row(
        16,
        "gemini",
        {"toolConfig": {"retrievalConfig": {"languageCode": "de"}}},
        "messages",
        "toolConfig.retrievalConfig",
    ),
    Row(
        16,
        "gemini",
        {"safetySettings": [{"category": "c", "threshold": "BLOCK_NONE"}]},
        "chat",
        "safetySettings",
        lenient=True,
    ),
    Row(
        17,
        "chat",
        {"messages": [HI, {"role": "assistant", "content": "So"}]},
        "messages",
        "messages[1]",
        lenient=True,
    ),
    Row(
        17,
        "messages",
        {"messages": [HI, {"role": "assistant", "content": "So"}]},
        "gemini",
        "messages[1]",
        lenient=True,
        model="gemini-3.6-flash",
    ),
    Row(
        17,
        "chat",
        {"tools": [FUNCTION], "tool_choice": "required"},
        "messages",
        "tool_choice",
        lenient=True,
        model="claude-sonnet-5-5",
    ),
    Row(18, "messages", {"max_tokens": 0}, "chat", "max_tokens"),
    Row(18, "messages", {"max_tokens": 0}, "gemini", "max_tokens"),
    Row(
        19,
        "chat",
        {"tools": [FUNCTION], "response_format": SCHEMA},
        "messages",
        "response_format",
        can=Capability(native_schema=False),
    ),
    Row(
        20,
        "messages",
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "document",
                            "source": {
                                "type": "base64",
                                "media_type": "application/pdf",
                                "data": "QUJD",
                            },
                        }
                    ],
                },
                HI,
            ]
        },
        "chat",
        "messages[1].content[0].source",
    ),
    Row(22, "chat", call("no json"), "messages", "messages[1].tool_calls[0].function.arguments"),
    Row(22, "chat", call("[1]"), "gemini", "messages[1].tool_calls[0].function.arguments"),
    Row(
        22,
        "responses",
        items(
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"},
            {"type": "function_call_output", "call_id": "c", "output": "1"},
        ),
        "messages",
        "input[1].arguments",
    ),
    Row(23, "chat", said({"type": "hologram", "x": 1}), "messages", "messages[0].content[0]"),
    Row(23, "messages", said({"type": "hologram", "x": 1}), "gemini", "messages[0].content[0]"),
    Row(
        23,
        "responses",
        items({"role": "user", "content": [{"type": "hologram"}]}),
        "chat",
        "input[1].content[0]",
    ),
    Row(23, "gemini", told({"hologram": {}}), "chat", "contents[0].parts[0]"),
    Row(25, "chat", {"stream_options": {"include_usage": True}}, "messages", "stream_options"),
    Row(
        26,
        "gemini",
        {CONFIG: {"thinkingConfig": {"thinkingBudget": 9, "thinkingLevel": "LOW"}}},
        "chat",
        f"{CONFIG}.thinkingConfig",
    ),
]


def translated(row: Row, losses: Losses) -> Document:
    """The request as the upstream would get it. Raises BadCall."""
    here, there = FORMATS[row.client].codec, FORMATS[row.up].codec
    assert here is not None
    assert there is not None
    target = Target(row.client, "generate", "m", stream=False, verb="")
    model = row.model or MODELS[row.up]
    can = row.can or TABLE.of(model)
    request = here.decode(orjson.loads(orjson.dumps(BODIES[row.client] | row.body)), target)
    return there.encode(request, Going(row.up, model, can, losses, rules=row.rules)).document


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_what_cannot_be_said_is_refused_by_name(row: Row) -> None:
    with pytest.raises(BadCall) as refused:
        translated(row, Losses(row.up))
    assert refused.value.status == 400
    assert refused.value.param == row.param


@pytest.mark.parametrize("row", [row for row in ROWS if row.lenient], ids=repr)
def test_who_is_lenient_has_it_left_out_and_is_told(row: Row) -> None:
    losses = Losses(row.up, lenient=True)
    translated(row, losses)
    assert row.param in losses.dropped


@pytest.mark.parametrize("row", [row for row in ROWS if not row.lenient], ids=repr)
def test_the_others_are_refused_to_everybody(row: Row) -> None:
    with pytest.raises(BadCall):
        translated(row, Losses(row.up, lenient=True))


@pytest.mark.parametrize("client", MODELS)
def test_a_refusal_is_worded_for_its_client(client: FormatName) -> None:
    row = next(row for row in ROWS if row.client == client)
    with pytest.raises(BadCall) as refused:
        translated(row, Losses(row.up))
    status, body = FORMATS[client].error(refused.value, "req_1")
    assert status == 400
    error = orjson.loads(body)["error"]
    assert row.param in error["message"]
    if client in ("chat", "responses"):
        assert (error["param"], error["type"]) == (row.param, "invalid_request_error")


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_the_same_request_without_it_is_translated(row: Row) -> None:
    """It is that member which is refused, and nothing else."""
    plain = row._replace(body={})
    losses = Losses(row.up)
    assert translated(plain, losses)
    assert losses.dropped == ()


def test_token_ids_cannot_be_embedded_elsewhere() -> None:
    """Row 21."""
    here, there = FORMATS["chat"].codec, FORMATS["gemini"].codec
    assert here is not None and here.embed is not None
    assert there is not None and there.embed is not None
    target = Target("chat", "embed", verb="embeddings")
    texts = here.embed.decode({"model": "m", "input": [[1, 2, 3]]}, target)
    going = Going("gemini", "m", Capability(), Losses("gemini"))
    with pytest.raises(BadCall) as refused:
        there.embed.encode(texts, going)
    assert refused.value.param == "input"


def test_a_schema_that_cannot_be_strict_there_says_so() -> None:
    """Row 24: the downgrade is reported; the schema's own limits stay where the upstream reads
    them."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}
    tool = {"name": "f", "input_schema": schema, "strict": True}
    row = Row(24, "messages", {"tools": [tool]}, "responses", "tools[0].strict")
    losses = Losses(row.up)
    document = translated(row, losses)
    assert document["tools"][0]["strict"] is False
    assert row.param in losses.dropped
