"""Fixtures of the command tests: a database of the test's own and the commands on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Commands
from tests.support.databases import prepare


@pytest.fixture
def run(tmp_path: Path) -> Commands:
    """The commands on an empty database."""
    return Commands(prepare(tmp_path / "relayd.db"))
