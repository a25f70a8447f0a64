"""The rounds: each starts the relay, loads it, ends it in some bad way, and looks into the books.

What a round leaves behind the next one starts on, so a mistake of one crash has all the following
ones to grow.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kill.books import faults, faults_of_sums, journal_ids, last_written, rows_of
from benchmarks.kill.load import Load, Told
from benchmarks.kill.site import NotWell, Program, Site

LONGEST_ROUND = 1.5  # seconds of load before the end


@dataclass(slots=True)
class Result:
    """How a round went.

    Arguments:
        noted: requests that the journal had lines of, in the store or not.
        interrupted: those of them that the crash cut.
    """

    name: str
    asked: int = 0
    complete: int = 0
    noted: int = 0
    interrupted: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        state = "; ".join(self.faults[:5]) or "right"
        return (
            f"{self.name:8} {self.asked:5} asked, {self.complete:5} answered whole,"
            f" {self.noted:5} left in the journal, {self.interrupted:3} cut: {state}"
        )


class Rounds:
    """Rounds on one site. Owns what all clients were told and what the journals said so far.

    Arguments:
        locked_for: seconds that the database is locked in the round of that name.
    """

    def __init__(self, site: Site, seed: int, locked_for: float = 10.0) -> None:
        self.site = site
        self.told: list[Told] = []
        self.noted: set[str] = set()
        self._rng = random.Random(seed)
        self._locked_for = locked_for
        self._ways: dict[str, Callable[[Program, Load], Awaitable[list[str]]]] = {
            "kill": self._kill,
            "start": self._kill_in_start,
            "torn": self._tear,
            "sigterm": self._sigterm,
            "locked": self._locked,
        }

    def run(self, way: str, *, sums: bool = True) -> Result:
        """One round, the books looked into at its end; of the sums only if they are asked for."""
        result = asyncio.run(self._run(way))
        if sums:
            result.faults += faults_of_sums(self.site)
        return result

    async def _run(self, way: str) -> Result:
        relay = self.site.start()
        load = Load(self.site.port, self.site.key, self._rng.getrandbits(32))
        try:
            problems = await self._ways[way](relay, load)
        finally:
            await load.stop()
        self.told += load.told
        result = Result(way, len(load.told), load.complete, faults=problems)
        noted = journal_ids(self.site.journal)
        result.noted = len(noted)
        self.noted |= noted
        # A start replays the journal; its clean end leaves nothing for the next one.
        self.site.start().stop()
        rows = rows_of(self.site.database)
        result.interrupted = sum(
            row.outcome == "interrupted" for name in noted for row in rows.get(name, ())
        )
        left = journal_ids(self.site.journal)
        if left:
            result.faults.append(f"{len(left)} requests are in the journal after a clean end")
        result.faults += faults(self.site, self.told, self.noted)
        if not load.complete:
            result.faults.append("no reply was complete: what was tested?")
        return result

    async def _some_time(self) -> None:
        await asyncio.sleep(0.3 + self._rng.random() * LONGEST_ROUND)

    async def _kill(self, relay: Program, load: Load) -> list[str]:
        await self._some_time()
        relay.kill()
        await load.stop()
        return []

    async def _kill_in_start(self, relay: Program, load: Load) -> list[str]:
        """Killed, and killed again while it reads its journal."""
        await self._kill(relay, load)
        self.noted |= journal_ids(self.site.journal)
        for _ in range(2):
            again = self.site.launch()
            await asyncio.sleep(self._rng.random() * 1.5)
            again.kill()
        return []

    async def _tear(self, relay: Program, load: Load) -> list[str]:
        """Killed in the middle of a line: a piece of one, and zeros, stand at the journal's end."""
        await self._kill(relay, load)
        path = last_written(self.site.journal)
        if path is None:
            return ["the journal is empty"]
        text = path.read_bytes().rstrip(b"\0")
        last = text.rstrip(b"\n").rpartition(b"\n")[2]
        torn = last[: self._rng.randint(1, max(1, len(last) - 1))]
        with path.open("r+b") as file:
            file.seek(len(text))
            file.write(torn)
        return []

    async def _sigterm(self, relay: Program, load: Load) -> list[str]:
        await self._some_time()
        stopping = asyncio.get_running_loop().run_in_executor(None, relay.stop)
        await asyncio.sleep(0.1)
        await load.stop()
        status = await stopping
        left = journal_ids(self.site.journal)
        problems = [f"SIGTERM: exit status {status}"] if status else []
        return problems + ([f"SIGTERM: {len(left)} are left in the journal"] if left else [])

    async def _locked(self, relay: Program, load: Load) -> list[str]:
        """Another process holds the database, and the relay goes on; then it is killed."""
        locker = self.site.lock(self._locked_for)
        before = load.complete
        await asyncio.sleep(self._locked_for - 0.5)  # it is killed, and starts, beside the lock
        served, refused = load.complete - before, load.refused
        relay.kill()
        await load.stop()
        locker.end()
        problems = [] if served else ["locked: nothing was served"]
        return problems + ([f"locked: {refused} were refused"] if refused else [])


def disk_full(folder: Path, seed: int) -> Result:
    """A disk that is full at the start, has room, is full again, and is full when it is killed.

    Arguments:
        folder: of a file system of some 48 MB that may be filled up.
    """
    site = Site(folder)
    rounds = Rounds(site, seed)
    try:
        return asyncio.run(_disk_full(rounds, folder / "filler"))
    finally:
        site.close()


async def _disk_full(rounds: Rounds, filler: Path) -> Result:
    site, problems = rounds.site, []
    fill(filler, leave=4_000_000)  # the database has room, a journal file has none
    relay = site.start()
    load = Load(site.port, site.key, 1)
    await asyncio.sleep(1.0)
    if load.complete or not load.refused:
        problems.append(f"full: {load.complete} were served, {load.refused} refused")
    empty(filler)
    await asyncio.sleep(2.0)
    if not load.complete:
        problems.append("full: nothing is served although there is room again")
    fill(filler, leave=0)
    before, refused = load.complete, load.refused
    await asyncio.sleep(2.0)
    if load.complete == before or load.refused > refused:
        problems.append("full: the journal's own room was not used")
    relay.kill()
    await load.stop()
    rounds.told += load.told
    rounds.noted |= (noted := journal_ids(site.journal))
    again = site.launch()  # on the full disk
    await asyncio.sleep(2.0)
    empty(filler)
    try:
        again.wait_for_port(site.port)
    except NotWell:
        again = site.start()  # an end that says why is fine, too
    again.stop()
    problems += faults(site, rounds.told, rounds.noted) + faults_of_sums(site)
    return Result("full", len(load.told), load.complete, len(noted), faults=problems)


def fill(filler: Path, leave: int) -> None:
    """Take up what a file system has, but for some bytes."""
    room = os.statvfs(filler.parent)
    size = room.f_bavail * room.f_frsize - leave
    with filler.open("wb") as file:
        while size > 0:
            try:
                return os.posix_fallocate(file.fileno(), 0, size)
            except OSError:  # somebody was quicker
                size -= room.f_frsize


def empty(filler: Path) -> None:
    """Give it all back."""
    filler.unlink()
