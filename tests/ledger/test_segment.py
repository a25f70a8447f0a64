"""One file of the journal: room taken at once, lines whole or not at all."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from relayd.ledger.segment import Disk, Segment, segment_path
from tests.support.journals import FickleDisk


def segment(folder: Path, disk: Disk | None = None) -> Segment:
    return Segment(segment_path(folder, 1), 4096, 100, disk or Disk())


def test_a_file_has_its_room_before_the_first_line(tmp_path: Path) -> None:
    one = segment(tmp_path)
    stat = one.path.stat()
    assert (stat.st_size, stat.st_mode & 0o777) == (4096, 0o600)
    assert stat.st_blocks * 512 >= 4096
    assert repr(one) == "<Segment 00000001 0 of 3996, 0 pending>"
    one.delete()
    assert not one.path.exists()


def test_lines_stand_one_behind_the_other(tmp_path: Path) -> None:
    one = segment(tmp_path)
    assert one.append(b"first\n") and one.append(b"second\n")
    assert one.path.read_bytes().rstrip(b"\0") == b"first\nsecond\n"
    one.sync()
    one.sync()
    one.close()
    one.close()
    one.sync()


def test_a_line_written_in_part_is_refused_and_cut_off(tmp_path: Path) -> None:
    disk = FickleDisk()
    one = segment(tmp_path, disk)
    assert one.append(b"first\n")
    disk.takes = 3
    assert not one.append(b"second\n")
    assert one.problem == "a line was written in part"
    one.cut()
    assert one.path.read_bytes() == b"first\n"
    assert not one.append(b"third\n")
    assert one.problem == "Input/output error"
    one.close()


def test_a_file_that_cannot_have_its_room_is_not_left_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
    try:
        with pytest.raises(OSError):
            segment(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []
