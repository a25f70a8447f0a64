"""Responses streams: lifecycle events tell everything, deltas pass unread."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BrokenStream, NoAnswer
from relayd.model import Usage
from relayd.wire.passthrough import Passthrough
from relayd.wire.responses.stream import ResponsesPassthrough
from tests.wire.cuts import every_way, observer, run

USAGE = {"input_tokens": 5, "output_tokens": 2}
READ = Usage(in_uncached=5, out_total=2)


def event(kind: str, named: bool = True, **more: object) -> bytes:
    name = b"event: " + kind.encode() + b"\n" if named else b""
    return name + b"data: " + orjson.dumps({"type": kind, **more}) + b"\n\n"


def lifecycle(kind: str, number: int = 0, **more: object) -> bytes:
    response = {"id": "r1", "model": "m", "object": "response", **more}
    return event(f"response.{kind}", response=response, sequence_number=number)


CREATED = lifecycle("created", status="in_progress", usage=None, error=None)
DELTA = event("response.output_text.delta", delta="word", sequence_number=1)
COMPLETED = lifecycle("completed", 2, status="completed", usage=USAGE, error=None)


def test_the_bytes_pass_and_the_usage_is_right_however_they_are_cut() -> None:
    stream = CREATED + DELTA + COMPLETED + b"data: [DONE]\n\n"
    for pieces in every_way(stream):
        watch = observer("responses")
        assert run(watch, pieces) == stream
        assert watch.usage == READ
        assert watch.complete
        assert watch.failed is None
        assert watch.response_id == "r1"


def observed(watch: Passthrough) -> Usage | None:
    return watch.usage


@pytest.mark.parametrize(
    ("kind", "failed"),
    [("completed", None), ("incomplete", None), ("failed", "no"), ("cancelled", "no")],
)
def test_every_terminal_event_completes_the_stream(kind: str, failed: str | None) -> None:
    watch = observer("responses")
    watch.feed(CREATED)
    assert watch.usage is None
    watch.feed(DELTA)
    error = {"message": "no"} if failed else None
    before = watch.complete
    watch.feed(lifecycle(kind, usage=USAGE, error=error))
    assert (before, watch.complete, watch.failed) == (False, True, failed)
    assert observed(watch) == READ


def test_tools_that_are_metered_apart_are_kept() -> None:
    watch = observer("responses")
    meters = {"web_search": {"num_requests": 3}}
    watch.feed(lifecycle("completed", usage=USAGE, tool_usage=meters))
    assert watch.usage is not None
    assert watch.usage.server_tools == {"web_search": 3}


def test_azure_gives_the_reason_behind_the_failure() -> None:
    """Before, the failure had no reason; now the `error` event behind it gives one."""
    watch = observer("responses")
    watch.feed(CREATED)
    watch.feed(lifecycle("failed", error=None))
    assert watch.failed == "the response failed"
    watch.feed(event("error", error={"message": "filtered"}))
    assert watch.failed == "filtered"
    watch.feed(event("error", error={"message": "later"}))
    assert watch.failed == "filtered"


@pytest.mark.parametrize(
    "bad",
    [
        event("error", message="no", code="x"),
        event("error", error={"message": "no"}),
        b'event: error\ndata: {"message":"no","error":null}\n\n',
        b'data: {"error":{"message":"no"}}\n\n',
    ],
)
def test_an_error_event_of_any_shape_is_a_failure(bad: bytes) -> None:
    for first in (b"", CREATED):
        watch = observer("responses")
        assert run(watch, [first, bad]) == first + bad
        assert watch.failed == "no"
        assert not watch.complete
        assert watch.first_error_event


def test_a_response_that_was_not_streamed_is_read_at_the_end() -> None:
    for status, failed in (("completed", None), ("failed", "no")):
        error = {"message": "no"} if failed else None
        body = {"id": "r", "object": "response", "status": status, "usage": USAGE, "error": error}
        watch = observer("responses")
        assert run(watch, [orjson.dumps(body)]) == orjson.dumps(body)
        assert (watch.complete, watch.failed, watch.usage) == (True, failed, READ)
        assert watch.response_id == "r"


def test_the_relays_failure_goes_on_with_id_model_and_sequence() -> None:
    watch = observer("responses")
    for piece in (CREATED, DELTA):
        watch.feed(piece)
    name, data, *_ = watch.error_event(BrokenStream("gone"), "req-1").split(b"\n")
    assert name == b"event: response.failed"
    value = orjson.loads(data.removeprefix(b"data: "))
    assert (value["type"], value["sequence_number"]) == ("response.failed", 2)
    response = value["response"]
    assert (response["id"], response["model"], response["status"]) == ("r1", "m", "failed")
    assert response["error"] == {"code": "server_error", "message": "gone"}


def test_a_failure_before_any_event_has_an_id_all_the_same() -> None:
    written = ResponsesPassthrough().error_event(NoAnswer("late", status=429), "req-1")
    value = orjson.loads(written.split(b"data: ")[1])
    assert value["sequence_number"] == 0
    assert value["response"]["id"] == "resp_req-1"
    assert value["response"]["error"]["code"] == "rate_limit_exceeded"


def test_output_is_estimated_from_deltas_alone() -> None:
    watch = observer("responses")
    watch.feed(CREATED)
    for _ in range(50):
        watch.feed(DELTA)
    watch.feed(event("response.output_text.done", text="word" * 50))
    assert watch.estimate_output() == 50
