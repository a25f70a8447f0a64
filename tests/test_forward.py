"""An exchange and its watch: silence noticed in time, by numbers, without waiting for any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from relayd.errors import ClientGone, NoAnswer
from relayd.forward import HOLD_LIMIT, Exchange, Patience, Watch
from relayd.model import Timeouts
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.passthrough import Passthrough
from relayd.wire.paths import Target
from tests.support.relay_parts import NotingClient, NotingConnection
from tests.support.speech import SPEECHES
from tests.support.waiting import until

SSE = [(b"content-type", b"text/event-stream")]
MESSAGES = SPEECHES["messages"]
PATIENCE = Patience(Timeouts(first_byte=20, stall=30, total=100), keepalive=8, client=40)


class Scene:
    """An exchange of a messages stream between a noting client and a noting upstream."""

    def __init__(self, *, stream: bool = True, patience: Patience = PATIENCE) -> None:
        self.happened: list[str] = []
        self.client = NotingClient(self.happened, b"")
        self.watch = Watch(patience, asyncio.get_running_loop())
        observer = observer_of_messages() if stream else None
        self.exchange = Exchange(self.client, observer, lambda headers: headers, self.watch)
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
        assert sum(map(len, scene.exchange.held)) <= 64 * 1024

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
