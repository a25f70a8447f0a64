"""What a model sealed onto a tool call, kept for clients that do not send it back.

Some providers refuse a history whose calls have lost their signatures, and many clients keep of a
call only its id, its name and its arguments. So the carrier of a call is kept here when the reply
passes, and found when the call comes again. It is a second source: what the client itself sends
back always comes first.

Bounded in entries and in characters, and in time: what was found is as good as new, so the table
stays in the order of last use, which is the order of expiry as well. A key is a digest, so that no
client can make the table large by long ids, and holds the account: nobody finds another's.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final, NamedTuple

from relayd.wire.parts import Carrier

MOST: Final = 100_000
LARGEST: Final = 128 * 1024 * 1024  # characters of all together
LARGEST_ONE: Final = 1024 * 1024
TTL: Final = 3600.0


class _Kept(NamedTuple):
    carrier: Carrier
    until: float


class Carriers:
    """Carriers by account and call id. Owns the table.

    Arguments:
        most: entries.
        largest: characters of all payloads.
        ttl: seconds that one is kept without being asked for.
    """

    __slots__ = ("_kept", "_largest", "_most", "_size", "_ttl")

    def __init__(self, most: int = MOST, largest: int = LARGEST, ttl: float = TTL) -> None:
        self._most = most
        self._largest = largest
        self._ttl = ttl
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f"<Carriers {len(self._kept)} of {self._most}, {self._size} characters>"

    def keep(self, account: int, call_id: str, carrier: Carrier, now: float) -> None:
        """The call has this carrier; one that is absurdly large is not kept.

        Arguments:
            account: the client's.
            carrier: with its scope, by which the right upstream gets it and no other.
            now: Unix seconds.
        """
        if not call_id or len(carrier.payload) > LARGEST_ONE:
            return
        key = _key(account, call_id)
        self._forget(key)
        self._kept[key] = _Kept(carrier, now + self._ttl)
        self._size += len(carrier.payload)
        while len(self._kept) > self._most or self._size > self._largest:
            self._forget(next(iter(self._kept)))
        # Two for one that comes: the dead leave faster than others can come, at a bounded cost.
        for _ in range(2):
            oldest = next(iter(self._kept), None)
            if oldest is None or self._kept[oldest].until > now:
                break
            self._forget(oldest)

    def find(self, account: int, call_id: str, now: float) -> Carrier | None:
        """The carrier of a call, kept on from now; None where it is not known any more."""
        key = _key(account, call_id)
        found = self._kept.get(key)
        if found is None:
            return None
        if found.until <= now:
            self._forget(key)
            return None
        self._kept[key] = found._replace(until=now + self._ttl)
        self._kept.move_to_end(key)
        return found.carrier

    def _forget(self, key: bytes) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._size -= len(gone.carrier.payload)


def _key(account: int, call_id: str) -> bytes:
    text = b"%d %b" % (account, call_id.encode("utf-8", "surrogatepass"))
    return blake2b(text, digest_size=16).digest()
