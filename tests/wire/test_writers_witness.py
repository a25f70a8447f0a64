"""Whatever events come, the official client libraries understand a stream as its whole reply says.

`test_writers_properties` reads streams with our own readers; here the reader is not ours, so that a
mistake that reader and writer have in common is seen as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, note

from benchmarks.fidelity.witness import understood
from relayd.model import FormatName
from relayd.wire.events import Events, fold
from tests.wire.strategies import coming, examples, short
from tests.wire.test_writers_properties import codec, fitting, written

pytestmark = pytest.mark.sdk

Document = dict[str, Any]


def _chat(reply: Document) -> Any:
    return [(_spoken(each["message"]), each["finish_reason"]) for each in reply["choices"]]


def _spoken(message: Document) -> Any:
    calls = [(call["id"], call[call["type"]]) for call in message.get("tool_calls") or ()]
    names = ("content", "reasoning_content", "refusal")
    return calls, [message.get(name) or "" for name in names]


def _messages(reply: Document) -> Any:
    names = ("type", "text", "thinking", "signature", "data", "id", "name", "input")
    said = [block for block in reply["content"] if block.get("text") != ""]
    blocks = [{name: block.get(name) for name in names} for block in said]
    return blocks, reply["stop_reason"], reply.get("stop_sequence")


def _responses(reply: Document) -> Any:
    names = ("type", "id", "call_id", "name", "arguments", "input", "encrypted_content", "result")
    items = [({name: item.get(name) for name in names}, _texts(item)) for item in reply["output"]]
    return items, reply["status"], reply.get("incomplete_details")


def _texts(item: Document) -> list[str]:
    parts = [*(item.get("content") or ()), *(item.get("summary") or ())]
    return [part.get("text") or part.get("refusal") or "" for part in parts]


def _gemini(reply: Document) -> Any:
    said: list[Any] = []
    for each in reply.get("candidates") or ():
        said.append((each.get("index", 0), each.get("finishReason"), _joined(each)))
    return said


def _joined(candidate: Document) -> list[Any]:
    found: list[Any] = []
    for part in (candidate.get("content") or {}).get("parts") or ():
        kind = "thought" if part.get("thought") else "text" if "text" in part else "other"
        told = part.get("text", part.get("functionCall", _data(part.get("inlineData"))))
        if kind != "other" and found and found[-1][0] == kind:
            found[-1][1] += told
        elif told:
            found.append([kind, told])
    return found


def _data(blob: Document | None) -> Any:
    """The library writes bytes in the other alphabet of base64."""
    return blob and (blob["mimeType"], blob["data"].replace("-", "+").replace("_", "/"))


HEARD: Final[dict[FormatName, Callable[[Document], Any]]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
    "gemini": _gemini,
}


@pytest.mark.parametrize("name", HEARD)
def test_the_official_library_hears_what_the_whole_reply_says(name: FormatName) -> None:
    @examples(25)
    @given(events=fitting(name, failures=False))
    def holds(events: Events) -> None:
        data = written(name, events)
        note(f"{short(events)}\n{data.decode(errors='replace')}")
        whole = codec(name).writer(coming(name)).whole(fold(events))
        assert HEARD[name](understood(name, data)) == HEARD[name](whole)

    holds()
