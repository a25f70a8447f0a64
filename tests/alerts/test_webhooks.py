"""How alerts get to a webhook: together, again when they were not taken, nowhere else."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from relayd.alerting import Alert, Condition, Webhook
from relayd.alerts import webhooks
from relayd.alerts.webhooks import MOST_WAITING, Courier, Pacing
from relayd.model import Secret
from relayd.tasks import Tasks
from tests.support.waiting import until

QUICK = Pacing(pace=0.0, rests=(0.0, 0.0), timeout=5.0)
PATH = "/services/T00/secret-token"


def alert(subject: str, kind: Any = "upstream_down") -> Alert:
    return Alert("raised", Condition(kind, subject, "critical", f"{subject} is down."), 0.0)


class Receiver:
    """A webhook's server that answers as it is told, and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.got: list[list[str]] = []
        self.paths: list[str] = []
        self.served = 0
        self.url = ""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{PATH}"
        async with server:
            yield self
            await until(lambda: self.served == len(self.paths))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.paths.append(head.split()[1])
        length = int(head.lower().split("content-length: ")[1].split()[0])
        alerts = orjson.loads(await reader.readexactly(length))["alerts"]
        self.got.append([one["subject"] for one in alerts])
        await self.may_answer.wait()
        answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n"
        writer.write(answer)
        if not answer:
            await reader.read()  # until the other side has had enough
        writer.close()
        await writer.wait_closed()
        self.served += 1


def status(line: str, *headers: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {line}", "Content-Length: 0", *headers, "", "")).encode()


class Bench:
    """A receiver, a courier to it, and what was counted."""

    def __init__(
        self, receiver: Receiver, courier: Courier, counted: list[tuple[str, int]]
    ) -> None:
        self.receiver = receiver
        self.courier = courier
        self.counted = counted

    async def ends(self, number: int = 1) -> None:
        """Wait for so many results."""
        await until(lambda: len(self.counted) >= number)


@asynccontextmanager
async def bench(pacing: Pacing = QUICK, **webhook: Any) -> AsyncIterator[Bench]:
    counted: list[tuple[str, int]] = []
    async with Receiver().listening() as receiver:
        url = Secret(webhook.pop("url", receiver.url))
        courier = Courier(
            Webhook("ops", url, **webhook), lambda what, n: counted.append((what, n)), pacing
        )
        tasks = Tasks()
        tasks.spawn(courier.run(), "courier")
        try:
            yield Bench(receiver, courier, counted)
        finally:
            await tasks.cancel()


def test_what_waits_together_is_one_message() -> None:
    async def run() -> None:
        async with bench() as on:
            on.courier.take([alert("a"), alert("b")])
            await on.ends()
            on.courier.take([alert("c")])
            await on.ends(2)
            assert on.receiver.got == [["a", "b"], ["c"]]
            assert on.counted == [("sent", 2), ("sent", 1)]
            assert repr(on.courier) == "<Courier ops waiting=0>"

    asyncio.run(run())


def test_what_was_not_taken_is_sent_again_with_what_came_meanwhile() -> None:
    async def run() -> None:
        async with bench() as on:
            on.receiver.answers = [status("500 Oh"), status("429 Slow")]
            on.receiver.may_answer.clear()
            on.courier.take([alert("a")])
            await until(lambda: len(on.receiver.got) == 1)
            on.courier.take([alert("b")])
            on.receiver.may_answer.set()
            await on.ends()
            assert on.receiver.got[0] == ["a"] and on.receiver.got[-1] == ["a", "b"]
            assert on.counted == [("sent", 2)]

    asyncio.run(run())


def test_after_the_last_try_it_is_given_up_and_the_log_says_so_without_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        async with bench() as on:
            on.receiver.answers = [status("500 Oh")] * 3
            on.courier.take([alert("a")])
            await on.ends()
            assert on.counted == [("failed", 1)] and len(on.receiver.got) == 3
            on.courier.take([alert("b")])
            await on.ends(2)
            assert on.receiver.got[-1] == ["b"]

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    [record] = caplog.records
    assert record.getMessage() == (
        "alerts: the webhook ops took none of 1 alerts: it answered with status 500"
    )


def test_a_redirect_is_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with bench() as on:
            elsewhere = on.receiver.url.replace(PATH, "/elsewhere")
            on.receiver.answers = [status("307 Go", f"Location: {elsewhere}")] * 3
            on.courier.take([alert("a")])
            await on.ends()
            assert on.counted == [("failed", 1)] and set(on.receiver.paths) == {PATH}

    asyncio.run(run())
    assert "status 307" in caplog.text


def test_one_that_hangs_is_given_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with bench(Pacing(0.0, (0.0,), 0.05)) as on:
            on.receiver.answers = [b"", b""]
            on.courier.take([alert("a")])
            await on.ends()
            assert on.counted == [("failed", 1)]

    asyncio.run(run())
    assert "TimeoutError" in caplog.text and "secret-token" not in caplog.text


def test_one_that_cannot_be_reached_is_given_up_too(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def run() -> None:
        async with bench(url=f"http://127.0.0.1:{port}{PATH}") as on:
            on.courier.take([alert("a")])
            await on.ends()
            assert on.counted == [("failed", 1)]

    asyncio.run(run())
    assert "took none of 1 alerts" in caplog.text and "secret-token" not in caplog.text


def test_only_the_kinds_that_it_wants() -> None:
    async def run() -> None:
        async with bench(kinds=("ledger",)) as on:
            on.courier.take([alert("a")])
            on.courier.take([alert("b"), alert("", "ledger")])
            await on.ends()
            assert on.receiver.got == [[""]]

    asyncio.run(run())


def test_of_too_many_the_oldest_are_dropped_and_counted() -> None:
    async def run() -> None:
        counted: list[tuple[str, int]] = []
        webhook = Webhook("ops", Secret("http://127.0.0.1:9/"))
        courier = Courier(webhook, lambda what, n: counted.append((what, n)))
        courier.take(alert(str(number)) for number in range(MOST_WAITING + 3))
        assert counted == [("dropped", 3)]
        assert repr(courier) == f"<Courier ops waiting={MOST_WAITING}>"

    asyncio.run(run())


def test_what_comes_while_a_message_is_under_way_is_not_lost() -> None:
    """Even where so much comes that what is under way is dropped from the list."""

    async def run() -> None:
        async with bench() as on:
            on.receiver.may_answer.clear()
            on.courier.take([alert("first")])
            await until(lambda: len(on.receiver.got) == 1)
            on.courier.take(alert(str(number)) for number in range(MOST_WAITING))
            on.receiver.may_answer.set()
            await on.ends(3)
            assert on.counted == [("dropped", 1), ("sent", 1), ("sent", MOST_WAITING)]
            assert on.receiver.got[1] == [str(number) for number in range(MOST_WAITING)]

    asyncio.run(run())


def test_the_usual_pace_is_slow_enough_for_people() -> None:
    assert webhooks.USUAL.pace >= 5 and sum(webhooks.USUAL.rests) < 300
