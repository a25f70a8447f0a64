"""Failures are answered in the words and places of each format."""

from __future__ import annotations

import orjson
import pytest

from tests.demo.serving import (
    EVERY,
    Serving,
    ask,
    data_of,
    each_stream,
    each_whole,
    ended_well,
    text_in,
)

STATUSES = (400, 401, 403, 404, 429, 500, 503, 529)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_a_status_is_worded_by_its_format(
    demo: Serving, format: str, stream: bool, status: int
) -> None:
    reply = ask(demo, format, f"demo-{status}", stream=stream)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    document = reply.document[0] if format == "array" else reply.document
    error = document["error"]
    assert error["message"]
    if format in ("chat", "responses"):
        assert error.keys() == {"message", "type", "param", "code"}
    elif format == "messages":
        assert document["type"] == "error"
        assert document["request_id"] == reply.headers["request-id"]
    else:
        assert error["code"] == status
        assert error["status"].isupper()


def test_429_says_when_to_come_back(demo: Serving) -> None:
    assert ask(demo, "chat", "demo-429", stream=False).headers["retry-after"] == "1"
    reply = ask(demo, "gemini", "demo-429-7", stream=False)
    assert reply.headers["retry-after"] == "7"
    assert reply.document["error"]["details"][0]["retryDelay"] == "7s"


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_html_is_a_502_page(demo: Serving, format: str, stream: bool) -> None:
    reply = ask(demo, format, "demo-html", stream=stream)
    assert (reply.status, reply.headers["content-type"]) == (502, "text/html")
    assert reply.body.startswith(b"<html>")


@pytest.mark.parametrize(("format", "stream"), EVERY)
def test_malformed_is_a_200_with_broken_json(demo: Serving, format: str, stream: bool) -> None:
    reply = ask(demo, format, "demo-malformed", stream=stream)
    assert reply.status == 200
    assert reply.whole
    with pytest.raises(orjson.JSONDecodeError):
        data_of(reply.body) if stream else orjson.loads(reply.body)
    if stream:
        assert ended_well(format, reply.body)


@each_stream
def test_error_in_stream_comes_after_some_text(demo: Serving, format: str) -> None:
    reply = ask(demo, format, "demo-error-in-stream", stream=True)
    assert (reply.status, reply.whole) == (200, True)
    documents = data_of(reply.body)
    assert text_in(format, documents[:-1]).startswith("You said")
    last = documents[-1]
    if format == "responses":
        assert last["type"] == "response.failed"
        assert last["sequence_number"] == len(documents) - 1
        assert last["response"]["id"] == documents[0]["response"]["id"]
        last = last["response"]
    assert last["error"]
    assert not ended_well(format, reply.body)


@each_stream
def test_error_first_is_the_first_event_of_a_200(demo: Serving, format: str) -> None:
    reply = ask(demo, format, "demo-error-first", stream=True)
    assert reply.status == 200
    (only,) = data_of(reply.body)
    assert only["error"]["message"]


@each_whole
@pytest.mark.parametrize("part", ["error-first", "error-in-stream"])
def test_a_whole_reply_can_be_an_error_with_200(demo: Serving, format: str, part: str) -> None:
    reply = ask(demo, format, f"demo-{part}", stream=False)
    assert reply.status == 200
    assert reply.document["error"]["message"]
