"""Credits, which are only ever added to, and what was spent, by the sums over the usage log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Literal

import aiosqlite

from relayd.accounts import Account, Credit
from relayd.money import shown
from relayd.store.accounts import AccountTable, find_account
from relayd.store.changes import Act, note
from relayd.store.checks import good_amount, good_sum, good_text
from relayd.store.database import fetch
from relayd.store.rollup import COST, whole
from relayd.store.where import Where

_COST = ", ".join(f"sum({name})" for name in COST)
_COLUMNS = "id, account_id, amount, kind, reason, actor, created_at"
# The sums are sorted by day, then key: one step for each day and key, not one for every line.
_SPENT_BY_SOME = f"""WITH RECURSIVE days(day) AS (
    SELECT min(day) FROM usage_daily_keys
    UNION ALL
    SELECT (SELECT min(day) FROM usage_daily_keys s WHERE s.day > days.day)
    FROM days WHERE days.day IS NOT NULL)
SELECT key_id, {_COST} FROM days CROSS JOIN usage_daily_keys USING (day)
WHERE key_id IN ({{keys}}) GROUP BY key_id"""


class CreditTable(AccountTable):
    """What accounts were given, what they and their keys spent."""

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
        credit = Credit(0, 0, good_amount(amount, kind), kind, good_text(reason), actor, now)
        async with self._transaction() as db:
            account = await find_account(db, account_ref)
            # The database's own sum would fail where 64 bits end; this one is refused before.
            before = await fetch(
                db, "SELECT coalesce(sum(amount), 0) FROM credits WHERE account_id = ?", account.id
            )
            good_sum(int(before[0][0]) + amount)
            return await _insert(db, account, credit)

    async def credits(
        self, account_ref: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[Credit]:
        where = Where()
        where.add("id < ?", before)
        if account_ref is not None:
            where.add("account_id = ?", (await self.account(account_ref)).id)
        query = f"SELECT {_COLUMNS} FROM credits WHERE {where} ORDER BY id DESC LIMIT ?"
        return [_credit(row) for row in await self._read(query, *where.values, max(limit, 0))]

    async def granted(self) -> dict[int, int]:
        rows = await self._read("SELECT account_id, sum(amount) FROM credits GROUP BY account_id")
        return {account_id: int(amount) for account_id, amount in rows}

    async def spent(self) -> dict[int, int]:
        rows = await self._read("SELECT account_id, cost_micro, cost_rest FROM account_spend")
        return {account_id: whole(*spent) for account_id, *spent in rows}

    async def account_spent_by_day(self, since_day: int) -> dict[int, dict[int, int]]:
        return _by_day(
            await self._read(
                f"SELECT account_id, day, {_COST} FROM usage_daily_keys"
                " WHERE day >= ? AND account_id <> 0 GROUP BY account_id, day",
                since_day,
            )
        )

    async def key_spent(self, since_day: int) -> dict[int, dict[int, int]]:
        return _by_day(
            await self._read(
                f"SELECT key_id, day, {_COST} FROM usage_daily_keys"
                " WHERE day >= ? AND key_id <> 0 GROUP BY key_id, day",
                since_day,
            )
        )

    async def key_spent_ever(self, keys: Collection[int] | None = None) -> dict[int, int]:
        if keys is None:
            query = (
                f"SELECT key_id, {_COST} FROM usage_daily_keys WHERE key_id <> 0 GROUP BY key_id"
            )
        else:
            query = _SPENT_BY_SOME.format(keys=", ".join(map(str, map(int, keys))))
        rows = await self._read(query)
        return {key_id: whole(*spent) for key_id, *spent in rows}


async def _insert(db: aiosqlite.Connection, account: Account, credit: Credit) -> Credit:
    amount, kind, reason = credit.amount, credit.kind, credit.reason
    new = await db.execute(
        "INSERT INTO credits (account_id, amount, kind, reason, actor, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (account.id, amount, kind, reason, credit.actor, credit.created_at),
    )
    said = {"amount": shown(amount), "kind": kind, "reason": reason}
    act = Act(credit.actor, "credit.add", credit.created_at)
    await note(db, act, f"account {account.id} {account.name}", {}, said)
    return Credit(new.lastrowid or 0, account.id, amount, kind, reason, act.actor, act.now)


def _credit(row: Sequence[Any]) -> Credit:
    return Credit(*row)


def _by_day(rows: Sequence[tuple[int, int, int, int]]) -> dict[int, dict[int, int]]:
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for owner, day, *spent in rows:
        found[owner][day] = whole(*spent)
    return dict(found)
