"""One file of the journal: its room is taken from the disk before the first line is written.

A line is one `pwrite` at an offset that we keep, not an append: the file has its full size from the
start, and the zeros behind the last line mark where it ends. From the moment that the call returns
the line survives the death of this process; a power cut it survives from the next `fdatasync` on.
A write that fails may have left half a line behind: the file is cut there and never written again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from math import inf
from pathlib import Path

SUFFIX = ".log"


class Disk:
    """What the journal does to the disk, so that a test can fill it up."""

    write: Callable[[int, bytes, int], int] = staticmethod(os.pwrite)

    def create(self, path: Path, size: int) -> int:
        """A new file of zeros that all have their place; OSError leaves nothing behind."""
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        return fd


def segment_path(directory: Path, number: int) -> Path:
    """Where a segment is; names sort by number."""
    return directory / f"{number:08d}{SUFFIX}"


class Segment:
    """One file. Owns its descriptor until `close`, and counts what the store does not have yet.

    Arguments:
        path: a file that does not exist yet.
        size: bytes that it shall hold.
        margin: the longest line: what may be written from the last good offset on.
    """

    __slots__ = (
        "_fd", "_write", "alone", "end", "named", "offset", "oldest", "path", "pending", "problem",
        "synced",
    )  # fmt: skip

    def __init__(self, path: Path, size: int, margin: int, disk: Disk) -> None:
        self.path = path
        self.end = size - margin
        self.offset = 0
        self.oldest = inf  # when the first began of the requests that it has a line of
        self.pending = 0  # requests with a line here whose row the store does not have
        self.problem = ""
        self.named = False  # whether the folder that lists this file is on the disk
        self.synced = 0
        self.alone = (self,)
        self._write = disk.write
        self._fd = disk.create(path, size)

    def __repr__(self) -> str:
        return f"<Segment {self.path.stem} {self.offset} of {self.end}, {self.pending} pending>"

    def append(self, line: bytes) -> bool:
        """Write one line; false when the file cannot take it whole and must not be used again."""
        try:
            written = self._write(self._fd, line, self.offset)
        except OSError as error:
            self.problem = error.strerror or str(error)
            return False
        if written != len(line):
            self.problem = "a line was written in part"
            return False
        self.offset += written
        return True

    def cut(self) -> None:
        """Give back what is behind the last good line."""
        with contextlib.suppress(OSError):  # half a line without its newline is known as such
            os.ftruncate(self._fd, self.offset)

    def sync(self) -> None:
        """Bring the lines so far to the disk itself; waits for it. Raises OSError."""
        offset = self.offset
        if self._fd < 0 or offset == self.synced:
            return
        os.fdatasync(self._fd)
        if not self.named:
            sync_directory(self.path.parent)
            self.named = True
        self.synced = offset

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def delete(self) -> None:
        """Let go of the file and remove it."""
        self.close()
        self.path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Bring the names of a folder's files to the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
