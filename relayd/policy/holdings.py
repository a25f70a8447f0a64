"""Which upstream key holds a response: the state that follow-ups have to be brought to.

A table from the digest of (account, response id) to where that response is, bounded in entries and
in time. Ids themselves are not kept, and the account is part of the digest: whoever asks for
another account's response finds nothing. What is oldest stands in front, and leaves when room is
needed or when its time is over, a few with each that comes.

A response that is made in the background is paid for when its end is first seen: until then it is
owed, and what may be due for it is set aside (`on_debt` is told). An account can owe only so many.
The table knows nothing of upstreams; a key that is gone
is the caller's to notice.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from relayd.model import Holding
from relayd.policy.affinity import digest_of
from relayd.routing import StateRules


def holding_digest(account: int, response_id: str) -> str:
    """What a response is known by: of one account, by its id."""
    return digest_of(account, "", response_id.encode("utf-8", "surrogatepass")).hex()


def site_tag(base_url: str) -> str:
    """What a base URL is known by."""
    return blake2b(base_url.encode(), digest_size=4).hexdigest()


@dataclass(slots=True)
class Thread:
    """How one request has to do with responses that upstreams keep.

    Arguments:
        after: the response that it follows on, or asks for.
        keeps: the upstream is to keep what it makes.
        background: it is made while nobody waits for it.
        paid: pico-dollars that were paid for the response before.
        least: pico-dollars that it costs in any case.
    """

    after: Holding | None = None
    keeps: bool = False
    background: bool = False
    paid: int = 0
    least: int = 0

    def due(self, cost: int) -> int:
        """What is left to pay of what the response has cost until now: each of those who see more
        of it pays the difference."""
        return max(max(cost, self.least) - self.paid, 0)

    def charged(self, holding: Holding, cost: int, reserved: int, opening: int) -> Holding:
        """The response, after `cost` was charged. What was reserved for it stays set aside while it
        is owed, and what it would have cost without a reply is the least."""
        holding = holding._replace(paid=self.paid + cost)
        if holding.state != "owed":
            return holding._replace(reserved=0)
        return holding._replace(reserved=max(reserved - cost, 0), least=opening)


class Holdings:
    """Where responses are. Owns the table.

    Arguments:
        rules: how many are known, and for how long; a reload replaces them.
    """

    __slots__ = ("_debts", "_entries", "_owed", "on_debt", "rules")

    def __init__(self, rules: StateRules) -> None:
        self.rules = rules
        self.on_debt: Callable[[Holding, int], None] = _nothing  # one more, or one less
        self._entries: OrderedDict[str, Holding] = OrderedDict()  # the oldest first
        self._debts: dict[str, Holding] = {}  # those that are owed
        self._owed: Counter[int] = Counter()  # how many, by account

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Holdings({len(self._entries)} of {self.rules.entries}, {len(self._debts)} owed)"

    def restore(self, holdings: Iterable[Holding]) -> None:
        """Know these, oldest first, as at a start."""
        for holding in holdings:
            self._put(holding)
        self._shrink()

    def find(self, digest: str, moment: float) -> Holding | None:
        """Where a response is; None when it is unknown, or was made too long ago.

        Arguments:
            moment: Unix seconds.
        """
        holding = self._entries.get(digest)
        if holding is None or self._is_over(holding, moment):
            return None
        return holding

    def keep(self, holding: Holding, moment: float) -> None:
        """It is there from now on, or is gone."""
        if holding.state == "gone":
            self._drop(holding.digest)
            return
        self._put(holding)
        self._shrink()
        # Two for one that comes: the dead leave faster than others can come, at a bounded cost.
        for _ in range(2):
            oldest = next(iter(self._entries.values()))
            if not self._is_over(oldest, moment):
                return
            self._drop(oldest.digest)
            if not self._entries:
                return

    def owed(self, account: int) -> int:
        """How many responses of an account were made in the background, and not settled yet."""
        return self._owed[account]

    def debts(self, before: float) -> list[Holding]:
        """What is owed of those made before a moment, in Unix seconds."""
        return [debt for debt in self._debts.values() if debt.at < before]

    def _put(self, holding: Holding) -> None:
        self._clear(holding.digest)
        if holding.state == "owed":
            self._debts[holding.digest] = holding
            self._owed[holding.account] += 1
            self.on_debt(holding, 1)
        self._entries[holding.digest] = holding  # in its old place, if it had one

    def _drop(self, digest: str) -> None:
        self._entries.pop(digest, None)
        self._clear(digest)

    def _shrink(self) -> None:
        while len(self._entries) > self.rules.entries:
            self._clear(self._entries.popitem(last=False)[0])

    def _clear(self, digest: str) -> None:
        debt = self._debts.pop(digest, None)
        if debt is None:
            return
        self.on_debt(debt, -1)
        self._owed[debt.account] -= 1
        if not self._owed[debt.account]:
            del self._owed[debt.account]

    def _is_over(self, holding: Holding, moment: float) -> bool:
        return holding.at + self.rules.ttl <= moment


def _nothing(debt: Holding, by: int) -> None:
    """Nobody sets anything aside."""
