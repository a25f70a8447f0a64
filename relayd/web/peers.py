"""Whose address a request comes from, also behind proxies that the operator trusts.

`X-Forwarded-For` is what anybody may write, so it counts only when the connection itself comes from
a trusted proxy. Every proxy adds to the right who it was called by: read from there, the first
address that is no trusted proxy is the client's. What stands left of it is hearsay. A header that
is garbage where it matters is not read on: then the proxy's own address counts, which no list of
clients should hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MOST_HOPS = 32
LONGEST = 100  # characters of one address with its port


def client_address(peer: str, forwarded: Iterable[str], trusted: Sequence[Network]) -> str:
    """The client's address, in plain form.

    Arguments:
        peer: the other end of the connection.
        forwarded: the `X-Forwarded-For` headers, in the order in which they came.
        trusted: networks of proxies.
    """
    nearest = _address(peer)
    if nearest is None:
        return peer
    if not trusted or not _among(nearest, trusted):
        return str(nearest)
    farthest = nearest
    hops = ",".join(forwarded).rsplit(",", MOST_HOPS)[-MOST_HOPS:]
    for hop in reversed(hops):
        if not hop.strip():
            continue
        address = _address(_without_port(hop.strip()))
        if address is None:
            return str(nearest)
        farthest = address
        if not _among(address, trusted):
            break
    return str(farthest)


def _address(text: str) -> Address | None:
    """An address; an IPv4 one that came over an IPv6 socket is what it is."""
    if len(text) > LONGEST:
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _without_port(text: str) -> str:
    """`192.0.2.1:5678` and `[2001:db8::1]:5678`, which some proxies write, less the port."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
