"""The journal beside disks that fill up, fail and recover, and what a crash would find of it."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import random
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.ledger.journal import Journal, JournalFull, Sizes, journal_directory
from relayd.ledger.lines import LONGEST
from relayd.ledger.replay import Replay
from relayd.ledger.segment import Segment
from tests.support.journals import (
    SMALL,
    FickleDisk,
    entry,
    files,
    opening,
    outcomes,
    read_back,
)

FOUR = Sizes(segment=8 * LONGEST, bound=32 * LONGEST)


def journal(folder: Path, disk: FickleDisk | None = None, sizes: Sizes = SMALL) -> Journal:
    return Journal(folder / "journal", sizes, disk)


def pass_through(one: Journal, numbers: Iterable[int]) -> None:
    """Requests that are opened, closed and stored."""
    for number in numbers:
        one.opened(opening(number))
        one.settled(entry(number))
        one.stored([entry(number)])
        one.tidy(sync=False)


def fill(one: Journal, start: int = 0) -> list[int]:
    """Open requests until there is no room."""
    opened: list[int] = []
    while True:
        try:
            one.opened(opening(start + len(opened)))
        except JournalFull:
            return opened
        opened.append(start + len(opened))


def fill_and_settle(one: Journal) -> list[int]:
    """Open requests, and close them, until there is no room even when all are closed."""
    done: list[int] = []
    while not one.full or one.retry():
        opened = fill(one, len(done))
        for number in opened:
            one.settled(entry(number))
        done += opened
    return done


def test_a_closing_is_on_the_disk_when_the_call_returns(tmp_path: Path) -> None:
    one = journal(tmp_path)
    one.opened(opening(1))
    assert outcomes(one.directory) == {"req_1": "interrupted"}
    one.settled(entry(1))
    assert read_back(one.directory) == {"req_1": entry(1)}
    assert repr(one) == "Journal(writing, 1 files, 0 open, 1 to store)"


def test_a_request_that_was_never_let_in_is_closed_without_an_opening(tmp_path: Path) -> None:
    one = journal(tmp_path)
    one.settled(entry(1, outcome="refused"))
    assert outcomes(one.directory) == {"req_1": "refused"}
    one.stored([entry(1)])
    one.close()
    assert files(one) == []


def test_files_are_left_behind_only_by_rows_that_the_store_lacks(tmp_path: Path) -> None:
    one = journal(tmp_path)
    pass_through(one, range(200))
    one.tidy()
    assert len(files(one)) <= 2
    one.opened(opening(500))
    one.settled(entry(500))
    pass_through(one, range(501, 700))
    one.tidy()
    assert "req_500" in read_back(one.directory)
    one.close()
    assert len(files(one)) == 1 and "req_500" in read_back(one.directory)


def test_a_clean_end_leaves_an_empty_folder(tmp_path: Path) -> None:
    one = journal(tmp_path)
    pass_through(one, range(3))
    one.close()
    one.close()
    assert files(one) == [] and one.full


def test_one_long_request_holds_its_own_file_and_no_other(tmp_path: Path) -> None:
    one = journal(tmp_path)
    one.opened(opening(9999))
    pass_through(one, range(500))
    one.tidy()
    assert len(files(one)) <= 3 and files(one)[0] == "00000001.log"
    one.settled(entry(9999))
    assert read_back(one.directory)["req_9999"] == entry(9999)
    one.stored([entry(9999)])
    one.tidy()
    assert "00000001.log" not in files(one)


def test_a_file_is_not_deleted_while_one_of_its_requests_is_open(tmp_path: Path) -> None:
    one = journal(tmp_path)
    one.opened(opening(1))
    one.opened(opening(2))
    one.settled(entry(1))
    one.stored([entry(1)])
    one.turn()
    one.tidy()
    assert outcomes(one.directory)["req_2"] == "interrupted"


def test_old_lines_go_with_time_even_where_few_are_written(tmp_path: Path) -> None:
    """A row that the store gave up after its time must not come back from the journal."""
    one = journal(tmp_path)
    pass_through(one, range(3))
    one.tidy()
    assert read_back(one.directory)
    one.turn()
    one.tidy()
    assert read_back(one.directory) == {} and files(one) == ["00000002.log"]
    one.turn()  # nothing was written: the file stays
    one.tidy()
    assert files(one) == ["00000002.log"]


class Platter:
    """Where the store's rows get to when asked, while it is `well`."""

    def __init__(self) -> None:
        self.well = True
        self.asked = 0

    def secure(self) -> None:
        self.asked += 1
        if not self.well:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("sync", [True, False])
def test_no_file_is_deleted_before_its_rows_are_on_the_platter(tmp_path: Path, sync: bool) -> None:
    """The store has committed them, but a power cut may take its last commits back."""
    platter = Platter()
    one = Journal(tmp_path / "journal", SMALL, secure=platter.secure)
    one.opened(opening(1))
    one.settled(entry(1))
    one.turn()
    one.tidy(sync=sync)
    assert platter.asked == 0, "nothing goes yet"
    one.stored([entry(1)])
    platter.well = False
    one.tidy(sync=sync)
    assert outcomes(one.directory) == {"req_1": "ok"}
    platter.well = True
    one.tidy(sync=sync)
    assert files(one) == ["00000002.log"] and platter.asked == 2
    one.tidy(sync=sync)
    assert platter.asked == 2


def test_a_file_that_cannot_be_deleted_is_tried_again_and_takes_room_until_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = journal(tmp_path, sizes=FOUR)
    for number in (1, 2):
        one.opened(opening(number))
        one.settled(entry(number))
        one.stored([entry(number)])
        one.turn()
    stubborn = one.directory / "00000001.log"
    stubborn.rename(tmp_path / "aside")
    stubborn.mkdir()  # which no unlink takes away
    one.tidy()
    assert files(one) == ["00000001.log", "00000003.log"], "the other one went"
    assert "a file cannot be deleted" in caplog.text and "2 files" in repr(one)
    stubborn.rmdir()
    (tmp_path / "aside").rename(stubborn)
    one.tidy()
    assert files(one) == ["00000003.log"] and "1 files" in repr(one)


# --- long requests ----------------------------------------------------------------------------


def one_open_in_each(one: Journal, count: int) -> list[int]:
    """So many files that the store has all of but for one open request each; those requests."""
    kept = list(range(10_000, 10_000 + count))
    for place, number in enumerate(kept):
        one.opened(opening(number))
        pass_through(one, range(100 * place, 100 * place + 3))
        one.turn()
        one.tidy()
    return kept


def test_long_requests_do_not_fill_the_journal(tmp_path: Path) -> None:
    """Once, one open request in each file closed the door to everyone."""
    one = journal(tmp_path, sizes=FOUR)
    kept = []
    for number in range(10_000, 10_006):
        kept.append(number)
        one.opened(opening(number))
        pass_through(one, range(100 * number, 100 * number + 20))
        one.gather()
        one.tidy()
    assert not one.full
    assert all(outcomes(one.directory)[f"req_{number}"] == "interrupted" for number in kept)
    for number in kept:
        one.settled(entry(number))
    assert all(outcomes(one.directory)[f"req_{number}"] == "ok" for number in kept)
    one.stored([entry(number) for number in kept])
    one.close()
    assert files(one) == []


def test_openings_are_written_again_only_when_room_gets_scarce(tmp_path: Path) -> None:
    one = journal(tmp_path, sizes=Sizes(segment=8 * LONGEST, bound=64 * LONGEST))
    one_open_in_each(one, 3)
    before = files(one)
    assert len(before) == 4
    one.gather()
    one.tidy()
    assert files(one) == before
    one.opened(opening(1))
    one.turn()
    one.gather()
    one.tidy()
    assert files(one) == ["00000005.log"]
    assert len(read_back(one.directory)) == 4


def test_a_file_with_rows_that_the_store_lacks_stays_where_openings_are_gathered(
    tmp_path: Path,
) -> None:
    one = journal(tmp_path, sizes=FOUR)
    one.opened(opening(7777))
    one.settled(entry(7777))
    kept = one_open_in_each(one, 3)
    one.gather()
    one.tidy()
    assert files(one) == ["00000001.log", "00000004.log"]
    found = outcomes(one.directory)
    assert found["req_7777"] == "ok"
    assert [found[f"req_{number}"] for number in kept] == ["interrupted"] * 3


def test_an_opening_is_on_the_platter_again_before_its_file_goes(tmp_path: Path) -> None:
    """Between two syncs that are due, too."""
    synced: list[int] = []
    one = Journal(tmp_path / "journal", FOUR, secure=lambda: synced.append(one_current().synced))

    def one_current() -> Segment:
        assert one._current is not None
        return one._current

    one_open_in_each(one, 3)
    synced.clear()
    one.gather()
    one.tidy(sync=False)
    assert synced == [one_current().offset] and synced[0] > 0
    assert files(one) == ["00000004.log"]


def test_openings_that_fill_a_file_are_not_written_again(tmp_path: Path) -> None:
    """It would take as much room as it gives."""
    one = journal(tmp_path, sizes=Sizes(segment=8 * LONGEST, bound=100 * LONGEST))
    for number in range(50):
        one.opened(opening(number))
    one.turn()
    before = files(one)
    assert 2 * 8 * len(before) > 100, "more than half of the bound is used"
    one.gather()
    one.tidy()
    assert files(one) == before


def test_the_file_that_is_written_to_stays(tmp_path: Path) -> None:
    one = journal(tmp_path, sizes=Sizes(segment=8 * LONGEST, bound=12 * LONGEST))
    one.opened(opening(1))
    one.gather()
    one.tidy()
    assert outcomes(one.directory) == {"req_1": "interrupted"}


def test_where_no_line_can_be_written_openings_stay_where_they_are(tmp_path: Path) -> None:
    disk = FickleDisk()
    one = journal(tmp_path, disk, FOUR)
    kept = one_open_in_each(one, 3)
    disk.takes = 0
    one.gather()
    one.tidy()
    found = outcomes(one.directory)
    assert [found[f"req_{number}"] for number in kept] == ["interrupted"] * 3


# --- a full disk ------------------------------------------------------------------------------


def test_whoever_was_let_in_is_closed_on_the_disk_though_it_is_full(tmp_path: Path) -> None:
    disk = FickleDisk(room=2)
    one = journal(tmp_path, disk)
    opened = fill(one)
    assert opened and one.full and not one.unwritten
    with pytest.raises(JournalFull) as refusal:
        one.opened(opening(999))
    assert (refusal.value.status, refusal.value.retry_after) == (503, 5)
    assert refusal.value.detail == "journal: No space left on device"
    for number in opened:
        one.settled(entry(number))
    assert not one.unwritten
    assert set(outcomes(one.directory).values()) == {"ok"}
    assert len(read_back(one.directory)) == len(opened)


def test_the_longest_lines_have_their_room_as_well(tmp_path: Path) -> None:
    disk = FickleDisk(room=3)
    one = journal(tmp_path, disk)
    opened = fill(one)
    for number in opened:
        row = entry(number)
        row.model_asked = row.error_code = "\U0001f300" * 500
        one.settled(row)
    assert not one.unwritten and len(read_back(one.directory)) == len(opened)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_done_in_between_a_closing_has_its_room(tmp_path: Path, seed: int) -> None:
    """`retry` and `turn` gave up the rest of a file that open requests counted on: then a closing
    line had no file, and waited in memory while the client was told that it was done."""
    dice = random.Random(seed)
    sizes = Sizes(segment=8 * LONGEST, bound=8 * LONGEST * dice.choice((3, 4, 6)))
    one = journal(tmp_path, sizes=sizes)
    opened: list[int] = []
    ended: list[int] = []
    for number in range(400):
        roll = dice.random()
        if roll < 0.45:
            with contextlib.suppress(JournalFull):
                one.opened(opening(number))
                opened.append(number)
        elif roll < 0.7 and opened:
            ended.append(opened.pop(dice.randrange(len(opened))))
            row = entry(ended[-1])
            row.model_asked = row.error_code = "m" * dice.randrange(300)
            one.settled(row)
        elif roll < 0.85:
            some = dice.randrange(1, 20)
            one.stored([entry(number) for number in ended[:some]])
            del ended[:some]
        elif roll < 0.92:
            one.tidy(sync=False)
        elif one.full:
            one.retry()
        elif roll < 0.95:
            one.turn()
        assert one.unwritten == 0
    one.close()


def test_refused_requests_do_not_take_the_room_of_those_let_in(tmp_path: Path) -> None:
    one = journal(tmp_path, FickleDisk(room=2))
    opened = fill(one)
    for number in range(500, 600):
        one.settled(entry(number, outcome="refused"))
    for number in opened:
        one.settled(entry(number))
    found = outcomes(one.directory)
    assert [found[f"req_{number}"] for number in opened] == ["ok"] * len(opened)
    assert one.unwritten == 100
    one.stored([entry(number) for number in range(500, 600)])
    assert one.unwritten == 0


def test_requests_are_let_in_again_when_the_disk_has_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FickleDisk(room=1)
    one = journal(tmp_path, disk)
    opened = fill(one)
    assert not one.retry() and not one.retry()
    disk.room = None
    assert one.retry() and not one.full
    one.opened(opening(500))
    for number in [*opened, 500]:
        one.settled(entry(number))
    assert len(read_back(one.directory)) == len(opened) + 1
    said = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert said == [
        (
            logging.ERROR,
            "journal: No space left on device; no request is admitted until there is room",
        ),
        (logging.WARNING, "journal: there is room again, requests are admitted"),
    ]


def test_a_disk_that_is_full_at_the_start_is_waited_for(tmp_path: Path) -> None:
    disk = FickleDisk(room=0)
    one = journal(tmp_path, disk)
    assert one.full and files(one) == []
    one.settled(entry(1))
    assert one.unwritten == 1 and not one.retry()
    disk.room = None
    assert one.retry()
    assert outcomes(one.directory) == {"req_1": "ok"}


def test_a_last_file_that_the_store_has_all_of_is_given_up_for_a_new_one(tmp_path: Path) -> None:
    """The disk holds one file: were the used-up one kept, nobody would ever be let in again."""
    one = journal(tmp_path, sizes=Sizes(segment=8 * LONGEST, bound=8 * LONGEST))
    done = fill_and_settle(one)
    one.stored([entry(number) for number in done])
    assert not one.retry()
    one.tidy()
    assert one.retry()
    one.opened(opening(500))


def test_the_bound_is_kept_and_left_when_the_store_takes_rows(tmp_path: Path) -> None:
    one = journal(tmp_path, sizes=FOUR)
    done = fill_and_settle(one)
    assert sum(path.stat().st_size for path in one.directory.iterdir()) <= FOUR.bound
    assert "its bound of 32768 bytes is reached" in repr(one)
    one.stored([entry(number) for number in done])
    one.tidy()
    assert one.retry() or one.retry()
    one.opened(opening(9999))


# --- a failing disk ---------------------------------------------------------------------------


def test_a_closing_that_no_file_takes_waits_in_memory(tmp_path: Path) -> None:
    disk = FickleDisk()
    one = journal(tmp_path, disk)
    one.opened(opening(1))
    disk.takes = 0
    one.settled(entry(1))
    assert one.full and one.unwritten == 1
    assert outcomes(one.directory) == {"req_1": "interrupted"}
    assert not one.retry()
    disk.takes = 10**9
    assert one.retry() and not one.unwritten
    assert outcomes(one.directory) == {"req_1": "ok"}
    one.stored([entry(1)])
    one.close()
    assert files(one) == []


def test_an_opening_that_no_file_takes_is_a_refusal(tmp_path: Path) -> None:
    disk = FickleDisk()
    one = journal(tmp_path, disk)
    disk.takes = 0
    with pytest.raises(JournalFull):
        one.opened(opening(1))
    assert one.full and outcomes(one.directory) == {}


@pytest.mark.parametrize("takes", range(0, 120, 7))
def test_a_line_that_was_written_in_part_is_written_again_elsewhere(
    tmp_path: Path, takes: int
) -> None:
    class Hiccup(FickleDisk):
        """Takes a line in part once, and is well from then on."""

        def write(self, fd: int, line: bytes, offset: int) -> int:
            if self.takes == takes:
                self.takes = 10**9
                return os.pwrite(fd, line[:takes], offset)
            return super().write(fd, line, offset)

    disk = Hiccup()
    one = journal(tmp_path, disk)
    one.opened(opening(1))
    disk.takes = takes
    one.settled(entry(1))
    assert not one.full
    replay = Replay(one.directory)
    assert list(replay.batches()) == [[entry(1)]] and not replay.found.damaged
    one.stored([entry(1)])
    one.close()
    assert files(one) == []


def test_a_file_name_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    one = journal(tmp_path)
    (one.directory / "00000002.log").write_text("")
    while not one.full:
        fill(one)
    assert one.retry()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    with pytest.raises(OSError, match="journal: File exists"):
        journal(tmp_path)


# --- beside old files and other threads -------------------------------------------------------


def test_files_of_a_former_run_are_left_alone(tmp_path: Path) -> None:
    old = journal(tmp_path)
    old.opened(opening(1))
    old.close()
    (old.directory / "00000007.unread").write_bytes(b"x")
    new = journal(tmp_path)
    pass_through(new, range(10, 12))
    new.close()
    assert files(new) == ["00000001.log", "00000007.unread"]
    assert outcomes(new.directory) == {"req_1": "interrupted"}


def test_tidying_in_a_thread_loses_no_line(tmp_path: Path) -> None:
    one = journal(tmp_path, sizes=Sizes(segment=8 * LONGEST))
    over = threading.Event()

    def tidy() -> None:
        while not over.is_set():
            one.tidy()

    thread = threading.Thread(target=tidy)
    thread.start()
    kept = []
    try:
        for number in range(1000):
            one.opened(opening(number))
            one.settled(entry(number))
            if number % 100:
                one.stored([entry(number)])
            else:
                kept.append(f"req_{number}")
    finally:
        over.set()
        thread.join(10)
    one.close()
    assert set(kept) <= set(read_back(one.directory))
    assert len(files(one)) <= len(kept)


def test_what_cannot_be_brought_to_the_disk_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = journal(tmp_path)
    one.opened(opening(1))
    one.directory.rename(tmp_path / "gone")  # the new folder's names cannot be synced
    one.tidy()
    assert "cannot be brought to the disk" in caplog.text
    one.tidy(sync=False)


def test_the_folder_stands_beside_the_database_whatever_link_leads_to_it(tmp_path: Path) -> None:
    assert journal_directory(Path("/x/relayd.db")) == Path("/x/relayd.db.journal")
    (tmp_path / "link.db").symlink_to("/x/relayd.db")
    assert journal_directory(tmp_path / "link.db") == Path("/x/relayd.db.journal")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "settle", "store", "refuse", "room", "no room", "fail", "heal"]),
        st.integers(0, 30),
    ),
    max_size=120,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_a_crash_finds_every_row_that_the_store_lacks(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Only lines that the journal says are still in memory may be missing, and `full` is true."""
    disk = FickleDisk()
    one = Journal(tmp_path_factory.mktemp("j") / "journal", FOUR, disk)
    opened: set[int] = set()
    ended: set[int] = set()
    for count, (what, number) in enumerate(steps):
        number += 100 * count if what in ("open", "refuse") else 0
        if what == "open":
            try:
                one.opened(opening(number))
                opened.add(number)
            except JournalFull:
                assert one.full
        elif what == "settle" and opened:
            ended.add(number := sorted(opened)[number % len(opened)])
            opened.discard(number)
            one.settled(entry(number))
        elif what == "refuse":
            one.settled(entry(number))
            ended.add(number)
        elif what == "store" and ended:
            stored = sorted(ended)[: number + 1]
            ended -= set(stored)
            one.stored([entry(n) for n in stored])
        else:
            disk.room = {"room": None, "no room": 0}.get(what, disk.room)
            disk.takes = {"fail": 0, "heal": 10**9}.get(what, disk.takes)
            one.gather()
            one.tidy()
            if one.full:
                one.retry()
    found = outcomes(one.directory)
    lost = {n for n in ended if found.get(f"req_{n}") != "ok"}
    assert len(lost) <= one.unwritten and (one.full or not one.unwritten)
    assert all(found[f"req_{n}"] == "interrupted" for n in opened)
    one.close()


def test_it_knows_of_the_oldest_request_that_a_file_tells_of(tmp_path: Path) -> None:
    one = journal(tmp_path)
    assert one.oldest == math.inf
    one.opened(opening(7))
    pass_through(one, range(10, 30))
    assert one.oldest == opening(7).started_at

    one.settled(entry(7))
    one.stored([entry(7)])
    one.turn()
    one.tidy()
    assert one.oldest == math.inf, "of what is in the store no line is left"


def test_an_opening_that_is_written_again_is_as_old_as_it_was(tmp_path: Path) -> None:
    one = journal(tmp_path, sizes=Sizes(segment=8 * LONGEST, bound=64 * LONGEST))
    one_open_in_each(one, 5)
    oldest = one.oldest
    one.gather()
    one.tidy()
    assert files(one) == ["00000006.log"]
    assert one.oldest == oldest < math.inf


def test_a_row_that_waited_in_memory_is_as_old_as_it_was(tmp_path: Path) -> None:
    disk = FickleDisk()
    one = journal(tmp_path, disk)
    disk.takes = 0
    one.settled(entry(3))
    assert (one.unwritten, one.oldest) == (1, math.inf)

    disk.takes = 10**9
    assert one.retry()
    assert one.oldest == entry(3).started_at
