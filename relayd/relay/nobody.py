"""Who stands where somebody has left: a client that is gone, an owner whose exchange has ended.

An exchange calls them as it would the real ones, so that no place on the way of a reply has to ask
whether anybody is still there.
"""

from __future__ import annotations

from collections.abc import Callable

from relayd.errors import RelayError
from relayd.relay.sides import RawHeaders


class NoClient:
    """Gets the rest of a reply whose client has left."""

    def start(self, status: int, headers: RawHeaders, length: int | None) -> None:
        """Nobody reads it."""

    def write(self, data: bytes) -> bool:
        return False

    def on_drain(self, resume: Callable[[], None]) -> None:
        """Nothing is ever held back."""

    def abort(self) -> None:
        """There is nothing to break off."""


class NoOwner:
    """Owns an exchange that has ended: whatever comes, nobody wants it."""

    request = ""

    def connected(self) -> None:
        """That helps nobody any more."""

    def claim(self, status: int) -> bool:
        return False

    def stream_headers(self, headers: RawHeaders) -> RawHeaders:
        return headers

    def first_error(self, data: bytes) -> RelayError | None:
        return None


NO_CLIENT = NoClient()
NO_OWNER = NoOwner()
