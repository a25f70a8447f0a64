"""Openings, rows and disks for tests of the journal."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from relayd.ledger.journal import Journal, Sizes
from relayd.ledger.lines import LONGEST, Opening
from relayd.ledger.replay import Replay
from relayd.ledger.segment import Disk
from relayd.model import Entry, Usage

SMALL = Sizes(segment=8 * LONGEST, bound=64 * LONGEST)


def opening(number: int, cost: int = 7) -> Opening:
    """The opening of request `number`."""
    return Opening(
        f"req_{number}", 1000.0 + number, 20261121, 1, 2, "generate", "m", True, "chat", 50, cost
    )


def entry(number: int, outcome: str = "ok") -> Entry:
    """The row of request `number`."""
    return Entry(
        f"req_{number}",
        1000.0 + number,
        1,
        2,
        operation="generate",
        model_asked="m",
        format_in="chat",
        stream=True,
        status=200,
        outcome=outcome,
        usage=Usage(in_uncached=48, out_total=9, server_tools={"web_search": 1}),
        usage_source="reported",
        cost=123_456,
        day=20261121,
    )


class FickleDisk(Disk):
    """A disk that can be full, or fail, from one moment to the other.

    Arguments:
        room: how many more files may be made; None is any number.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.takes = 10**9  # bytes that writes may still bring

    def create(self, path: Path, size: int) -> int:
        if self.room is not None:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.room -= 1
        return super().create(path, size)

    def write(self, fd: int, line: bytes, offset: int) -> int:
        if not self.takes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        written = os.pwrite(fd, line[: self.takes], offset)
        self.takes -= written
        return written


def read_back(directory: Path) -> dict[str, Entry]:
    """What a start after a crash would find, by request id; each id once."""
    rows = [row for batch in Replay(directory).batches() for row in batch]
    found = {row.request_id: row for row in rows}
    assert len(found) == len(rows), "a request was read back twice"
    return found


def outcomes(directory: Path) -> dict[str, str]:
    """The outcome of each request that would be read back."""
    return {name: row.outcome for name, row in read_back(directory).items()}


def files(journal: Journal) -> list[str]:
    """The names of its files."""
    return sorted(path.name for path in journal.directory.iterdir())
