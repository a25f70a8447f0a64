"""The client's address, behind proxies and without."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.web.peers import client_address

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),  # no proxy of ours: hearsay
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2 , 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1,,"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1:5678"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::1]:5678"], "2001:db8::1"),
        ("fd00::1", ["2001:DB8::0:1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("::ffff:192.0.2.9", [], "192.0.2.9"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["unknown, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["9" * 10_000], "10.0.0.1"),
        ("", ["198.51.100.1"], ""),
        ("unix:", [], "unix:"),
    ],
)
def test_the_rightmost_address_that_is_no_proxy_counts(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert client_address(peer, forwarded, TRUSTED) == client


def test_without_trusted_proxies_nothing_is_read() -> None:
    assert client_address("10.0.0.1", ["198.51.100.1"], []) == "10.0.0.1"


def test_a_very_long_way_is_not_walked_to_its_end() -> None:
    hops = ", ".join(["198.51.100.1", *["10.0.0.2"] * 100_000])
    assert client_address("10.0.0.1", [hops], TRUSTED) == "10.0.0.2"


@given(st.lists(st.text(max_size=40)))
def test_garbage_is_never_a_client(forwarded: list[str]) -> None:
    ip_address(client_address("10.0.0.1", forwarded, TRUSTED))
