"""One daemon to a database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relayd.ledger.lock import DatabaseInUse, lock, lock_path
from tests.support.process import environment

HOLD = """
import sys, pathlib
from relayd.ledger.lock import lock
held = lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_told_who_is_there(tmp_path: Path) -> None:
    database = tmp_path / "new" / "relayd.db"
    held = lock(database)
    assert repr(held) == "<Lock relayd.db.lock held>"
    with pytest.raises(DatabaseInUse, match=f"already on .*relayd.db .process {os.getpid()}."):
        lock(database)
    held.release()
    held.release()
    assert repr(held) == "<Lock relayd.db.lock released>"
    lock(database).release()


def test_a_database_has_one_lock_whatever_links_lead_to_it(tmp_path: Path) -> None:
    """As SQLite sees it: were they two, two daemons would bill from one balance."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "relayd.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "relayd.db")
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    held = lock(tmp_path / "link.db")
    for name in ("real/relayd.db", "folder/relayd.db", "link.db"):
        with pytest.raises(DatabaseInUse):
            lock(tmp_path / name)
    held.release()


def test_a_killed_daemon_leaves_no_lock(tmp_path: Path) -> None:
    database = tmp_path / "relayd.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(DatabaseInUse, match=f"process {other.pid}"):
            lock(database)
        other.kill()
        other.wait(10)
    lock(database).release()
    assert lock_path(database).read_text() == f"{os.getpid()}\n"


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"relayd\.db\.lock"):
        lock(tmp_path / "file" / "relayd.db")
    lock_path(tmp_path / "relayd.db").mkdir()
    with pytest.raises(OSError, match=r"relayd\.db\.lock"):
        lock(tmp_path / "relayd.db")
