"""How the commands reach the store: the options that say where, and what becomes of a refusal.

They open the database themselves, beside a running daemon or without one. A refused act (no such
key, a name taken) is one line on stderr and exit code 1; a wrong call is 2.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import click

from relayd.ledger.lock import DatabaseInUse, lock
from relayd.store.refusals import DatabaseTooOld, StoreError
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


def config_path(place: Place) -> Path | None:
    """The configuration: `--config`, or $RELAYD_CONFIG, or the first of CONFIG_PLACES that exists;
    None with `--database` alone, which needs none, or when there is none."""
    if place.config or place.database:
        return Path(place.config) if place.config else None
    chosen = os.environ.get("RELAYD_CONFIG") or next(
        (path for path in CONFIG_PLACES if Path(path).exists()), None
    )
    return Path(chosen) if chosen else None


def database_path(config: str | None, database: str | None) -> Path:
    """The database that `--database` names, or else the configuration (`config_path`).

    Raises click.UsageError when there is none, Failed when it cannot be read.
    """
    if database:
        return Path(database)
    from relayd.config.config import ConfigProblems, load_database

    found = config_path(Place(config, None))
    if found is None:
        raise click.UsageError("no configuration found: give --config PATH or --database PATH")
    try:
        return load_database(found, os.environ)
    except ConfigProblems as problems:
        raise Failed(f"{found} has problems:\n{problems}") from problems
    except OSError as error:
        raise Failed(f"{found}: {error.strerror}") from error


def actor() -> str:
    """Who runs the command, for the audit table: `cli:anna`, also behind sudo."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have them
        user = str(os.getuid())
    return f"cli:{user}"


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
    otherwise leave an empty one behind and say that nothing was used. A database of an older
    version is brought up to date, unless its daemon runs: that would go on writing as it used to.
    """

    async def opened(*, upgrade: bool = False) -> T:
        store = await SqliteStore.open(path, create=create, upgrade=upgrade)
        try:
            return await work(store)
        finally:
            await store.close()

    path = database_path(place.config, place.database)
    try:
        try:
            return asyncio.run(opened())
        except DatabaseTooOld:
            with _instead_of_the_daemon(path):
                return asyncio.run(opened(upgrade=True))
    except StoreError as error:
        raise Failed(str(error)) from error


@contextlib.contextmanager
def _instead_of_the_daemon(database: Path) -> Iterator[None]:
    try:
        held = lock(database)
    except DatabaseInUse as error:
        raise Failed(f"{error}, and is older than this command: restart it first") from error
    except OSError as error:
        raise Failed(str(error)) from error
    try:
        yield
    finally:
        held.release()
