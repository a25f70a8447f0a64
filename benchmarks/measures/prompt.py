"""A 500 kB prompt: how much longer it takes through the relay, its parses and its copies.

The times are taken at one connection, in turn. The proof runs a daemon inside this process, in
front of the same mock: `orjson.loads` is wrapped to count parses of anything large, and
tracemalloc tells how many bytes exist at the worst moment, and how many while the upstream is
thinking. What the client's half and the socket's reads need is in those numbers, too.
"""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import uvloop

from benchmarks.asking import chat_body, large_request, rendered
from benchmarks.measures.wire_client import WireClient
from benchmarks.servers import Server
from benchmarks.stage import Goal, Section, Stage, median
from relayd.config.config import Config, load
from relayd.daemon.daemon import Daemon
from relayd.store.questions import NewKey

SIZE = 500_000
LARGE = 100_000
WARM_UP = 5
THINKING = 0.4
NOW = 1_790_000_000.0  # when the key was made; nothing depends on it
# The body in the relay's hands, and nothing else of its size.
KEPT_GOAL = 1.1
PARSES_GOAL = 1

CONFIG = """\
listen: 127.0.0.1:0
database: {folder}/relayd.db
demo: "off"
upstreams:
  mock:
    dialect: relay
    base_url: http://127.0.0.1:{upstream}
    key: mock-upstream-key
    models:
      a-public-name: demo-slow-first-byte-{thinking}
"""


class Proof(NamedTuple):
    """What one large request did inside the daemon; bytes as multiples of the body.

    Arguments:
        parses: of documents of its size.
        kept: what is allocated while the upstream thinks.
        peak: the most that is allocated at any time but inside the parser.
        parser: what the parser borrows while it runs.
    """

    parses: int
    kept: float
    peak: float
    parser: float


class Parses:
    """Watches the parses of large documents: how many, and what is allocated around them."""

    def __init__(self) -> None:
        self.number = 0
        self.peak_around = 0
        self.peak_inside = 0
        self._real = orjson.loads

    def loads(self, data: Any) -> Any:
        """In place of `orjson.loads`."""
        if len(data) < LARGE:
            return self._real(data)
        self.number += 1
        before, peak = tracemalloc.get_traced_memory()
        self.peak_around = max(self.peak_around, peak)
        value = self._real(data)
        self.peak_inside = max(self.peak_inside, tracemalloc.get_traced_memory()[1] - before)
        tracemalloc.reset_peak()
        return value

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, every parse of this process goes through here."""
        orjson.loads = self.loads
        try:
            yield
        finally:
            orjson.loads = self._real


def measure(stage: Stage) -> Section:
    """Times, then the proof."""
    servers = [stage.mock, *stage.proxies]
    times = _ask_in_turn(servers, stage.sizes.prompts)
    section = Section("A 500 kB prompt at one connection (ms)", ["server", "median", "added"])
    direct = median(times["direct"])
    for name, each in times.items():
        added = "" if name == "direct" else f"{median(each) - direct:.3f}"
        section.rows.append([name, f"{median(each):.3f}", added])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        proof = runner.run(prove(_config(stage.folder / "prompt", stage.mock.port)))
    section.goals = [
        Goal("parses of a 500 kB prompt", proof.parses, PARSES_GOAL, ""),
        Goal("its copies while the upstream thinks", proof.kept, KEPT_GOAL, "x body"),
    ]
    section.notes.append(
        f"Before and after the parse at most {proof.peak:.1f} x the body is allocated at one time: "
        "the socket's reads, the body joined from them, the text inside the parsed document. "
        f"orjson itself borrows {proof.parser:.1f} x the body while it parses."
    )
    return section


def _ask_in_turn(servers: list[Server], number: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {server.name: [] for server in servers}
    with ExitStack() as stack:
        turns = [
            (server, stack.enter_context(WireClient(server)), large_request(server, "demo", SIZE))
            for server in servers
        ]
        for count in range(number + WARM_UP):
            for server, client, asked in turns:
                timing = client.ask(asked)
                if count >= WARM_UP:
                    times[server.name].append(timing.last * 1000)
    return times


def _config(folder: Path, upstream: int) -> Config:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(folder=folder, upstream=upstream, thinking=THINKING))
    return load(path, {})


async def prove(config: Config) -> Proof:
    """Send one large request through a daemon in this process, and watch."""
    daemon = Daemon(config, None, {})
    await daemon.start()
    try:
        _, key = await daemon.books.store.create_key(
            NewKey("bench", "bench"), now=NOW, actor="benchmark"
        )
        await daemon.refresh_keys()
        port = int(daemon.addresses[0].rpartition(":")[2])
        await _send(port, _request(key, port, 1000))  # what is made once is made now
        return await _watch(port, _request(key, port, SIZE))
    finally:
        await daemon.close()


def _request(key: str, port: int, size: int) -> bytes:
    body = chat_body("a-public-name", size)
    return rendered((port, key), "/v1/chat/completions", "authorization: Bearer ", body)


async def _watch(port: int, request: bytes) -> Proof:
    parses = Parses()
    tracemalloc.start()
    try:
        with parses.watching():
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            async with asyncio.TaskGroup() as group:
                group.create_task(_send(port, request))
                await asyncio.sleep(THINKING / 2)
                kept = tracemalloc.get_traced_memory()[0] - before
            peak = max(parses.peak_around, tracemalloc.get_traced_memory()[1]) - before
    finally:
        tracemalloc.stop()
    return Proof(parses.number, kept / SIZE, peak / SIZE, parses.peak_inside / SIZE)


async def _send(port: int, request: bytes) -> None:
    """One request; its reply is read to the end and checked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
    finally:
        writer.close()
