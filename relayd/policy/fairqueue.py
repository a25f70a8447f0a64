"""A waiting line that is fair: accounts take turns, and within one the first comes first.

Whoever sends a thousand requests waits behind itself, not in front of everyone else. The first
account of the line has the turn; served or passed over, it goes to the end, and it leaves when it
has nothing more waiting. Places are bounded for all accounts together: memory is, and a line that
is longer than it can be served serves nobody.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Who waits. Owns the lines.

    Arguments:
        places: how many may wait at once.
    """

    __slots__ = ("_length", "_lines", "_places")

    def __init__(self, places: int) -> None:
        self._places = places
        self._length = 0
        # The account that has the turn first; none has an empty line.
        self._lines: OrderedDict[int, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        waiting = f"{self._length} of {self._places}"
        return f"FairQueue({waiting} places, {len(self._lines)} accounts)"

    @property
    def accounts(self) -> int:
        """How many accounts have something waiting: after as many skips all had the turn."""
        return len(self._lines)

    def put(self, account: int, item: T) -> bool:
        """Stand at the end of the account's line; False: all places are taken."""
        if self._length >= self._places:
            return False
        line = self._lines.get(account)
        if line is None:
            line = self._lines[account] = deque()
        line.append(item)
        self._length += 1
        return True

    def peek(self) -> T | None:
        """Whose turn it is; None when nobody waits."""
        for line in self._lines.values():
            return line[0]
        return None

    def take(self) -> T | None:
        """Whose turn it is, who thereby leaves; the next account has the turn."""
        if not self._lines:
            return None
        account, line = self._lines.popitem(last=False)
        item = line.popleft()
        self._length -= 1
        if line:
            self._lines[account] = line
        return item

    def skip(self) -> None:
        """The next account has the turn; nobody leaves."""
        if self._lines:
            self._lines.move_to_end(next(iter(self._lines)))

    def remove(self, account: int, item: T) -> bool:
        """Somebody gives up waiting; False: it was not there."""
        line = self._lines.get(account)
        if line is None:
            return False
        try:
            line.remove(item)
        except ValueError:
            return False
        self._length -= 1
        if not line:
            del self._lines[account]
        return True
