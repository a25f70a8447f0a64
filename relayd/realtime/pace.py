"""How the frames of one side of a tunnel stand: how fast they come, and where bytes end in them."""

from __future__ import annotations

import asyncio
from typing import Literal

from relayd.wire.websocket import Frames

# Where some bytes end: between two messages, between two frames of one, or inside of a frame.
Boundary = Literal["message", "frame", "inside"]


def boundary(frames: Frames) -> Boundary:
    """Where the bytes end that were read last."""
    if frames.at_message:
        return "message"
    return "frame" if frames.at_frame else "inside"


class Pace:
    """How fast one side's frames come. Owned by the tunnel.

    Arguments:
        now: the loop's clock.

    `count` are the frames since `since`; `rest` is what waits until `timer` rings.
    """

    __slots__ = ("count", "rest", "since", "timer")

    def __init__(self, now: float) -> None:
        self.since = now
        self.count = 0  # frames since then
        self.rest = b""  # what waits for its turn
        self.timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Pace {self.count} frames, {len(self.rest)} bytes wait>"
