"""Requests as bytes: one per format, ready to be written to a socket any number of times."""

from __future__ import annotations

from typing import Any

import orjson

from benchmarks.servers import Server

FORMATS = ("chat", "messages", "responses", "gemini")
EVENT = b"data: {"  # stands once in every content event of every format's stream
END_OF_CHUNKS = b"0\r\n\r\n"
HI = [{"role": "user", "content": "Hi"}]


def request(server: Server, format_name: str, model: str, *, stream: bool = False) -> bytes:
    """A request for a small reply of this model."""
    path, key_header, body = _ask(format_name, model, stream)
    return rendered((server.port, server.key), path, key_header, orjson.dumps(body))


def large_request(server: Server, model: str, size: int) -> bytes:
    """A chat request with a prompt of `size` bytes."""
    body = chat_body(model, size)
    at = (server.port, server.key)
    return rendered(at, "/v1/chat/completions", "authorization: Bearer ", body)


def chat_body(model: str, size: int) -> bytes:
    """The JSON of a chat request with a prompt of `size` bytes."""
    line = "The relay reads it once, and hands it on as it came. "
    prompt = (line * (size // len(line) + 1))[:size]
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    return orjson.dumps(body)


def rendered(at: tuple[int, str], path: str, key_header: str, body: bytes) -> bytes:
    """Head and body, for a server `at` this port that is shown this key."""
    port, key = at
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{key_header}{key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _ask(format_name: str, model: str, stream: bool) -> tuple[str, str, dict[str, Any]]:
    if format_name == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        contents = [{"role": "user", "parts": [{"text": "Hi"}]}]
        return f"/v1beta/models/{model}:{verb}", "x-goog-api-key: ", {"contents": contents}
    body: dict[str, Any] = {"model": model, "stream": stream}
    if format_name == "responses":
        return "/v1/responses", "authorization: Bearer ", body | {"input": "Hi"}
    if format_name == "messages":
        key_header = "anthropic-version: 2023-06-01\r\nx-api-key: "
        return "/v1/messages", key_header, body | {"messages": HI, "max_tokens": 100000}
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return "/v1/chat/completions", "authorization: Bearer ", body | {"messages": HI} | options
