"""From a secret to its key."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import Refused
from relayd.model import Account, Key
from relayd.policy.keys import Directory

SECRET = "sk-relayd-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
TEAM = Account(1, "team")
LAPTOP = Key(1, "laptop", TEAM, sha256(SECRET.encode()).digest(), SECRET[:16], 0.0)


def refusal(directory: Directory, secret: str) -> Refused:
    with pytest.raises(Refused) as caught:
        directory.find(secret)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    return caught.value


def test_a_secret_finds_its_key() -> None:
    other = replace(LAPTOP, id=2, name="other", digest=sha256(b"other").digest())
    directory = Directory([other, LAPTOP])
    assert directory.find(SECRET) is LAPTOP
    assert directory.find("other") is other
    assert len(directory) == 2


def test_a_missing_key_is_told_how_to_be_sent() -> None:
    assert "Authorization: Bearer" in refusal(Directory([LAPTOP]), "").message


def test_a_disabled_key_and_a_disabled_account_are_told_apart() -> None:
    disabled = Directory([replace(LAPTOP, disabled=True)])
    assert refusal(disabled, SECRET).message == "This API key is disabled."
    closed = Directory([replace(LAPTOP, account=replace(TEAM, disabled=True))])
    assert refusal(closed, SECRET).message == "The account of this API key is disabled."


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_other_secret_is_refused_without_an_echo(secret: str) -> None:
    exc = refusal(Directory([LAPTOP]), secret)
    assert exc.message == "Incorrect API key provided."


def test_a_digest_in_the_wrong_place_opens_nothing() -> None:
    """Should the table ever hold a key under another's digest, the second comparison says no."""
    directory = Directory([LAPTOP])
    directory._keys[sha256(b"other").digest()] = LAPTOP
    refusal(directory, "other")


def test_the_directory_shows_counts_and_no_secret() -> None:
    others = [
        replace(LAPTOP, digest=b"2", disabled=True),
        replace(LAPTOP, digest=b"3", account=replace(TEAM, disabled=True)),
    ]
    assert repr(Directory([LAPTOP, *others])) == "Directory(3 keys, 1 usable)"
