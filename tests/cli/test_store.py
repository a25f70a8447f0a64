"""The commands on a database that an older relayd made, with its daemon running or not."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from relayd.ledger.lock import lock, lock_path
from relayd.store.steps import MIGRATIONS
from tests.support.commands import Commands

OLDER = len(MIGRATIONS) - 1


@pytest.fixture
def old(run: Commands) -> Commands:
    """As the version before this one left it."""
    run.database.unlink()
    with closing(sqlite3.connect(run.database, isolation_level=None)) as db:
        for step in MIGRATIONS[:OLDER]:
            for statement in step.statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {OLDER}")
    return run


def version(run: Commands) -> int:
    with closing(sqlite3.connect(run.database)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_an_older_database_is_brought_up_to_date(old: Commands) -> None:
    assert old("key", "create", "laptop").exit_code == 0
    assert version(old) == len(MIGRATIONS)
    lock(old.database).release()  # nobody holds it any more


def test_under_a_running_daemon_it_is_left_as_it_is(old: Commands) -> None:
    """The daemon would go on writing rows in the old way, and no sum would count them."""
    daemon = lock(old.database)
    result = old("key", "create", "laptop")
    daemon.release()
    assert result.exit_code == 1 and version(old) == OLDER
    assert result.stderr == (
        f"relayd: relayd is running already on {old.database} (process {os.getpid()}),"
        " and is older than this command: restart it first\n"
    )


def test_where_nobody_can_tell_it_is_left_as_it_is(old: Commands) -> None:
    lock_path(old.database).mkdir()
    result = old("key", "create", "laptop")
    assert result.exit_code == 1 and version(old) == OLDER
    assert str(lock_path(old.database)) in result.stderr
