"""How each wire format is spoken, for tests that run over all of them: one row of `SPEECHES` each.

A test says `speech.ask("demo-cut", stream=True)` and stays the same for every format. The small
fixed streams and replies are what a real provider would send, shortened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from relayd.model import FormatName
from relayd.wire import sse

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Speech:
    """One format.

    Arguments:
        name: of the format, or `gemini-array` for Gemini's stream without `alt=sse`.
        path: model and stream flag to path.
        body: model and stream flag to a minimal body.
        opening: the first events of a small stream; they end between two events.
        ending: the rest of it, the terminal event last.
        terminal: the bytes from which on a client has all it needs; the end of `ending`.
        reply: a whole reply.
        keepalive: what keeps a silent stream alive (wire-formats 1.3).
        usage: input and output tokens that `ending` and `reply` report.
    """

    name: str
    format: FormatName
    path: Callable[[str, bool], str]
    body: Callable[[str, bool], Body]
    opening: bytes
    ending: bytes
    terminal: bytes
    reply: bytes
    keepalive: bytes
    usage: tuple[int, int] = (5, 7)

    def ask(self, model: str, *, stream: bool = False, **more: object) -> tuple[str, bytes]:
        """Path and body of a request."""
        return self.path(model, stream), orjson.dumps({**self.body(model, stream), **more})

    @property
    def stream(self) -> bytes:
        """The small stream, whole."""
        return self.opening + self.ending

    @property
    def content_type(self) -> str:
        """What a provider says its stream is."""
        return "application/json" if self.name == "gemini-array" else "text/event-stream"


def error_of(name: FormatName, document: Any) -> tuple[str, str]:
    """Type and message of an error in its format's own shape; anything else fails the test."""
    if name == "gemini" and isinstance(document, list):  # how errors of its array stream come
        [document] = document
    error = document["error"]
    if name == "messages":
        assert document["type"] == "error"
        assert document["request_id"].startswith("req_")
        return error["type"], error["message"]
    if name == "gemini":
        assert isinstance(error["code"], int)
        return error["status"], error["message"]
    assert set(error) >= {"message", "type", "param", "code"}
    return error["type"], error["message"]


def events_of(stream: bytes) -> list[Any]:
    """The JSON documents of an event stream or of an array, comments and the end marker left
    out.
    """
    if stream.lstrip()[:1] == b"[":
        found = orjson.loads(stream)
        assert isinstance(found, list)
        return found
    assert not sse_rest(stream), f"the stream ends inside an event: {stream[-200:]!r}"
    data = [sse.parse(block).data for block in sse.blocks(stream)]
    return [orjson.loads(one) for one in data if one and one != b"[DONE]"]


def sse_rest(stream: bytes) -> bytes:
    """What stands behind the last blank line."""
    text = stream.replace(b"\r\n", b"\n")
    return text[text.rfind(b"\n\n") + 2 :].strip(b"\n") if b"\n\n" in text else text


def _event(document: object, name: str = "") -> bytes:
    line = f"event: {name}\n".encode() if name else b""
    return line + b"data: " + orjson.dumps(document) + b"\n\n"


def _named(kind: str, **more: object) -> bytes:
    return _event({"type": kind, **more}, kind)


def _chat_chunk(delta: Body, finish: str | None = None, **more: object) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return _event({**_CHAT_START, "choices": choices, **more})


def _google(text: str, **more: object) -> Body:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}
    return {"candidates": [candidate], "responseId": "g1"}


_CHAT_START = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
_CHAT_USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
_USAGE = {"input_tokens": 5, "output_tokens": 7}
_RESPONSE = {"id": "r1", "object": "response", "created_at": 1, "model": "m", "output": []}
_RESPONSES_USAGE = {**_USAGE, "total_tokens": 12}
_DONE = {**_RESPONSE, "status": "completed", "usage": _RESPONSES_USAGE}
_MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": []}
_GOOGLE_USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12}
_GOOGLE_FIRST = _google("he")
_GOOGLE_LAST = {**_google("llo", finishReason="STOP"), "usageMetadata": _GOOGLE_USAGE}
_CHAT_LAST = _event({**_CHAT_START, "choices": [], "usage": _CHAT_USAGE}) + b"data: [DONE]\n\n"
_STARTED = _named(
    "response.created", response={**_RESPONSE, "status": "in_progress"}, sequence_number=0
)
_HALF = _named(
    "response.output_text.delta", delta="he", item_id="i", output_index=0, sequence_number=1
)
_REST = _named(
    "response.output_text.delta", delta="llo", item_id="i", output_index=0, sequence_number=2
)
_MESSAGE_START = _named(
    "message_start",
    message={**_MESSAGE, "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}},
)
_BLOCK = _named("content_block_start", index=0, content_block={"type": "text", "text": ""})


def _text(text: str) -> bytes:
    return _named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def _google_path(model: str, stream: bool, query: str = "?alt=sse") -> str:
    verb = f"streamGenerateContent{query}" if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}"


def _google_body(model: str, stream: bool) -> Body:
    return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def _google_event(document: object) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\r\n\r\n"


_HI = [{"role": "user", "content": "Hi"}]

SPEECHES: dict[str, Speech] = {
    "chat": Speech(
        "chat",
        "chat",
        lambda model, stream: "/v1/chat/completions",
        # Asked for, so that the reply is the provider's own, byte for byte.
        lambda model, stream: {
            "model": model,
            "messages": _HI,
            **({"stream": True, "stream_options": {"include_usage": True}} if stream else {}),
        },
        opening=_chat_chunk({"role": "assistant", "content": "he"}),
        ending=_chat_chunk({"content": "llo"}) + _chat_chunk({}, "stop") + _CHAT_LAST,
        terminal=b"data: [DONE]\n\n",
        reply=orjson.dumps(
            {
                **_CHAT_START,
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "hello"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": _CHAT_USAGE,
            }
        ),
        keepalive=b": keep-alive\n\n",
    ),
    "responses": Speech(
        "responses",
        "responses",
        lambda model, stream: "/v1/responses",
        lambda model, stream: {"model": model, "input": "Hi", "stream": stream},
        opening=_STARTED + _HALF,
        ending=_REST + _named("response.completed", response=_DONE, sequence_number=3),
        terminal=b"\n\n",
        reply=orjson.dumps(_DONE),
        keepalive=b": keep-alive\n\n",
    ),
    "messages": Speech(
        "messages",
        "messages",
        lambda model, stream: "/v1/messages",
        lambda model, stream: {
            "model": model,
            "max_tokens": 100,
            "messages": _HI,
            "stream": stream,
        },
        opening=_MESSAGE_START + _BLOCK + _text("he"),
        ending=_text("llo")
        + _named("content_block_stop", index=0)
        + _named(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 7},
        )
        + _named("message_stop"),
        terminal=b'data: {"type":"message_stop"}\n\n',
        reply=orjson.dumps(
            {
                **_MESSAGE,
                "content": [{"type": "text", "text": "hello"}],
                "stop_reason": "end_turn",
                "usage": _USAGE,
            }
        ),
        keepalive=b'event: ping\ndata: {"type":"ping"}\n\n',
    ),
    "gemini": Speech(
        "gemini",
        "gemini",
        _google_path,
        _google_body,
        opening=_google_event(_GOOGLE_FIRST),
        ending=_google_event(_GOOGLE_LAST),
        terminal=b"\r\n\r\n",
        reply=orjson.dumps(_GOOGLE_LAST),
        keepalive=b"\r\n",
    ),
    "gemini-array": Speech(
        "gemini-array",
        "gemini",
        lambda model, stream: _google_path(model, stream, ""),
        _google_body,
        opening=b"[" + orjson.dumps(_GOOGLE_FIRST),
        ending=b"\n,\r\n" + orjson.dumps(_GOOGLE_LAST) + b"\n]",
        terminal=b"]",
        reply=orjson.dumps(_GOOGLE_LAST),
        keepalive=b"\n",
    ),
}
FORMATS = ("chat", "responses", "messages", "gemini")
STREAMS = (*FORMATS, "gemini-array")
