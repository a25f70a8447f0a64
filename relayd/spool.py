"""A body that may be too large for memory: beyond `MEMORY` it is kept in a file without a name.

No folder has that file (O_TMPFILE), so nothing is left of it, whatever ends the process. It is
written and read by a few threads of our own, in large pieces: a slow disk may hold up that one
upload, but neither the event loop nor the look-ups of names. All spools of a process share a
`Room`, which bounds what they may take up together, in memory and on disk. No account ever takes up
more than it leaves for others: so there is room for a new one, whatever the rest does.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final, TypeVar

from relayd.errors import NoUpstream

MEMORY: Final = 1024 * 1024
IN_MEMORY: Final = 256 * 1024 * 1024  # bytes of all spools that are not in a file (yet)
BATCH: Final = 256 * 1024  # bytes of one write
THREADS: Final = 4
PATIENCE: Final = 30  # seconds after which a client may find room again
T = TypeVar("T")


class Shares:
    """Bytes of one kind, and who has taken how many of them.

    Arguments:
        most: bytes at one time.
    """

    __slots__ = ("_of", "most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._of: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"<Shares {self.used} of {self.most} bytes, {len(self._of)} owners>"

    def take(self, owner: int, size: int, alone: bool) -> None:
        """Take up more; NoUpstream (503) where there is not so much left.

        Arguments:
            alone: whether the owner has no other spool: while nobody else has one either, a single
                one may take all there is.
        """
        held, used = self._of.get(owner, 0) + size, self.used + size
        left = self.most - used
        if left < 0 or (held > left and not (alone and held == used)):
            message = "relayd has no room for such a large request body at the moment."
            raise NoUpstream(message, code="no_room", retry_after=PATIENCE)
        self._of[owner] = held
        self.used += size

    def give(self, owner: int, size: int) -> None:
        """Give back what was taken."""
        self.used -= size
        held = self._of.pop(owner, 0) - size
        if held:
            self._of[owner] = held


class Room:
    """What all spools of a process take up. Owns their threads.

    Arguments:
        most: bytes at one time.
        folder: where the files are; None for the system's place for temporary files.
    """

    def __init__(self, most: int, folder: Path | None = None) -> None:
        self.folder = folder
        self.memory, self.disk = Shares(0), Shares(0)
        self.most = most
        self.spools: dict[int, int] = {}  # how many there are, by owner
        self._threads: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"<Room {self.used} of {self.most} bytes>"

    @property
    def used(self) -> int:
        """Bytes, in memory and on disk."""
        return self.memory.used + self.disk.used

    @property
    def most(self) -> int:
        """Bytes on disk. What is small has a room of its own, that large ones never take."""
        return self.disk.most

    @most.setter
    def most(self, most: int) -> None:
        self.disk.most, self.memory.most = most, min(most, IN_MEMORY)

    def enter(self, owner: int) -> None:
        """Another spool of that owner."""
        self.spools[owner] = self.spools.get(owner, 0) + 1

    def leave(self, owner: int) -> None:
        """One less."""
        left = self.spools.pop(owner) - 1
        if left:
            self.spools[owner] = left

    async def work(self, action: Callable[[], T]) -> T:
        """Let a thread do what may wait for a disk."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "spool")
        return await asyncio.get_running_loop().run_in_executor(self._threads, action)


class Spool:
    """One body. Filled by `append` and `finish`, then read as often as needed, until `close`.

    Arguments:
        room: what it takes up is taken there.
        owner: the account whose body it is.
    """

    __slots__ = (
        "_busy",
        "_closed",
        "_file",
        "_in_memory",
        "_lock",
        "_on_disk",
        "_owner",
        "_pending",
        "_room",
        "_waiting",
        "size",
    )

    def __init__(self, room: Room, owner: int = 0) -> None:
        self.size = 0
        self._room = room
        self._owner = owner
        room.enter(owner)
        self._in_memory = self._on_disk = 0  # bytes taken of the room
        self._pending: list[bytes] = []  # not in the file yet
        self._waiting = 0  # bytes of these
        self._file: BinaryIO | None = None
        # A thread may be at work on the file when the client leaves: then it is the one to close.
        self._lock = Lock()
        self._busy = 0
        self._closed = False

    def __repr__(self) -> str:
        where = "closed" if self._closed else "memory" if self._file is None else "file"
        return f"<Spool {self.size} bytes, {where}>"

    @property
    def whole(self) -> bytes | None:
        """The body, where it is in memory."""
        return self._pending[0] if self._file is None and self._pending else None

    def append(self, data: bytes) -> Awaitable[None] | None:
        """Keep more. Returns what to wait for, where it has to be written first."""
        room, owner, size = self._room, self._owner, len(data)
        room.memory.take(owner, size, self._alone)
        self._in_memory += size
        self.size += size
        self._pending.append(data)
        self._waiting += size
        if self._waiting <= (MEMORY if self._file is None else BATCH):
            return None
        room.disk.take(owner, self._waiting, self._alone)
        self._on_disk += self._waiting
        return self._flush()

    @property
    def _alone(self) -> bool:
        return self._room.spools.get(self._owner) == 1

    async def finish(self) -> None:
        """All is there."""
        if self._file is None:
            self._pending = [b"".join(self._pending)]
        elif self._pending:
            self._room.disk.take(self._owner, self._waiting, self._alone)
            self._on_disk += self._waiting
            await self._flush()

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`; OSError where the disk fails, or it is closed."""
        if self._file is None:
            if self._closed:
                raise OSError("the spool is closed")
            return self._pending[0][start:end]
        return self._in_use(lambda file: _read(file, start, end))

    async def load(self, start: int, end: int) -> bytes:
        """As `read`, without holding up anybody."""
        if self._file is None:
            return self.read(start, end)
        return await self._room.work(lambda: self.read(start, end))

    def close(self) -> None:
        """Nobody reads it any more: give back what it took up."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._file is not None and not self._busy:
                self._file.close()
        self._room.memory.give(self._owner, self._in_memory)
        self._room.disk.give(self._owner, self._on_disk)
        self._room.leave(self._owner)
        self._pending = []

    async def _flush(self) -> None:
        size = self._waiting
        pieces, self._pending, self._waiting = self._pending, [], 0
        try:
            await self._room.work(lambda: self._store(pieces))
        except OSError as exc:
            raise NoUpstream(
                "relayd cannot keep the request body.",
                code="no_room",
                retry_after=PATIENCE,
                detail=f"a temporary file cannot be written: {os.strerror(exc.errno or 0)}",
            ) from None
        if not self._closed:
            self._in_memory -= size
            self._room.memory.give(self._owner, size)

    # --- in a thread ----------------------------------------------------------------------------

    def _store(self, pieces: list[bytes]) -> None:
        if self._file is None:
            folder = self._room.folder
            self._file = tempfile.TemporaryFile(buffering=0, prefix="relayd-", dir=folder)
        self._in_use(lambda file: _write(file, pieces))

    def _in_use(self, action: Callable[[BinaryIO], T]) -> T:
        """Do something with the file that nobody closes meanwhile."""
        file = self._file
        assert file is not None
        with self._lock:
            self._busy += 1
        try:
            if self._closed:
                raise OSError("the spool is closed")
            return action(file)
        finally:
            with self._lock:
                self._busy -= 1
                if self._closed and not self._busy:
                    file.close()


def _write(file: BinaryIO, pieces: list[bytes]) -> None:
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[file.write(view) :]


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    data = os.pread(file.fileno(), end - start, start)
    while len(data) < end - start:
        more = os.pread(file.fileno(), end - start - len(data), start + len(data))
        if not more:
            raise OSError("the spool is shorter than it was")
        data += more
    return data
