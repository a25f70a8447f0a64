"""What a store can do, and the ways it says no.

Everything above the store sees these Protocols, records and exceptions, never a database library:
another backend is one more file that satisfies them and passes the contract suite (`tests/store`).
A store's failures are of two kinds, and callers treat them differently: a refusal (`NotFound`,
`NameTaken`, ...) is the asker's matter and is shown to them; `StoreUnavailable` is the machine's
(disk full, locked, gone), and the ledger tries again.

Accounts, keys and tokens answer to their name or id (`ref`), keys also to a whole secret or the
start of one. Whatever changes something takes `now` and `actor`, who did it ("cli:anna",
"token:ops"), and writes its line of the audit table in the same transaction. Money is whole
pico-dollars, days are numbers such as 20261121.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from relayd.accounts import (
    NO_CAPS,
    NO_LIMITS,
    Account,
    AdminToken,
    Caps,
    Change,
    Credit,
    Endpoint,
    Key,
    Limits,
)
from relayd.model import Entry
from relayd.store.holding import HoldingStore

# What the usage report can be grouped by. `model` is the name the client asked for, `format` the
# one it spoke, `day` the calendar day that the request counts to.
DIMENSIONS = ("model", "key", "account", "upstream", "format", "outcome", "day", "status")

# The outcome of a request that was served in full; every other outcome counts as failed in the
# report.
SERVED = "ok"

# A report over a longer time is counted in whole days (see `UsageStore.usage_days`), in seconds.
LONGEST_EXACT_REPORT = 2 * 86_400.0


class StoreError(Exception):
    """The store did not do what was asked; the message is one sentence for the operator."""


class NotFound(StoreError):
    """No key, account or token answers to that name."""


class Ambiguous(StoreError):
    """More than one key answers to that prefix."""


class NameTaken(StoreError):
    """Another key, account or token has this name."""


class BadName(StoreError):
    """Not a name that a key, an account or a token can have."""


class BadValue(StoreError):
    """A property that a key or account cannot have: a past expiry, a network that is none."""


class BadAmount(BadValue):
    """An amount of money that cannot be: nothing, negative for a grant, or absurd."""


class DatabaseTooNew(StoreError):
    """A newer relayd wrote this database; this one would misread it."""


class DatabaseTooOld(StoreError):
    """An older relayd wrote this database, and perhaps still does: who opened it may not change it
    under its hands."""


class NotOurDatabase(StoreError):
    """The file is something else than a relayd database."""


class StoreUnavailable(StoreError):
    """The store could not be reached or written now: disk, permissions, a lock held too long."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is asked for; what the fields mean is said at `relayd.accounts.Key`.

    `account` is a name; an account of that name comes about on first use.
    """

    name: str
    account: str = "default"
    expires_at: float | None = None
    models: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    caps: Caps = NO_CAPS
    note: str = ""
    lenient: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list of keys or accounts, oldest first.

    Arguments:
        limit: at most so many.
        after: those with a greater id.
        search: what the name, the note or (of a key) the prefix contains; letter case is ignored.
        account: only keys of this one, by name or id.
        group: only accounts of this group.
        disabled: only the disabled ones, or only the others.
    """

    limit: int = 50
    after: int = 0
    search: str = ""
    account: str | None = None
    group: str | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which lines of the audit table: `action` from its start on ("key." for all of keys),
    `subject` by whole words of it
    ("3", "laptop", "key 3 laptop"), times as [since, until)."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which requests: all that fit everything that is given. `key` and `account` are refs."""

    key: str | None = None
    account: str | None = None
    model: str | None = None
    upstream: str | None = None
    outcome: str | None = None


EVERY_CHANGE = ChangeFilter()
EVERY_REQUEST = UsageFilter()
FIRST_PAGE = Page()


@dataclass(slots=True)  # not frozen: that costs four times as much, and a report can be long
class UsageRow:
    """One line of the usage report: all requests that share `group`.

    `group` has one value per dimension asked for, in that order. Sums of tokens and other units are
    None where no request of the group reported that count (unknown is not 0). `first_byte` and
    `duration` are averages in seconds; `estimated` counts requests whose usage is an estimate,
    partial or interrupted; `cost` and `uncharged` are exact sums of pico-dollars.
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
    cost: int = 0
    uncharged: int = 0
    images: int | None = None
    audio_ms: int | None = None
    characters: int | None = None
    searches: int | None = None


class EntryStore(Protocol):
    """The part of a store that the ledger writes to."""

    async def add_entries(self, entries: Sequence[Entry]) -> None:
        """Keep these rows, all or none; a request id that is there already is left as it is.

        A row and all sums that it belongs to (what an account and a key spent, the daily roll-up)
        change in one transaction. This is the one way into the log: what is written to it by
        another way is in no sum. Raises StoreUnavailable when nothing was written.
        """


class AccountStore(Protocol):
    """Who pays."""

    async def create_account(
        self, name: str, group: str = "default", note: str = "", *, now: float, actor: str
    ) -> Account:
        """A new account. Raises NameTaken, BadName, BadValue."""

    async def accounts(self) -> list[Account]:
        """All accounts, oldest first."""

    async def accounts_page(self, page: Page = FIRST_PAGE) -> list[Account]:
        """A part of them. Raises NotFound for `page.account`."""

    async def account(self, ref: str) -> Account:
        """The one of that name or id. Raises NotFound."""

    async def change_account(
        self,
        ref: str,
        *,
        now: float,
        actor: str,
        name: str | None = None,
        group: str | None = None,
        note: str | None = None,
        disabled: bool | None = None,
    ) -> Account:
        """Change what is given; a disabled account's keys are all refused.

        Raises NotFound, NameTaken, BadName, BadValue.
        """


class KeyStore(Protocol):
    """The credentials of clients."""

    async def create_key(self, ask: NewKey, *, now: float, actor: str) -> tuple[Key, str]:
        """A new key and its secret, which is kept nowhere. Raises NameTaken, BadName, BadValue."""

    async def keys(self) -> list[Key]:
        """All keys, oldest first."""

    async def keys_page(self, page: Page = FIRST_PAGE) -> list[Key]:
        """A part of them. Raises NotFound for `page.account`."""

    async def key(self, ref: str) -> Key:
        """The one of that name, id or prefix. Raises NotFound, Ambiguous."""

    async def change_key(
        self, ref: str, changes: Mapping[str, object], *, now: float, actor: str
    ) -> Key:
        """Change fields of the key: name, disabled, expires_at, models, endpoints, addresses,
        limits, caps, note; each value is what `Key` has there (`limits` a whole Limits).

        Raises NotFound, Ambiguous, NameTaken, BadName, BadValue.
        """

    async def rotate_key(
        self, ref: str, *, grace: float, now: float, actor: str
    ) -> tuple[Key, str]:
        """A new secret for the same key; the old one is good for `grace` more seconds.

        Raises NotFound, Ambiguous, BadValue.
        """

    async def keys_version(self) -> int:
        """A number that rises when any process changes a key, an account, a credit or an admin
        token, and only then."""

    async def data_version(self) -> int:
        """A number that changes when anything is committed, by other processes or by this store."""


class CreditStore(Protocol):
    """What accounts were given, what they and their keys spent, and who changed what."""

    async def add_credit(
        self,
        account_ref: str,
        amount: int,
        *,
        kind: Literal["grant", "adjustment"],
        reason: str,
        actor: str,
        now: float,
    ) -> Credit:
        """One more line of credits, which is never changed. Raises NotFound, BadAmount, BadValue.

        A grant is more than 0, an adjustment not 0, and all credits of an account together stay
        within nine million dollars.
        """

    async def credits(
        self, account_ref: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[Credit]:
        """The latest credits, of one account or of all, newest first, with ids below `before`."""

    async def granted(self) -> dict[int, int]:
        """The sum of credits by account id, of accounts that have any."""

    async def spent(self) -> dict[int, int]:
        """What each account paid ever, by id; an account that never paid may be missing."""

    async def account_spent_by_day(self, since_day: int) -> dict[int, dict[int, int]]:
        """Account id to day to what it paid on that day, from `since_day` on."""

    async def key_spent(self, since_day: int) -> dict[int, dict[int, int]]:
        """Key id to day to what was paid for its requests on that day, from `since_day` on."""

    async def key_spent_ever(self, keys: Collection[int] | None = None) -> dict[int, int]:
        """Key id to what was paid for its requests on all days, of these keys or of all."""

    async def audit(
        self,
        limit: int = 50,
        before: int | None = None,
        filters: ChangeFilter = EVERY_CHANGE,
    ) -> list[Change]:
        """The latest changes, newest first, with ids below `before`. They hold no secrets."""


class TokenStore(Protocol):
    """The ways into the admin API."""

    async def create_admin_token(
        self, name: str, *, now: float, actor: str
    ) -> tuple[AdminToken, str]:
        """A new token and its secret ("rat-..."), kept nowhere. Raises NameTaken, BadName."""

    async def admin_tokens(self) -> list[AdminToken]:
        """All of them, oldest first."""

    async def set_admin_token_disabled(
        self, ref: str, disabled: bool, *, now: float, actor: str
    ) -> AdminToken:
        """Refuse or accept it from now on. Raises NotFound."""


class UsageStore(HoldingStore, Protocol):
    """The log of requests, the sums over it, and the responses that it tells of."""

    async def usage(
        self,
        since: float,
        until: float | None,
        by: tuple[str, ...],
        filters: UsageFilter = EVERY_REQUEST,
        *,
        limit: int | None = None,
    ) -> list[UsageRow]:
        """The report over requests started in [since, until): by day if that is asked for,
        else most requests first; its first `limit` lines, or all. Whoever is cancelled stops it.

        `by` names DIMENSIONS; with none, one row over everything. Raises ValueError for another
        name, NotFound for an unknown key or account of `filters`.
        """

    async def usage_days(self, since: float, until: float | None) -> tuple[int, int] | None:
        """The first and last day that such a report covers, when it is counted in whole days (all
        of the days that `since` and `until` fall on); None when it is exact to the second."""

    async def recent(self, limit: int, since: float = 0.0) -> list[Entry]:
        """The latest requests, newest first."""

    async def rows(
        self,
        filters: UsageFilter = EVERY_REQUEST,
        limit: int = 50,
        before: str | None = None,
        *,
        since: float = 0.0,
        until: float | None = None,
    ) -> list[Entry]:
        """The latest requests that fit and started in [since, until), newest first, going on after
        the one whose request id is `before`. Raises NotFound (also for `before`)."""

    async def verify(self) -> list[str]:
        """Recompute every sum from the rows; one sentence for each difference, none is well."""

    async def prune(self, before_day: int) -> int:
        """Delete the rows of requests of earlier days, whose sums stay; returns how many."""

    async def estimates(self) -> dict[str, tuple[float, float]]:
        """What was learned of each model: (bytes, tokens)."""

    async def save_estimates(self, estimates: Mapping[str, tuple[float, float]]) -> None:
        """Keep these instead of what was kept before."""


class Store(EntryStore, AccountStore, KeyStore, CreditStore, TokenStore, UsageStore, Protocol):
    """Everything that the daemon and the commands want of one database."""

    async def close(self) -> None:
        """Finish what is under way and let go of the database."""
