"""Several attempts at one request: who is asked next, and that nobody is asked too often.

The rules themselves are tested in tests/policy/test_attempts.py; here it is that the relay keeps
them: one row, one reply, every lease ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any, Literal

import orjson
import pytest

from relayd.errors import BadReply, ConnectFailed, NoAnswer
from relayd.model import KeyLimits, UpstreamKey
from relayd.policy.pool import Wanted
from relayd.policy.prices import Price, PriceBook, Rates
from relayd.routing import ModelRouting, RetryRules, Routing, WaitingRules
from tests.support.forms import audio, form, model
from tests.support.relay_parts import NotingClient, Stage, settled
from tests.support.speech import SPEECHES
from tests.support.waiting import until

CHAT = SPEECHES["chat"]
JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
OVERLOADED = b'{"error":{"message":"busy","type":"server_error"}}'


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def asked(stage: Stage) -> list[str]:
    """Who was asked, in order of upstreams: how often each."""
    return [f"{name}: {len(pool.requests)}" for name, pool in stage.connections.items()]


async def begin(stage: Stage, *, stream: bool = False) -> tuple[NotingClient, asyncio.Task[None]]:
    path, body = CHAT.ask("public", stream=stream)
    client = stage.client(body)
    return client, stage.serve(client, path)


def answer(sink: Any, status: int = 200, body: bytes = CHAT.reply) -> None:
    sink.on_head(status, JSON)
    sink.on_body(body)
    sink.on_end()


def ended_well(stage: Stage) -> None:
    assert len(stage.ledger.rows) == len(stage.meter.rules) == 1
    assert stage.in_flight == 0
    assert stage.relay.lobby.waiting == 0


def test_a_failure_before_the_first_byte_is_healed_by_another_upstream() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"))
        client, task = await begin(stage)
        answer(await stage.pool.next_sink(), 500, OVERLOADED)
        answer(await stage.connections["spare"].next_sink())
        await settled(task)

        assert (client.status, client.received) == (200, CHAT.reply)
        assert (b"x-relayd-attempts", b"2") in client.headers
        assert asked(stage) == ["up: 1", "spare: 1"]
        row = stage.row
        assert (row.outcome, row.upstream, row.upstream_key, row.attempts) == (
            "ok",
            "spare",
            "1",
            2,
        )
        assert stage.meter.attempts == [("up", "1", "upstream_500"), ("spare", "1", "ok")]
        ended_well(stage)

    run(work)


def test_a_form_goes_to_the_next_upstream_whole() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"))
        client = stage.client(form(audio(b"sound"), model("public")))
        task = stage.serve(client, "/v1/audio/transcriptions")
        answer(await stage.pool.next_sink(), 500, OVERLOADED)
        answer(await stage.connections["spare"].next_sink(), body=b'{"text":"hello"}')
        await settled(task)

        assert (client.status, client.received) == (200, b'{"text":"hello"}')
        for pool in stage.connections.values():
            [request] = pool.requests
            assert request.endswith(b"\r\n\r\n" + form(audio(b"sound"), model("private")))
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("failure", [ConnectFailed("refused"), NoAnswer("timeout")])
def test_what_fails_in_connecting_is_tried_elsewhere(failure: Exception) -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"))
        stage.pool.fails.append(failure)
        client, task = await begin(stage)
        answer(await stage.connections["spare"].next_sink())
        await settled(task)
        assert client.status == 200
        ended_well(stage)

    run(work)


def test_a_failure_after_the_first_byte_is_never_tried_again() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"))
        client, task = await begin(stage, stream=True)
        sink = await stage.pool.next_sink()
        sink.on_head(200, SSE)
        sink.on_body(CHAT.opening)
        sink.on_error(BadReply("broke off"))
        await settled(task)

        assert client.received.startswith(CHAT.opening)
        assert b"error" in client.received[len(CHAT.opening) :]
        assert asked(stage) == ["up: 1", "spare: 0"]
        assert (stage.row.outcome, stage.row.attempts) == ("broken_stream", 1)
        ended_well(stage)

    run(work)


def test_a_rate_limit_passes_as_it_came_when_nobody_else_can_answer() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"))
        client, task = await begin(stage)
        for name in ("up", "spare"):
            sink = await stage.connections[name].next_sink()
            sink.on_head(429, [*JSON, (b"retry-after", b"7"), (b"x-ratelimit-limit", b"3")])
            sink.on_body(b'{"error":{"message":"%b is limited"}}' % name.encode())
            sink.on_end()
        await settled(task)

        assert (client.status, client.received) == (
            429,
            b'{"error":{"message":"spare is limited"}}',
        )
        assert (b"retry-after", b"7") in client.headers
        assert (stage.row.status, stage.row.outcome) == (429, "upstream_error")
        states = [stage.pools.doors[n].gates.get("private") for n in ("up/1", "spare/1")]
        assert all(gate is not None and gate.cooled_until > 0 for gate in states)
        ended_well(stage)

    run(work)


def test_a_mistake_of_the_client_is_nobody_elses_to_answer() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"))
        client, task = await begin(stage)
        answer(await stage.pool.next_sink(), 400, b'{"error":{"message":"bad"}}')
        await settled(task)
        assert client.status == 400
        assert asked(stage) == ["up: 1", "spare: 0"]
        ended_well(stage)

    run(work)


def test_another_model_answers_when_nobody_serves_the_one_asked_for() -> None:
    async def work() -> None:
        routing = Routing(models=(ModelRouting("public", fallbacks=("nobody", "other")),))
        stage = Stage(routing=routing, names=("up", "spare"), fallback="other")
        client, task = await begin(stage)
        answer(await stage.pool.next_sink(), 503, OVERLOADED)
        spare = stage.connections["spare"]
        answer(await spare.next_sink())
        await settled(task)

        assert client.status == 200
        assert (b"x-relayd-model", b"other") in client.headers
        assert orjson.loads(spare.requests[0].partition(b"\r\n\r\n")[2])["model"] == "other"
        assert (stage.row.model_asked, stage.row.model_used) == ("public", "other")
        ended_well(stage)

    run(work)


DEAR = Price(Rates.of({"input": 1000, "output": 1000}))


def falling_back(granted: int) -> Stage:
    """A stage whose model is free, falls back to one that is not, and whose balance is `granted`
    pico-dollars."""
    routing = Routing(models=(ModelRouting("public", fallbacks=("other",)),))
    stage = Stage(
        routing=routing, names=("up", "spare"), fallback="other", prices=[("other", DEAR)]
    )
    stage.balances.set_granted({3: granted})
    return stage


def test_a_model_without_a_price_does_not_fall_back_to_one_that_nobody_pays_for() -> None:
    """Five such requests left a tenth of a cent at minus 45 cents."""

    async def work() -> None:
        stage = falling_back(granted=1_000)
        client, task = await begin(stage)
        await settled(task)

        assert client.status == 402
        assert asked(stage) == ["up: 0", "spare: 0"]
        ended_well(stage)

    run(work)


def test_a_fallback_is_paid_for_at_its_price_when_the_request_began() -> None:
    async def work() -> None:
        stage = falling_back(granted=10**9)
        _, task = await begin(stage)
        sink = await stage.pool.next_sink()
        reserved = stage.balances.account(3).reserved
        stage.till.prices = PriceBook([("other", Price(Rates(), request=1))])
        answer(sink, 503, OVERLOADED)
        answer(await stage.connections["spare"].next_sink())
        await settled(task)

        assert stage.row.cost == 12 * 1000
        assert stage.row.cost <= reserved
        assert stage.balances.account(3).reserved == 0
        ended_well(stage)

    run(work)


def test_a_client_that_leaves_between_attempts_leaves_nothing() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing())
        client, task = await begin(stage)
        answer(await stage.pool.next_sink(), 500, OVERLOADED)
        await asyncio.sleep(0)  # it rests before the only upstream is asked again
        client.gone = True
        task.cancel()
        await settled(task)
        assert (stage.row.outcome, stage.row.status) == ("client_gone", 499)
        assert asked(stage) == ["up: 1"]
        ended_well(stage)

    run(work)


# --- the waiting room ---------------------------------------------------------------------------


def limited(stage: Stage, limits: KeyLimits) -> None:
    """The only upstream's key gets these limits."""
    [door] = stage.pools.doors.values()
    key = UpstreamKey("1", door.key.secret, limits=limits)
    door.adopt(door.spec, key, door.sites, door.routing)


def test_a_request_waits_for_a_place_and_gets_it_when_another_ends() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing())
        limited(stage, KeyLimits(concurrency=1))
        first_client, first = await begin(stage)
        sink = await stage.pool.next_sink()
        second_client, second = await begin(stage)
        await asyncio.sleep(0)
        assert stage.relay.lobby.waiting == 1
        assert asked(stage) == ["up: 1"]
        answer(sink)
        await settled(first)
        answer(await stage.pool.next_sink())
        await settled(second)
        assert (first_client.status, second_client.status) == (200, 200)
        assert [row.outcome for row in stage.ledger.rows] == ["ok", "ok"]
        assert stage.in_flight == stage.relay.lobby.waiting == 0

    run(work)


def test_who_waits_too_long_gets_a_503_that_says_when_to_come_again() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(waiting=WaitingRules(timeout=0.02)))
        limited(stage, KeyLimits(concurrency=1))
        _, first = await begin(stage)
        sink = await stage.pool.next_sink()
        client, second = await begin(stage)
        await settled(second)
        assert client.status == 503
        assert dict(client.headers)[b"retry-after"] == b"1"
        assert stage.ledger.rows[0].error_code == "upstream_full"
        answer(sink)
        await settled(first)
        assert stage.in_flight == stage.relay.lobby.waiting == 0

    run(work)


def test_a_client_that_leaves_the_queue_frees_its_place() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(waiting=WaitingRules(places=1)))
        limited(stage, KeyLimits(concurrency=1))
        _, first = await begin(stage)
        sink = await stage.pool.next_sink()
        leaver_client, leaver = await begin(stage)
        await asyncio.sleep(0)
        turned_away, third = await begin(stage)
        await settled(third)
        assert turned_away.status == 503, "the room has one place"
        leaver_client.gone = True
        leaver.cancel()
        await settled(leaver)
        stayer_client, stayer = await begin(stage)
        answer(sink)
        await settled(first)
        answer(await stage.pool.next_sink())
        await settled(stayer)
        assert stayer_client.status == 200
        assert stage.in_flight == stage.relay.lobby.waiting == 0

    run(work)


def test_the_first_byte_on_a_kept_connection_shows_that_the_base_url_is_well() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing())
        _, body = CHAT.ask("public")
        stage.pool.fails = [ConnectFailed("refused")]
        await settled(stage.serve(stage.client(body)))
        breaker = stage.pools.doors["up/1"].sites[0].breaker
        assert breaker.state == "open"
        breaker.until = 1.0  # that moment is past
        stage.pool.idle = 1
        client, task = await begin(stage, stream=True)
        sink = await stage.pool.next_sink()
        assert breaker.state == "half_open"
        sink.on_head(200, SSE)
        sink.on_body(CHAT.opening)
        assert breaker.state == "closed" and not task.done()
        sink.on_body(CHAT.ending)
        sink.on_end()
        await settled(task)
        assert client.received == CHAT.stream

    run(work)


def test_the_parsed_request_is_dropped_before_anybody_waits() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing(), names=("up", "spare"))
        _, task = await begin(stage)
        sink = await stage.pool.next_sink()
        assert sink._owner._asked.head.request == {}
        answer(sink)
        await settled(task)

    run(work)


def test_a_connection_that_comes_about_shows_that_the_base_url_is_well() -> None:
    async def work() -> None:
        stage = Stage(routing=Routing())
        _, body = CHAT.ask("public")
        stage.pool.fails = [ConnectFailed("refused")]
        await settled(stage.serve(stage.client(body)))
        breaker = stage.pools.doors["up/1"].sites[0].breaker
        breaker.until = 1.0  # that moment is past
        _, task = await begin(stage)
        sink = await stage.pool.next_sink()
        await asyncio.sleep(0)
        assert breaker.state == "closed" and not task.done()
        answer(sink)
        await settled(task)

    run(work)


@pytest.mark.parametrize("stays", [False, True])
def test_who_waited_is_served_by_the_upstream_as_it_was_when_his_turn_came(stays: bool) -> None:
    async def work() -> None:
        stage = Stage(routing=Routing())
        limited(stage, KeyLimits(concurrency=1))
        held = stage.pools.choose(stage.pools.route("public", "chat"), Wanted(), 0.0)
        client, task = await begin(stage)
        await asyncio.sleep(0)
        assert stage.relay.lobby.waiting == 1
        held.leave(0.0)
        stage.relay.lobby.stir()  # it is served, and has not heard of it when the reload comes
        specs = [replace(stage.pools.doors["up/1"].spec, name="up" if stays else "other")]
        stage.pools.reload(specs)
        stage.relay.reconfigure({}, 10.0, 120.0)
        answer(await stage.pool.next_sink())
        await settled(task)
        assert (client.status, client.received) == (200, CHAT.reply)
        assert stage.in_flight == stage.relay.lobby.waiting == 0

    run(work)


# --- hedging ------------------------------------------------------------------------------------


class Broken(asyncio.Event):
    """What is waited for turns out to be a bug."""

    async def wait(self) -> Literal[True]:
        await super().wait()
        raise ZeroDivisionError("a bug")


def hedging(usual: float = 0.001) -> Stage:
    """Two upstreams, of which the first usually answers within so many seconds."""
    rules = RetryRules(floor=1000)  # the budget is not the point
    stage = Stage(routing=Routing(hedge=True, retries=rules), names=("up", "spare"))
    for _ in range(50):
        stage.pools.doors["up/1"].quantiles.observe(usual)
    return stage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("winner", ["up", "spare"])
def test_of_two_attempts_the_first_with_bytes_answers_and_the_other_is_cancelled(
    winner: str, stream: bool
) -> None:
    async def work() -> None:
        stage = hedging()
        client, task = await begin(stage, stream=stream)
        sinks = {name: await pool.next_sink() for name, pool in stage.connections.items()}
        sink = sinks[winner]
        if stream:
            sink.on_head(200, SSE)
            sink.on_body(CHAT.opening)
            assert "upstream: aborted" in stage.happened
            sink.on_body(CHAT.ending)
            sink.on_end()
        else:
            answer(sink)
        await settled(task)
        assert client.received == (CHAT.stream if stream else CHAT.reply)
        row = stage.row
        assert (row.outcome, row.upstream, row.attempts) == ("ok", winner, 2)
        assert (row.usage.in_uncached, row.usage.out_total) == CHAT.usage
        assert stage.happened.count("upstream: aborted") == 1
        meter, loser = stage.meter, "spare" if winner == "up" else "up"
        assert meter.happened == [("hedge", "first" if winner == "up" else "second")]
        assert sorted(meter.attempts) == sorted([(winner, "1", "ok"), (loser, "1", "lost_race")])
        ended_well(stage)

    run(work)


def test_waiting_for_the_first_of_two_is_not_our_own_work() -> None:
    async def work() -> None:
        stage = hedging(usual=0.1)
        client, task = await begin(stage)
        client.heard_at = monotonic()
        for pool in stage.connections.values():
            sink = await pool.next_sink()
        answer(sink)
        await settled(task)
        [own] = stage.meter.overheads
        assert stage.row.attempts == 2 and own <= stage.row.duration - 0.09

    run(work)


def test_a_form_is_not_sent_to_two_upstreams_at_one_time() -> None:
    async def work() -> None:
        stage = hedging()
        client = stage.client(form(audio(b"sound"), model("same")))
        task = stage.serve(client, "/v1/audio/transcriptions")
        sink = await stage.connections["up"].next_sink()
        await asyncio.sleep(0.05)  # fifty times as long as the upstream usually takes
        answer(sink, body=b'{"text":"hello"}')
        await settled(task)
        assert stage.connections["spare"].sinks == []
        assert (client.received, stage.row.attempts) == (b'{"text":"hello"}', 1)
        ended_well(stage)

    run(work)


def test_what_is_no_answer_yet_wins_nothing() -> None:
    async def work() -> None:
        stage = hedging()
        client, task = await begin(stage, stream=True)
        first, second = [await pool.next_sink() for pool in stage.connections.values()]
        second.on_head(200, SSE)
        second.on_body(b": ping\n\n")
        assert "upstream: aborted" not in stage.happened
        first.on_head(200, SSE)
        first.on_body(CHAT.opening)
        assert stage.happened.count("upstream: aborted") == 1
        first.on_body(CHAT.ending)
        first.on_end()
        await settled(task)
        assert (client.received, stage.row.upstream) == (CHAT.stream, "up")
        ended_well(stage)

    run(work)


def test_an_attempt_that_begins_with_an_error_leaves_the_other_alone() -> None:
    async def work() -> None:
        stage = hedging()
        client, task = await begin(stage, stream=True)
        first, second = [await pool.next_sink() for pool in stage.connections.values()]
        second.on_head(200, SSE)
        second.on_body(b'data: {"error":{"message":"boom","type":"server_error"}}\n\n')
        await asyncio.sleep(0)
        first.on_head(200, SSE)
        first.on_body(CHAT.stream)
        first.on_end()
        await settled(task)
        assert (client.received, stage.row.upstream) == (CHAT.stream, "up")
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("slow", ["up", "spare"])
def test_an_attempt_that_loses_before_it_is_connected_sends_nothing(slow: str) -> None:
    async def work() -> None:
        stage = hedging()
        winner = "spare" if slow == "up" else "up"
        connects = stage.connections[slow].connects = asyncio.Event()
        client, task = await begin(stage)
        sink = await stage.connections[winner].next_sink()
        await until(lambda: "upstream: connecting" in stage.happened)
        sink.on_head(200, JSON)
        sink.on_body(CHAT.reply[:9])  # it has won, and is not done
        connects.set()
        await asyncio.sleep(0.01)
        assert stage.connections[slow].requests == []
        sink.on_body(CHAT.reply[9:])
        sink.on_end()
        await settled(task)
        assert (client.received, stage.row.upstream) == (CHAT.reply, winner)
        ended_well(stage)

    run(work)


def test_a_backup_is_not_blamed_for_having_been_asked_late() -> None:
    async def work() -> None:
        stage = hedging()
        spare = stage.pools.doors["spare/1"]
        for _ in range(50):
            spare.quantiles.observe(0.5)
        for _ in range(20):
            _, task = await begin(stage)
            first, _ = [await pool.next_sink() for pool in stage.connections.values()]
            answer(first)
            await settled(task)
        assert asked(stage) == ["up: 20", "spare: 20"]
        assert (spare.failures, spare.gates, spare.tally.ratio(0.0)) == (0, {}, None)
        assert stage.in_flight == 0

    run(work)


def test_who_is_silent_for_longer_than_usual_and_loses_is_blamed() -> None:
    async def work() -> None:
        stage = hedging()
        first = stage.pools.doors["up/1"]
        usual = first.quantiles.quantile(0.95)
        for number in range(1, 5):
            _, task = await begin(stage)
            _, second = [await pool.next_sink() for pool in stage.connections.values()]
            await asyncio.sleep(0.005)
            answer(second)
            await settled(task)
            assert (first.failures, stage.meter.attempts[-1]) == (number, ("spare", "1", "ok"))
        # And those times count: what is usual is not that of the winners alone.
        now_usual = first.quantiles.quantile(0.95)
        assert usual is not None and now_usual is not None and now_usual > usual
        assert stage.in_flight == 0

    run(work)


def test_a_failure_beside_a_running_attempt_is_not_the_end() -> None:
    async def work() -> None:
        stage = hedging()
        client, task = await begin(stage)
        first, second = [await pool.next_sink() for pool in stage.connections.values()]
        answer(second, 500, OVERLOADED)
        await asyncio.sleep(0)
        answer(first)
        await settled(task)
        assert (client.status, stage.row.upstream) == (200, "up")
        assert ("spare", "1", "upstream_500") in stage.meter.attempts
        ended_well(stage)

    run(work)


def test_a_client_that_leaves_cancels_both_attempts() -> None:
    async def work() -> None:
        stage = hedging()
        client, task = await begin(stage)
        for pool in stage.connections.values():
            await pool.next_sink()
        await asyncio.sleep(0.005)  # both are silent for longer than usual: that is not the point
        client.gone = True
        task.cancel()
        await settled(task)
        assert stage.happened.count("upstream: aborted") == 2
        assert stage.row.outcome == "client_gone"
        assert [door.failures for door in stage.pools.doors.values()] == [0, 0]
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("broken", ["up", "spare"])
def test_a_bug_in_one_attempt_ends_both_and_is_not_hidden(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        stage = hedging()
        connects = stage.connections[broken].connects = Broken()
        client, task = await begin(stage)
        other = stage.connections["spare" if broken == "up" else "up"]
        await other.next_sink()
        await until(lambda: "upstream: connecting" in stage.happened)
        connects.set()
        await settled(task)
        assert (client.status, stage.row.error_code) == (500, "internal_error")
        assert stage.happened.count("upstream: aborted") == 1
        assert [door.failures for door in stage.pools.doors.values()] == [0, 0]
        ended_well(stage)

    run(work)
    assert "a bug" in caplog.text


def test_the_budget_ends_retries_when_everything_fails() -> None:
    async def work() -> None:
        rules = RetryRules(budget=0.0, floor=1)
        stage = Stage(routing=Routing(retries=rules), names=("up", "spare", "third"))
        client, task = await begin(stage)
        answer(await stage.pool.next_sink(), 500, OVERLOADED)
        answer(await stage.connections["spare"].next_sink(), 500, OVERLOADED)
        await settled(task)
        assert client.status == 502
        assert asked(stage) == ["up: 1", "spare: 1", "third: 0"]
        ended_well(stage)

    run(work)
