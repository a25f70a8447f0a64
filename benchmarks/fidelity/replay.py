"""Recorded exchanges, sent through a running daemon; what came out at each end is collected.

One daemon and one fake provider serve the whole file, a few connections at a time, each exchange
twice: its reply whole in one packet, and cut into many. The usage rows are read from the database
after the daemon has stopped, so they are what an operator would find there.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
from yarl import URL

from benchmarks.fidelity.cuts import cut
from benchmarks.fidelity.fake import TAG, RecordedProvider, Script
from benchmarks.fidelity.recording import Recorded
from relayd.config.config import load
from relayd.daemon.daemon import Daemon
from relayd.store.questions import NewKey

Mode = Literal["whole", "cut"]
MODES: tuple[Mode, ...] = ("whole", "cut")
CONNECTIONS = 8
ANSWER_TIMEOUT = 60.0
NOW = 1_790_000_000.0  # when the key was made; nothing depends on it

CONFIG = """\
listen: 127.0.0.1:0
database: {database}
demo: "off"
responses: {{trust_unknown: on}}
# Recorded failures are to pass as they are: no second attempts, nobody taken out.
routing: {{retries: {{attempts: 1}}, breaker: {{enabled: off}}, longest_cooldown: 0}}
upstreams:
  recorded:
    dialect: relay
    base_url: {url}
    key: the-upstream-key
    models: ["*"]
    # What only another endpoint takes is sent there otherwise: here it is passing that is measured.
    capabilities: {{"*": {{endpoints: [], tools_endpoint: null}}}}
"""


@dataclass(slots=True)
class Replayed:
    """One exchange, played once: what the client got, what the upstream was sent, the usage row.

    `problem` says why there is no answer to compare, "" when there is one. `again` is whether it
    was sent a second time, because the daemon had closed a kept-alive connection.
    """

    recorded: Recorded
    mode: Mode
    status: int = 0
    content_type: str = ""
    body: bytes = b""
    request_id: str = ""
    sent: bytes | None = None
    row: dict[str, Any] | None = None
    problem: str = ""
    again: bool = False


async def replay(recordings: Sequence[Recorded]) -> list[Replayed]:
    """Play every exchange in every mode; the results are in the order of the recordings."""
    with tempfile.TemporaryDirectory(prefix="relayd-fidelity-") as folder:
        database = Path(folder) / "relayd.db"
        provider = RecordedProvider()
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG.format(database=database, url=await provider.start()))
        daemon = Daemon(load(config, {}), None, {})
        await daemon.start()
        try:
            done = await _play_all(daemon, provider, recordings)
        finally:
            await daemon.close()
            await provider.close()
        rows = read_rows(database)
    for one in done:
        one.row = rows.get(one.request_id)
    return done


async def _play_all(
    daemon: Daemon, provider: RecordedProvider, recordings: Sequence[Recorded]
) -> list[Replayed]:
    _, key = await daemon.books.store.create_key(
        NewKey("fidelity", "fidelity"), now=NOW, actor="benchmark"
    )
    await daemon.refresh_keys()
    done = [Replayed(recorded, mode) for recorded in recordings for mode in MODES]
    waiting = iter(enumerate(done))
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)
    async with aiohttp.ClientSession(daemon.addresses[0], timeout=timeout) as session:

        async def work() -> None:
            for number, one in waiting:
                await _play(one, f"{number}-{one.mode}", (session, provider, key))

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(work())
    return done


async def _play(
    one: Replayed, tag: str, ends: tuple[aiohttp.ClientSession, RecordedProvider, str]
) -> None:
    session, provider, key = ends
    recorded = one.recorded
    whole = one.mode == "whole"
    pieces = [recorded.body] if whole else cut(recorded.body, recorded.id)
    provider.scripts[tag] = Script(recorded, pieces)
    headers = {"content-type": "application/json", TAG: tag, **recorded.credential(key)}
    url = URL(recorded.path, encoded=True)
    try:
        await _ask(one, session.post(url, data=recorded.request, headers=headers))
    except aiohttp.ServerDisconnectedError as exc:
        if tag in provider.received:
            one.problem = f"the client got no whole answer: {exc!r}"
        else:
            one.again = True
            await _ask(one, session.post(url, data=recorded.request, headers=headers))
    except (aiohttp.ClientError, TimeoutError) as exc:
        one.problem = f"the client got no whole answer: {exc!r}"
    one.sent = provider.received.pop(tag, None)


async def _ask(one: Replayed, asking: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> None:
    async with asking as response:
        one.body = await response.read()
        one.status, one.content_type = response.status, response.headers["content-type"]
        one.request_id = response.headers.get("x-request-id", "")


def read_rows(database: Path) -> dict[str, dict[str, Any]]:
    """The usage log by request id, straight from the file."""
    connection = sqlite3.connect(database)
    try:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM usage").fetchall()
        return {row["request_id"]: dict(row) for row in rows}
    finally:
        connection.close()
