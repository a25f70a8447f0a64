"""What is read back from a journal after every kind of bad end, and how it reaches the store."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.ledger.journal import Journal
from relayd.ledger.lines import closing_line, opening_line
from relayd.ledger.replay import BATCH, Recovered, Replay, recover
from relayd.ledger.segment import segment_path
from relayd.model import Entry
from relayd.store.refusals import StoreUnavailable
from tests.support.journals import SMALL, entry, opening, outcomes, read_back
from tests.support.logged import lines


class KeepingStore:
    """Keeps rows by their request id; the first to come stays. Refuses the first batches."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.rows: dict[str, Entry] = {}

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("database is locked")
        for row in entries:
            self.rows.setdefault(row.request_id, row)


def segment(folder: Path, *lines: bytes, number: int = 1, zeros: int = 500) -> Path:
    """A file as a killed daemon leaves it."""
    path = segment_path(folder, number)
    path.write_bytes(b"".join(lines) + b"\0" * zeros)
    return path


def recovered(folder: Path, store: KeepingStore | None = None) -> Recovered:
    return asyncio.run(recover(folder, store or KeepingStore()))


def test_there_is_nothing_to_recover_where_there_is_no_journal(tmp_path: Path) -> None:
    assert recovered(tmp_path / "none") == Recovered()


def test_finished_rows_come_back_and_unfinished_ones_are_interrupted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = KeepingStore()
    segment(
        tmp_path,
        opening_line(opening(1)),
        opening_line(opening(2)),
        closing_line(entry(1)),
        opening_line(opening(3)),
        closing_line(entry(9, outcome="refused")),
    )
    assert recovered(tmp_path, store) == Recovered(settled=2, interrupted=2)
    assert store.rows["req_1"] == entry(1)
    assert store.rows["req_2"] == opening(2).interrupted()
    assert {name: row.outcome for name, row in store.rows.items()} == {
        "req_1": "ok",
        "req_2": "interrupted",
        "req_3": "interrupted",
        "req_9": "refused",
    }
    assert os.listdir(tmp_path) == []
    assert "is read back finished=2 interrupted=2 unreadable=0" in lines(caplog)[-1]


def test_no_file_goes_before_the_rows_are_on_the_platter(tmp_path: Path) -> None:
    """The store has committed them, but a power cut may take its last commits back."""
    store, there = KeepingStore(), []

    def secure() -> None:
        there.append((len(store.rows), os.listdir(tmp_path)))
        if len(there) == 1:
            raise OSError("no platter")

    path = segment(tmp_path, opening_line(opening(1)))
    with pytest.raises(OSError, match="no platter"):
        asyncio.run(recover(tmp_path, store, secure=secure))
    assert path.exists()
    asyncio.run(recover(tmp_path, store, secure=secure))
    assert there == [(1, [path.name])] * 2 and not path.exists()


def test_a_clean_end_has_nothing_to_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment(tmp_path)
    segment(tmp_path, number=2, zeros=0)
    assert recovered(tmp_path) == Recovered()
    assert not caplog.records and os.listdir(tmp_path) == []


def test_a_closing_may_stand_in_a_later_file_than_its_opening(tmp_path: Path) -> None:
    segment(tmp_path, opening_line(opening(1)), number=9)
    segment(tmp_path, closing_line(entry(1)), number=10)
    segment(tmp_path, opening_line(opening(2)), number=100_000_000)  # numbers, not names
    assert outcomes(tmp_path) == {"req_1": "ok", "req_2": "interrupted"}


def test_files_are_read_by_number_whatever_their_times(tmp_path: Path) -> None:
    """The clock stepped back between two files: the later one has the earlier time."""
    first = segment(tmp_path, opening_line(opening(1)._replace(started_at=5000.0)), number=1)
    second = segment(tmp_path, closing_line(replace(entry(1), started_at=10.0)), number=2)
    os.utime(first, (5000, 5000))
    os.utime(second, (10, 10))
    assert outcomes(tmp_path) == {"req_1": "ok"}


def test_a_last_line_torn_at_any_byte_costs_only_itself(tmp_path: Path) -> None:
    whole = opening_line(opening(1)) + closing_line(entry(1)) + opening_line(opening(2))
    last = closing_line(entry(2))
    for kept in range(len(last)):
        for zeros in (0, 64):
            path = segment(tmp_path, whole, last[:kept], zeros=zeros)
            replay = Replay(tmp_path)
            rows = {row.request_id: row for batch in replay.batches() for row in batch}
            assert rows["req_1"] == entry(1)
            assert rows["req_2"] == opening(2).interrupted()
            assert replay.found == Recovered(1, 1, 1 if kept else 0)
            replay.done()
            assert not path.exists()  # half a line at the end is nothing to look at


def test_a_line_whose_checksum_does_not_fit_is_passed_over_and_kept_for_a_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = closing_line(entry(1)).replace(b'"ok"', b'"OK"')
    path = segment(tmp_path, opening_line(opening(1)), bad, closing_line(entry(2)))
    text = path.read_bytes()
    store = KeepingStore()
    assert recovered(tmp_path, store) == Recovered(settled=1, interrupted=1, damaged=1)
    assert store.rows["req_1"].outcome == "interrupted"
    assert os.listdir(tmp_path) == ["00000001.unread"]
    assert (tmp_path / "00000001.unread").read_bytes() == text
    assert "a line of 00000001.log cannot be read: the checksum does not fit" in caplog.text
    assert recovered(tmp_path) == Recovered()


@pytest.mark.parametrize("rubbish", [b"\n", b"rubbish\n", b"\xff" * 300 + b"\n", b"00000000 []\n"])
def test_rubbish_between_lines_costs_only_itself(tmp_path: Path, rubbish: bytes) -> None:
    segment(tmp_path, closing_line(entry(1)), rubbish, closing_line(entry(2)))
    assert recovered(tmp_path) == Recovered(settled=2, damaged=1)


def test_a_file_of_nothing_but_rubbish_does_not_stop_the_start(tmp_path: Path) -> None:
    segment(tmp_path, os.urandom(5000).replace(b"\n", b"") + b"\nx", zeros=0)
    segment(tmp_path, closing_line(entry(1)), number=2)
    assert recovered(tmp_path) == Recovered(settled=1, damaged=2)


def test_zeros_before_a_line_are_pages_that_a_power_cut_took(tmp_path: Path) -> None:
    segment(tmp_path, closing_line(entry(1)), b"\0" * 4096, closing_line(entry(2)))
    assert set(read_back(tmp_path)) == {"req_1", "req_2"}


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.log").write_text("mine")
    (tmp_path / "00000001.unread").write_text("kept")
    assert recovered(tmp_path) == Recovered()
    assert sorted(os.listdir(tmp_path)) == ["00000001.unread", "notes.log"]


def test_a_replay_that_is_cut_short_is_repeated_without_harm(tmp_path: Path) -> None:
    segment(tmp_path, opening_line(opening(1)), closing_line(entry(1)), opening_line(opening(2)))
    store = KeepingStore()
    for _ in range(2):  # the process dies before `done`
        for batch in Replay(tmp_path).batches():
            asyncio.run(store.add_entries(batch))
    assert recovered(tmp_path, store) == Recovered(settled=1, interrupted=1)
    assert len(store.rows) == 2


def test_a_row_that_the_store_has_is_not_overwritten_by_its_opening(tmp_path: Path) -> None:
    """The file with the closing is gone, the one with the opening is not: rows come first."""
    journal = Journal(tmp_path, SMALL)
    journal.opened(opening(1))
    journal.opened(opening(2))
    journal.turn()
    journal.settled(entry(1))
    journal.turn()
    journal.stored([entry(1)])
    journal.tidy()
    assert outcomes(tmp_path) == {"req_1": "interrupted", "req_2": "interrupted"}
    store = KeepingStore()
    store.rows["req_1"] = entry(1)
    recovered(tmp_path, store)
    assert store.rows["req_1"] == entry(1) and store.rows["req_2"].outcome == "interrupted"
    journal.close()


def test_rows_come_in_batches_and_memory_holds_one_file(tmp_path: Path) -> None:
    segment(tmp_path, *(closing_line(entry(number)) for number in range(BATCH + 5)))
    segment(tmp_path, *(opening_line(opening(5000 + n)) for n in range(BATCH)), number=2)
    replay = Replay(tmp_path)
    assert [len(batch) for batch in replay.batches()] == [BATCH, BATCH, 5]
    assert repr(replay) == (
        f"<Replay of 2 files: Recovered(settled={BATCH + 5}, interrupted={BATCH}, damaged=0)>"
    )


def test_a_locked_store_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = KeepingStore(refusals=2)
    segment(tmp_path, closing_line(entry(1)))
    with caplog.at_level(logging.WARNING):
        assert recovered(tmp_path, store) == Recovered(settled=1)
    assert store.rows and "does not take its rows yet: database is locked" in caplog.text


def test_a_store_that_never_takes_rows_ends_the_start_and_loses_nothing(tmp_path: Path) -> None:
    segment(tmp_path, closing_line(entry(1)))
    with pytest.raises(StoreUnavailable):
        asyncio.run(recover(tmp_path, KeepingStore(refusals=10**9), patience=0.3))
    assert outcomes(tmp_path) == {"req_1": "ok"}
