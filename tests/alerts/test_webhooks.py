"""How alerts get to a webhook: together, again when they were not taken, nowhere else."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from relayd.alerting import Alert, Condition, Severity, State, Webhook
from relayd.alerts.lookout import EVERY
from relayd.alerts.webhooks import LONGEST_REST, MOST_WAITING, USUAL, Courier, Pacing, deliver
from relayd.model import Secret
from relayd.tasks import Tasks
from tests.support.waiting import until

QUICK = Pacing(pace=0.0, rests=(0.0, 0.0), timeout=20.0)
PATH = "/services/T00/secret-token"
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"
PIECE = b"x" * 65536


def alert(
    subject: str,
    kind: Any = "upstream_down",
    severity: Severity = "critical",
    state: State = "raised",
) -> Alert:
    return Alert(state, Condition(kind, subject, severity, f"{subject} is down."), 0.0)


class Receiver:
    """A webhook's server that answers as it is told, and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.got: list[list[str]] = []
        self.paths: list[str] = []
        self.open = 0
        self.url = ""
        self.written = 0
        self.hangs_up = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.url = (
            f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}{PATH}"
        )
        async with server:
            yield self
            await until(lambda: not self.open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        self.open -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.paths.append(head.split()[1])
        length = int(head.lower().split("content-length: ")[1].split()[0])
        alerts = orjson.loads(await reader.readexactly(length))["alerts"]
        self.got.append([one["subject"] for one in alerts])
        await self.may_answer.wait()
        if self.hangs_up:
            return
        answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 204 No Content\r\n\r\n"
        writer.write(answer)
        if not answer:
            await reader.read()  # until the other side has had enough
        await self._pour(writer, PIECE if answer == ENDLESS else b"")

    async def _pour(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        """Write for ever, if there is anything to write; ConnectionError when nobody takes it."""
        while piece:
            writer.write(piece)
            await writer.drain()
            self.written += len(piece)


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
async def bench(
    pacing: Pacing = QUICK, courier: type[Courier] = Courier, **webhook: Any
) -> AsyncIterator[Bench]:
    counted: list[tuple[str, int]] = []
    async with Receiver().listening() as receiver:
        url = Secret(webhook.pop("url", receiver.url))
        standing: list[Alert] = webhook.pop("standing", [])
        carries = courier(
            Webhook("ops", url, **webhook),
            lambda what, n: counted.append((what, n)),
            lambda: standing,
            pacing,
        )
        tasks = Tasks()
        tasks.spawn(carries.run(), "courier")
        try:
            yield Bench(receiver, carries, counted)
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
            await on.ends(3)
            assert on.receiver.got[0] == ["a"] and on.receiver.got[-1] == ["a", "b"]
            assert on.counted == [("retried", 1), ("retried", 2), ("sent", 2)]

    asyncio.run(run())


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, Any]]:
    """The lines of the log: level, words, why."""
    ours = [one for one in caplog.records if one.name == "relayd"]
    found = [(one.levelname, one.getMessage(), vars(one)["fields"].get("why")) for one in ours]
    assert "secret-token" not in caplog.text and "secret-token" not in str(found)
    return found


def test_after_the_last_try_it_is_given_up_and_the_log_says_so_without_the_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        async with bench() as on:
            on.receiver.answers = [status("500 Oh")] * 3
            on.courier.take([alert("a")])
            await on.ends(3)
            assert on.counted == [("retried", 1), ("retried", 1), ("failed", 1)]
            assert len(on.receiver.got) == 3
            on.courier.take([alert("b")])
            await on.ends(4)
            assert on.receiver.got[-1] == ["b"]

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    why = "it answered with status 500"
    assert said(caplog) == [
        ("WARNING", "a webhook did not take a message", why),
        ("ERROR", "alerts were given up", why),
        ("INFO", "a webhook takes messages again", None),
    ]


def test_of_one_that_fails_for_long_the_log_is_not_told_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        async with bench() as on:
            on.receiver.answers = [status("500 Oh")] * 60
            for number in range(20):
                on.courier.take([alert("a")])
                await on.ends(3 * number + 3)

    asyncio.run(run())
    assert [level for level, _, _ in said(caplog)] == ["WARNING", "ERROR"]


def test_what_was_given_up_and_lasts_is_told_with_the_first_that_gets_through() -> None:
    lasting = [alert("a"), alert("b")]

    async def run() -> None:
        async with bench(standing=lasting) as on:
            on.receiver.answers = [status("500 Oh")] * 3
            on.courier.take([alert("a"), alert("gone")])
            await on.ends(3)
            on.courier.take([alert("b")])
            await on.ends(5)
            assert on.receiver.got[3:] == [["b"], ["a"]]
            on.courier.take([alert("c")])  # and nothing is owed any more
            await on.ends(6)
            assert on.receiver.got[5:] == [["c"]]

    asyncio.run(run())


def test_what_was_given_up_and_lasts_is_told_after_a_while_without_any_news() -> None:
    lasting = [alert("a")]

    async def run() -> None:
        async with bench(QUICK._replace(again=0.01), standing=lasting) as on:
            on.receiver.answers = [status("404 No")] * 3
            on.courier.take([alert("a")])
            await on.ends(4)
            assert on.counted == [("failed", 1)] * 3 + [("sent", 1)]

    asyncio.run(run())


def test_who_takes_over_learns_what_is_owed() -> None:
    async def run() -> None:
        async with bench(standing=[alert("a"), alert("b")]) as on:
            assert on.courier.owed() == []
            on.receiver.answers = [status("404 No")]
            on.courier.take([alert("a")])
            await on.ends()
            assert [one.condition.subject for one in on.courier.owed()] == ["a", "b"]
            on.courier.take([alert("b")])
            assert [one.condition.subject for one in on.courier.owed()] == ["a"]

    asyncio.run(run())


def test_what_was_given_up_and_is_over_is_owed_to_nobody() -> None:
    async def run() -> None:
        async with bench(QUICK._replace(again=0.01)) as on:
            on.receiver.answers = [status("404 No")]
            on.courier.take([alert("a")])
            await on.ends()
            await until(lambda: "owes" not in repr(on.courier))
            on.courier.take([alert("b")])
            await on.ends(2)
            assert on.receiver.got == [["a"], ["b"]]

    asyncio.run(run())


@pytest.mark.parametrize("line", ["400 No", "401 No", "404 No", "410 Gone", "413 Much", "422 No"])
def test_a_message_that_is_not_wanted_is_not_sent_again(line: str) -> None:
    async def run() -> None:
        async with bench() as on:
            on.receiver.answers = [status(line)]
            on.courier.take([alert("a")])
            await on.ends()
            assert on.counted == [("failed", 1)] and len(on.receiver.got) == 1

    asyncio.run(run())


@pytest.mark.parametrize("line", ["408 Slow", "425 Early", "429 Slow", "500 Oh", "503 Busy"])
def test_one_that_has_no_time_now_is_asked_again(line: str) -> None:
    async def run() -> None:
        async with bench() as on:
            on.receiver.answers = [status(line)]
            on.courier.take([alert("a")])
            await on.ends(2)
            assert on.counted == [("retried", 1), ("sent", 1)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("header", "rest"),
    [("Retry-After: 77", 77.0), ("Retry-After: 1e9", 0.0), ("Retry-After: 86400", LONGEST_REST)],
)
def test_it_rests_for_as_long_as_the_receiver_wants_within_bounds(header: str, rest: float) -> None:
    rested: list[float] = []

    class Restless(Courier):
        async def rest(self, seconds: float) -> None:
            rested.append(seconds)

    async def run() -> None:
        async with bench(courier=Restless) as on:
            on.receiver.answers = [status("429 Slow", header)]
            on.courier.take([alert("a")])
            await on.ends(2)

    asyncio.run(run())
    assert rested == [rest]


def test_a_redirect_is_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with bench() as on:
            elsewhere = on.receiver.url.replace(PATH, "/elsewhere")
            on.receiver.answers = [status("307 Go", f"Location: {elsewhere}")]
            on.courier.take([alert("a")])
            await on.ends()
            assert on.counted == [("failed", 1)] and on.receiver.paths == [PATH]

    asyncio.run(run())
    why = "it answered with status 307, which is not followed"
    assert said(caplog) == [("ERROR", "alerts were given up", why)]


def failure(caplog: pytest.LogCaptureFixture, answer: bytes, timeout: float = 20.0) -> str:
    """Why a message is not taken by one that gives this answer."""

    async def run() -> None:
        async with bench(Pacing(pace=0.0, rests=(0.0,), timeout=timeout)) as on:
            on.receiver.answers = [answer] * 2
            on.courier.take([alert("a")])
            await on.ends(2)
            assert on.counted == [("retried", 1), ("failed", 1)]

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    return str(said(caplog)[-1][2])


def test_one_that_hangs_is_given_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    assert failure(caplog, b"", timeout=0.05) == "no answer within 0.05 s"


def test_one_that_hangs_up_is_no_better(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with bench(Pacing(pace=0.0, rests=(), timeout=20.0)) as on:
            on.receiver.hangs_up = True
            on.courier.take([alert("a")])
            await on.ends()

    asyncio.run(run())
    assert said(caplog)[-1][2] == "it hung up without an answer"


@pytest.mark.parametrize(
    "answer", [b"What?\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"]
)
def test_what_is_no_answer_is_a_failure(caplog: pytest.LogCaptureFixture, answer: bytes) -> None:
    assert failure(caplog, answer)


def test_one_that_answers_ten_gigabytes_is_hung_up_on() -> None:
    async def run() -> None:
        async with bench() as on:
            on.receiver.answers = [ENDLESS]
            on.courier.take([alert("a")])
            await on.ends()
            assert on.counted == [("sent", 1)]
            await until(lambda: not on.receiver.open)
            assert on.receiver.written < 100 * 2**20

    asyncio.run(run())


def test_one_that_cannot_be_reached_is_given_up_too(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def run() -> None:
        async with bench(url=f"http://127.0.0.1:{port}{PATH}") as on:
            on.courier.take([alert("a")])
            await on.ends(3)
            assert on.counted[-1] == ("failed", 1)

    asyncio.run(run())
    assert said(caplog)[-1][2] == "no connection: Connection refused"


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://nobody.invalid", "its host is not known"),
        ("http://" + "x" * 300 + ".example", ""),
        ("http://[::1", ""),
        ("gopher://x", ""),
    ],
)
def test_whatever_is_wrong_with_an_address_it_stands_in_no_message(address: str, why: str) -> None:
    async def run() -> str:
        return await deliver(Webhook("ops", Secret(address + PATH)), alert("a"), 20.0)

    problem = asyncio.run(run())
    assert problem and "secret-token" not in problem and problem.startswith(why)


def test_one_whose_certificate_nobody_trusts_is_told_nothing(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    from tests.support.certificates import issue, write

    identity = write(tmp_path, "hook", issue("localhost", None))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)

    async def run() -> str:
        async with Receiver().listening(context) as receiver:
            problem = await deliver(Webhook("ops", Secret(receiver.url)), alert("a"), 20.0)
            assert receiver.got == []
            return problem

    assert asyncio.run(run()).startswith("its TLS certificate is not trusted")


def test_only_what_is_critical_where_that_is_wanted() -> None:
    async def run() -> None:
        async with bench(severity="critical") as on:
            on.courier.take([alert("a", severity="warning")])
            on.courier.take([alert("b"), alert("c", state="over")])
            await on.ends()
            assert on.receiver.got == [["b", "c"]]

    asyncio.run(run())


def test_nothing_of_what_is_over_where_that_is_wanted() -> None:
    async def run() -> None:
        async with bench(over=False) as on:
            on.courier.take([alert("a", state="over"), alert("b"), alert("c", state="still")])
            await on.ends()
            assert on.receiver.got == [["b", "c"]]

    asyncio.run(run())


def test_only_the_kinds_that_it_wants() -> None:
    async def run() -> None:
        async with bench(kinds=("ledger",)) as on:
            on.courier.take([alert("a")])
            on.courier.take([alert("b"), alert("", "ledger")])
            await on.ends()
            assert on.receiver.got == [[""]]

    asyncio.run(run())


def test_of_too_many_those_that_matter_least_are_dropped_and_counted() -> None:
    async def run() -> None:
        counted: list[tuple[str, int]] = []
        webhook = Webhook("ops", Secret("http://127.0.0.1:9/"))
        courier = Courier(webhook, lambda what, n: counted.append((what, n)), list)
        courier.take([alert("down"), alert("over", state="over")])
        courier.take(alert(f"{n}", "balance", "warning") for n in range(MOST_WAITING + 1))
        assert counted == [("dropped", 3)]
        assert repr(courier) == f"<Courier ops waiting={MOST_WAITING}>"
        subjects = [one.condition.subject for one in courier.leave()]
        assert subjects[0] == "down" and subjects[-1] == str(MOST_WAITING - 2)
        assert courier.leave() == []

    asyncio.run(run())


def test_what_comes_while_a_message_is_under_way_is_not_lost() -> None:
    """Even where so much comes that what is under way is dropped from the list."""

    async def run() -> None:
        async with bench() as on:
            on.receiver.may_answer.clear()
            on.courier.take([alert("first", severity="warning")])
            await until(lambda: len(on.receiver.got) == 1)
            on.courier.take(alert(str(number)) for number in range(MOST_WAITING))
            on.receiver.may_answer.set()
            await on.ends(3)
            assert on.counted == [("dropped", 1), ("sent", 1), ("sent", MOST_WAITING)]
            assert on.receiver.got[1] == [str(number) for number in range(MOST_WAITING)]

    asyncio.run(run())


SLOW = Pacing(burst=2, reserved=1, pace=3600.0)


def test_what_is_critical_does_not_wait_for_what_was_told_before() -> None:
    async def run() -> None:
        async with bench(SLOW) as on:
            on.courier.take([alert("a", severity="warning")])
            await on.ends()
            on.courier.take([alert("b", severity="warning")])  # for an hour
            await asyncio.sleep(0)
            on.courier.take([alert("c")])
            await on.ends(2)
            assert on.receiver.got == [["a"], ["c", "b"]]

    asyncio.run(run())


def test_a_storm_of_critical_news_waits_as_well() -> None:
    async def run() -> None:
        async with bench(SLOW) as on:
            for number in range(2):
                on.courier.take([alert(str(number))])
                await on.ends(number + 1)
            for number in range(2, 9):
                on.courier.take([alert(str(number))])
                await asyncio.sleep(0)
            assert len(on.receiver.got) == 2 and "waiting=7" in repr(on.courier)

    asyncio.run(run())


def test_even_in_a_storm_critical_news_is_out_within_five_seconds() -> None:
    assert EVERY + USUAL.pace <= 5.0 and USUAL.burst > USUAL.reserved > 1


def test_tries_end_within_minutes() -> None:
    assert sum(USUAL.rests) + USUAL.timeout * (len(USUAL.rests) + 1) < 300
