"""What a reply is entered with: tokens that nobody reported, and failures that cost nothing.

How requests end for their clients is told in tests/relay/test_relay.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from relayd.accounts import DEFAULT_GROUP
from relayd.errors import NoAnswer
from relayd.model import Entry
from relayd.relay.forward import HOLD_LIMIT
from relayd.wire.units import PICTURE_TOKENS
from tests.support.relay_parts import NotingClient, Stage, settled
from tests.support.speech import SPEECHES, STREAMS, Speech
from tests.support.waiting import until

SSE = [(b"content-type", b"text/event-stream")]
JSON = [(b"content-type", b"application/json")]
CHAT = SPEECHES["chat"]
DRAINING = replace(DEFAULT_GROUP, leaving="drain", drain=5.0)


@pytest.fixture(params=STREAMS)
def speech(request: pytest.FixtureRequest) -> Speech:
    return SPEECHES[request.param]


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


async def thinking(stage: Stage, speech: Speech) -> tuple[NotingClient, asyncio.Task[None], Any]:
    """A stream that a keep-alive has opened, while the model thinks."""
    path, body = speech.ask("same", stream=True)
    client = stage.client(body)
    task = stage.serve(client, path)
    sink = await stage.pool.next_sink()
    sink.on_head(200, SSE)
    await until(lambda: bool(client.received))
    return client, task, sink


async def answered(
    body: bytes, path: str = "/v1/chat/completions", ask: bytes = CHAT.ask("same")[1]
) -> Entry:
    """The row of a whole reply."""
    stage = Stage()
    task = stage.serve(stage.client(ask), path)
    sink = await stage.pool.next_sink()
    sink.on_head(200, JSON)
    sink.on_body(body)
    sink.on_end()
    await settled(task)
    return stage.row


# --- a stream that only a keep-alive has opened -------------------------------------------


FAILURES: dict[str, Callable[[Any], None]] = {
    "breaks": lambda sink: sink.on_error(NoAnswer("silent for too long")),
    "ends": lambda sink: sink.on_end(),
    "says so": lambda sink: sink.on_body(b'data: {"error": {"message": "no"}}\n\n'),
}


@pytest.mark.parametrize("how", FAILURES)
def test_a_stream_that_fails_without_one_event_costs_nothing(speech: Speech, how: str) -> None:
    """Its prompt was paid for, because a keep-alive had gone out."""

    async def work() -> None:
        stage = Stage(keepalive=0.02)
        client, task, sink = await thinking(stage, speech)
        FAILURES[how](sink)
        if how == "says so":
            sink.on_end()
        await settled(task)

        assert client.status == 200 and stage.row.outcome in ("broken_stream", "upstream_error")
        assert (stage.row.usage_source, stage.row.usage.total) == ("none", 0)

    run(work)


def test_one_that_fails_after_its_first_event_costs_what_came(speech: Speech) -> None:
    async def work() -> None:
        stage = Stage(keepalive=0.02)
        _, task, sink = await thinking(stage, speech)
        sink.on_body(speech.opening)
        sink.on_error(NoAnswer("silent for too long"))
        await settled(task)

        assert stage.row.usage_source in ("partial", "estimated")
        assert stage.row.usage.total

    run(work)


@pytest.mark.parametrize("fails", [True, False])
def test_who_leaves_a_model_that_thinks_pays_for_the_prompt_unless_it_fails(fails: bool) -> None:
    async def work() -> None:
        stage = Stage(keepalive=0.02, group=DRAINING if fails else DEFAULT_GROUP)
        client, task, sink = await thinking(stage, CHAT)
        client.gone = True
        task.cancel()
        await settled(task)
        if fails:  # it was heard on for its usage
            sink.on_error(NoAnswer("silent for too long"))
            await until(lambda: bool(stage.ledger.rows))

        assert stage.row.outcome == "client_gone"
        assert stage.row.usage_source == ("none" if fails else "estimated")

    run(work)


def test_a_stream_that_we_break_off_before_its_first_event_costs_nothing() -> None:
    async def work() -> None:
        stage = Stage(keepalive=0.02)
        _, task, _ = await thinking(stage, CHAT)
        task.cancel()
        await settled(task)

        assert (stage.row.error_code, stage.row.usage_source) == ("shutting_down", "none")

    run(work)


# --- what nobody reports ------------------------------------------------------------------


@pytest.mark.parametrize("size", [HOLD_LIMIT - 1000, 3 * HOLD_LIMIT])
def test_a_whole_reply_without_usage_is_estimated_by_its_size_however_large(size: int) -> None:
    """Beyond what is held, its output cost nothing."""

    async def work() -> None:
        body = b'{"choices": [{"message": {"content": "%b"}}]}' % (b"x" * size)
        row = await answered(body)

        assert (row.outcome, row.usage_source) == ("ok", "estimated")
        assert row.usage.out_total == len(body) // 4
        assert row.usage.in_uncached

    run(work)


def test_a_large_reply_that_its_client_leaves_is_estimated_by_what_came() -> None:
    async def work() -> None:
        stage = Stage()
        client = stage.client(CHAT.ask("same")[1])
        task = stage.serve(client)
        sink = await stage.pool.next_sink()
        sink.on_head(200, JSON)
        sink.on_body(b'{"x": "' + b"x" * 2 * HOLD_LIMIT)
        client.gone = True
        task.cancel()
        await settled(task)

        assert (stage.row.outcome, stage.row.usage_source) == ("client_gone", "estimated")
        assert stage.row.usage.out_total == (2 * HOLD_LIMIT + 7) // 4

    run(work)


@pytest.mark.parametrize("numbers", [3072, HOLD_LIMIT // 4])
def test_a_vector_has_no_output_tokens(numbers: int) -> None:
    """Those of an embedding without usage were entered by the size of its digits."""

    async def work() -> None:
        body = b'{"data": [{"embedding": [%b0]}]}' % (b"0.01, " * numbers)
        row = await answered(body, "/v1/embeddings", b'{"model": "same", "input": "hello"}')

        assert (row.outcome, row.usage_source) == ("ok", "estimated")
        assert row.usage.total == row.usage.in_uncached
        assert row.usage.in_uncached

    run(work)


# --- pictures and audio ---------------------------------------------------------------------------

PICTURE = b'{"model":"same","prompt":"a cat","n":2}'


def test_pictures_are_entered_as_they_came() -> None:
    async def work() -> None:
        reply = b'{"data":[{"b64_json":"A"}]}'
        row = await answered(reply, "/v1/images/generations", PICTURE)
        assert (row.operation, row.usage_source, row.usage.images) == ("image", "estimated", 1)
        assert row.usage.out_total == PICTURE_TOKENS

        counted = b'{"data":[{"b64_json":"A"}],"usage":{"input_tokens":3,"output_tokens":9}}'
        row = await answered(counted, "/v1/images/generations", PICTURE)
        assert (row.usage_source, row.usage.images, row.usage.out_total) == ("reported", 1, 9)

    run(work)


def test_of_a_reply_too_large_to_hold_as_many_pictures_are_entered_as_were_asked_for() -> None:
    async def work() -> None:
        usage = b'"usage":{"input_tokens":3,"output_tokens":9}'
        pixels = b"A" * (HOLD_LIMIT + 1)
        reply = b'{"data":[{"b64_json":"%b"},{"b64_json":"B"}],%b}' % (pixels, usage)
        row = await answered(reply, "/v1/images/generations", PICTURE)
        assert (row.usage_source, row.usage.images, row.usage.out_total) == ("reported", 2, 9)

    run(work)


def test_who_leaves_before_a_picture_began_pays_for_no_picture() -> None:
    async def work() -> None:
        stage = Stage()
        client = stage.client(PICTURE)
        task = stage.serve(client, "/v1/images/generations")
        await stage.pool.next_sink()
        client.gone = True
        task.cancel()
        await settled(task)
        assert (stage.row.outcome, stage.row.usage_source) == ("client_gone", "estimated")
        assert (stage.row.usage.images, stage.row.usage.out_total) == (None, 0)

    run(work)


SPEECH = b'{"model":"same","input":"Good morning!"}'


@pytest.mark.parametrize("cut", [False, True])
def test_speech_that_could_be_heard_is_paid_by_the_character(cut: bool) -> None:
    async def work() -> None:
        stage = Stage()
        task = stage.serve(stage.client(SPEECH), "/v1/audio/speech")
        sink = await stage.pool.next_sink()
        sink.on_head(200, [(b"content-type", b"audio/mpeg")])
        sink.on_body(b"\xff\xfb" * 100)
        if cut:
            sink.on_error(NoAnswer("cut"))
        else:
            sink.on_end()
        await settled(task)
        assert stage.row.outcome == ("broken_stream" if cut else "ok")
        assert (stage.row.usage_source, stage.row.usage.characters) == ("estimated", 13)
        assert stage.row.usage.out_audio

    run(work)


def test_a_transcript_with_time_stamps_is_as_long_as_these_say() -> None:
    async def work() -> None:
        stage = Stage()
        task = stage.serve(
            stage.client(b'{"model":"same","file":"AAAA"}'), "/v1/audio/transcriptions"
        )
        sink = await stage.pool.next_sink()
        sink.on_head(200, [(b"content-type", b"text/vtt")])
        sink.on_body(b"WEBVTT\n\n00:00.000 --> 01:00.000\nHi\n")
        sink.on_end()
        await settled(task)
        assert (stage.row.usage_source, stage.row.usage.audio_ms) == ("estimated", 60_000)

    run(work)
