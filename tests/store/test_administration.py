"""What may be said of accounts, keys and tokens, and that every change leaves its line."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import orjson
import pytest

from relayd.accounts import Caps, Limits
from relayd.store.base import Store
from relayd.store.questions import ChangeFilter, NewKey, Page
from relayd.store.refusals import BadName, BadValue, NameTaken, NotFound
from tests.store.backends import Run, make
from tests.store.samples import NOON, WHO, Who

LATER = Who(now=NOON + 60, actor="cli:anna")
FULL = NewKey(
    "laptop",
    "team",
    expires_at=NOON + 3600,
    models=("small", "vendor/*"),
    endpoints=("chat", "embeddings"),
    addresses=("10.0.0.0/8", "::1"),
    limits=Limits(rpm=60, tpm=None, concurrency=5, burst=10.0),
    caps=Caps(day=5 * 10**12, ever=0),
    note="Anna\u2019s",
    lenient=False,
)


def test_a_key_comes_back_as_it_was_asked_for(run: Run) -> None:
    async def steps(store: Store) -> None:
        key, _ = await store.create_key(FULL, **WHO)
        assert [key] == await store.keys() == await store.keys_page()
        assert (key.expires_at, key.models, key.endpoints) == (
            FULL.expires_at,
            FULL.models,
            FULL.endpoints,
        )
        assert (key.addresses, key.limits, key.caps) == (FULL.addresses, FULL.limits, FULL.caps)
        assert key.note == FULL.note and key.old_digest is None
        assert key.lenient is False
        assert await store.key("laptop") == await store.key(key.prefix) == key

    run(steps)


def test_a_change_of_a_key_changes_what_is_given_and_nothing_else(run: Run) -> None:
    async def steps(store: Store) -> None:
        key, _ = await store.create_key(FULL, **WHO)
        changes = {"limits": Limits(tpm=9), "models": (), "name": "desk", "expires_at": None}
        changed = await store.change_key("laptop", {**changes, "lenient": None}, **LATER)
        expected = replace(key, limits=Limits(tpm=9), models=(), name="desk", expires_at=None)
        expected = replace(expected, lenient=None)
        assert changed == expected and await store.keys() == [expected]

    run(steps)


@pytest.mark.parametrize(
    "changes",
    [
        {"expires_at": NOON - 1},
        {"expires_at": float("nan")},
        {"addresses": ("10.0.0.1/8",)},
        {"addresses": ("example.org",)},
        {"endpoints": ("teapot",)},
        {"models": ("",)},
        {"models": ("a\nb",)},
        {"models": tuple(f"m{i}" for i in range(1001))},
        {"limits": Limits(rpm=0)},
        {"limits": Limits(tpm=-5)},
        {"limits": Limits(concurrency=True)},
        {"limits": Limits(burst=0.0)},
        {"caps": Caps(day=-1)},
        {"caps": Caps(ever=10**20)},
        {"note": "x" * 1001},
        {"note": "half \ud83d pair"},
        {"digest": b"mine"},
        {"id": 7},
    ],
)
def test_what_a_key_cannot_be_is_refused_and_changes_nothing(
    run: Run, changes: dict[str, object]
) -> None:
    async def steps(store: Store) -> None:
        key, _ = await store.create_key(FULL, **WHO)
        lines = await store.audit()
        with pytest.raises(BadValue):
            await store.change_key("laptop", {"note": "new", **changes}, **WHO)
        assert await store.keys() == [key] and await store.audit() == lines

    run(steps)


def test_a_key_with_a_bad_property_is_not_made_nor_is_its_account(run: Run) -> None:
    async def steps(store: Store) -> None:
        with pytest.raises(BadValue, match="past"):
            await store.create_key(replace(FULL, expires_at=NOON), **WHO)
        assert await store.keys() == [] and await store.accounts() == []

    run(steps)


def test_a_name_that_another_has_is_refused_on_change_too(run: Run) -> None:
    async def steps(store: Store) -> None:
        await make(store, "one", "a")
        await make(store, "two", "b")
        with pytest.raises(NameTaken):
            await store.change_key("one", {"name": "two"}, **WHO)
        with pytest.raises(NameTaken):
            await store.change_account("a", name="b", **WHO)
        assert (await store.change_key("one", {"name": "one"}, **WHO)).name == "one"

    run(steps)


def test_rotation_keeps_the_key_and_its_old_secret_for_the_grace(run: Run) -> None:
    async def steps(store: Store) -> None:
        key, old = await store.create_key(FULL, **WHO)
        rotated, new = await store.rotate_key("laptop", grace=60.0, **LATER)
        assert new != old and rotated.digest == hashlib.sha256(new.encode()).digest()
        assert (rotated.old_digest, rotated.old_until) == (key.digest, NOON + 120)
        kept = replace(rotated, digest=key.digest, prefix=key.prefix, old_digest=None, old_until=0)
        assert kept == key and await store.keys() == [rotated]
        at_once, _ = await store.rotate_key("laptop", grace=0.0, **LATER)
        assert (at_once.old_digest, at_once.old_until) == (None, 0.0)
        with pytest.raises(BadValue):
            await store.rotate_key("laptop", grace=-1.0, **LATER)

    run(steps)


def test_an_account_is_made_found_and_changed(run: Run) -> None:
    async def steps(store: Store) -> None:
        account = await store.create_account("team", "staff", "north wing", **WHO)
        assert await store.account("team") == await store.account(str(account.id)) == account
        assert (account.group, account.note, account.created_at) == ("staff", "north wing", NOON)
        changed = await store.change_account("team", group="guests", note="", **LATER)
        assert changed == replace(account, group="guests", note="")
        assert await store.accounts() == [changed]
        with pytest.raises(NotFound):
            await store.account("nobody")
        with pytest.raises(BadValue):
            await store.change_account("team", group=" ", **LATER)

    run(steps)


def test_lists_come_in_pages_that_can_be_searched(run: Run) -> None:
    async def steps(store: Store) -> None:
        for number in range(5):
            await make(store, f"Key-{number}", "even" if number % 2 == 0 else "odd")
        await store.change_key("Key-3", {"disabled": True, "note": "broken"}, **WHO)
        await store.change_account("odd", group="staff", **WHO)

        async def names(page: Page) -> list[str]:
            return [key.name for key in await store.keys_page(page)]

        assert await names(Page(limit=2)) == ["Key-0", "Key-1"]
        assert await names(Page(limit=2, after=2)) == ["Key-2", "Key-3"]
        assert await names(Page(search="key-4")) == ["Key-4"]
        assert await names(Page(search="BROKEN")) == await names(Page(disabled=True)) == ["Key-3"]
        assert await names(Page(account="odd", disabled=False)) == ["Key-1"]
        assert await names(Page(group="staff")) == ["Key-1", "Key-3"]
        assert await names(Page(limit=-1)) == []
        with pytest.raises(NotFound):
            await names(Page(account="none"))
        accounts = await store.accounts_page(Page(group="staff"))
        assert accounts == await store.accounts_page(Page(search="OD"))
        assert accounts == await store.accounts_page(Page(account="odd"))
        assert [a.name for a in accounts] == ["odd"]
        assert await store.accounts_page(Page(after=1, disabled=True)) == []

    run(steps)


def test_every_change_leaves_a_line_that_says_what_changed(run: Run) -> None:
    async def steps(store: Store) -> None:
        _, secret = await store.create_key(FULL, **WHO)
        await store.change_key("laptop", {"note": "mine", "models": FULL.models}, **LATER)
        await store.change_account("team", disabled=True, **LATER)
        rotated, second = await store.rotate_key("laptop", grace=5, **LATER)
        await store.add_credit("team", 5 * 10**12, kind="grant", reason="first", **WHO)
        token, third = await store.create_admin_token("ops", **WHO)
        await store.set_admin_token_disabled("ops", True, **LATER)
        lines = (await store.audit())[::-1]
        assert [(line.action, line.actor, line.at) for line in lines] == [
            ("account.create", "test", NOON),
            ("key.create", "test", NOON),
            ("key.change", "cli:anna", NOON + 60),
            ("account.change", "cli:anna", NOON + 60),
            ("key.rotate", "cli:anna", NOON + 60),
            ("credit.add", "test", NOON),
            ("token.create", "test", NOON),
            ("token.disable", "cli:anna", NOON + 60),
        ]
        changed = lines[2]
        assert orjson.loads(changed.before) == {"note": FULL.note}
        assert orjson.loads(changed.after) == {"note": "mine"}
        assert changed.subject == "key 1 laptop"
        assert orjson.loads(lines[5].after)["amount"] == "5.00"
        told = "".join(line.before + line.after for line in lines)
        for hidden in (secret, second, third, rotated.digest.hex(), token.digest.hex()):
            assert hidden[16:] not in told

    run(steps)


def test_what_changes_nothing_leaves_no_line(run: Run) -> None:
    async def steps(store: Store) -> None:
        await make(store, "laptop", "team")
        lines = len(await store.audit())
        await store.change_key("laptop", {"disabled": False, "note": ""}, **WHO)
        await store.change_account("team", disabled=False, **WHO)
        assert len(await store.audit()) == lines

    run(steps)


def test_the_audit_is_paged_and_filtered(run: Run) -> None:
    async def steps(store: Store) -> None:
        await make(store, "laptop", "team")
        await store.change_key("laptop", {"note": "x"}, **LATER)
        newest = await store.audit(limit=1)
        assert [line.action for line in newest] == ["key.change"]
        rest = await store.audit(before=newest[0].id)
        assert [line.action for line in rest] == ["key.create", "account.create"]
        for filters, expected in (
            (ChangeFilter(actor="cli:anna"), 1),
            (ChangeFilter(action="key."), 2),
            (ChangeFilter(subject="team"), 1),
            (ChangeFilter(subject="tea"), 0),
            (ChangeFilter(subject="lap"), 0),
            (ChangeFilter(subject="key 1"), 2),
            (ChangeFilter(since=NOON + 1), 1),
            (ChangeFilter(until=NOON + 1), 2),
            (ChangeFilter(action="key.", actor="test"), 1),
        ):
            assert len(await store.audit(filters=filters)) == expected, filters

    run(steps)


def test_an_admin_token_is_kept_as_a_hash_and_can_be_refused(run: Run) -> None:
    async def steps(store: Store) -> None:
        seen = await store.keys_version()
        token, secret = await store.create_admin_token("ops", **WHO)
        assert (
            secret.startswith("rat-") and token.digest == hashlib.sha256(secret.encode()).digest()
        )
        assert secret.startswith(token.prefix) and len(token.prefix) == 10
        assert await store.admin_tokens() == [token]
        disabled = await store.set_admin_token_disabled(str(token.id), True, **WHO)
        assert disabled == replace(token, disabled=True) and await store.admin_tokens() == [
            disabled
        ]
        assert await store.set_admin_token_disabled("ops", False, **WHO) == token
        assert await store.keys_version() > seen
        with pytest.raises(NameTaken):
            await store.create_admin_token("ops", **WHO)
        with pytest.raises(BadName):
            await store.create_admin_token(secret, **WHO)
        with pytest.raises(NotFound):
            await store.set_admin_token_disabled("none", True, **WHO)

    run(steps)
