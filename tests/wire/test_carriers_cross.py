"""What a provider wants back comes back, through clients of every format, and to nobody else.

A reply with sealed state goes to a client; the client sends it back as its format has it; then the
next request is written for each upstream. Only the account that made the state sees it again, where
it stood; every other upstream gets neither it nor the text that belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest

from relayd.model import FormatName
from relayd.wire import sse
from relayd.wire.capabilities import Capability
from relayd.wire.codec import Codec
from relayd.wire.events import Events, fold
from relayd.wire.formats import FORMATS
from relayd.wire.losses import Losses
from relayd.wire.neutral import Function, Request
from relayd.wire.parts import CarrierKind
from relayd.wire.paths import Target
from relayd.wire.setting import Coming, Going
from tests.wire.ways import able

Json = dict[str, Any]
CLIENTS: list[FormatName] = ["chat", "responses", "messages", "gemini"]
TOOL: Json = {"type": "object", "properties": {"city": {"type": "string"}}}
SECRET = "c2VhbGVkIHN0YXRl"  # base64, as Google's clients want it
THOUGHT = "I should look at the weather."
ARGUMENTS: Json = {"city": "Paris"}
CAN: Capability = able(mid_system=True, signatures=True)


class Case(NamedTuple):
    """One provider's state: who made it, and the reply that it came in."""

    kind: CarrierKind
    upstream: FormatName
    reply: Json
    shows: bool  # text of its own


def _responses() -> Json:
    thought: Json = {"type": "reasoning", "id": "rs_1", "encrypted_content": SECRET}
    thought |= {"summary": [{"type": "summary_text", "text": THOUGHT}]}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather"}
    call |= {"arguments": '{"city":"Paris"}', "status": "completed"}
    return {"id": "resp_1", "status": "completed", "output": [thought, call], "model": "m"}


def _messages(thought: Json) -> Json:
    call = {"type": "tool_use", "id": "call_1", "name": "weather", "input": ARGUMENTS}
    reply = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
    return reply | {"content": [thought, call], "stop_reason": "tool_use"}


def _gemini() -> Json:
    call = {"functionCall": {"id": "call_1", "name": "weather", "args": ARGUMENTS}}
    content = {"role": "model", "parts": [call | {"thoughtSignature": SECRET}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}


def _chat() -> Json:
    call = {"id": "call_1", "type": "function"}
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    message: Json = {"role": "assistant", "content": None, "reasoning": THOUGHT}
    message["tool_calls"] = [call | {"function": function}]
    sealed = {"type": "reasoning.encrypted", "data": SECRET, "index": 1, "format": "host-v1"}
    shown = {"type": "reasoning.text", "text": THOUGHT, "index": 0, "format": "host-v1"}
    message["reasoning_details"] = [shown, sealed]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": [choice]}


CASES = [
    Case("chat-details", "chat", _chat(), True),
    Case("openai-encrypted", "responses", _responses(), True),
    Case(
        "anthropic-signature",
        "messages",
        _messages({"type": "thinking", "thinking": THOUGHT, "signature": SECRET}),
        True,
    ),
    Case(
        "anthropic-redacted",
        "messages",
        _messages({"type": "redacted_thinking", "data": SECRET}),
        False,
    ),
    Case("gemini-signature", "gemini", _gemini(), False),
]


# --- a client of each format --------------------------------------------------------------------


def _chat_history(reply: Json) -> Json:
    result = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
    tool = {"type": "function", "function": {"name": "weather", "parameters": TOOL}}
    asked = {"role": "user", "content": "Weather?"}
    messages = [asked, reply["choices"][0]["message"], result]
    return {"model": "m", "messages": messages, "tools": [tool]}


def _responses_history(reply: Json) -> Json:
    result = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    tool = {"type": "function", "name": "weather", "parameters": TOOL, "strict": False}
    asked = {"role": "user", "content": "Weather?"}
    return {"model": "m", "input": [asked, *reply["output"], result], "tools": [tool]}


def _messages_history(reply: Json) -> Json:
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": reply["content"]},
        {"role": "user", "content": [result]},
    ]
    tool = {"name": "weather", "input_schema": TOOL}
    return {"model": "m", "max_tokens": 9000, "messages": messages, "tools": [tool]}


def _gemini_history(reply: Json) -> Json:
    said = reply["candidates"][0]["content"]
    (name,) = [p["functionCall"] for p in said["parts"] if "functionCall" in p]
    result = {"id": name.get("id"), "name": "weather", "response": {"output": "rain"}}
    contents = [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        said,
        {"role": "user", "parts": [{"functionResponse": result}]},
    ]
    tool = {"functionDeclarations": [{"name": "weather", "parametersJsonSchema": TOOL}]}
    return {"contents": contents, "tools": [tool]}


HISTORIES: dict[FormatName, Callable[[Json], Json]] = {
    "chat": _chat_history,
    "responses": _responses_history,
    "messages": _messages_history,
    "gemini": _gemini_history,
}


def codec(name: FormatName) -> Codec:
    found = FORMATS[name].codec
    assert found is not None
    return found


def coming(client: FormatName, *, sealed: bool) -> Coming:
    asked = Request(source=client, model="m", messages=[], tools=[Function(name="weather")])
    asked.thinking.show = "summary"
    return Coming(asked, "m", "req_1", 1_700_000_000, "acc1", sealed=sealed)


def whole(case: Case, client: FormatName) -> Json:
    """The reply as a client gets it whole."""
    reply = fold(codec(case.upstream).reader().whole(case.reply))
    to = coming(client, sealed=client != case.upstream)
    document: Json = orjson.loads(orjson.dumps(codec(client).writer(to).whole(reply)))
    return document


def streamed(case: Case, client: FormatName) -> Json:
    """The reply as a client puts it together from a stream."""
    to = coming(client, sealed=client != case.upstream)
    data = codec(client).writer(to).write(codec(case.upstream).reader().whole(case.reply))
    reader = codec(client).reader()
    events: Events = []
    for block in sse.blocks(data):
        event = sse.parse(block)
        events += reader.read(event.name, event.data)
    events += reader.end()
    own = codec(client).writer(coming(client, sealed=False))
    document: Json = orjson.loads(orjson.dumps(own.whole(fold(events))))
    return document


def sent(client: FormatName, reply: Json, to: FormatName, scope: str) -> Json:
    """The client's next request, as the upstream gets it."""
    target = Target(client, "generate", model="m", verb="")
    request = codec(client).decode(HISTORIES[client](reply), target)
    going = Going(to, "m", CAN, Losses(to, lenient=True), scope, native=client == to)
    document: Json = orjson.loads(orjson.dumps(codec(to).encode(request, going).document))
    return document


def _both(test: Callable[..., None]) -> Callable[..., None]:
    cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
    clients = pytest.mark.parametrize("client", CLIENTS)
    ways = pytest.mark.parametrize("reply", [whole, streamed], ids=["whole", "streamed"])
    decorated: Callable[..., None] = cases(clients(ways(test)))
    return decorated


@_both
def test_state_comes_back_to_the_account_that_made_it(
    case: Case, client: FormatName, reply: Callable[[Case, FormatName], Json]
) -> None:
    document = sent(client, reply(case, client), case.upstream, "acc1")
    body = orjson.dumps(document).decode()
    assert SECRET in body
    assert "rly1~" not in body
    assert "cmx5MX" not in body
    PLACES[case.kind](document)


@_both
def test_nobody_else_gets_it_or_the_text_that_belongs_to_it(
    case: Case, client: FormatName, reply: Callable[[Case, FormatName], Json]
) -> None:
    told = reply(case, client)
    if client != case.upstream:
        foreign = orjson.dumps(sent(client, told, case.upstream, "acc2")).decode()
        assert SECRET not in foreign
        assert THOUGHT not in foreign
        assert "rly1~" not in foreign
    for other in CLIENTS:
        if other == case.upstream:
            continue
        body = orjson.dumps(sent(client, told, other, "acc1")).decode()
        assert SECRET not in body
        assert "rly1~" not in body
        assert "cmx5MX" not in body
        if other != client or not case.shows:
            assert THOUGHT not in body


@_both
def test_the_client_sees_what_it_may_see(
    case: Case, client: FormatName, reply: Callable[[Case, FormatName], Json]
) -> None:
    body = orjson.dumps(reply(case, client)).decode()
    assert (THOUGHT in body) is case.shows
    assert (SECRET in body) is (client == case.upstream)


# --- where it stood -----------------------------------------------------------------------------


def _in_chat(document: Json) -> None:
    said = document["messages"][1]
    assert said["tool_calls"][0]["function"]["name"] == "weather"
    assert [each.get("data") for each in said["reasoning_details"]] == [None, SECRET]


def _in_responses(document: Json) -> None:
    kinds = [item.get("type") for item in document["input"]]
    at = kinds.index("reasoning")
    assert kinds[at + 1] == "function_call"
    item = document["input"][at]
    assert (item["id"], item["encrypted_content"]) == ("rs_1", SECRET)
    assert item["summary"] == [{"type": "summary_text", "text": THOUGHT}]


def _in_messages(document: Json) -> None:
    (thought, call) = document["messages"][1]["content"]
    assert call["type"] == "tool_use"
    assert thought == {"type": "thinking", "thinking": THOUGHT, "signature": SECRET}


def _redacted(document: Json) -> None:
    (thought, call) = document["messages"][1]["content"]
    assert call["type"] == "tool_use"
    assert thought == {"type": "redacted_thinking", "data": SECRET}


def _in_gemini(document: Json) -> None:
    (part,) = document["contents"][1]["parts"]
    assert part["functionCall"]["name"] == "weather"
    assert part["thoughtSignature"] == SECRET


PLACES: dict[CarrierKind, Callable[[Json], None]] = {
    "chat-details": _in_chat,
    "openai-encrypted": _in_responses,
    "anthropic-signature": _in_messages,
    "anthropic-redacted": _redacted,
    "gemini-signature": _in_gemini,
}
