"""Who asks in the simulation: for which model, and in which conversation.

Conversations are what affinity is about. Half of them are known by their first messages only.
"""

from __future__ import annotations

import random
from itertools import accumulate, count

from benchmarks.outage.world import SHARES
from relayd.policy.affinity import digest_of
from relayd.policy.pool import Wanted

TOKENS = 500
ACCOUNTS = 50
IN_CONVERSATIONS = 0.4  # share of requests
CONVERSATIONS = 2000  # at any time
LAST_TURN = 0.1  # share of requests that end their conversation


class Conversation:
    """A client's conversation. Owns what its next request says of it."""

    __slots__ = ("account", "by_opening", "digest", "model")

    def __init__(self, number: int, model: str, rng: random.Random) -> None:
        self.account = number % ACCOUNTS
        self.model = model
        self.by_opening = rng.random() < 0.5
        self.digest = digest_of(self.account, model, b"%d" % number)

    def __repr__(self) -> str:
        return f"<Conversation of {self.account} with {self.model}>"

    def wanted(self) -> Wanted:
        return Wanted(TOKENS, self.account, self.digest, self.by_opening)


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

    def next(self) -> tuple[str, Wanted]:
        """The next request: its model, and what choosing must know."""
        rng = self._rng
        if rng.random() >= IN_CONVERSATIONS:
            return self._model(), Wanted(TOKENS, int(rng.random() * ACCOUNTS))
        place = int(rng.random() * CONVERSATIONS)
        talk = self._talks[place]
        if rng.random() < LAST_TURN:
            self._talks[place] = self._talk()
        return talk.model, talk.wanted()

    def _talk(self) -> Conversation:
        return Conversation(next(self._numbers), self._model(), self._rng)

    def _model(self) -> str:
        drawn = self._rng.random()
        return next((model for end, model in self._upto if drawn < end), "large")
