"""Memory: of a relay that has just started, and what each open stream adds.

A relay of its own is started. A thousand streams begin and then stay silent in mid-reply, which is
what a thinking model looks like; resident memory before and while they are open is read from
/proc.
"""

from __future__ import annotations

import asyncio
import time

import uvloop

from benchmarks.asking import request
from benchmarks.load import Streams
from benchmarks.processes import resident_bytes
from benchmarks.servers import Server, start_relay
from benchmarks.stage import RELAY_CORE, Goal, Section, Stage

MODEL = "demo-stall"
SETTLE = 1.0
IDLE_GOAL_MB = 60
STREAM_GOAL_KB = 40


def measure(stage: Stage) -> Section:
    """Start a relay, open the streams, read the memory."""
    relay = start_relay(stage.folder / "memory", RELAY_CORE, stage.mock.port)
    number = stage.sizes.open_streams
    try:
        time.sleep(SETTLE)
        idle = resident_bytes(relay.child.pid)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            full = runner.run(_with_streams(relay, number))
        time.sleep(SETTLE)
        after = resident_bytes(relay.child.pid)
    finally:
        relay.stop()
    each = (full - idle) / number
    return Section(
        "Memory (VmRSS)",
        ["state", "MB"],
        [
            ["idle, just started", f"{idle / 1e6:.1f}"],
            [f"{number} open streams", f"{full / 1e6:.1f}"],
            ["after they left", f"{after / 1e6:.1f}"],
        ],
        [
            Goal("idle memory", idle / 1e6, IDLE_GOAL_MB, "MB"),
            Goal("memory per open stream", each / 1000, STREAM_GOAL_KB, "kB"),
        ],
    )


async def _with_streams(relay: Server, number: int) -> int:
    """Memory while so many streams are open and silent."""
    streams = Streams(relay, request(relay, "chat", MODEL, stream=True))
    try:
        await streams.open(number)
        await asyncio.sleep(SETTLE)
        return resident_bytes(relay.child.pid)
    finally:
        await streams.close()
