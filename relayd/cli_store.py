"""How the commands reach the store: the options that say where, and what becomes of a refusal.

They open the database themselves, beside a running daemon or without one. A refused act (no such
key, a name taken) is one line on stderr and exit code 1; a wrong call is 2.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import click

from relayd.store.base import StoreError
from relayd.store.sqlite import SqliteStore

T = TypeVar("T")
Command = Callable[..., Any]

CONFIG_PLACES = ("config.yaml", "/etc/relayd/config.yaml")


class Failed(click.ClickException):
    """The act was refused: one line on stderr, exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"relayd: {self.message}", file=file, err=True)


class Place(NamedTuple):
    """Where the database is, as the options said it."""

    config: str | None
    database: str | None


def database_path(config: str | None, database: str | None) -> Path:
    """The database that `--database` names, or else the configuration.

    The configuration is `--config`, or $RELAYD_CONFIG, or the first of CONFIG_PLACES that exists.
    Raises click.UsageError when there is none, Failed when it cannot be read.
    """
    if database:
        return Path(database)
    from relayd.config import ConfigProblems, load_database

    places = [config or os.environ.get("RELAYD_CONFIG") or "", *CONFIG_PLACES]
    found = places[0] or next((p for p in places[1:] if Path(p).exists()), None)
    if found is None:
        raise click.UsageError("no configuration found: give --config PATH or --database PATH")
    try:
        return load_database(Path(found), os.environ)
    except ConfigProblems as problems:
        raise Failed(f"{found} has problems:\n{problems}") from problems
    except OSError as error:
        raise Failed(f"{found}: {error.strerror}") from error


def store_options(command: Command) -> Command:
    """The options that every command here has, gathered into `place` and `as_json`."""

    def gathered(config: str | None, database: str | None, **others: Any) -> None:
        command(Place(config, database), **others)

    gathered.__doc__ = command.__doc__
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts."),
        click.option("--database", metavar="PATH", help="The database file itself."),
        click.option("--config", metavar="PATH", help="The configuration that names the database."),
    ):
        option(gathered)
    return gathered


def with_store(
    place: Place, work: Callable[[SqliteStore], Awaitable[T]], *, create: bool = False
) -> T:
    """Do the work on the open store; its refusals become the command's.

    Only commands that make something may make the database: a report on a mistyped path would
    otherwise leave an empty one behind and say that nothing was used.
    """

    async def opened() -> T:
        store = await SqliteStore.open(path, create=create)
        try:
            return await work(store)
        finally:
            await store.close()

    path = database_path(place.config, place.database)
    try:
        return asyncio.run(opened())
    except StoreError as error:
        raise Failed(str(error)) from error
