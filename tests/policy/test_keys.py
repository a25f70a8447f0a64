"""From a secret to its key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.accounts import Account, Group, Key, Limits
from relayd.errors import Refused
from relayd.policy.keys import ENDPOINT_OF, Directory, Names

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
    assert directory.find(SECRET).key is LAPTOP
    assert directory.find("other").key is other
    assert directory.find("other").id == 2
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
    directory._callers[sha256(b"other").digest()] = directory.find(SECRET)
    refusal(directory, "other")


def test_the_directory_shows_counts_and_no_secret() -> None:
    others = [
        replace(LAPTOP, digest=b"2", disabled=True),
        replace(LAPTOP, digest=b"3", account=replace(TEAM, disabled=True)),
    ]
    assert repr(Directory([LAPTOP, *others])) == "Directory(3 keys, 1 usable)"


# --- what a key may do ----------------------------------------------------------------------------


def refused(act: Callable[[], object], status: int, code: str) -> str:
    with pytest.raises(Refused) as caught:
        act()
    assert (caught.value.status, caught.value.code) == (status, code)
    return caught.value.message


def test_an_expired_key_says_so() -> None:
    directory = Directory([replace(LAPTOP, expires_at=1000.0)])
    assert directory.find(SECRET, moment=999.9).id == 1
    message = refused(lambda: directory.find(SECRET, moment=1000.0), 401, "invalid_api_key")
    assert message == "This API key has expired."


def test_the_secret_before_a_rotation_is_good_for_its_grace() -> None:
    old = "sk-relayd-old"
    key = replace(LAPTOP, old_digest=sha256(old.encode()).digest(), old_until=1000.0)
    directory = Directory([key])
    assert directory.find(old, moment=999.9) is directory.find(SECRET, moment=5000.0)
    assert len(directory) == 1
    refused(lambda: directory.find(old, moment=1000.0), 401, "invalid_api_key")


def test_the_secret_in_use_counts_before_another_s_old_one() -> None:
    other = replace(LAPTOP, id=2, digest=b"2", old_digest=LAPTOP.digest, old_until=1e12)
    assert Directory([LAPTOP, other]).find(SECRET).id == 1
    assert Directory([other, LAPTOP]).find(SECRET).id == 1


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::7", True),
        ("192.0.2.1", True),  # written with the address of a host: its network is meant
        ("192.0.3.1", False),
        ("2001:db9::7", False),
        ("", False),
        ("unix:", False),
    ],
)
def test_a_key_may_be_bound_to_networks(address: str, inside: bool) -> None:
    networks = ("10.0.0.0/8", "2001:db8::/32", "192.0.2.77/24")
    directory = Directory([replace(LAPTOP, addresses=networks)])
    if inside:
        assert directory.find(SECRET, address=address).id == 1
    else:
        refused(lambda: directory.find(SECRET, address=address), 403, "address_not_allowed")


def test_a_network_that_is_none_matches_no_address_and_is_a_problem() -> None:
    directory = Directory([replace(LAPTOP, addresses=("home",))] * 2)
    refused(lambda: directory.find(SECRET, address="10.0.0.1"), 403, "address_not_allowed")
    assert directory.problems == ["key 'laptop': 'home' is no network; it matches no address"]


def test_an_account_whose_group_is_gone_may_do_nothing() -> None:
    key = replace(LAPTOP, account=replace(TEAM, group="gone"))
    directory = Directory([key, replace(key, digest=b"2")])
    refused(lambda: directory.find(SECRET), 403, "group_unknown")
    assert directory.problems == [
        "account 'team': there is no group 'gone'; its keys may do nothing"
    ]


def test_the_group_s_models_are_narrowed_by_the_key() -> None:
    groups = [Group("default", models=("gpt-*", "o3"))]
    wide = Directory([LAPTOP], groups).find(SECRET)
    narrow = Directory([replace(LAPTOP, models=("*-mini", "claude-1"))], groups).find(SECRET)
    names = ("gpt-5", "gpt-5-mini", "o3", "claude-1")
    assert [wide.allows(name) for name in names] == [True, True, True, False]
    assert [narrow.allows(name) for name in names] == [False, True, False, False]
    narrow.check_model("gpt-5-mini")
    message = refused(lambda: narrow.check_model("o3"), 404, "model_not_found")
    assert message == "The model `o3` does not exist or you do not have access to it."


def test_the_group_s_endpoints_are_narrowed_by_the_key() -> None:
    groups = [Group("default", endpoints=("chat", "embeddings"))]
    wide = Directory([LAPTOP], groups).find(SECRET)
    narrow = Directory([replace(LAPTOP, endpoints=("chat", "audio"))], groups).find(SECRET)
    assert wide.endpoint_allowed("embeddings") and not wide.endpoint_allowed("audio")
    assert narrow.endpoint_allowed("chat") and not narrow.endpoint_allowed("audio")
    narrow.check_endpoint(ENDPOINT_OF["generate"])
    said = refused(lambda: narrow.check_endpoint("embeddings"), 403, "endpoint_not_allowed")
    assert said == "This API key may not be used for embeddings."
    said = refused(lambda: wide.check_endpoint("images"), 403, "endpoint_not_allowed")
    assert "its account's group does not include it" in said


def test_a_group_may_hide_what_is_not_among_its_endpoints() -> None:
    groups = [Group("default", endpoints=("chat",), hide_endpoints=True)]
    hidden = Directory([LAPTOP], groups).find(SECRET)
    hidden.check_endpoint("chat")
    refused(lambda: hidden.check_endpoint("images"), 404, "unknown_url")


@pytest.mark.parametrize("limits", [Limits(rpm=1), Limits(tpm=1), Limits(concurrency=1)])
def test_a_rate_of_key_or_group_is_a_limit_to_tell_of(limits: Limits) -> None:
    told = limits.concurrency is None
    assert Directory([replace(LAPTOP, limits=limits)]).find(SECRET).is_limited == told
    group = Group("default", limits=limits)
    assert Directory([LAPTOP], [group]).find(SECRET).is_limited == told


def test_callers_show_names_and_no_secret() -> None:
    assert repr(Directory([LAPTOP]).find(SECRET)) == ("Caller('laptop' of 'team', group 'default')")
    assert repr(Names(("a", "b*"))) == "Names(a, b*)"
