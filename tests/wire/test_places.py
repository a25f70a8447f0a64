"""Where a URL may lead; that nothing else is asked is tested in tests/relay/test_fetching.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.places import NotFetched, Place, is_public, joined, place_of


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_a_public_address_is_one_wherever_it_is_written(address: str) -> None:
    assert is_public(address)


def test_an_address_that_nobody_can_read_is_not_public() -> None:
    assert not is_public("127.1")
    assert not is_public("")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.test",
        "https://a.test:8443/a",
        "https://user:word@a.test/a",
        "https://[::1/a",
        "https:///a",
        "https://a.test/" + "a" * 9000,
    ],
)
def test_a_url_of_another_kind_leads_nowhere(url: str) -> None:
    with pytest.raises(NotFetched):
        place_of(url)


@pytest.mark.parametrize("address", ["10.0.0.1", "224.0.0.1", "192.0.0.1", "fe80::1", "2001::1"])
def test_an_address_of_some_network_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_a_redirect_leads_on_from_where_it_was_found() -> None:
    assert joined("https://a.test/b/c", "../d") == "https://a.test/d"
    with pytest.raises(NotFetched):
        joined("https://a.test", "https://[")


@given(st.text() | st.text(st.sampled_from("htps:/@[].%\r\n\\#?a1")))
def test_whatever_a_url_is_its_request_is_one_line_of_plain_characters(tail: str) -> None:
    try:
        place = place_of(f"https://{tail}")
    except NotFetched:
        return
    for text in place:
        assert text and text.isascii() and text.isprintable() and " " not in text


def test_a_url_becomes_a_host_and_a_target() -> None:
    assert place_of("HTTPS://Bücher.test/ä b?c=d&e=%2F#f") == Place(
        "xn--bcher-kva.test", "/%C3%A4%20b?c=d&e=%2F"
    )
    assert place_of("https://a.test") == Place("a.test", "/")
    assert place_of("https://[2606:4700::1]:443/a?") == Place("2606:4700::1", "/a")
