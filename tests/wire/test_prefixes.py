"""A conversation that grows is translated to bytes that grow: prompt caches live on prefixes.

Made-up conversations are written in each format as its clients write them, and each turn is
translated to every other format. What an earlier turn was translated to is found unchanged at the
beginning of the later ones, whatever was added behind it; and the same request translated twice is
the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from relayd.model import FormatName
from relayd.wire.capabilities import Capability
from relayd.wire.formats import FORMATS
from relayd.wire.losses import Losses
from relayd.wire.paths import Target
from relayd.wire.setting import Going
from tests.wire.strategies import NAMES, PIXEL, examples

Document = dict[str, Any]
PAIRS: Final = [(a, b) for a in NAMES for b in NAMES if a != b]
HISTORY: Final[dict[FormatName, str]] = {
    "chat": "messages",
    "responses": "input",
    "messages": "messages",
    "gemini": "contents",
}
SYSTEM: Final = "Be brief.\nAnswer in German."


class Turn(NamedTuple):
    """What a user says, and what comes of it: calls with their results, and an answer."""

    says: str
    picture: bool
    calls: tuple[tuple[str, str], ...]  # ids and results
    answer: str


texts = st.sampled_from(("Hi", "Grüße 😀", "a\n\nb", '"quoted"'))
# Ids as providers make them, too long and with what others do not take.
call_ids = st.sampled_from(("call_1", "toolu_01AbC", "a" * 70, "functions.f:0", "x|fc_1"))
turns = st.builds(
    Turn,
    texts,
    st.booleans(),
    st.lists(st.tuples(call_ids, texts), max_size=3, unique_by=lambda each: each[0]).map(tuple),
    texts,
)


def body(name: FormatName, turns: list[Turn]) -> Document:
    """The request of a client of a format, after these turns."""
    return _BODIES[name]([_numbered(turn, at) for at, turn in enumerate(turns)])


def _numbered(turn: Turn, at: int) -> Turn:
    return turn._replace(calls=tuple((f"{call}{at}", result) for call, result in turn.calls))


def _chat(turns: list[Turn]) -> Document:
    messages: list[Document] = [{"role": "system", "content": SYSTEM}]
    for turn in turns:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        text = {"type": "text", "text": turn.says}
        content: Any = [text, image] if turn.picture else turn.says
        messages.append({"role": "user", "content": content})
        calls = [
            {"id": call, "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
            for call, _ in turn.calls
        ]
        if calls:
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": c, "content": r} for c, r in turn.calls]
        messages.append({"role": "assistant", "content": turn.answer})
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    return {"model": "m", "messages": messages, "tools": [tool]}


def _responses(turns: list[Turn]) -> Document:
    items: list[Document] = []
    for turn in turns:
        content = [{"type": "input_text", "text": turn.says}]
        if turn.picture:
            url = f"data:image/png;base64,{PIXEL}"
            content.append({"type": "input_image", "image_url": url, "detail": "auto"})
        items.append({"role": "user", "content": content})
        for call, _ in turn.calls:
            named = {"name": "f", "arguments": '{"a":1}', "call_id": call}
            items.append({"type": "function_call", **named})
        for call, result in turn.calls:
            items.append({"type": "function_call_output", "call_id": call, "output": result})
        answer = {"type": "output_text", "text": turn.answer, "annotations": []}
        items.append({"type": "message", "role": "assistant", "content": [answer]})
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
    return {"model": "m", "instructions": SYSTEM, "input": items, "tools": [tool], "store": False}


def _messages(turns: list[Turn]) -> Document:
    messages: list[Document] = []
    for turn in turns:
        content: list[Document] = [{"type": "text", "text": turn.says}]
        if turn.picture:
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            content.append({"type": "image", "source": source})
        messages.append({"role": "user", "content": content})
        if turn.calls:
            ids = [_plain(call) for call, _ in turn.calls]
            uses = [{"type": "tool_use", "id": i, "name": "f", "input": {"a": 1}} for i in ids]
            results = [
                {"type": "tool_result", "tool_use_id": _plain(call), "content": result}
                for call, result in turn.calls
            ]
            messages += [
                {"role": "assistant", "content": uses},
                {"role": "user", "content": results},
            ]
        messages.append({"role": "assistant", "content": turn.answer})
    tool = {"name": "f", "input_schema": {"type": "object"}}
    return {
        "model": "m",
        "max_tokens": 99,
        "system": SYSTEM,
        "messages": messages,
        "tools": [tool],
    }


def _plain(call: str) -> str:
    return "".join(each if each.isalnum() or each in "_-" else "_" for each in call)


def _gemini(turns: list[Turn]) -> Document:
    contents: list[Document] = []
    for turn in turns:
        parts: list[Document] = [{"text": turn.says}]
        if turn.picture:
            parts.append({"inlineData": {"mimeType": "image/png", "data": PIXEL}})
        contents.append({"role": "user", "parts": parts})
        if turn.calls:
            calls = [{"functionCall": {"name": "f", "args": {"a": 1}}} for _ in turn.calls]
            results = [
                {"functionResponse": {"name": "f", "response": {"output": result}}}
                for _, result in turn.calls
            ]
            contents += [{"role": "model", "parts": calls}, {"role": "user", "parts": results}]
        contents.append({"role": "model", "parts": [{"text": turn.answer}]})
    tool = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}
    return {
        "contents": contents,
        "systemInstruction": {"parts": [{"text": SYSTEM}]},
        "tools": [tool],
    }


_BODIES: Final = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
}


def cut(name: FormatName, document: Document) -> Iterator[Document]:
    """The requests of one conversation: each ends where a model is asked."""
    history = document[HISTORY[name]]
    for end in range(1, len(history)):
        this, following = history[end - 1], history[end]
        if _speaks(following) and not _speaks(this):
            yield {**document, HISTORY[name]: history[:end]}


def _speaks(message: Document) -> bool:
    calls = message.get("type") == "function_call"
    return calls or message.get("role") in ("assistant", "model")


def translated(source: FormatName, document: Document, up: FormatName) -> Document:
    here, there = FORMATS[source].codec, FORMATS[up].codec
    assert here is not None
    assert there is not None
    target = Target(source, "generate", "m", stream=False)
    going = Going(up, "m", Capability(call_ids=True), Losses(up))
    return there.encode(here.decode(document, target), going).document


@pytest.mark.parametrize(("source", "up"), PAIRS)
def test_what_was_said_is_translated_to_the_same_bytes_each_turn(
    source: FormatName, up: FormatName
) -> None:
    """wire-formats, trap 151."""

    @examples(8)
    @given(turns=st.lists(turns, min_size=2, max_size=4))
    def holds(turns: list[Turn]) -> None:
        before: Document | None = None
        document = body(source, turns)
        if source == "messages":
            document["messages"][0]["content"][-1]["cache_control"] = {"type": "ephemeral"}
        for request in cut(source, document):
            kept = orjson.dumps(request)
            now = translated(source, request, up)
            assert orjson.dumps(request) == kept, "the client's document is not changed"
            assert orjson.dumps(translated(source, orjson.loads(kept), up)) == orjson.dumps(now)
            note(orjson.dumps(now).decode())
            if before is not None:
                assert _around(now, up) == _around(before, up)
                grown, was = now[HISTORY[up]], before[HISTORY[up]]
                # The last message may be gone on with; what it said stays as it was.
                head = orjson.dumps(was)[:-1].rstrip(b"]}")
                assert orjson.dumps(grown).startswith(head)
            before = now

    holds()


def _around(document: Document, up: FormatName) -> bytes:
    return orjson.dumps({key: each for key, each in document.items() if key != HISTORY[up]})
