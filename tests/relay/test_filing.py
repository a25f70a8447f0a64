"""The files of captures: how many there may be, how old, and for whose eyes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from relayd.capture_terms import CaptureTerms
from relayd.relay import filing
from relayd.relay.filing import SUFFIX, Filing, Held, sweep, write

NOW = 1_800_000_000.0


def terms(folder: Path, *, total: int = 2**28, ttl: float = 86400.0) -> CaptureTerms:
    return CaptureTerms(("laptop",), folder / "captures", total=total, ttl=ttl)


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "captures").glob("*"))


def held(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in kept(folder))


def test_a_name_that_is_there_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    folder = tmp_path / "captures"
    folder.mkdir()
    (folder / f"req_1{SUFFIX}").symlink_to(target)
    with pytest.raises(OSError):
        write(folder, "req_1", b"secret")
    assert not target.exists()


def aged(folder: Path, name: str, age: float, size: int = 100) -> Path:
    path = folder / "captures" / f"{name}{SUFFIX}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_what_is_too_old_is_deleted_whoever_made_it(tmp_path: Path) -> None:
    old, new = aged(tmp_path, "req_1", 3601), aged(tmp_path, "req_2", 3599)
    assert sweep(terms(tmp_path, ttl=3600.0), NOW) == Held(1, 100, 1)
    assert not old.exists() and new.exists()


def test_beyond_the_bound_the_oldest_go_first(tmp_path: Path) -> None:
    files = [aged(tmp_path, f"req_{age}", age) for age in (50, 40, 30, 20)]
    assert sweep(terms(tmp_path, total=250), NOW) == Held(2, 200, 2)
    assert [path.exists() for path in files] == [False, False, True, True]


def test_what_others_keep_in_the_folder_is_not_ours_to_delete(tmp_path: Path) -> None:
    aged(tmp_path, "req_1", 10)
    other = tmp_path / "captures" / "notes.txt"
    other.write_text("mine")
    os.utime(other, (0, 0))
    sweep(terms(tmp_path, ttl=1.0), NOW)
    assert kept(tmp_path) == [other]


def test_a_sweep_of_nothing_deletes_nothing(tmp_path: Path) -> None:
    assert sweep(terms(tmp_path), NOW) == Held()


def test_while_files_are_written_they_never_pass_the_bound(tmp_path: Path) -> None:
    of, files = terms(tmp_path, total=10_000), Filing()
    for number in range(100):
        size = 100 + 37 * (number % 20)
        files.write(of, f"req_{number:03}", b"x" * size, NOW)
        assert held(tmp_path) <= 10_000
    assert kept(tmp_path)[-1].name.startswith("req_099")
    assert held(tmp_path) > 5_000


def test_files_of_an_earlier_run_count(tmp_path: Path) -> None:
    for age in range(10):
        aged(tmp_path, f"old_{age}", age, size=1000)
    Filing().write(terms(tmp_path, total=10_000), "req_1", b"x" * 500, NOW)
    assert held(tmp_path) <= 10_000


def test_a_folder_of_many_small_files_has_a_bound_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filing, "MOST_FILES", 20)
    files = Filing()
    for number in range(100):
        files.write(terms(tmp_path), f"req_{number:03}", b"x", NOW)
        assert len(kept(tmp_path)) <= 20


def test_a_file_larger_than_all_may_be_is_refused_and_nothing_goes_for_it(tmp_path: Path) -> None:
    old = aged(tmp_path, "req_1", 10)
    with pytest.raises(OSError, match="larger than all"):
        Filing().write(terms(tmp_path, total=1000), "req_2", b"x" * 1001, NOW)
    assert kept(tmp_path) == [old]


def test_a_folder_that_a_reload_has_left_is_looked_after_to_its_end(tmp_path: Path) -> None:
    files, old, new = Filing(), terms(tmp_path, ttl=3600.0), CaptureTerms(directory=tmp_path / "n")
    files.write(old, "req_1", b"x", NOW)
    made = kept(tmp_path)[0].stat().st_mtime
    files.look(new, made + 10)
    assert len(kept(tmp_path)) == 1 and "former=1" in repr(files)
    files.look(new, made + 3601)
    assert not kept(tmp_path) and "former=0" in repr(files)


def test_a_disk_that_is_full_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def full(path: str, flags: int, mode: int) -> int:
        real(path, flags, mode)
        return real("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError) as caught:
        write(tmp_path, "req_1", b"x" * 100_000)
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_only_we_can_read_files_and_the_folder(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "captures", "req_1", b"x")
    finally:
        os.umask(before)
    [path] = kept(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
