"""The control file: for its owner's eyes, whole or not there, and never another daemon's."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from relayd import control
from relayd.control import Control, NoControl
from relayd.model import Secret

MINE = Control("http://127.0.0.1:8080", Secret("t0ken"), 4711)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "relayd.db"


def test_what_is_written_is_read(database: Path) -> None:
    control.write(database, MINE)
    assert control.path_of(database) == database.with_name("relayd.db.admin")
    assert control.read(database) == MINE
    assert os.listdir(database.parent) == ["relayd.db.admin"]


def test_only_its_owner_may_read_it_whatever_was_there_before(database: Path) -> None:
    path = control.path_of(database)
    path.touch(0o666)
    path.with_name(f"{path.name}.{MINE.pid}").touch(0o666)
    old_mask = os.umask(0)
    try:
        control.write(database, MINE)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert control.read(database) == MINE


def test_a_file_that_cannot_be_put_in_place_leaves_no_draft(database: Path) -> None:
    control.path_of(database).mkdir()
    with pytest.raises(OSError):
        control.write(database, MINE)
    assert os.listdir(database.parent) == ["relayd.db.admin"]


def test_a_token_does_not_show(database: Path) -> None:
    assert "t0ken" not in repr(MINE)


def test_no_file_is_no_daemon(database: Path) -> None:
    with pytest.raises(NoControl, match=r"no relayd is running on .*: there is no relayd.db.admin"):
        control.read(database)


def test_a_file_that_cannot_be_read_says_why(database: Path) -> None:
    control.path_of(database).mkdir()
    with pytest.raises(NoControl, match=r"cannot read .*: Is a directory"):
        control.read(database)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"7",
        b'{"url": "http://x", "token": "t"}',
        b'{"url": 1, "token": "t", "pid": 2}',
        b'{"url": "http://x", "token": "t", "pid": true}',
        b'{"url": "http://x", "token": "t", "pid": -1}',
        b'{"url": "http://x", "token": "t", "pid": 1',
    ],
)
def test_a_damaged_file_says_so(database: Path, text: bytes) -> None:
    control.path_of(database).write_bytes(text)
    with pytest.raises(NoControl, match="is damaged: start relayd again"):
        control.read(database)


def test_a_daemon_removes_its_own_file_and_not_its_successors(database: Path) -> None:
    control.write(database, MINE._replace(token=Secret("another")))
    control.remove(database, MINE)
    assert control.path_of(database).exists()
    control.write(database, MINE)
    for _ in range(2):
        control.remove(database, MINE)
    assert not control.path_of(database).exists()


def test_a_process_that_ended_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert not MINE._replace(pid=child.pid).is_alive
    assert control.control_of([MINE.url], MINE.token).is_alive
    assert MINE._replace(pid=1).is_alive


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {control.new_token().reveal() for _ in range(10)}
    assert len(tokens) == 10
    assert min(map(len, tokens)) >= 43


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        (["http://127.0.0.1:1"], "http://127.0.0.1:1"),
        (["http://0.0.0.0:1"], "http://127.0.0.1:1"),
        (["http://[::]:1"], "http://[::1]:1"),
        (["http://10.0.0.1:1"], "http://10.0.0.1:1"),
        (["http://10.0.0.1:1", "http://127.0.0.2:2"], "http://127.0.0.2:2"),
        (["http://10.0.0.1:1", "http://[::1]:2"], "http://[::1]:2"),
        (["http://10.0.0.1:1", "http://0.0.0.0:2"], "http://127.0.0.1:2"),
    ],
)
def test_the_address_is_one_that_this_machine_can_reach(addresses: list[str], url: str) -> None:
    assert control.reachable(addresses) == url
