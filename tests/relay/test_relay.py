"""The story of a request, told by transcripts: client in, upstream out, upstream in, client out.

Whatever happens there is exactly one row, written before the last byte goes out, and the lease
is given back.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest

from relayd.errors import BadReply, ConnectFailed, NoAnswer, RelayError
from relayd.model import Entry
from relayd.policy.keys import Directory
from relayd.relay.replies import error_headers
from relayd.upstream.connection import StaleConnection
from tests.support.logged import lines
from tests.support.relay_parts import TOO_LARGE, Stage, settled
from tests.support.speech import SPEECHES, STREAMS, Speech

SSE = [(b"content-type", b"text/event-stream")]
JSON = [(b"content-type", b"application/json")]
CHAT = SPEECHES["chat"]


def run(work: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        stage = Stage()
        await work(stage)
        assert len(stage.ledger.rows) == len(stage.meter.rules) == 1
        assert stage.in_flight == 0
        assert not any(watch._live for watch in stage.relay.asking.watches.values())

    asyncio.run(whole())


@pytest.fixture(params=STREAMS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


def test_a_whole_reply_passes_after_its_row_is_written(speech: Speech) -> None:
    async def work(stage: Stage) -> None:
        path, body = speech.ask("public")
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        assert stage.in_flight == 1
        sink.on_head(200, JSON)
        sink.on_body(speech.reply[:20])
        sink.on_body(speech.reply[20:])
        assert stage.happened[-1].startswith("upstream: asked"), "held until it is judged"
        sink.on_end()
        await settled(task)

        assert stage.happened == [
            "upstream: asked on a new connection",
            "row",
            "client: whole reply",
        ]
        assert (client.status, client.received) == (200, speech.reply)
        row = stage.row
        assert (row.outcome, row.status, row.usage_source, row.stream) == (
            "ok",
            200,
            "reported",
            False,
        )
        assert (row.usage.in_uncached, row.usage.out_total) == speech.usage
        assert (row.key_id, row.account_id, row.upstream) == (7, 3, "up")
        assert (row.model_asked, row.model_used) == ("public", "private")
        assert (row.format_in, row.format_out, row.operation) == (speech.format,) * 2 + (
            "generate",
        )
        assert stage.meter.rules == ["public"]

    run(work)


def test_a_stream_passes_piece_by_piece_and_its_row_is_written_before_the_end(
    speech: Speech,
) -> None:
    async def work(stage: Stage) -> None:
        path, body = speech.ask("public", stream=True)
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        assert "client: head" not in stage.happened, "the head waits for the first byte"
        sink.on_body(speech.opening)
        assert client.received == speech.opening
        sink.on_body(speech.ending)
        sink.on_end()
        await settled(task)

        assert client.received == speech.stream
        assert stage.happened[1:] == [
            "client: head",
            "client: bytes",
            "client: bytes",
            "row",
            "client: end",
        ]
        row = stage.row
        assert (row.outcome, row.usage_source, row.stream) == ("ok", "reported", True)
        assert (row.usage.in_uncached, row.usage.out_total) == speech.usage
        assert row.first_byte is not None

    run(work)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_request_leaves_nothing_to_the_garbage_collector(speech: Speech, leaves: bool) -> None:
    """Before, an exchange referred to itself, and a 500 kB prompt stayed until a collection."""

    async def ask(stage: Stage) -> None:
        path, body = speech.ask("public", stream=True)
        task = stage.serve(stage.client(body), path)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(speech.opening)
        if leaves:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            sink.on_body(speech.ending)
            sink.on_end()
            await settled(task)
        stage.pool.sinks.clear()

    async def work(stage: Stage) -> None:
        gc.freeze()  # all that is there already, thousands of tests among it, is not looked at
        gc.disable()
        await ask(stage)
        await asyncio.sleep(0)  # what was put off until after the reply
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            left = [type(one) for one in gc.garbage if type(one).__module__.startswith("relayd")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert left == []

    run(work)


def test_the_model_is_renamed_in_the_bytes_and_nothing_else() -> None:
    async def work(stage: Stage) -> None:
        body = (
            b'{ "a":1.0,"model" : "public", "messages":[], '
            b'"model2":"public", "n":12345678901234567890 }'
        )
        task = stage.serve(stage.client(body))
        sink = await stage.pool.next_sink()
        head, _, sent = stage.pool.requests[0].partition(b"\r\n\r\n")
        assert sent == body.replace(b'"public"', b'"private"', 1)
        assert b"content-length: %d" % len(sent) in head
        assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
        sink.on_head(200, JSON)
        sink.on_body(CHAT.reply)
        sink.on_end()
        await settled(task)

    run(work)


def test_geminis_model_is_renamed_in_the_path() -> None:
    async def work(stage: Stage) -> None:
        speech = SPEECHES["gemini"]
        path, body = speech.ask("public", stream=True)
        task = stage.serve(stage.client(body), path)
        sink = await stage.pool.next_sink()
        head, _, sent = stage.pool.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1beta/models/private:streamGenerateContent?alt=sse HTTP")
        assert sent == body
        sink.on_head(200, SSE)
        sink.on_body(speech.stream)
        sink.on_end()
        await settled(task)

    run(work)


def test_usage_is_asked_for_and_its_chunk_hidden_when_the_client_did_not() -> None:
    async def work(stage: Stage) -> None:
        body = b'{"model":"same","stream":true,"messages":[]}'
        client = stage.client(body)
        task = stage.serve(client)
        sink = await stage.pool.next_sink()
        sent = orjson.loads(stage.pool.requests[0].partition(b"\r\n\r\n")[2])
        assert sent == {**orjson.loads(body), "stream_options": {"include_usage": True}}
        sink.on_head(200, SSE)
        for piece in CHAT.stream.splitlines(keepends=True):
            sink.on_body(piece)
        sink.on_end()
        await settled(task)

        assert b'"choices":[]' not in client.received
        assert client.received.count(b"data:") == CHAT.stream.count(b"data:") - 1
        assert (stage.row.usage_source, stage.row.usage.out_total) == ("reported", 7)

    run(work)


def test_a_stream_without_usage_is_estimated() -> None:
    async def work(stage: Stage) -> None:
        task = stage.serve(stage.client(CHAT.ask("same", stream=True)[1]))
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(CHAT.stream.replace(b'"usage"', b'"unused"'))
        sink.on_end()
        await settled(task)
        row = stage.row
        assert (row.outcome, row.usage_source) == ("ok", "estimated")
        assert row.usage.in_uncached
        assert row.usage.out_total

    run(work)


def test_a_count_of_tokens_is_no_usage() -> None:
    async def work(stage: Stage) -> None:
        body = b'{"model":"same","messages":[]}'
        task = stage.serve(stage.client(body), "/v1/messages/count_tokens")
        sink = await stage.pool.next_sink()
        sink.on_head(200, JSON)
        sink.on_body(b'{"input_tokens":5}')
        sink.on_end()
        await settled(task)
        row = stage.row
        assert (row.outcome, row.usage_source, row.usage.total) == ("ok", "none", 0)

    run(work)


# --- refusals ---------------------------------------------------------------------------

REFUSALS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no key": ({"credential": ""}, 401, "refused", ""),
    "bad key": ({"credential": "sk-nobody"}, 401, "refused", ""),
    "no route": ({"path": "/v1/nothing"}, 404, "refused", ""),
    "malformed": ({"body": b"{"}, 400, "bad_request", ""),
    "too large": ({"body": TOO_LARGE}, 413, "bad_request", ""),
    "no model": ({"body": b"{}"}, 400, "bad_request", ""),
    "unknown model": ({"body": b'{"model":"other"}'}, 404, "refused", "other"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_row_and_one_reply_and_asks_nobody(name: str) -> None:
    given, status, outcome, model = REFUSALS[name]

    async def work(stage: Stage) -> None:
        client = stage.client(b'{"model":"same","messages":[]}')
        client.body = given.get("body", client.body)
        more = {k: v for k, v in given.items() if k in ("path", "credential")}
        await settled(stage.serve(client, **more))

        assert stage.happened == ["row", "client: whole reply"]
        assert client.status == status
        assert "error" in orjson.loads(client.received)
        row = stage.row
        assert (row.status, row.outcome, row.model_asked) == (status, outcome, model)
        assert (row.upstream, row.usage_source) == ("", "none")

    run(work)


def test_a_full_log_refuses_and_is_not_filled_further() -> None:
    """Before, each refusal was one more row for a store that takes none."""

    async def work() -> None:
        stage = Stage()
        stage.ledger.full = stage.ledger.crowded = True
        client = stage.client(b'{"model":"same","messages":[]}')
        await settled(stage.serve(client))
        assert client.status == 503
        assert (stage.ledger.rows, stage.meter.rules) == ([], [""])

    asyncio.run(work())


def test_a_key_that_is_disabled_while_its_body_comes_is_refused() -> None:
    async def work() -> None:
        stage = Stage()
        client = stage.client(b"")
        client.body = asyncio.get_running_loop().create_future()
        task = stage.serve(client)
        await asyncio.sleep(0)
        stage.relay.directory = Directory([])
        client.body.set_result(SPEECHES["chat"].ask("same")[1])
        await settled(task)
        assert (client.status, stage.row.outcome, stage.happened.count("row")) == (
            401,
            "refused",
            1,
        )

    asyncio.run(work())


def test_a_flood_without_a_key_is_answered_and_counted_and_keeps_few_rows() -> None:
    async def work() -> None:
        stage = Stage()
        clients = [stage.client(b"{}") for _ in range(700)]
        for client in clients:
            await settled(stage.serve(client, credential="sk-nobody"))
        for _ in range(700):
            stage.relay.note(Entry("bad", 1.0, status=400, outcome="bad_request"))
        assert {client.status for client in clients} == {401}
        assert len(stage.meter.rules) == 1400
        assert 600 <= len(stage.ledger.rows) < 1400  # and ten more a second

    asyncio.run(work())


def test_stopping_tells_a_client_in_mid_stream_in_its_own_format(speech: Speech) -> None:
    """Before, its stream was torn, and the row said that the client had left."""

    async def work(stage: Stage) -> None:
        path, body = speech.ask("same", stream=True)
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(speech.opening)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert stage.happened[-2:] == ["row", "client: end"]
        assert b"shutting down" in client.received[len(speech.opening) :]
        assert (stage.row.outcome, stage.row.error_code) == ("no_upstream", "shutting_down")

    run(work)


def test_a_connection_that_dies_late_is_not_asked_twice() -> None:
    """The upstream may have worked on the request: again would be twice the bill."""

    async def work(stage: Stage) -> None:
        stage.pool.idle = 1
        client = stage.client(CHAT.ask("same")[1])
        task = stage.serve(client)
        sink = await stage.pool.next_sink()
        sink.sent_at -= 2.0
        sink.on_error(StaleConnection("closed", status=502))
        await settled(task)
        assert len(stage.pool.requests) == 1
        assert (client.status, stage.row.outcome) == (502, "upstream_error")

    run(work)


# --- failures of the upstream -----------------------------------------------------------


def test_a_connection_that_fails_is_an_error_reply() -> None:
    async def work(stage: Stage) -> None:
        stage.pool.fails = [ConnectFailed("no way")]
        client = stage.client(CHAT.ask("same", stream=True)[1])
        await settled(stage.serve(client))
        assert (client.status, stage.row.status, stage.row.outcome) == (502, 502, "upstream_error")
        assert stage.happened == ["row", "client: whole reply"]

    run(work)


@pytest.mark.parametrize("stream", [False, True])
def test_a_stale_connection_is_retried_once_and_is_one_row(stream: bool) -> None:
    async def work(stage: Stage) -> None:
        stage.pool.idle = 2
        client = stage.client(CHAT.ask("same", stream=stream)[1])
        task = stage.serve(client)
        sink = await stage.pool.next_sink()
        sink.on_error(StaleConnection("closed"))
        again = await stage.pool.next_sink()
        assert stage.happened == [
            "upstream: asked on an idle connection",
            "upstream: asked on a new connection",
        ]
        assert stage.pool.requests[0] == stage.pool.requests[1]
        again.on_head(200, SSE if stream else JSON)
        again.on_body(CHAT.stream if stream else CHAT.reply)
        again.on_end()
        await settled(task)
        assert (client.status, stage.row.outcome) == (200, "ok")

    run(work)


def test_a_fresh_connection_that_closes_is_not_retried() -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(CHAT.ask("same")[1])
        task = stage.serve(client)
        (await stage.pool.next_sink()).on_error(NoAnswer("closed", status=502))
        await settled(task)
        assert (client.status, len(stage.pool.sinks)) == (502, 1)

    run(work)


def test_a_stream_that_breaks_ends_in_an_error_event_after_its_row(speech: Speech) -> None:
    async def work(stage: Stage) -> None:
        path, body = speech.ask("same", stream=True)
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(speech.opening + speech.ending[:9])
        sink.on_error(BadReply("broken off"))
        await settled(task)

        assert stage.happened[-2:] == ["row", "client: end"]
        assert client.received.startswith(speech.opening)
        assert b"broken off" in client.received
        row = stage.row
        assert (row.outcome, row.status) == ("broken_stream", 200)
        assert row.usage_source in ("partial", "estimated")

    run(work)


def test_a_stream_that_breaks_after_its_terminal_event_was_served(speech: Speech) -> None:
    async def work(stage: Stage) -> None:
        path, body = speech.ask("same", stream=True)
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(speech.stream)
        sink.on_error(BadReply("broken off"))
        await settled(task)
        assert client.received == speech.stream
        assert (stage.row.outcome, stage.row.usage_source) == ("ok", "reported")

    run(work)


# --- clients that leave -----------------------------------------------------------------


async def leave(stage: Stage, client: Any, task: asyncio.Task[None]) -> None:
    client.gone = True
    task.cancel()
    await settled(task)
    assert task.cancelled(), "aiohttp has to hear of it"


@pytest.mark.parametrize("seen", ["nothing", "head", "opening"])
def test_a_client_that_leaves_cancels_the_upstream(speech: Speech, seen: str) -> None:
    async def work(stage: Stage) -> None:
        path, body = speech.ask("same", stream=True)
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        if seen != "nothing":
            sink.on_head(200, SSE)
        if seen == "opening":
            sink.on_body(speech.opening)
        await asyncio.sleep(0)
        await leave(stage, client, task)
        assert stage.happened[-2:] == ["upstream: aborted", "row"]
        assert (stage.row.outcome, stage.row.status) == ("client_gone", 499)

    run(work)


def test_a_client_that_leaves_after_the_terminal_event_was_served(speech: Speech) -> None:
    async def work(stage: Stage) -> None:
        path, body = speech.ask("same", stream=True)
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(speech.stream)
        await asyncio.sleep(0)
        await leave(stage, client, task)
        assert stage.happened[-2:] == ["upstream: detached", "row"]
        row = stage.row
        assert (row.outcome, row.status, row.usage_source) == ("ok", 200, "reported")
        assert (row.usage.in_uncached, row.usage.out_total) == speech.usage

    run(work)


def test_a_client_that_leaves_while_uploading_is_one_row() -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(b"")
        client.body = asyncio.get_running_loop().create_future()
        task = stage.serve(client)
        await asyncio.sleep(0)
        await leave(stage, client, task)
        assert stage.happened == ["row"]
        assert (stage.row.outcome, stage.row.upstream) == ("client_gone", "")

    run(work)


def test_a_bug_of_ours_is_a_500_and_a_row(caplog: pytest.LogCaptureFixture) -> None:
    async def work(stage: Stage) -> None:
        stage.pool.fails = [ZeroDivisionError("secret detail")]
        client = stage.client(CHAT.ask("same")[1])
        await settled(stage.serve(client))
        assert (client.status, stage.row.outcome) == (500, "relay_error")
        assert b"secret detail" not in client.received

    run(work)
    assert any("error a request failed in relayd request=req_1" in one for one in lines(caplog))


# --- flow -------------------------------------------------------------------------------


def test_a_slow_client_stops_the_upstream_and_lets_it_go_on() -> None:
    async def work(stage: Stage) -> None:
        client = stage.client(CHAT.ask("same", stream=True)[1])
        task = stage.serve(client)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        client.paused = True
        sink.on_body(CHAT.opening)
        assert stage.happened[-1] == "upstream: paused"
        client.paused = False
        assert client.resume is not None
        client.resume()
        assert stage.happened[-1] == "upstream: resumed"
        sink.on_body(CHAT.ending)
        sink.on_end()
        await settled(task)
        assert client.received == CHAT.stream

    run(work)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.0, b"1"), (0.2, b"1"), (1.5, b"2"), (7.0, b"7"), (30, b"30")]
)
def test_retry_after_is_whole_seconds_never_too_early(seconds: float, expected: bytes) -> None:
    headers = dict(error_headers(RelayError("later", retry_after=seconds)))
    assert headers[b"retry-after"] == expected
