"""The door of the admin API: who is let in, and under which name what they do is written down.

Three kinds of tokens open it. That of the configuration can be weak, so wrong guesses are counted,
per peer and of all peers together, and stopped. That of the control file is new at every start, and
those that the store keeps are 256 random bits of which only the SHA-256 is known here: neither can
be guessed, so they always open, and whoever hammers on the door, through a proxy on this machine or
from a thousand addresses, does not lock its operators out. All comparisons take a time that does
not tell how much of a token is right.
"""

from __future__ import annotations

import hmac
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from relayd.accounts import AdminToken
from relayd.errors import Refused
from relayd.lines import say
from relayd.model import Secret
from relayd.web.client import HttpClient

GUESSES = 10  # wrong tokens that one peer may offer in a minute
GUESSES_OF_ALL = 100  # the same of all peers together, who may be one with many addresses
MINUTE = 60.0
PEERS_REMEMBERED = 1000


class Guesses:
    """Who offered wrong tokens of late. Owns a bounded table of peers; the oldest leaves first."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}
        self._all: deque[float] = deque(maxlen=GUESSES_OF_ALL)

    def __repr__(self) -> str:
        return f"<Guesses of {len(self._times)} peers>"

    def wait(self, peer: str, now: float) -> float:
        """Seconds until this peer may offer a token again; 0.0 is now."""
        times = self._times.get(_network(peer), ())
        return max(_wait(times, GUESSES, now), _wait(self._all, GUESSES_OF_ALL, now))

    def note(self, peer: str, now: float) -> None:
        """This peer's token was wrong."""
        network = _network(peer)
        times = self._times.pop(network, None) or deque(maxlen=GUESSES)
        times.append(now)
        self._all.append(now)
        if len(self._times) >= PEERS_REMEMBERED:
            del self._times[next(iter(self._times))]
        self._times[network] = times


def _wait(times: Sequence[float], most: int, now: float) -> float:
    """Seconds until so many last times are no longer all of the last minute."""
    return max(0.0, times[0] + MINUTE - now) if len(times) >= most else 0.0


class Guard:
    """Looks at tokens. Owns the count of wrong ones and the snapshot of those in the store.

    Arguments:
        own_token: that of the control file, made by this process.
        token: that of the configuration; an empty one opens nothing.
        clock: the loop's.
        peer_of: the address that a request comes from, behind trusted proxies too.

    Attributes:
        token: as above; a reload may change it.
    """

    def __init__(
        self,
        own_token: Secret,
        token: Secret,
        clock: Callable[[], float],
        peer_of: Callable[[HttpClient], str],
    ) -> None:
        self.token = token
        self._own_token = own_token
        self._clock = clock
        self._peer_of = peer_of
        self._guesses = Guesses()
        self._kept: dict[bytes, AdminToken] = {}

    def __repr__(self) -> str:
        return f"<Guard of {len(self._kept)} tokens, {self._guesses!r}>"

    def know(self, tokens: Iterable[AdminToken]) -> None:
        """These are the store's tokens from now on; disabled ones open nothing."""
        self._kept = {token.digest: token for token in tokens if not token.disabled}

    def let_in(self, client: HttpClient) -> str:
        """The name of the actor whose token this request bears.

        Raises Refused: 401 without a right one, 429 after too many wrong ones.
        """
        offered = bearer(client.headers.get("Authorization", ""))
        if _same(offered, self._own_token):
            return "control"
        kept = self._find(offered)
        if kept is not None:
            return f"token:{kept.name}"
        peer, now = self._peer_of(client), self._clock()
        self._check_guesses(peer, now)
        if _same(offered, self.token):
            return "config"
        if offered:  # to come without one is no guess
            self._guesses.note(peer, now)
            request, address = client.request_id, peer or "unknown"
            say(logging.WARNING, "admin: a wrong token", request=request, address=address)
        raise Refused(
            "This needs the admin token: `Authorization: Bearer TOKEN`.", code="invalid_admin_token"
        )

    def _find(self, offered: bytes) -> AdminToken | None:
        digest = sha256(offered).digest()
        kept = self._kept.get(digest)
        return kept if kept is not None and hmac.compare_digest(digest, kept.digest) else None

    def _check_guesses(self, peer: str, now: float) -> None:
        wait = self._guesses.wait(peer, now)
        if wait:
            raise Refused(
                f"Too many wrong tokens: try again in {math.ceil(wait)} seconds.",
                status=429,
                code="too_many_attempts",
                retry_after=wait,
            )


def bearer(authorization: str) -> bytes:
    """The token of an Authorization header, b"" when it holds none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def _same(offered: bytes, token: Secret) -> bool:
    """Whether it is the token, in a time that does not tell how much of it is right."""
    return bool(token) and hmac.compare_digest(offered, token.reveal().encode())


def _network(peer: str) -> str:
    """What stands for a peer: its address, or of IPv6 the network, which one host has whole."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return peer
