"""What every store does, whatever it is made of: one more backend is one more line in BACKENDS
(tests/store/backends.py)."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from relayd.model import Entry, Holding, HoldingState, Usage
from relayd.store.base import Store
from relayd.store.entries import STATEMENT_SIZES
from relayd.store.questions import UsageRow
from relayd.store.refusals import Ambiguous, BadName, NameTaken, NotFound
from tests.store.backends import Opener, Run, make
from tests.store.samples import NOON, WHO, entry

# keys and accounts


def test_a_key_is_kept_as_a_hash_and_its_secret_is_given_once(run: Run, tmp_path: Path) -> None:
    async def steps(store: Store) -> str:
        key, secret = await make(store, "laptop", "default")
        assert secret.startswith("sk-relayd-") and len(secret) == len("sk-relayd-") + 43
        assert key.digest == hashlib.sha256(secret.encode()).digest()
        assert secret.startswith(key.prefix) and len(key.prefix) == 16
        assert await store.keys() == [key]
        assert key.created_at == NOON and not key.disabled
        return secret

    secret = run(steps)
    for file in tmp_path.iterdir():
        assert secret[16:].encode() not in file.read_bytes()


def test_secrets_differ(run: Run) -> None:
    async def steps(store: Store) -> None:
        made = [await make(store, f"k{i}", "default") for i in range(20)]
        assert len({secret for _, secret in made}) == 20
        assert [key.name for key in await store.keys()] == [f"k{i}" for i in range(20)]

    run(steps)


def test_an_account_comes_about_on_first_use_and_is_shared_after(run: Run) -> None:
    async def steps(store: Store) -> None:
        one, _ = await make(store, "one", "team")
        two, _ = await make(store, "two", "team")
        assert one.account == two.account
        assert await store.accounts() == [one.account]

    run(steps)


def test_names_are_taken_once(run: Run) -> None:
    async def steps(store: Store) -> None:
        await make(store, "laptop", "default")
        with pytest.raises(NameTaken, match="laptop"):
            await make(store, "laptop", "other")
        with pytest.raises(NameTaken, match="default"):
            await store.create_account("default", **WHO)
        # What was refused left nothing behind.
        assert [account.name for account in await store.accounts()] == ["default"]

    run(steps)


@pytest.mark.parametrize("name", ["", " x", "x ", "12", "sk-relayd-abc", "a\nb", "x" * 101])
def test_names_can_be_told_from_ids_and_keys(run: Run, name: str) -> None:
    async def steps(store: Store) -> None:
        with pytest.raises(BadName):
            await make(store, name, "default")
        with pytest.raises(BadName):
            await make(store, "fine", name)
        with pytest.raises(BadName):
            await store.create_account(name, **WHO)
        assert await store.keys() == [] and await store.accounts() == []

    run(steps)


def test_a_key_answers_to_its_name_id_prefix_and_secret(run: Run) -> None:
    async def steps(store: Store) -> None:
        await make(store, "other", "default")
        key, secret = await make(store, "laptop", "default")
        for reference in ("laptop", str(key.id), key.prefix, key.prefix[:15], secret):
            assert (await store.change_key(reference, {"disabled": True}, **WHO)).disabled, (
                reference
            )
            enabled = await store.change_key(reference, {"disabled": False}, **WHO)
            assert enabled == key, reference

    run(steps)


def test_an_unknown_or_ambiguous_key_changes_nothing(run: Run) -> None:
    async def steps(store: Store) -> None:
        await make(store, "one", "default")
        await make(store, "two", "default")
        with pytest.raises(NotFound):
            await store.change_key("three", {"disabled": True}, **WHO)
        with pytest.raises(NotFound) as unknown:
            await store.change_key("sk-relayd-" + "A" * 43, {"disabled": True}, **WHO)
        assert "A" * 7 not in str(unknown.value)
        with pytest.raises(Ambiguous, match="2 keys"):
            await store.change_key("sk-relayd-", {"disabled": True}, **WHO)
        assert not any(key.disabled for key in await store.keys())

    run(steps)


def test_a_disabled_account_shows_on_its_keys(run: Run) -> None:
    async def steps(store: Store) -> None:
        await make(store, "laptop", "team")
        assert (await store.change_account("team", disabled=True, **WHO)).disabled
        (key,) = await store.keys()
        assert key.account.disabled and not key.disabled
        assert not (await store.change_account(str(key.account.id), disabled=False, **WHO)).disabled
        assert not (await store.keys())[0].account.disabled
        with pytest.raises(NotFound):
            await store.change_account("nobody", disabled=True, **WHO)

    run(steps)


def test_acts_at_the_same_moment_do_not_disturb_each_other(run: Run) -> None:
    async def steps(store: Store) -> None:
        keys = [make(store, f"k{i}", "shared") for i in range(10)]
        batches = [store.add_entries([entry(10 * n + i) for i in range(10)]) for n in range(10)]
        await asyncio.gather(*keys, *batches)
        assert len(await store.keys()) == 10
        assert len(await store.rows(limit=1000)) == 100

    run(steps)


# being noticed


def test_keys_version_rises_with_keys_and_accounts_only(run: Run) -> None:
    async def steps(store: Store) -> None:
        seen = [await store.keys_version()]
        for change in (
            lambda: store.create_account("team", **WHO),
            lambda: make(store, "laptop", "team"),
            lambda: store.change_key("laptop", {"disabled": True}, **WHO),
            lambda: store.change_account("team", disabled=True, **WHO),
        ):
            await change()
            seen.append(await store.keys_version())
        assert seen == sorted(set(seen))
        await store.add_entries([entry(1)])
        await store.keys()
        assert await store.keys_version() == seen[-1]

    run(steps)


def test_another_store_on_the_same_database_notices_a_new_key(
    opener: Opener, tmp_path: Path
) -> None:
    async def steps() -> None:
        ours, theirs = await opener(tmp_path / "db"), await opener(tmp_path / "db")
        before = await ours.keys_version()
        assert await ours.keys_version() == before
        key, _ = await make(theirs, "laptop", "default")
        after = await ours.keys_version()
        assert after > before
        assert await ours.keys() == [key]
        await theirs.close()
        await ours.close()

    asyncio.run(steps())


OTHER_PROCESS = """
import asyncio, sys
from relayd.store.questions import NewKey
from relayd.store.sqlite import SqliteStore

async def main():
    store = await SqliteStore.open(sys.argv[1])
    await store.create_key(NewKey(sys.argv[2]), now=1.0, actor="other")
    await store.close()

asyncio.run(main())
"""


def test_a_key_made_by_another_process_is_noticed(run: Run, tmp_path: Path) -> None:
    async def steps(store: Store) -> None:
        before = await store.keys_version()
        command = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "relayd.db"), "made-outside"]
        await asyncio.to_thread(subprocess.run, command, check=True, timeout=60)
        after = await store.keys_version()
        assert after > before
        assert [key.name for key in await store.keys()] == ["made-outside"]

    run(steps)


# the usage log


def test_a_row_comes_back_as_it_was(run: Run) -> None:
    counts = {f.name: n for n, f in enumerate(fields(Usage), 7) if f.name != "server_tools"}
    full = entry(2, usage=Usage(**counts, server_tools={"web_search": 3}), error_code="x")
    bare = Entry(request_id="req_1", started_at=NOON, day=20261121)

    async def steps(store: Store) -> None:
        await store.add_entries([bare, full])
        assert await store.rows(limit=10) == [full, bare]

    run(steps)


def test_unknown_counts_stay_unknown_and_zero_stays_zero(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(1, usage=Usage(in_uncached=0), first_byte=0.0, key_id=None)])
        (back,) = await store.rows(limit=1)
        assert back.usage == Usage(in_uncached=0)
        assert back.first_byte == 0.0 and back.key_id is None

    run(steps)


@pytest.mark.parametrize(
    "size", sorted({0, 2, 1000, *STATEMENT_SIZES, *(s + 1 for s in STATEMENT_SIZES)})
)
def test_a_batch_of_any_size_is_kept_whole(run: Run, size: int) -> None:
    rows = [entry(i) for i in range(size)]

    async def steps(store: Store) -> None:
        await store.add_entries(rows)
        assert await store.rows(limit=5000) == rows[::-1]

    run(steps)


def test_a_row_offered_again_is_kept_once_and_as_it_was_first(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(1), entry(2)])
        await store.add_entries([entry(1, status=500), entry(2), entry(3)])
        rows = await store.rows(limit=10)
        assert [row.upstream_request_id for row in rows] == ["up-3", "up-2", "up-1"]
        assert rows[2].status == 200

    run(steps)


def test_an_absurd_row_does_not_keep_others_out(run: Run) -> None:
    """A provider that reports 10**30 tokens, a model name with half a surrogate pair."""
    absurd = entry(1, model_asked="half \ud83d pair", usage=Usage(in_uncached=10**30, out_total=5))
    absurd.duration = float("nan")

    async def steps(store: Store) -> None:
        await store.add_entries([entry(0), absurd, entry(2)])
        newest, middle, oldest = await store.rows(limit=10)
        assert (newest, oldest) == (entry(2), entry(0))
        assert middle.model_asked == "half ? pair"
        assert middle.usage == Usage(in_uncached=None, out_total=5)
        assert len(await store.usage(0, None, ("model",))) == 2

    run(steps)


def test_sums_beyond_64_bits_are_still_sums(run: Run) -> None:
    huge = [entry(i, usage=Usage(in_uncached=2**62)) for i in range(4)]

    async def steps(store: Store) -> None:
        await store.add_entries(huge)
        (row,) = await store.usage(0, None, ())
        assert row.in_uncached == 4 * 10**11  # an absurd count is taken for no more than that
        assert row.out_total is None

    run(steps)


def test_recent_gives_the_newest_first_and_no_more_than_asked(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(i) for i in (3, 1, 4, 2)])
        assert [row.started_at - NOON for row in await store.rows(limit=3)] == [4, 3, 2]
        assert [row.started_at - NOON for row in await store.rows(limit=9, since=NOON + 3)] == [
            4,
            3,
        ]

    run(steps)


# the report


def groups(rows: list[UsageRow]) -> dict[tuple[str, ...], int]:
    return {row.group: row.requests for row in rows}


def test_the_report_sums_what_is_known(run: Run) -> None:
    partial = entry(2, usage=Usage(cache_write_5m=7, cache_write_1h=2), usage_source="partial")
    failed = entry(3, usage=Usage(), usage_source="none", outcome="upstream_error", first_byte=None)

    async def steps(store: Store) -> None:
        await store.add_entries([entry(1), partial, failed])
        assert await store.usage(0, None, ("model",)) == [
            UsageRow(
                group=("small",),
                requests=3,
                failed=1,
                estimated=1,
                in_uncached=100,
                cache_read=20,
                cache_write=9,
                tool_prompt=None,
                out_total=30,
                reasoning=5,
                bytes_in=3000,
                bytes_out=6000,
                first_byte=0.25,
                duration=1.5,
            )
        ]

    run(steps)


def test_the_report_sums_what_is_not_counted_in_tokens(run: Run) -> None:
    pictures = entry(1, usage=Usage(images=3, searches=1))
    audio = entry(2, usage=Usage(audio_ms=1500, characters=10))
    more = entry(3, usage=Usage(images=2, audio_ms=500))

    async def steps(store: Store) -> None:
        await store.add_entries([pictures, audio, more])
        exact = await store.usage(NOON - 1, NOON + 60, ("model",))
        in_days = await store.usage(0, None, ("model",))
        for [row] in (exact, in_days):
            units = (row.images, row.audio_ms, row.characters, row.searches)
            assert units == (5, 2000, 10, 1)
        assert (await store.rows(limit=1))[0].usage.audio_ms == 500

    run(steps)


def test_the_report_groups_by_every_dimension(run: Run) -> None:
    async def steps(store: Store) -> None:
        key, _ = await make(store, "laptop", "team")
        late = entry(1, started_at=NOON + 86_400, status=502, outcome="upstream_error")
        nobody = entry(2, key_id=None, account_id=None, model_asked="huge", format_in="gemini")
        await store.add_entries([entry(0), late, nobody])
        expected = {
            "model": {("small",): 2, ("huge",): 1},
            "key": {("laptop",): 2, ("",): 1},
            "account": {("team",): 2, ("",): 1},
            "upstream": {("north",): 3},
            "format": {("chat",): 2, ("gemini",): 1},
            "outcome": {("ok",): 2, ("upstream_error",): 1},
            "status": {("200",): 2, ("502",): 1},
            "day": {("2026-11-21",): 2, ("2026-11-22",): 1},
        }
        for dimension, found in expected.items():
            assert groups(await store.usage(0, None, (dimension,))) == found
        assert groups(await store.usage(0, None, ("day", "key"))) == {
            ("2026-11-21", "laptop"): 1,
            ("2026-11-21", ""): 1,
            ("2026-11-22", "laptop"): 1,
        }
        assert key.id == 1

    run(steps)


def test_the_report_is_sorted_by_day_or_else_by_requests(run: Run) -> None:
    rows = [entry(0), *(entry(i, started_at=NOON + 86_400 + i, model_asked="b") for i in (1, 2))]

    async def steps(store: Store) -> None:
        await store.add_entries(rows)
        assert [r.group for r in await store.usage(0, None, ("model",))] == [("b",), ("small",)]
        by_day = await store.usage(0, None, ("model", "day"))
        assert [r.group[1] for r in by_day] == ["2026-11-21", "2026-11-22"]

    run(steps)


def test_the_report_takes_since_and_leaves_until(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([entry(i) for i in range(10)])
        (row,) = await store.usage(NOON + 3, NOON + 6, ())
        assert row.requests == 3 and row.group == ()

    run(steps)


def test_the_report_over_nothing_is_empty_and_its_total_zero(run: Run) -> None:
    async def steps(store: Store) -> None:
        assert await store.usage(0, None, ("model",)) == []
        (total,) = await store.usage(0, None, ())
        assert (total.requests, total.failed, total.bytes_in, total.out_total) == (0, 0, 0, None)

    run(steps)


def test_the_report_refuses_an_unknown_dimension(run: Run) -> None:
    async def steps(store: Store) -> None:
        with pytest.raises(ValueError, match="'secret'"):
            await store.usage(0, None, ("model", "secret"))

    run(steps)


def test_what_was_kept_is_there_after_a_reopen(opener: Opener, tmp_path: Path) -> None:
    async def steps() -> None:
        for number in range(3):
            store = await opener(tmp_path / "db")
            await make(store, f"k{number}", "default")
            await store.add_entries([entry(number)])
            assert len(await store.keys()) == len(await store.rows(limit=9)) == number + 1
            await store.close()

    asyncio.run(steps())


# responses that upstreams keep


def held(digest: str, at: float = NOON, state: HoldingState = "settled") -> Holding:
    return Holding(digest, 1, "openai", "main", "5ee7c0de", "gpt-5", "smart", at, state)


def telling(number: int, holding: Holding) -> Entry:
    """The row of a request that tells of a response."""
    told = entry(number)
    told.holding = holding
    return told


def test_what_a_row_tells_of_a_response_is_stored_with_it(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([telling(1, held("a")), entry(2), telling(3, held("b", NOON + 1))])
        assert await store.holdings(0.0, 10) == [held("a"), held("b", NOON + 1)]
        assert await store.holdings(NOON, 10) == [held("b", NOON + 1)]
        assert await store.holdings(0.0, 1) == [held("b", NOON + 1)], "the newest"
        assert len(await store.rows(limit=10)) == 3

    run(steps)


def test_the_last_word_about_a_response_counts_in_one_batch_and_over_many(run: Run) -> None:
    async def steps(store: Store) -> None:
        owed = held("a", state="owed")
        await store.add_entries([telling(1, owed), telling(2, held("b")), telling(3, held("c"))])
        assert await found(store) == {"a": "owed", "b": "settled", "c": "settled"}
        gone = held("b", state="gone")
        await store.add_entries([telling(4, held("a")), telling(5, held("b")), telling(6, gone)])
        assert await found(store) == {"a": "settled", "c": "settled"}
        await store.add_entries([telling(7, gone)])  # twice is no error

    run(steps)


async def found(store: Store) -> dict[str, str]:
    """The state of each response that is stored."""
    return {one.digest: one.state for one in await store.holdings(0.0, 10)}


def test_rows_that_are_read_back_twice_tell_the_same_again(run: Run) -> None:
    async def steps(store: Store) -> None:
        rows = [telling(1, held("a", state="owed")), telling(2, held("a"))]
        for _ in range(2):
            await store.add_entries(rows)
        assert await store.holdings(0.0, 10) == [held("a")]

    run(steps)


def test_names_and_amounts_that_no_database_takes_are_stored_all_the_same(run: Run) -> None:
    async def steps(store: Store) -> None:
        odd = held("a")._replace(name="half \ud800", reserved=10**30)
        await store.add_entries([telling(1, odd)])
        [found] = await store.holdings(0.0, 10)
        assert (found.name, found.reserved) == ("half ?", 2**63 - 1)

    run(steps)


def test_responses_are_pruned_by_age_and_by_number(run: Run) -> None:
    async def steps(store: Store) -> None:
        await store.add_entries([telling(n, held(str(n), NOON + n)) for n in range(6)])
        assert await store.prune_holdings(NOON + 1, 3) == 3
        assert [one.digest for one in await store.holdings(0.0, 10)] == ["3", "4", "5"]
        assert await store.prune_holdings(NOON + 1, 3) == 0

    run(steps)
