"""Which upstream key a conversation is at: its cache is warm there, its signatures are valid.

A table from the digest of a conversation to the name of a door, bounded in entries, and in bytes:
a digest has 16, and names are shared with the doors. What is found is younger again, so the table
stays in the order of last use, which is the order of expiry as well: the oldest stand in front, and
leave when room is needed or, a few with each that comes, when their time is over.

The table knows nothing about doors. One that is open, full or gone is the caller's to notice.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from relayd.routing import AffinityRules

DIGEST_SIZE = 16


class Affinity:
    """Where conversations are. Owns the table.

    Arguments:
        rules: how many are remembered, and for how long.
    """

    __slots__ = ("_entries", "_rules")

    def __init__(self, rules: AffinityRules) -> None:
        self._rules = rules
        # digest -> the door's name and when it is forgotten; the least recently used first.
        self._entries: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Affinity({len(self._entries)} of {self._rules.entries})"

    def find(self, digest: bytes, now: float) -> str | None:
        """The door of the conversation, which is then as good as new; None when unknown."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if entry[1] <= now:
            del self._entries[digest]
            return None
        self._entries[digest] = entry[0], now + self._rules.ttl
        self._entries.move_to_end(digest)
        return entry[0]

    def keep(self, digest: bytes, door: str, now: float) -> None:
        """The conversation is at that door from now on."""
        self._entries[digest] = door, now + self._rules.ttl
        self._entries.move_to_end(digest)
        while len(self._entries) > self._rules.entries:
            self._entries.popitem(last=False)
        self._expire(now)

    def drop(self, digest: bytes) -> None:
        """Forget the conversation, if it is known."""
        self._entries.pop(digest, None)

    def _expire(self, now: float) -> None:
        # Two for one that comes: the dead leave faster than others can come, at a bounded cost.
        for _ in range(2):
            oldest = next(iter(self._entries), None)
            if oldest is None or self._entries[oldest][1] > now:
                return
            del self._entries[oldest]


def digest_of(account: int, model: str, name: bytes) -> bytes:
    """A conversation's digest: of one account, with one model, by whatever it is named.

    Arguments:
        name: the client's own word for it, or a hash of how it began.
    """
    # A client may send lone surrogates; they are part of the name like anything else.
    public = model.encode("utf-8", "surrogatepass")
    fields = b"%d %d %b%b" % (account, len(public), public, name)  # read in one way only
    return blake2b(fields, digest_size=DIGEST_SIZE).digest()
