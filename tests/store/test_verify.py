"""Every sum is proved, and what is wrong is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relayd.store.verify import MOST_LINES
from tests.store.backends import Opener, grant, spoil
from tests.store.samples import WHO, entry


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE account_spend SET cost_rest = 0", "account_spend at account_id 1: cost_rest is"),
        ("DELETE FROM account_spend", "account_spend lacks account_id 1"),
        ("UPDATE usage_daily_keys SET day = 7", "usage_daily_keys has day 7, key_id 1, account_id"),
        (
            "INSERT INTO usage (request_id, day) VALUES ('x', 20261121)",
            "usage_daily lacks day 2026",
        ),
        ("UPDATE usage_daily SET cost_rest = cost_rest + 1", "usage_daily at day 20261121"),
        ("UPDATE usage_daily SET tool_prompt = 0", "tool_prompt is 0, not None"),
        ("DELETE FROM usage WHERE request_id LIKE '%2'", "requests is 3, not 2"),
        ("UPDATE usage SET cost = 9 WHERE request_id LIKE '%2'", "cost_rest is 6, not 13"),
        ("DELETE FROM usage_monthly", "usage_monthly lacks month 202611"),
        ("UPDATE usage_daily_all SET requests = 7", "usage_daily_all at day 20261121"),
        ("UPDATE usage SET cost = -1", "less than nothing"),
        ("PRAGMA foreign_keys = OFF;DELETE FROM accounts", "account 1, which there is not"),
        ("DROP TRIGGER credits_keep_delete;DELETE FROM credits WHERE id = 1", "1 credits are miss"),
        ("DROP TRIGGER audit_keep_delete;DELETE FROM audit WHERE id = 1", "1 lines of the audit"),
        ("DROP TRIGGER credits_keep_update;UPDATE credits SET amount = 1 << 62", "beyond what"),
    ],
)
def test_verify_finds_what_does_not_add_up(
    opener: Opener, tmp_path: Path, statement: str, sentence: str
) -> None:
    path = tmp_path / "relayd.db"

    async def steps() -> list[str]:
        store = await opener(path)
        await store.create_account("team", **WHO)
        await grant(store, 5)
        await grant(store, 6)
        await store.add_entries([entry(n, cost=n) for n in (1, 2, 3)])
        assert await store.verify() == []
        spoil(path, *statement.split(";"))
        found = await store.verify()
        await store.close()
        return found

    assert sentence in "\n".join(asyncio.run(steps()))


@pytest.mark.parametrize(
    ("wrong", "statement", "last"),
    [
        (MOST_LINES, "UPDATE usage_daily SET cost_rest = 9", "usage_daily at day 20261121"),
        (
            MOST_LINES + 1,
            "UPDATE usage_daily SET cost_rest = 9",
            "usage_daily has more differences than these 100",
        ),
        (
            3 * MOST_LINES,
            "UPDATE usage_daily SET day = 7",
            "usage_daily has more differences than these 100",
        ),
    ],
)
def test_of_many_differences_the_first_are_told_truly_and_that_there_are_more(
    opener: Opener, tmp_path: Path, wrong: int, statement: str, last: str
) -> None:
    path = tmp_path / "relayd.db"

    async def steps() -> list[str]:
        store = await opener(path)
        await store.add_entries([entry(n, cost=1, model_asked=f"m{n:03}") for n in range(wrong)])
        spoil(path, statement)
        found = await store.verify()
        await store.close()
        return [line for line in found if line.startswith("usage_daily ")]

    found = asyncio.run(steps())
    assert len(found) == MOST_LINES + (wrong > MOST_LINES) and last in found[-1]
    if "cost_rest" in statement:
        assert all(line.endswith(": cost_rest is 9, not 1") for line in found[:MOST_LINES])


def test_rules_broken_by_many_are_told_of_some_and_that_there_are_more(
    opener: Opener, tmp_path: Path
) -> None:
    path = tmp_path / "relayd.db"

    async def steps() -> list[str]:
        store = await opener(path)
        await store.add_entries([entry(n) for n in range(MOST_LINES + 1)])
        spoil(path, "UPDATE usage SET cost = -1")
        found = await store.verify()
        await store.close()
        return found

    found = asyncio.run(steps())
    assert sum("less than nothing" in line for line in found) == MOST_LINES
    assert found[-1] == "and more like the last 100"


def test_sums_that_64_bits_do_not_hold_are_a_difference_too(opener: Opener, tmp_path: Path) -> None:
    path = tmp_path / "relayd.db"

    async def steps() -> list[str]:
        store = await opener(path)
        await store.add_entries([entry(1), entry(2, model_asked="other")])
        spoil(path, "UPDATE usage_daily SET bytes_in = 9223372036854775807")
        found = await store.verify()
        await store.close()
        return found

    found = asyncio.run(steps())
    assert "usage_daily_keys cannot be right: what it sums does not fit into 64 bits" in found
