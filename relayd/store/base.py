"""What a store can do.

Everything above the store sees these Protocols, the records of `questions` and the exceptions of
`refusals`, never a database library: another backend is one more file that satisfies them and
passes the contract suite (`tests/store`).

Accounts, keys and tokens answer to their name or id (`ref`), keys also to a whole secret or the
start of one. Whatever changes something takes `now` and `actor`, who did it ("cli:anna",
"token:ops"), and writes its line of the audit table in the same transaction. Money is whole
pico-dollars, days are numbers such as 20261121.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from relayd.accounts import Account, AdminToken, Change, Credit, Key
from relayd.model import Entry
from relayd.store.holding import HoldingStore
from relayd.store.questions import (
    EVERY_CHANGE,
    EVERY_REQUEST,
    FIRST_PAGE,
    ChangeFilter,
    NewKey,
    Page,
    UsageFilter,
    UsageRow,
)


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
