"""An exchange and its watch: silence noticed in time, by numbers, without waiting for any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from relayd.errors import BadReply, ClientGone, NoAnswer, RelayError
from relayd.model import Timeouts
from relayd.relay.forward import GUARD_LIMIT, HOLD_LIMIT, Exchange
from relayd.relay.sides import RawHeaders
from relayd.relay.watch import Patience, Watch
from relayd.wire import reply_head
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.passthrough import Passthrough
from relayd.wire.paths import Target
from tests.support.logged import lines
from tests.support.relay_parts import NotingClient, NotingConnection
from tests.support.speech import SPEECHES
from tests.support.waiting import until

SSE = [(b"content-type", b"text/event-stream")]
MESSAGES = SPEECHES["messages"]
PATIENCE = Patience(Timeouts(first_byte=20, stall=30, total=100), keepalive=8, client=40)


class Deciding:
    """An owner that lets replies through unless told otherwise, and judges first errors as told."""

    request = "req_1"

    def __init__(self) -> None:
        self.lets_through = True
        self.heard: list[str] = []
        self.judgement: RelayError | None = None

    def connected(self) -> None:
        self.heard.append("connected")

    def claim(self, status: int) -> bool:
        self.heard.append("claim")
        return self.lets_through

    def stream_headers(self, headers: RawHeaders) -> RawHeaders:
        return headers

    def first_error(self, data: bytes) -> RelayError | None:
        return self.judgement


class Scene:
    """An exchange of a messages stream between a noting client and a noting upstream."""

    def __init__(
        self,
        *,
        stream: bool = True,
        opaque: bool = False,
        patience: Patience = PATIENCE,
        client: type[NotingClient] = NotingClient,
    ) -> None:
        self.happened: list[str] = []
        self.client = client(self.happened, b"")
        self.watch = Watch(patience, asyncio.get_running_loop())
        observer = observer_of_messages() if stream else None
        self.owner = Deciding()
        self.exchange = Exchange(
            self.client,
            observer,
            self.owner,
            self.watch,
            opaque=reply_head.is_opaque if opaque else None,
        )
        self.exchange.attach(NotingConnection(self.happened))
        self.start = self.exchange.sent_at

    def after(self, seconds: float) -> str:
        """Look, that many seconds after the request was sent; what happened last."""
        self.exchange.check(self.start + seconds)
        return self.happened[-1] if self.happened else ""

    @property
    def problem(self) -> Any:
        return self.exchange.done.result() if self.exchange.done.done() else None


def observer_of_messages() -> Passthrough:
    target = Target("messages", "generate", verb="messages")
    return FORMATS["messages"].sniffer(Head(target, "m", True, b"{}"))


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_no_first_byte_in_time_is_no_answer() -> None:
    async def work() -> None:
        scene = Scene()
        assert scene.after(19.9) == ""
        assert scene.after(20) == "upstream: aborted"
        assert isinstance(scene.problem, NoAnswer)
        assert scene.watch._live == set()

    run(work)


def test_a_silent_stream_is_kept_alive_then_given_up() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(MESSAGES.opening)
        assert scene.after(1) == "client: bytes"
        received = scene.client.received
        scene.after(8.9)
        assert scene.client.received == received
        scene.after(9)
        assert scene.client.received == received + MESSAGES.keepalive
        scene.after(12)
        scene.after(17)
        assert scene.client.received == received + MESSAGES.keepalive * 2
        assert scene.after(30.9) != "upstream: aborted"
        assert scene.after(31) == "upstream: aborted"
        assert isinstance(scene.problem, NoAnswer)

    run(work)


def test_nothing_is_put_inside_an_event() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(MESSAGES.opening + b"event: x\nda")
        received = scene.client.received
        scene.after(1)
        scene.after(20)
        assert scene.client.received == received

    run(work)


def test_a_head_that_promises_a_stream_is_told_on_while_the_model_thinks() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.on_head(200, SSE)
        assert scene.after(7.9) == ""
        scene.after(8)
        assert scene.happened == ["client: head", "client: bytes"]
        assert scene.client.received == MESSAGES.keepalive
        assert scene.exchange.first_byte_at is None
        scene.exchange.on_body(MESSAGES.stream)
        assert scene.client.received == MESSAGES.keepalive + MESSAGES.stream

    run(work)


@pytest.mark.parametrize(
    ("status", "headers"), [(200, [(b"content-type", b"application/json")]), (500, SSE), (0, [])]
)
def test_a_head_that_promises_no_stream_is_not(status: int, headers: Any) -> None:
    async def work() -> None:
        scene = Scene()
        if status:
            scene.exchange.on_head(status, headers)
        scene.after(8)
        scene.after(19)
        assert scene.happened == []

    run(work)


def test_a_whole_reply_is_never_kept_alive() -> None:
    async def work() -> None:
        scene = Scene(stream=False)
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(b"{")
        scene.after(1)
        scene.after(25)
        assert scene.happened == []

    run(work)


def test_keepalive_0_is_never() -> None:
    async def work() -> None:
        scene = Scene(patience=Patience(Timeouts(), keepalive=0))
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(MESSAGES.opening)
        received = scene.client.received
        scene.after(1)
        scene.after(100)
        assert scene.client.received == received

    run(work)


def test_a_busy_stream_ends_at_the_total_time() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.on_head(200, SSE)
        for second in range(0, 100, 5):
            scene.exchange.on_body(MESSAGES.opening)
            scene.after(second)
            assert scene.problem is None
        scene.exchange.on_body(MESSAGES.opening)
        scene.after(100)
        assert isinstance(scene.problem, NoAnswer)

    run(work)


def test_a_client_that_does_not_read_is_cut_off_and_the_upstream_not_blamed() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.on_head(200, SSE)
        scene.client.paused = True
        scene.exchange.on_body(MESSAGES.opening)
        assert scene.happened[-1] == "upstream: paused"
        paused_at = scene.exchange._paused_at
        assert paused_at is not None
        scene.exchange.check(paused_at + 39)  # the upstream's stall of 30 does not count meanwhile
        assert scene.problem is None
        scene.exchange.check(paused_at + 40)
        assert isinstance(scene.problem, ClientGone)
        assert scene.happened[-2:] == ["client: aborted", "upstream: aborted"]

    run(work)


def test_a_reply_within_the_bound_is_held_and_a_larger_one_passes() -> None:
    async def work() -> None:
        scene = Scene(stream=False)
        scene.exchange.on_head(200, [(b"content-length", b"2000000")])
        scene.exchange.on_body(b"x" * HOLD_LIMIT)
        assert scene.happened == []
        scene.exchange.on_body(b"y" * 100_000)
        assert scene.happened == ["client: head", "client: bytes"]
        assert len(scene.client.received) == HOLD_LIMIT + 100_000
        scene.exchange.on_body(b"z" * 200_000)
        assert list(scene.exchange.kept.pieces) == [b"z" * 200_000]  # the last read, whole

    run(work)


def test_a_large_error_is_not_passed() -> None:
    async def work() -> None:
        scene = Scene(stream=False)
        scene.exchange.on_head(500, [])
        scene.exchange.on_body(b"x" * (HOLD_LIMIT + 1))
        assert scene.happened == ["upstream: aborted"]
        assert scene.problem is not None

    run(work)


def test_a_watch_runs_only_while_there_is_something_to_watch() -> None:
    async def work() -> None:
        patience = Patience(Timeouts(first_byte=0.04, stall=1, total=1), keepalive=1, client=1)
        scene = Scene(patience=patience)
        assert scene.watch._timer is not None
        assert isinstance(await scene.exchange.done, NoAnswer)
        await until(lambda: scene.watch._timer is None)

    run(work)


PING = MESSAGES.keepalive
FIRST_ERROR = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'


def streaming(judgement: RelayError | None = None) -> Scene:
    """A scene whose upstream has promised a stream."""
    scene = Scene()
    scene.owner.judgement = judgement
    scene.exchange.on_head(200, SSE)
    return scene


def test_nothing_goes_out_before_the_first_event_shows_that_it_is_an_answer() -> None:
    async def work() -> None:
        scene = streaming()
        scene.exchange.on_body(PING)
        scene.exchange.on_body(b": a comment\n\n")
        scene.exchange.on_body(MESSAGES.opening[:20])
        assert scene.happened == []
        assert not scene.exchange.started
        scene.exchange.on_body(MESSAGES.opening[20:])
        assert scene.client.received == PING + b": a comment\n\n" + MESSAGES.opening
        assert scene.happened == ["client: head", "client: bytes"]

    run(work)


def test_an_error_that_comes_first_ends_the_exchange_before_the_client_hears_of_it() -> None:
    async def work() -> None:
        problem = BadReply("overloaded")
        for pieces in ([FIRST_ERROR], [PING, FIRST_ERROR[:30], FIRST_ERROR[30:]]):
            scene = streaming(problem)
            for piece in pieces:
                scene.exchange.on_body(piece)
            assert scene.problem is problem
            assert scene.happened == ["upstream: aborted"]
            assert not scene.exchange.started

    run(work)


def test_an_error_that_is_the_clients_own_passes_as_it_came() -> None:
    async def work() -> None:
        scene = streaming(None)
        scene.exchange.on_body(FIRST_ERROR)
        assert scene.client.received == FIRST_ERROR

    run(work)


@pytest.mark.parametrize("kind", ["nothing", "pings", "an error", "an answer"])
def test_a_stream_that_ends_in_its_first_event_is_judged_by_that(kind: str) -> None:
    async def work() -> None:
        problem = BadReply("overloaded")
        scene = streaming(problem)
        only = MESSAGES.opening.split(b"\n\n")[0]
        body = {
            "nothing": b":",
            "pings": PING,
            "an error": FIRST_ERROR.rstrip(),
            "an answer": only,
        }[kind]
        scene.exchange.on_body(body)
        scene.exchange.on_end()
        assert scene.exchange.started == (kind == "an answer")
        if kind == "an answer":
            assert scene.problem is None
            assert scene.client.received == only + b"\n\n"
        elif kind == "an error":
            assert scene.problem is problem
        else:
            assert isinstance(scene.problem, BadReply)
            assert "before it began" in scene.problem.message

    run(work)


def test_pings_are_kept_back_only_so_long_and_so_many() -> None:
    async def work() -> None:
        quiet = streaming()
        quiet.exchange.on_body(PING)
        assert quiet.after(7.9) == ""
        assert quiet.after(8.0) == ""  # the ping was something: silence counts from here
        assert quiet.after(16.1) == "client: bytes"
        assert quiet.client.received == PING + MESSAGES.keepalive
        noisy = streaming()
        for _ in range(GUARD_LIMIT // len(PING) + 1):
            noisy.exchange.on_body(PING)
        assert noisy.client.received.startswith(PING * 100)

    run(work)


def test_a_stream_claims_the_client_when_an_answer_has_begun() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(PING)
        assert scene.owner.heard == ["connected"]
        scene.exchange.on_body(MESSAGES.opening)
        scene.exchange.on_body(MESSAGES.ending)
        assert scene.owner.heard == ["connected", "claim"]

    run(work)


def test_a_stream_that_begins_with_an_error_claims_nothing() -> None:
    async def work() -> None:
        scene = Scene()
        scene.owner.judgement = BadReply("overloaded")
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(b'event: error\ndata: {"error": {"type": "overloaded_error"}}\n\n')
        assert isinstance(scene.problem, BadReply)
        assert scene.owner.heard == ["connected"]

    run(work)


def test_a_whole_reply_claims_the_client_by_its_status() -> None:
    async def work() -> None:
        scene = Scene(stream=False)
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(b"{")
        scene.exchange.on_body(b"}")
        scene.exchange.on_end()
        assert scene.owner.heard == ["connected", "claim"]

    run(work)


def test_what_comes_too_late_to_be_claimed_is_not_kept_alive_either() -> None:
    async def work() -> None:
        for opening in (b"", PING):
            scene = Scene()
            scene.owner.lets_through = False
            scene.exchange.on_head(200, SSE)
            if opening:
                scene.exchange.on_body(opening)
            scene.after(9)
            scene.after(18)
            assert scene.happened == []

    run(work)


def test_a_connection_that_comes_about_too_late_is_cut() -> None:
    async def work() -> None:
        happened: list[str] = []
        watch = Watch(PATIENCE, asyncio.get_running_loop())
        exchange = Exchange(NotingClient(happened, b""), None, Deciding(), watch)
        exchange.give_up(NoAnswer("another was faster"))
        exchange.attach(NotingConnection(happened))
        assert happened == ["upstream: aborted"]
        assert not exchange.under_way and watch._live == set()

    run(work)


def test_a_bug_in_looking_after_an_exchange_is_told_with_its_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Faulty(Exchange):
        def check(self, now: float) -> None:
            raise ZeroDivisionError

    async def work() -> None:
        watch = Watch(replace(PATIENCE, keepalive=0.01), asyncio.get_running_loop())
        exchange = Faulty(NotingClient([], b""), None, Deciding(), watch)
        exchange.attach(NotingConnection([]))
        problem = await asyncio.wait_for(exchange.done, 30)
        assert problem is not None and "failed to handle" in problem.message
        [line] = [line for line in lines(caplog) if "exchange failed" in line]
        assert "request=req_1" in line

    run(work)


def test_a_reply_that_another_attempt_has_beaten_goes_nowhere() -> None:
    async def work() -> None:
        for stream in (True, False):
            scene = Scene(stream=stream)
            scene.owner.lets_through = False
            scene.exchange.on_head(200, SSE)
            scene.exchange.on_body(MESSAGES.opening)
            scene.exchange.on_end()
            assert scene.happened == []
            assert not scene.exchange.started

    run(work)


# --- sound, pictures, files -----------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_an_opaque_reply_goes_out_at_once_and_is_not_kept(stream: bool) -> None:
    async def work() -> None:
        scene = Scene(stream=stream, opaque=True)
        scene.exchange.on_head(200, [(b"content-type", b"audio/mpeg"), (b"content-length", b"9")])
        scene.exchange.on_body(b"\xff\xfbsound")
        assert scene.happened == ["client: head", "client: bytes"]
        scene.exchange.on_body(b"..")
        scene.exchange.on_end()
        assert scene.client.received == b"\xff\xfbsound.."
        assert (scene.exchange.mode, scene.exchange.kept.body) == ("overflow", b"")
        assert scene.exchange.seen == 9
        assert scene.problem is None

    run(work)


def test_not_a_byte_of_an_opaque_reply_is_copied() -> None:
    class Same(NotingClient):
        def write(self, data: bytes) -> bool:
            self.seen = data
            return False

    async def work() -> None:
        scene = Scene(stream=False, opaque=True, client=Same)
        scene.exchange.on_head(200, [(b"content-type", b"audio/mpeg")])
        for piece in (bytes(300_000), bytes(70_000)):
            scene.exchange.on_body(piece)
            assert isinstance(scene.client, Same)
            assert scene.client.seen is piece
        scene.exchange.leave(served=False)

    run(work)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, b"audio/mpeg"), (200, b"application/json"), (200, b"text/html"), (200, b"")],
)
def test_what_may_be_a_failure_is_held_where_sound_was_expected(status: int, kind: bytes) -> None:
    async def work() -> None:
        scene = Scene(stream=False, opaque=True)
        scene.exchange.on_head(status, [(b"content-type", kind)])
        scene.exchange.on_body(b"?")
        assert (scene.exchange.mode, scene.happened) == ("hold", [])
        scene.exchange.leave(served=False)

    run(work)


def test_an_opaque_reply_is_held_where_none_was_asked_for() -> None:
    async def work() -> None:
        scene = Scene(stream=False)
        scene.exchange.on_head(200, [(b"content-type", b"audio/mpeg")])
        scene.exchange.on_body(b"?")
        assert scene.exchange.mode == "hold"
        scene.exchange.leave(served=False)

    run(work)


def test_an_opaque_reply_waits_for_a_slow_client() -> None:
    async def work() -> None:
        scene = Scene(stream=False, opaque=True)
        scene.exchange.on_head(200, [(b"content-type", b"audio/mpeg")])
        scene.client.paused = True
        scene.exchange.on_body(b"..")
        assert scene.happened[-1] == "upstream: paused"
        assert scene.client.resume is not None
        scene.client.resume()
        assert scene.happened[-1] == "upstream: resumed"
        scene.exchange.leave(served=False)

    run(work)


# --- a request that takes its time ----------------------------------------------------------------


def test_an_upstream_owes_no_answer_while_it_takes_the_request() -> None:
    async def work() -> None:
        scene = Scene()
        before = scene.exchange.sent_at
        scene.exchange.sent_at -= 19.9
        scene.exchange.moved()
        assert scene.exchange.sent_at >= before
        assert scene.after(19.9) == ""
        assert scene.after(20.1) == "upstream: aborted"
        assert isinstance(scene.problem, NoAnswer)

    run(work)


def test_a_piece_that_goes_up_after_the_answer_began_counts_for_nothing() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.on_head(200, SSE)
        scene.exchange.on_body(MESSAGES.opening)
        scene.exchange.sent_at = 0.0
        scene.exchange.moved()
        assert scene.exchange.sent_at == 0.0
        scene.exchange.leave(served=False)

    run(work)


def test_a_request_that_moves_for_ever_ends_with_the_total_time() -> None:
    async def work() -> None:
        scene = Scene()
        scene.exchange.sent_at = scene.start + 99
        assert scene.after(99.9) == ""
        assert scene.after(100) == "upstream: aborted"

    run(work)
