"""Who asks in the simulation: for which model, and in which conversation.

Conversations are what affinity is about. Half of them are known by their first messages only, and
a quarter name the response that they follow on, which one upstream key alone has.
"""

from __future__ import annotations

import random
from itertools import accumulate, count

from benchmarks.outage.world import SHARES
from relayd.policy.affinity import digest_of
from relayd.policy.lease import Lease
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools

TOKENS = 500
ACCOUNTS = 50
IN_CONVERSATIONS = 0.4  # share of requests
CONVERSATIONS = 2000  # at any time
LAST_TURN = 0.1  # share of requests that end their conversation


class Conversation:
    """A client's conversation. Owns what its next request says of it."""

    __slots__ = ("account", "by_opening", "chained", "digest", "model", "previous", "turn")

    def __init__(self, number: int, model: str, rng: random.Random) -> None:
        self.account = number % ACCOUNTS
        self.model = model
        self.by_opening = rng.random() < 0.5
        self.chained = rng.random() < 0.25  # each request names the response that it follows on
        self.digest = digest_of(self.account, model, b"%d" % number)
        self.previous: bytes | None = None
        self.turn = 0

    def __repr__(self) -> str:
        return f"<Conversation of {self.account} with {self.model}, turn {self.turn}>"

    def wanted(self) -> Wanted:
        return Wanted(TOKENS, self.account, self.digest, self.by_opening, self.previous)

    def answered(self, pools: Pools, lease: Lease, now: float) -> None:
        """A response came: the next request may name it."""
        if self.chained:
            self.turn += 1
            self.previous = digest_of(self.account, "", b"%b %d" % (self.digest, self.turn))
            pools.affinity.keep(self.previous, lease.door.name, now)


class Clients:
    """Whoever asks. Owns the conversations.

    Arguments:
        rng: draws who is next.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._upto = list(zip(accumulate(SHARES.values()), SHARES, strict=True))
        self._numbers = count()
        self._talks = [self._talk() for _ in range(CONVERSATIONS)]

    def __repr__(self) -> str:
        return f"Clients({len(self._talks)} conversations)"

    def next(self) -> tuple[str, Wanted, Conversation | None]:
        """The next request: its model, what choosing must know, its conversation."""
        rng = self._rng
        if rng.random() >= IN_CONVERSATIONS:
            return self._model(), Wanted(TOKENS, int(rng.random() * ACCOUNTS)), None
        place = int(rng.random() * CONVERSATIONS)
        talk = self._talks[place]
        if rng.random() < LAST_TURN:
            self._talks[place] = self._talk()
        return talk.model, talk.wanted(), talk

    def _talk(self) -> Conversation:
        return Conversation(next(self._numbers), self._model(), self._rng)

    def _model(self) -> str:
        drawn = self._rng.random()
        return next((model for end, model in self._upto if drawn < end), "large")
