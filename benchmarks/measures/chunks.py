"""Processor time per streamed chunk: many slow streams at a steady rate, as people read them.

400 streams get 50 chunks a second each. Once all have begun, the chunks that arrive and the
processor time that the proxy uses are counted over a window. Only the proxy's own processes count;
parsing, observing and framing are in it, starting the streams is not.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import NamedTuple

import uvloop

from benchmarks.asking import FORMATS, request
from benchmarks.load import LoadFailed, Streams
from benchmarks.processes import cpu_seconds
from benchmarks.servers import Server
from benchmarks.stage import Goal, Section, Stage, median, spread

STREAMS = 400
CHUNKS_PER_SECOND = 50
SETTLE = 0.5
GOAL = 1.25
PER = 100_000
# Below this share of the planned rate, mock or load was the limit, and the figure means little.
ENOUGH = 0.95


class Window(NamedTuple):
    """What was counted."""

    chunks: int
    seconds: float
    cpu: float

    @property
    def cost(self) -> float:
        """Processor seconds per 100,000 chunks."""
        return self.cpu / self.chunks * PER


def measure(stage: Stage) -> Section:
    """All formats in turn; for each, the rounds alternate between the proxies."""
    section = Section(
        f"CPU per streamed chunk ({STREAMS} streams, {CHUNKS_PER_SECOND} chunks/s each)",
        ["format", "server", "s per 100 k chunks", "rounds", "chunks/s", "to nginx"],
    )
    for format_name in FORMATS:
        windows: dict[str, list[Window]] = defaultdict(list)
        for _ in range(stage.sizes.rounds):
            for server in stage.proxies:
                seconds = stage.sizes.chunks_seconds
                windows[server.name].append(window(server, format_name, seconds))
        _add(section, format_name, windows)
    return section


def _add(section: Section, format_name: str, windows: dict[str, list[Window]]) -> None:
    costs = {name: median([w.cost for w in each]) for name, each in windows.items()}
    yardstick = costs.get("nginx")
    for name, each in windows.items():
        ratio = costs[name] / yardstick if yardstick else float("nan")
        rate = median([w.chunks / w.seconds for w in each])
        section.rows.append(
            [
                format_name,
                name,
                f"{costs[name]:.2f}",
                spread([w.cost for w in each], 2),
                f"{rate:,.0f}",
                f"{ratio:.2f}" if yardstick else "-",
            ]
        )
        if rate < STREAMS * CHUNKS_PER_SECOND * ENOUGH:
            section.notes.append(f"{format_name} through {name}: the load fell behind its rate.")
    if yardstick:
        ratio = costs["relayd"] / yardstick
        section.goals.append(Goal(f"CPU per chunk to nginx, {format_name}", ratio, GOAL, "x"))


def window(server: Server, format_name: str, seconds: float, *, streams: int = STREAMS) -> Window:
    """What one server does in so many seconds with so many streams. Raises LoadFailed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_count(server, format_name, seconds, streams))


async def _count(server: Server, format_name: str, seconds: float, number: int) -> Window:
    # Long enough for the slowest start; the streams are left when the window has passed.
    each = int((seconds + 30) * CHUNKS_PER_SECOND)
    model = f"demo-chunks-{each}-at-{CHUNKS_PER_SECOND}"
    streams = Streams(server, request(server, format_name, model, stream=True))
    try:
        await streams.open(number)
        await asyncio.sleep(SETTLE)
        clock = asyncio.get_running_loop().time
        cpu, chunks, started = cpu_seconds(server.pids), streams.events, clock()
        await asyncio.sleep(seconds)
        took = clock() - started
        counted = Window(streams.events - chunks, took, cpu_seconds(server.pids) - cpu)
    finally:
        ended = streams.ended
        await streams.close()
    if ended or not counted.chunks:
        raise LoadFailed(f"{ended} streams of {server.name} broke off, {counted.chunks} chunks")
    return counted
