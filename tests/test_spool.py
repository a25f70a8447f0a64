"""A body kept: in memory while it is small, then in a file that nobody finds; never beyond the
room that there is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from relayd.errors import NoUpstream
from relayd.spool import BATCH, IN_MEMORY, MEMORY, Room, Shares, Spool

MORE = MEMORY + 5


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


async def filled(room: Room, *pieces: bytes) -> Spool:
    spool = Spool(room)
    for piece in pieces:
        waiting = spool.append(piece)
        if waiting is not None:
            await waiting
    await spool.finish()
    return spool


def files_in(folder: Path) -> set[str]:
    """The open files of this process that lie, or lay, in a folder."""
    links = (os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return {link for link in links if link.startswith(str(folder))}


def test_a_small_body_stays_in_memory(tmp_path: Path) -> None:
    async def work() -> None:
        room = Room(MEMORY, tmp_path)
        spool = await filled(room, b"abc", b"", b"def")
        assert (spool.whole, spool.size, room.used) == (b"abcdef", 6, 6)
        assert (spool.read(1, 3), await spool.load(4, 6)) == (b"bc", b"ef")
        assert repr(spool) == "<Spool 6 bytes, memory>"
        assert not files_in(tmp_path)

    run(work)


def test_a_large_body_is_in_a_file_without_a_name(tmp_path: Path) -> None:
    async def work() -> None:
        body = os.urandom(MORE + BATCH + 7)
        cuts = [*range(0, len(body), 60_000), len(body)]
        room = Room(2 * len(body), tmp_path)
        spool = await filled(room, *[body[a:b] for a, b in pairwise(cuts)])
        assert spool.whole is None
        assert (spool.size, spool.read(0, len(body))) == (len(body), body)
        assert await spool.load(MEMORY - 3, MORE) == body[MEMORY - 3 : MORE]
        assert repr(spool) == f"<Spool {len(body)} bytes, file>"
        assert files_in(tmp_path)
        assert not os.listdir(tmp_path)
        spool.close()
        assert not files_in(tmp_path)
        assert repr(room) == f"<Room 0 of {2 * len(body)} bytes>"

    run(work)


def test_what_is_closed_gives_its_room_back_once(tmp_path: Path) -> None:
    async def work() -> None:
        room = Room(10)
        spool = await filled(room, b"0123456789")
        with pytest.raises(NoUpstream) as caught:
            Spool(room).append(b"x")
        assert (caught.value.status, caught.value.code) == (503, "no_room")
        spool.close()
        spool.close()
        assert room.used == 0
        assert Spool(room).append(b"x") is None
        with pytest.raises(OSError, match="closed"):
            spool.read(0, 1)

    run(work)


def refused(shares: Shares, owner: int, size: int, alone: bool = False) -> bool:
    with pytest.raises(NoUpstream) as caught:
        shares.take(owner, size, alone)
    assert (caught.value.status, caught.value.code) == (503, "no_room")
    return True


def test_nobody_takes_more_than_is_left_for_others() -> None:
    shares = Shares(120)
    shares.take(1, 60, alone=False)
    assert refused(shares, 1, 1)
    shares.take(2, 30, alone=True)
    assert refused(shares, 2, 1, alone=True)
    shares.take(3, 15, alone=True)  # there is room for somebody new
    assert repr(shares) == "<Shares 105 of 120 bytes, 3 owners>"
    shares.give(1, 60)
    shares.give(3, 15)
    shares.take(2, 15, alone=False)
    assert repr(shares) == "<Shares 45 of 120 bytes, 1 owners>"


def test_a_single_body_may_take_all_there_is_while_there_is_no_other() -> None:
    shares = Shares(100)
    shares.take(1, 100, alone=True)
    assert refused(shares, 1, 1, alone=True)
    shares.give(1, 100)
    shares.take(2, 1, alone=True)
    assert refused(shares, 1, 99, alone=True)


def test_large_bodies_leave_room_for_the_small_ones_of_others(tmp_path: Path) -> None:
    async def work() -> None:
        room = Room(8 * MORE, tmp_path)
        spools = [await filled(room, bytes(MORE)) for _ in range(4)]
        assert (room.memory.used, room.disk.used) == (0, 4 * MORE)
        with pytest.raises(NoUpstream):
            await filled(room, bytes(MORE))
        other = Spool(room, 2)
        assert other.append(bytes(MEMORY)) is None
        await other.finish()
        assert (room.memory.used, room.used) == (MORE + MEMORY, 4 * MORE + MORE + MEMORY)
        for spool in [*spools, other]:
            spool.close()
        assert (room.disk.used, set(room.spools)) == (0, {0})  # one could not be filled

    run(work)


def test_what_is_in_memory_has_a_bound_of_its_own() -> None:
    room = Room(10 * IN_MEMORY)
    assert room.memory.most == IN_MEMORY
    room.memory.take(1, IN_MEMORY // 2, alone=False)
    first, second = Spool(room, 1), Spool(room, 1)
    assert refused(room.memory, 1, 1)
    with pytest.raises(NoUpstream):
        second.append(b"x")
    first.close()
    assert Spool(room, 2).append(b"x") is None


def test_a_closed_file_is_not_read(tmp_path: Path) -> None:
    async def work() -> None:
        spool = await filled(Room(MORE), bytes(MORE))
        spool.close()
        with pytest.raises(OSError, match="closed"):
            await spool.load(0, 1)

    run(work)


def test_a_file_that_shrank_is_noticed(tmp_path: Path) -> None:
    async def work() -> None:
        spool = await filled(Room(MORE), bytes(MORE))
        assert spool._file is not None
        spool._file.truncate(7)
        with pytest.raises(OSError, match="shorter"):
            await spool.load(0, 10)
        spool.close()

    run(work)


def test_a_folder_that_is_gone_is_no_fault_of_the_client(tmp_path: Path) -> None:
    async def work() -> None:
        room = Room(MORE, tmp_path / "gone")
        with pytest.raises(NoUpstream) as caught:
            await filled(room, bytes(MORE))
        assert caught.value.code == "no_room"
        assert "No such file" in caught.value.detail
        assert "No such file" not in caught.value.message

    run(work)


def test_who_leaves_while_a_thread_writes_leaves_no_file(tmp_path: Path) -> None:
    async def work() -> None:
        room = Room(MORE, tmp_path)
        spool = Spool(room)
        waiting = spool.append(bytes(MORE))
        assert waiting is not None
        spool.close()
        with pytest.raises(NoUpstream):
            await waiting
        assert not files_in(tmp_path)
        assert room.used == 0

    run(work)


def test_a_file_in_use_is_closed_by_its_user(tmp_path: Path) -> None:
    async def work() -> None:
        spool = await filled(Room(MORE, tmp_path), bytes(MORE))

        def close_meanwhile(file: Any) -> bool:
            spool.close()
            return bool(file.closed)

        assert spool._in_use(close_meanwhile) is False
        assert not files_in(tmp_path)

    run(work)
