"""Errors are worded as each vendor words them."""

from __future__ import annotations

from typing import Any

import orjson

from relayd.demo.refusal import Refusal, error_body
from relayd.model import FormatName


def worded(format: FormatName, refusal: Refusal, retry_after: float | None = None) -> Any:
    return orjson.loads(error_body(format, refusal, "5eed", retry_after))


def test_each_vendor_has_its_words_for_a_status() -> None:
    refusal = Refusal(429, "Slow down.", code="rate_limit_exceeded")
    openai = {"message": "Slow down.", "type": "rate_limit_error", "param": None}
    for format in ("chat", "responses"):
        assert worded(format, refusal) == {"error": openai | {"code": "rate_limit_exceeded"}}
    assert worded("messages", refusal) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow down."},
        "request_id": "req_5eed",
    }
    google = worded("gemini", refusal, 7)["error"]
    assert (google["code"], google["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert google["details"][0]["retryDelay"] == "7s"


def test_an_unknown_status_is_a_server_error() -> None:
    assert worded("chat", Refusal(599, "?"))["error"]["type"] == "server_error"
