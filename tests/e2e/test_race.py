"""Many clients race for the rest of a balance: a strict account is never overdrawn, nor cheated.

Five hundred requests reach the daemon at once, over connections of their own, and the provider lets
them wait, so that all of them stand between admission and settlement together. What is spent is
read from the database file, not asked of the daemon.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from typing import NamedTuple

import orjson
import pytest

from relayd.money import DOLLAR, pico
from tests.conftest import Daemons
from tests.support.raw_client import request_bytes
from tests.support.running import Running

NOW = 1_790_000_000.0  # when credits were granted; nothing depends on it
CLIENTS = 500
PATIENCE = 30.0
CONFIG = """\
demo: "on"
groups:
  default: {{balance: on, strict: on}}
prices:
  "*": {price}
"""
# Slow enough that every request has arrived before the first reply goes out.
MODEL = "demo-slow-first-byte-0.5"
PER_REQUEST = "{request: 0.01}"
PER_TOKEN = "{input: 2.57, output: 10.3, cache_read: 0.26, request: 0.0001}"


class Answer(NamedTuple):
    """What one client got."""

    status: int
    code: str


class Books(NamedTuple):
    """What the database says of the account."""

    granted: int
    costs: list[int]
    uncharged: int

    @property
    def balance(self) -> int:
        return self.granted - sum(self.costs)


def top_up(running: Running, amount: str) -> None:
    """Grant the test's account so many dollars, and let the daemon know."""

    async def grant() -> None:
        store = running.daemon.books.store
        await store.add_credit(
            "tests", pico(amount), kind="grant", reason="race", actor="test", now=NOW
        )
        await running.daemon.refresh_keys()

    running.call(grant)


def books(running: Running, number: int) -> Books:
    """The account's books, once the rows of so many requests are in the file."""
    path = running.daemon.config.database
    count = "SELECT COUNT(*) FROM usage"
    with sqlite3.connect(path) as file:
        running.wait_for(lambda: file.execute(count).fetchone()[0] >= number)
        assert file.execute(count).fetchone()[0] == number
        [(granted,)] = file.execute("SELECT COALESCE(SUM(amount), 0) FROM credits")
        rows = file.execute("SELECT cost, uncharged FROM usage").fetchall()
    return Books(granted, [cost for cost, _ in rows], sum(rest for _, rest in rows))


def bodies(number: int, *, stream: bool, vary: bool) -> list[bytes]:
    """Requests of one size, or of many."""
    return [
        orjson.dumps(
            {
                "model": MODEL,
                "stream": stream and bool(i % 2),
                "max_tokens": 128 + 16 * (i % 40) if vary else 64,
                "messages": [{"role": "user", "content": "hello " * (1 + i % 90 if vary else 1)}],
            }
        )
        for i in range(number)
    ]


async def ask(running: Running, body: bytes, go: asyncio.Event) -> Answer:
    """One client: it connects, waits for the others, asks, and reads to the end."""
    reader, writer = await asyncio.open_connection(*running.address)
    try:
        await go.wait()
        headers = {**running.auth, "Connection": "close"}
        writer.write(request_bytes("/v1/chat/completions", body, headers))
        head = await reader.readuntil(b"\r\n\r\n")
        rest = await reader.read()
    finally:
        writer.close()
    status = int(head.split(b" ", 2)[1])
    code = orjson.loads(rest)["error"]["code"] if status >= 400 else ""
    return Answer(status, code)


def race(running: Running, requests: list[bytes]) -> Counter[Answer]:
    """All of them at once; how often each answer came."""

    async def run() -> list[Answer]:
        go = asyncio.Event()
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(running, body, go)) for body in requests]
            await asyncio.sleep(0.5)  # all are connected
            go.set()
        return [task.result() for task in tasks]

    return Counter(asyncio.run(run()))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "half of them streams"])
def test_a_balance_for_a_hundred_requests_pays_for_exactly_a_hundred(
    start: Daemons, stream: bool
) -> None:
    running = start(CONFIG.format(price=PER_REQUEST))
    top_up(running, "1.00")

    answers = race(running, bodies(CLIENTS, stream=stream, vary=False))

    assert answers == {Answer(200, ""): 100, Answer(402, "insufficient_quota"): 400}
    after = books(running, CLIENTS)
    assert after.balance == 0
    assert Counter(after.costs) == {DOLLAR // 100: 100, 0: 400}
    assert after.uncharged == 0


def test_requests_priced_by_their_tokens_never_overdraw_a_strict_balance(start: Daemons) -> None:
    running = start(CONFIG.format(price=PER_TOKEN))
    top_up(running, "0.5")

    answers = race(running, bodies(CLIENTS, stream=True, vary=True))

    assert set(answers) == {Answer(200, ""), Answer(402, "insufficient_quota")}
    after = books(running, CLIENTS)
    assert after.balance >= 0
    assert sum(1 for cost in after.costs if cost) == answers[Answer(200, "")]
    assert after.uncharged == 0
    assert running.call(running.daemon.books.store.verify) == []
    # What was reserved and not spent is free again: the next one is let in.
    assert race(running, bodies(1, stream=False, vary=False)) == {Answer(200, ""): 1}
    assert books(running, CLIENTS + 1).balance >= 0


def test_a_topped_up_account_goes_on_where_it_stopped(start: Daemons) -> None:
    running = start(CONFIG.format(price=PER_REQUEST))
    top_up(running, "0.02")

    first = race(running, bodies(5, stream=False, vary=False))
    top_up(running, "0.01")
    second = race(running, bodies(5, stream=False, vary=False))

    assert first[Answer(200, "")] == 2
    assert second[Answer(200, "")] == 1
    assert books(running, 10).balance == 0
