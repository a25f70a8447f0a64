"""Responses streams under way: only lifecycle events matter, and all of those carry a `response`.

The terminal event has the usage; `created` and `in_progress` have null there. Azure sends
`response.failed` with a null error and the real reason in an `error` event behind it, so a later
reason replaces none. An error of the relay's own is a `response.failed` that goes on with the
sequence of the events before it.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import sse
from relayd.wire.facts import section, text
from relayd.wire.head import Head
from relayd.wire.passthrough import Passthrough
from relayd.wire.responses import reply

# Event type, or status of a reply that was not streamed at all -> whether the response failed.
TERMINAL = {
    "response.completed": False,
    "response.incomplete": False,
    "response.failed": True,
    "response.cancelled": True,
    "completed": False,
    "incomplete": False,
    "failed": True,
    "cancelled": True,
}
_SEQUENCE = re.compile(rb'"sequence_number"\s*:\s*(\d+)')
_NO_REASON = "the response failed"


class ResponsesPassthrough(Passthrough):
    """The observer of a Responses stream."""

    needles = (b'"response"', b'"error"')

    __slots__ = ("_model", "_response")

    def __init__(self, limit: int = sse.DEFAULT_LIMIT) -> None:
        super().__init__(limit)
        self._response: dict[str, Any] | None = None
        self._model = ""

    def _usage(self) -> Usage | None:
        return reply.usage_of(self._response) if self._response else None

    def _event(self, name: bytes, value: dict[str, Any]) -> None:
        kind = text(value.get("type")) or name.decode(errors="replace")
        # A host that ignored `stream` answers with the response object alone.
        response = value if value.get("object") == "response" else section(value.get("response"))
        self._model = self._model or text(response.get("model"))
        failed = TERMINAL.get(text(response.get("status")) if response is value else kind)
        if failed is not None:
            self.complete = True
        if failed:
            self._fail(response.get("error") or _NO_REASON)
        elif kind == "error" or (value.get("error") and response is not value):
            self._fail(value.get("error") or value)
        if response.get("usage"):
            self._response = {"usage": response["usage"], "tool_usage": response.get("tool_usage")}

    def _fail(self, error: object) -> None:
        if self.failed == _NO_REASON:
            self.failed = None
        super()._fail(error)

    def _id(self, value: dict[str, Any]) -> str:
        return text(section(value.get("response")).get("id")) or super()._id(value)

    def _worded(self, exc: RelayError, request_id: str) -> bytes:
        response = {
            "id": self.response_id or f"resp_{request_id}",
            "object": "response",
            "created_at": 0,
            "status": "failed",
            "error": {"code": _code(exc), "message": exc.message},
            "incomplete_details": None,
            "model": self._model,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
            "metadata": {"request_id": request_id},
        }
        event = {
            "type": "response.failed",
            "sequence_number": self._next_number(),
            "response": response,
        }
        return b"event: response.failed\ndata: " + orjson.dumps(event) + b"\n\n"

    def _next_number(self) -> int:
        numbers = _SEQUENCE.findall(self._recent)
        return int(numbers[-1]) + 1 if numbers else self.events


def observer(head: Head) -> Passthrough:
    """A fresh observer for the stream that answers `head`."""
    return ResponsesPassthrough()


def _code(exc: RelayError) -> str:
    """The nearest word of the format's own list of codes for failed responses."""
    return "rate_limit_exceeded" if exc.status == 429 else "server_error"
