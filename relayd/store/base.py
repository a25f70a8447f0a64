"""What a store can do, and the ways it says no.

Everything above the store sees these Protocols, records and exceptions, never a database library:
another backend is one more file that satisfies them and passes the contract suite (`tests/store`).
A store's failures are of two kinds, and callers treat them differently: a refusal (`NotFound`,
`NameTaken`, ...) is the asker's matter and is shown to them; `StoreUnavailable` is the machine's
(disk full, locked, gone), and the ledger tries again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relayd.model import Account, Entry, Key

# What the usage report can be grouped by. `model` is the name the client asked for, `format` the
# one it spoke, `day` a UTC date.
DIMENSIONS = ("model", "key", "account", "upstream", "format", "outcome", "day", "status")

# The outcome of a request that was served in full; every other outcome counts as failed in the
# report.
SERVED = "ok"


class StoreError(Exception):
    """The store did not do what was asked; the message is one sentence for the operator."""


class NotFound(StoreError):
    """No key or account answers to that name."""


class Ambiguous(StoreError):
    """More than one key answers to that prefix."""


class NameTaken(StoreError):
    """Another key or account has this name."""


class BadName(StoreError):
    """Not a name that a key or account can have."""


class DatabaseTooNew(StoreError):
    """A newer relayd wrote this database; this one would misread it."""


class NotOurDatabase(StoreError):
    """The file is something else than a relayd database."""


class StoreUnavailable(StoreError):
    """The store could not be reached or written now: disk, permissions, a lock held too long."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One line of the usage report: all requests that share `group`.

    `group` has one value per dimension asked for, in that order. Token sums are None where no
    request of the group reported that count (unknown is not 0). `first_byte` and `duration` are
    averages in seconds; `estimated` counts requests whose usage is an estimate or partial.
    """

    group: tuple[str, ...]
    requests: int
    failed: int
    estimated: int
    in_uncached: int | None
    cache_read: int | None
    cache_write: int | None
    tool_prompt: int | None
    out_total: int | None
    reasoning: int | None
    bytes_in: int
    bytes_out: int
    first_byte: float | None
    duration: float | None


class EntryStore(Protocol):
    """The part of a store that the ledger writes to."""

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Keep these rows, all or none; a request id that is there already is left as it is.

        Raises StoreUnavailable when nothing was written.
        """


class KeyStore(Protocol):
    """The part of a store that the key directory and the key commands use."""

    async def create_account(self, name: str) -> Account:
        """A new account. Raises NameTaken, BadName."""

    async def accounts(self) -> list[Account]:
        """All accounts, oldest first."""

    async def set_account_disabled(self, name_or_id: str, disabled: bool) -> Account:
        """Close an account (all its keys with it) or open it again. Raises NotFound."""

    async def create_key(self, name: str, account_name: str, now: float) -> tuple[Key, str]:
        """A new key and its secret, which is kept nowhere; the account comes about on first use.

        Raises NameTaken, BadName.
        """

    async def keys(self) -> list[Key]:
        """All keys, oldest first."""

    async def set_key_disabled(self, name_or_prefix_or_id: str, disabled: bool) -> Key:
        """Disable or enable one key; a whole secret names it too. Raises NotFound, Ambiguous."""

    async def keys_version(self) -> int:
        """A number that rises when any process changes a key or an account, and only then."""

    async def data_version(self) -> int:
        """A number that changes when anything is committed, by other processes or by this store."""


class Store(EntryStore, KeyStore, Protocol):
    """Everything that the daemon and the commands want of one database."""

    async def usage(self, since: float, until: float | None, by: tuple[str, ...]) -> list[UsageRow]:
        """The report over requests started in [since, until): by day if that is asked for,
        else most requests first.

        `by` names DIMENSIONS; with none, one row over everything. Raises ValueError for another
        name.
        """

    async def recent(self, limit: int, since: float = 0.0) -> list[Entry]:
        """The latest requests, newest first."""

    async def close(self) -> None:
        """Finish what is under way and let go of the database."""
