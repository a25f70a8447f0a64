"""The operator's commands as typed, on a database of the test's own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson
from click.testing import CliRunner, Result

from relayd.cli import admin
from relayd.model import Entry
from relayd.store.sqlite import SqliteStore
from tests.store.samples import entry


@click.group()
def relayd() -> None:
    """The command line with nothing but these commands."""


admin.register(relayd)


class Commands:
    """Runs commands on one database, or on what a configuration says."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def __call__(self, *words: str) -> Result:
        """The command, with `--database`."""
        return self.bare(*words, "--database", str(self.database))

    def bare(self, *words: str) -> Result:
        """The command as it stands."""
        return CliRunner().invoke(relayd, [*words])

    def json(self, *words: str) -> Any:
        """What the command prints with `--json`."""
        return self.parsed(self(*words, "--json"))

    def parsed(self, result: Result) -> Any:
        """The document that a command printed, which must have done well."""
        assert result.exit_code == 0, result.output
        return orjson.loads(result.stdout)

    def lines(self, *words: str) -> list[str]:
        """What the command prints, which must do well."""
        result = self(*words)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    def fill(self, rows: Sequence[Entry]) -> None:
        """Put rows into the usage log."""

        async def steps() -> None:
            store = await SqliteStore.open(self.database)
            await store.add_entries(rows)
            await store.close()

        asyncio.run(steps())

    def contents(self) -> list[str]:
        """All that is in the database, for a test that nothing was changed."""
        with closing(sqlite3.connect(self.database)) as db:
            return list(db.iterdump())


def recent(number: int, **changes: Any) -> Entry:
    """The row of a request a minute ago."""
    at = datetime.now(UTC).timestamp() - 60 + number
    return entry(number, **{"started_at": at, "day": today(), **changes})


def today() -> int:
    """The day in UTC, as 20261121."""
    return int(datetime.now(UTC).strftime("%Y%m%d"))
