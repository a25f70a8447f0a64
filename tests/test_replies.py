"""What a reply is entered with: tokens that nobody reported, and failures that cost nothing.

How requests end for their clients is told in tests/test_relay.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from relayd.accounts import DEFAULT_GROUP
from relayd.errors import NoAnswer
from relayd.forward import HOLD_LIMIT
from relayd.model import Entry
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
