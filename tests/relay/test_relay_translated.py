"""The relay's story where upstreams speak another format than the client: whom it asks, what it
bills, and that a translation changes nothing about races, waiting and clients that leave.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.accounts import DEFAULT_GROUP
from relayd.model import FormatName, KeyLimits, UpstreamKey
from relayd.policy.pool import Wanted
from relayd.relay.fetching import Fetcher
from relayd.relay.translation import Translator
from relayd.routing import RetryRules, Routing, WaitingRules
from relayd.wire import envelope
from relayd.wire.capabilities import Capabilities
from relayd.wire.neutral import Request
from relayd.wire.parts import Carrier
from relayd.wire.setting import Fetching, Translating
from relayd.wire.transcode import MOST_BRACKETS
from tests.support.relay_parts import NotingClient, Stage, settled
from tests.support.speech import SPEECHES
from tests.support.translated import PROVIDERS, said
from tests.support.waiting import until

CHAT = SPEECHES["chat"]
JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
SPARE: dict[str, tuple[FormatName, ...]] = {"up": ("chat",), "spare": ("messages",)}
NO_WORDS: dict[str, Any] = {"n": 2}  # which Messages cannot be told


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def begin(stage: Stage, *, stream: bool = False, **more: Any) -> tuple[NotingClient, Any]:
    path, body = CHAT.ask("public", stream=stream, **more)
    client = stage.client(body)
    return client, stage.serve(client, path)


def answer(sink: Any, status: int = 200, body: bytes = CHAT.reply) -> None:
    sink.on_head(status, JSON)
    sink.on_body(body)
    sink.on_end()


def asked(stage: Stage) -> list[int]:
    return [len(pool.requests) for pool in stage.connections.values()]


def ended_well(stage: Stage) -> None:
    assert len(stage.ledger.rows) == len(stage.meter.rules) == 1
    assert stage.in_flight == 0
    assert stage.relay.lobby.waiting == 0


# --- who is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_of_another_format_heals_the_failure_of_a_native_one(stream: bool) -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"), formats=SPARE)
        client, task = begin(stage, stream=stream)
        answer(await stage.pool.next_sink(), 500, b"{}")
        sink = await stage.connections["spare"].next_sink()
        if stream:
            sink.on_head(200, SSE)
            sink.on_body(PROVIDERS["messages"].opening)
            sink.on_body(PROVIDERS["messages"].ending)
            sink.on_end()
        else:
            answer(sink, body=PROVIDERS["messages"].whole)
        await settled(task)
        assert said("chat", client.received, stream=stream) == ("hello", 5, 7)
        row = stage.row
        assert (row.upstream, row.format_out, row.attempts) == ("spare", "messages", 2)
        assert stage.meter.translations == [("chat", "messages", "ok", ())]
        ended_well(stage)

    run(work)


def test_where_all_others_have_no_words_the_first_failure_is_told() -> None:
    async def work() -> None:
        rules = Routing(retries=RetryRules(attempts=1))
        stage = Stage(routing=rules, names=("up", "spare"), formats=SPARE)
        client, task = begin(stage, **NO_WORDS)
        answer(await stage.pool.next_sink(), 500, b"{}")
        await settled(task)
        assert client.status == 502
        assert asked(stage) == [1, 0]
        assert (stage.row.upstream, stage.row.attempts) == ("up", 1)
        ended_well(stage)

    run(work)


def test_a_failure_is_repeated_where_it_was_when_nobody_else_has_words() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"), formats=SPARE)
        client, task = begin(stage, **NO_WORDS)
        answer(await stage.pool.next_sink(), 500, b"{}")
        answer(await stage.pool.next_sink())
        await settled(task)
        assert (client.status, client.received) == (200, CHAT.reply)
        assert asked(stage) == [2, 0]
        assert ("chat", "messages", "refused", ()) in stage.meter.translations
        assert (stage.row.upstream, stage.row.attempts, stage.row.format_out) == ("up", 2, "chat")
        assert [what for what, _ in stage.meter.happened] == ["retry"]
        ended_well(stage)

    run(work)


def test_a_request_that_nobody_has_words_for_is_a_400_and_asks_nobody() -> None:
    async def work() -> None:
        stage = Stage(names=("up",), formats={"up": ("messages",)})
        client, task = begin(stage, **NO_WORDS)
        await settled(task)
        assert client.status == 400
        assert orjson.loads(client.received)["error"]["param"] == "n"
        row = stage.row
        assert (row.outcome, row.upstream, row.attempts, row.cost) == ("bad_request", "", 0, 0)
        assert row.usage_source == "none"
        ended_well(stage)

    run(work)


def test_a_request_waits_for_an_upstream_that_has_words_for_it() -> None:
    async def work() -> None:
        rules = Routing(waiting=WaitingRules(timeout=5.0))
        stage = Stage(routing=rules, names=("up", "spare"), formats=SPARE)
        door = stage.pools.doors["up/1"]
        door.key = UpstreamKey("1", door.key.secret, 1, KeyLimits(concurrency=1))
        door.adopt(door.spec, door.key, door.sites, rules)
        route = stage.pools.route("public", "chat", True)
        held = stage.pools.choose(route, Wanted(), 0.0)
        assert held.door.name == "up/1"
        client, task = begin(stage, **NO_WORDS)
        await until(lambda: stage.relay.lobby.waiting == 1)
        held.leave(0.0)
        stage.relay.lobby.stir()
        answer(await stage.pool.next_sink())
        await settled(task)
        assert client.status == 200
        assert asked(stage) == [1, 0]

    run(work)


def test_where_nobody_who_has_words_is_well_the_refusal_is_told() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"), formats=SPARE)
        stage.pools.disable("up", None, 0.0)
        client, task = begin(stage, **NO_WORDS)
        await settled(task)
        assert client.status == 400
        ended_well(stage)

    run(work)


def test_a_model_goes_to_the_endpoint_that_its_provider_serves_it_at() -> None:
    async def work() -> None:
        table = Capabilities({"private": {"endpoints": ("responses",)}})
        formats: dict[str, tuple[FormatName, ...]] = {"up": ("chat", "responses")}
        stage = Stage(formats=formats, translator=Translator(capabilities=table))
        client, task = begin(stage)
        answer(await stage.pool.next_sink(), body=PROVIDERS["responses"].whole)
        await settled(task)
        assert said("chat", client.received, stream=False) == ("hello", 5, 7)
        assert stage.row.format_out == "responses"
        assert (b"x-relayd-translated", b"chat->responses") in client.headers

    run(work)


def test_a_model_with_no_endpoint_of_its_upstreams_is_asked_in_the_clients_words() -> None:
    async def work() -> None:
        table = Capabilities({"private": {"endpoints": ("gemini",)}})
        formats: dict[str, tuple[FormatName, ...]] = {"up": ("chat", "responses")}
        stage = Stage(formats=formats, translator=Translator(capabilities=table))
        client, task = begin(stage)
        answer(await stage.pool.next_sink())
        await settled(task)
        assert (client.status, client.received) == (200, CHAT.reply)
        assert stage.row.format_out == "chat"
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("enabled", [True, False])
def test_tools_beside_thinking_go_to_the_endpoint_that_takes_both(enabled: bool) -> None:
    """wire-formats, trap 141"""

    async def work() -> None:
        table = Capabilities({"private": {"tools_endpoint": "responses"}})
        translator = Translator(Translating(enabled=enabled), table)
        stage = Stage(translator=translator)
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        client, task = begin(stage, tools=[tool])
        spoken: FormatName = "responses" if enabled else "chat"
        answer(await stage.pool.next_sink(), body=PROVIDERS[spoken].whole)
        await settled(task)
        assert client.status == 200
        assert stage.row.format_out == spoken

    run(work)


def test_a_native_request_loses_what_another_provider_sealed() -> None:
    async def work() -> None:
        stage = Stage()
        sealed = envelope.wrap(Carrier("anthropic-signature", "theirs"), "elsewhere")
        detail = {"type": "reasoning.encrypted", "data": sealed}
        turn = {"role": "assistant", "content": "Hello.", "reasoning_details": [detail]}
        user = {"role": "user", "content": "Hi"}
        client, task = begin(stage, messages=[user, turn, user], stream=True)
        sink = await stage.pool.next_sink()
        body = stage.pool.requests[0]
        assert b"rly1" not in body
        assert b"Hello." in body
        sink.on_head(200, SSE)
        sink.on_body(CHAT.stream)
        sink.on_end()
        await settled(task)
        assert client.received == CHAT.stream  # what comes back passes as it is
        assert stage.row.format_out == "chat"
        ended_well(stage)

    run(work)


SEALED = envelope.wrap(Carrier("anthropic-signature", "theirs"), "elsewhere")


@pytest.mark.parametrize(
    ("path", "enabled"),
    [("/v1/responses", True), ("/v1/responses", False), ("/v1/responses/compact", True)],
)
def test_what_another_provider_sealed_stays_here_also_where_nothing_is_translated(
    path: str, enabled: bool
) -> None:
    async def work() -> None:
        stage = Stage(translator=Translator(Translating(enabled=enabled)))
        thought = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": SEALED}
        user = {"type": "message", "role": "user", "content": "Hello."}
        body = orjson.dumps({"model": "public", "input": [user, thought, user]})
        client = stage.client(body)
        task = stage.serve(client, path)
        sink = await stage.pool.next_sink()
        assert b"rly1" not in stage.pool.requests[0]
        assert b"Hello." in stage.pool.requests[0]
        answer(sink, body=PROVIDERS["responses"].whole)
        await settled(task)
        assert (client.status, client.received) == (200, PROVIDERS["responses"].whole)
        ended_well(stage)

    run(work)


def test_a_sealed_request_that_cannot_be_looked_into_asks_nobody() -> None:
    async def work() -> None:
        stage = Stage()
        deep: object = SEALED
        for _ in range(230):
            deep = [deep]
        client, task = begin(stage, x=deep)
        await settled(task)
        assert client.status == 400
        assert asked(stage) == [0]
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("begun", [False, True])
def test_a_silent_translated_stream_is_kept_alive_in_the_clients_own_way(begun: bool) -> None:
    async def work() -> None:
        stage = Stage(0.02, formats={"up": ("messages",)})
        client, task = begin(stage, stream=True)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        if begun:
            sink.on_body(PROVIDERS["messages"].opening)
        await until(lambda: client.received.count(CHAT.keepalive) > 1)
        if not begun:
            sink.on_body(PROVIDERS["messages"].opening)
        sink.on_body(PROVIDERS["messages"].ending)
        sink.on_end()
        await settled(task)
        assert said("chat", client.received, stream=True) == ("hello", 5, 7)
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("stream", [False, True])
def test_without_usage_a_whole_reply_is_charged_by_its_text(stream: bool) -> None:
    """Our own words for it are longer, and in a stream say some of it several times."""

    async def work() -> None:
        stage = Stage(formats={"up": ("messages",)})
        client, task = begin(stage, stream=stream)
        block = {"type": "text", "text": "word " * 200}
        reply = {"type": "message", "content": [block], "stop_reason": "end_turn"}
        answer(await stage.pool.next_sink(), body=orjson.dumps(reply))
        await settled(task)
        assert client.status == 200
        row = stage.row
        assert (row.outcome, row.usage_source, row.usage.out_total) == ("ok", "estimated", 250)

    run(work)


def test_a_whole_reply_of_too_many_values_is_the_upstreams_failure() -> None:
    async def work() -> None:
        stage = Stage(formats={"up": ("messages",)})
        client, task = begin(stage)
        answer(await stage.pool.next_sink(), body=b'{"content":[' + b"[]," * MOST_BRACKETS + b"0]}")
        await settled(task)
        assert client.status == 502
        assert b"too many values" in client.received
        ended_well(stage)

    run(work)


# --- races --------------------------------------------------------------------------------------


def hedging(
    formats: dict[str, tuple[FormatName, ...]] | None = None, translator: Translator | None = None
) -> Stage:
    """Two upstreams, of which the first usually answers within a millisecond."""
    rules = RetryRules(floor=1000)
    routing = Routing(hedge=True, retries=rules)
    stage = Stage(
        routing=routing,
        names=("up", "spare"),
        formats=formats or SPARE,
        translator=translator,
    )
    for _ in range(50):
        stage.pools.doors["up/1"].quantiles.observe(0.001)
    return stage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("winner", ["up", "spare"])
def test_a_translated_attempt_may_race_a_native_one(winner: str, stream: bool) -> None:
    async def work() -> None:
        stage = hedging()
        client, task = begin(stage, stream=stream)
        sinks = {name: await pool.next_sink() for name, pool in stage.connections.items()}
        provider = PROVIDERS["chat" if winner == "up" else "messages"]
        if stream:
            sinks[winner].on_head(200, SSE)
            sinks[winner].on_body(provider.opening)
            assert "upstream: aborted" in stage.happened
            sinks[winner].on_body(provider.ending)
            sinks[winner].on_end()
        else:
            answer(sinks[winner], body=provider.whole)
        await settled(task)
        assert said("chat", client.received, stream=stream) == ("hello", 5, 7)
        row = stage.row
        assert (row.outcome, row.upstream, row.attempts) == ("ok", winner, 2)
        assert row.format_out == ("chat" if winner == "up" else "messages")
        assert stage.happened.count("upstream: aborted") == 1
        ended_well(stage)

    run(work)


def test_who_has_no_words_loses_a_race_at_once() -> None:
    async def work() -> None:
        stage = hedging()
        client, task = begin(stage, **NO_WORDS)
        sink = await stage.pool.next_sink()
        await until(lambda: stage.in_flight == 1)
        answer(sink)
        await settled(task)
        assert (client.status, client.received) == (200, CHAT.reply)
        assert asked(stage) == [1, 0]
        ended_well(stage)

    run(work)


def test_an_estimate_of_ours_wins_a_race_against_a_silent_upstream() -> None:
    async def work() -> None:
        stage = hedging({"up": ("messages",), "spare": ("chat",)})  # Chat cannot count
        body = {"model": "public", "messages": [{"role": "user", "content": "Hi"}]}
        client = stage.client(orjson.dumps(body))
        task = stage.serve(client, "/v1/messages/count_tokens")
        await stage.pool.next_sink()
        await settled(task)
        assert client.status == 200
        assert orjson.loads(client.received)["input_tokens"] > 0
        assert (b"x-relayd-estimated", b"true") in client.headers
        assert "upstream: aborted" in stage.happened
        assert stage.row.outcome == "ok"
        assert stage.pools.doors["up/1"].failures == 1  # it lost, silent for longer than is usual
        ended_well(stage)

    run(work)


class SlowPictures(Fetcher):
    """Their servers take their time."""

    async def inline(self, request: Request, rules: Fetching, account: int = 0) -> None:
        await asyncio.sleep(5)


def test_who_was_not_asked_yet_is_not_to_blame_for_losing_a_race() -> None:
    """While we fetched the client's picture, it was not the upstream that was silent."""

    async def work() -> None:
        rows = {"up": {"*": {"image_urls": False}}}
        terms = Translating(remote_images=Fetching())
        translator = Translator(terms, Capabilities({}, upstreams=rows), SlowPictures())
        stage = hedging({"up": ("messages",), "spare": ("gemini",)}, translator)
        image = {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}}
        client, task = begin(stage, messages=[{"role": "user", "content": [image]}])
        await until(lambda: stage.in_flight == 2)
        sink = await stage.connections["spare"].next_sink()
        answer(sink, body=PROVIDERS["gemini"].whole)
        await settled(task)
        assert client.status == 200
        assert asked(stage) == [0, 1]
        door = stage.pools.doors["up/1"]
        assert door.failures == 0
        assert door.quantiles.quantile(0.999) == pytest.approx(0.001, rel=0.1)
        ended_well(stage)

    run(work)


# --- clients that leave -------------------------------------------------------------------------


def test_a_translated_reply_whose_client_left_is_heard_for_its_usage() -> None:
    async def work() -> None:
        group = replace(DEFAULT_GROUP, leaving="drain")
        stage = Stage(group=group, formats={"up": ("messages",)})
        client, task = begin(stage, stream=True)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(PROVIDERS["messages"].opening)
        client.gone = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        sink.on_body(PROVIDERS["messages"].ending)
        await until(lambda: bool(stage.ledger.rows))
        row = stage.row
        assert (row.outcome, row.usage_source, row.format_out) == (
            "client_gone",
            "reported",
            "messages",
        )
        assert (row.usage.in_uncached, row.usage.out_total) == (5, 7)
        ended_well(stage)

    run(work)


def test_a_whole_translated_reply_whose_client_left_is_heard_for_its_usage() -> None:
    async def work() -> None:
        group = replace(DEFAULT_GROUP, leaving="drain")
        stage = Stage(group=group, formats={"up": ("messages",)})
        client, task = begin(stage)
        sink = await stage.pool.next_sink()
        client.gone = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        answer(sink, body=PROVIDERS["messages"].whole)
        await until(lambda: bool(stage.ledger.rows))
        assert (stage.row.outcome, stage.row.usage.out_total) == ("client_gone", 7)
        ended_well(stage)

    run(work)


def test_a_translated_stream_that_we_break_off_says_so_in_the_clients_format() -> None:
    async def work() -> None:
        stage = Stage(formats={"up": ("messages",)})
        client, task = begin(stage, stream=True)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(PROVIDERS["messages"].opening)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert b"shutting down" in client.received
        assert (stage.row.outcome, stage.row.error_code) == ("no_upstream", "shutting_down")
        ended_well(stage)

    run(work)


def test_the_first_error_event_of_another_format_is_a_failure_that_is_tried_elsewhere() -> None:
    async def work() -> None:
        formats: dict[str, tuple[FormatName, ...]] = {"up": ("messages",), "spare": ("gemini",)}
        stage = Stage(routing=Routing(), names=("up", "spare"), formats=formats)
        client, task = begin(stage, stream=True)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        sink.on_body(b"event: error\ndata: " + orjson.dumps(error) + b"\n\n")
        spare = await stage.connections["spare"].next_sink()
        spare.on_head(200, SSE)
        spare.on_body(PROVIDERS["gemini"].opening + PROVIDERS["gemini"].ending)
        spare.on_end()
        await settled(task)
        assert said("chat", client.received, stream=True) == ("hello", 5, 7)
        assert stage.meter.attempts == [("up", "1", "overloaded"), ("spare", "1", "ok")]
        ended_well(stage)

    run(work)
