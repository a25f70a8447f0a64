"""A demo provider in a thread of its own, and the requests that its tests have in common."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from relayd.demo.provider import DemoProvider
from relayd.demo.reply import reply_to
from relayd.demo.routes import Request
from relayd.demo.script import Script
from tests.support.raw_client import RawClient, Reply, request_bytes

PATIENCE = 30.0
VERSION = {"anthropic-version": "2023-06-01"}
SAID = "Héllo wörld"


class Serving:
    """A started provider. Owns its thread; `stop` ends it.

    Arguments:
        new_loop: makes the event loop, asyncio's or uvloop's.
        provider: another than a plain one with the key.
    """

    def __init__(
        self,
        new_loop: Callable[[], asyncio.AbstractEventLoop],
        key: str | None = None,
        provider: DemoProvider | None = None,
    ) -> None:
        self.provider = provider or DemoProvider(key)
        self._new_loop = new_loop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._new_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self.provider.start()
        self._ready.set()
        await self._stop.wait()
        await self.provider.close()

    def stop(self) -> None:
        """Close the provider and end its thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return self.provider.url

    def connect(self, patience: float = PATIENCE) -> RawClient:
        """A new connection."""
        return RawClient(("127.0.0.1", self.provider.port), patience=patience)

    def ask(
        self,
        path: str,
        document: object = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Reply:
        """One request on a connection of its own."""
        body = b"" if document is None else orjson.dumps(document)
        with self.connect() as client:
            client.send(request_bytes(path, body, headers, method=method))
            return client.reply(bodiless=method == "HEAD")

    def quiet(self) -> bool:
        """Whether nothing of any request is left, given a moment to go away."""
        provider = self.provider
        end = time.monotonic() + 3
        while time.monotonic() < end:
            if not (provider.connections or provider.open_streams or provider.waits):
                return True
            time.sleep(0.002)
        return False


def generate(
    format: str, model: str, *, stream: bool, text: str = SAID, **more: Any
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Path, document and headers of a request to generate, in any of the formats or `array`."""
    messages = [{"role": "user", "content": text}]
    if format == "chat":
        asked = {"model": model, "messages": messages, "stream": stream, **more}
        if stream:
            asked.setdefault("stream_options", {"include_usage": True})
        return "/v1/chat/completions", asked, {}
    if format == "responses":
        return "/v1/responses", {"model": model, "input": text, "stream": stream, **more}, {}
    if format == "messages":
        asked = {"model": model, "messages": messages, "stream": stream, "max_tokens": 500, **more}
        return "/v1/messages", asked, VERSION
    verb = "streamGenerateContent" if stream else "generateContent"
    path = f"/v1beta/models/{model}:{verb}" + ("?alt=sse" if stream and format == "gemini" else "")
    return path, {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}, {}


def data_of(body: bytes) -> list[Any]:
    """The documents of a stream of well-behaved events, or of a JSON array."""
    if body[:1] == b"[":
        found: list[Any] = orjson.loads(body)
        return found
    lines = [line for line in body.replace(b"\r\n", b"\n").split(b"\n") if line[:5] == b"data:"]
    texts = [line[5:].strip() for line in lines]
    return [orjson.loads(text) for text in texts if text != b"[DONE]"]


def text_in(format: str, documents: list[Any]) -> str:
    """The text that a list of stream documents says."""
    return "".join([_TEXTS[format](document) for document in documents])


def _chat(document: Any) -> str:
    choices = document.get("choices") or []
    return "".join([choice["delta"].get("content") or "" for choice in choices])


def _responses(document: Any) -> str:
    return str(document["delta"]) if document["type"] == "response.output_text.delta" else ""


def _messages(document: Any) -> str:
    delta = document.get("delta") or {}
    return str(delta["text"]) if delta.get("type") == "text_delta" else ""


def _gemini(document: Any) -> str:
    parts = [p for c in document.get("candidates", ()) for p in c["content"]["parts"]]
    return "".join([part.get("text", "") for part in parts if not part.get("thought")])


_TEXTS: dict[str, Callable[[Any], str]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
    "array": _gemini,
}


FORMATS = ("chat", "responses", "messages", "gemini")


SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


TOOL: dict[str, dict[str, Any]] = {
    "chat": {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
    "responses": {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]},
    "messages": {"tools": [{"name": "f", "input_schema": SCHEMA}]},
    "gemini": {"tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}]},
}


def script_of(path: str, document: object, key: str | None = None, **headers: str) -> Script:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return reply_to(Request("POST", path, named, body), key, 5.0)


def whole(format: str, model: str = "demo", **more: Any) -> Any:
    path, document, headers = generate(format, model, stream=False, **more)
    return orjson.loads(reply_to(request_of(path, document, headers), None, 5.0).whole)


def streamed(format: str, model: str = "demo", **more: Any) -> list[Any]:
    path, document, headers = generate(format, model, stream=True, **more)
    return data_of(reply_to(request_of(path, document, headers), None, 5.0).whole)


def request_of(path: str, document: Any, headers: dict[str, str]) -> Request:
    return Request("POST", path, headers, orjson.dumps(document))


STREAMS = ("chat", "responses", "messages", "gemini", "array")


WHOLES = ("chat", "responses", "messages", "gemini")


TERMINAL = {
    "chat": rb"data: \[DONE\]\n\n$",
    "responses": rb'"type":"response.completed".*\n\n$',
    "messages": rb'"type":"message_stop"}\n\n$',
    "gemini": rb'"finishReason":"STOP".*\r\n\r\n$',
    "array": rb'"finishReason":"STOP".*\]$',
}


STREAMING = pytest.mark.parametrize("stream", [True, False])


each_stream = pytest.mark.parametrize("format", STREAMS)


each_whole = pytest.mark.parametrize("format", WHOLES)


def send(demo: Serving, format: str, model: str, *, stream: bool, patience: float = 5) -> RawClient:
    path, document, headers = generate(format, model, stream=stream)
    client = demo.connect(patience)
    client.send(request_bytes(path, orjson.dumps(document), headers))
    return client


def ask(demo: Serving, format: str, model: str, *, stream: bool) -> Reply:
    with send(demo, format, model, stream=stream) as client:
        return client.reply()


def wire(demo: Serving, format: str, model: str, *, stream: bool) -> bytes:
    with send(demo, format, model, stream=stream) as client:
        return client.read_all()


def ended_well(format: str, body: bytes) -> bool:
    return re.search(TERMINAL[format], body, re.DOTALL) is not None


EVERY = [*((format, False) for format in WHOLES), *((format, True) for format in STREAMS)]


def form_of(
    fields: Mapping[str, object], *files: tuple[str, str, bytes], boundary: str = "demo-boundary"
) -> tuple[str, bytes]:
    """Content type and body of a multipart form; a file is a field, a file name and bytes."""
    line = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [f'{line}"{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    for field, filename, data in files:
        head = f'{line}"{field}"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return f"multipart/form-data; boundary={boundary}", body


def script_of_form(
    path: str, fields: Mapping[str, object], *files: tuple[str, str, bytes]
) -> Script:
    content_type, body = form_of(fields, *files)
    return reply_to(Request("POST", path, {"content-type": content_type}, body), None, 5.0)
