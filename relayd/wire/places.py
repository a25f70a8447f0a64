"""Where a URL that a client wrote may lead: to https at its own port, at public addresses.

Nothing here asks anybody. A name is a matter of the resolver's; whoever asks it has to look at each
address that it gives (`is_public`), and to go to that very address.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

LONGEST_URL: Final = 8192
PORT: Final = 443
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,252}[a-z0-9])?")

# What Python calls global, and is none of our business: protocol assignments, relays between the
# two kinds of addresses, the inner address of a cloud's machines, documentation.
_NEVER4: Final = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
_NEVER6: Final = tuple(map(ip_network, ("2001::/23", "2002::/16", "3fff::/20")))
_UNICAST6: Final = ip_network("2000::/3")
# IPv6 addresses that are IPv4 addresses, in their last four bytes.
_INSIDE: Final = tuple(map(ip_network, ("::ffff:0:0/96", "64:ff9b::/96")))


class NotFetched(Exception):
    """There is no picture at a URL that we may have. The message is the end of a sentence."""


class Place(NamedTuple):
    """Where a URL leads: what is asked of the resolver, of TLS and of the server."""

    host: str
    target: str


def place_of(url: str) -> Place:
    """The place of a URL, in characters that can stand in a request; raises NotFetched."""
    if len(url) > LONGEST_URL:
        raise NotFetched("its URL is too long")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii").lower()
        port = parts.port
    except ValueError:
        raise NotFetched("its URL cannot be read") from None
    if parts.scheme != "https":
        raise NotFetched("only https is fetched")
    if "@" in parts.netloc or port not in (None, PORT):
        raise NotFetched("its URL has a user or a port, which is not allowed")
    if not _HOST.fullmatch(host) and not is_address(host):
        raise NotFetched("its URL has no proper host")
    path = parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    return Place(host, quote(target, safe="/?:@!$&'()*+,;=%-._~"))


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet at large, and not to any network of ours."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if any(found in network for network in _INSIDE):
            found = IPv4Address(found.packed[-4:])
        else:
            proper = found in _UNICAST6 and found.scope_id is None
            return proper and found.is_global and not any(found in each for each in _NEVER6)
    multicast = found.is_multicast or found.is_reserved
    return found.is_global and not multicast and not any(found in each for each in _NEVER4)


def is_address(host: str) -> bool:
    """Whether a host is an address rather than a name."""
    try:
        return ip_address(host) is not None
    except ValueError:
        return False


def joined(url: str, location: str) -> str:
    """The URL that a redirect leads to; raises NotFetched."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise NotFetched("its server redirects to nowhere") from None
