"""Turns by weight: exact shares, evenly mixed, nothing random, the earliest deadline first.

In one round of virtual time a candidate of weight w has w deadlines, evenly spaced, and whoever has
the earliest is picked. Candidates of the same weight are spread over the space between, in their
order; with weights 5, 1, 1 the turns go A B A A A C A. Deadlines are whole numbers and come again
after each round exactly, so any window as long as the sum of the weights holds each candidate as
often as it weighs, for ever.

The candidates stand in a line sorted by deadline. A heap would grow slower, but a list of hundreds
moves in no time, can be walked in order, and was measured to be as fast.

Who cannot be taken before some moment sleeps, and costs nothing until then. When it wakes it may
take one turn that it missed at once (a breaker wants its probe soon) and goes on with those that it
would have had; the others are lost, not owed. Who is skipped at one pick only keeps its turn, and
another stands in. Stand-ins have an order of turns of their own, by the same weights: second tries
move nobody's share of the first ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

ROUND = 1 << 32  # virtual time of one round

Blocked = Callable[[int], float]

_SKIPPED = -1  # the candidate whose turn it is may not take it


class Rotation:
    """Whose turn it is among candidates 0 to n-1. Owns the turns.

    Arguments:
        weights: of each candidate, 1 or more.

    `turns` is the order of first tries: who is awake stands there, for those who choose otherwise.
    """

    __slots__ = ("_stand_ins", "turns")

    def __init__(self, weights: Sequence[int]) -> None:
        self.turns = Order(weights)
        self._stand_ins = Order(weights)

    def __repr__(self) -> str:
        return f"Rotation({self.turns!r})"

    def next(self, now: float, blocked: Blocked, *, again: bool = False) -> int | None:
        """The candidate whose turn it is; None when nobody can be taken.

        Arguments:
            now: the present moment, for those that sleep.
            blocked: asked with a candidate. 0.0: it may be taken. A moment: not before that, it
                sleeps until then (infinity: until `wake`). Below 0: not at this pick.
            again: this pick is a second try for something that had its turn.
        """
        if not again:
            turn = self.turns.pick(now, blocked, skipping=False)
            if turn != _SKIPPED:
                return turn
        return self._stand_ins.pick(now, blocked, skipping=True)

    def wake(self) -> None:
        """Forget who sleeps: everyone is asked again."""
        self.turns.rouse(float("inf"))
        self._stand_ins.rouse(float("inf"))


class Order:
    """One order of turns: awake candidates in line by deadline, the others by when they wake.

    A deadline is `turns[i] // parts[i]`, and `turns[i]` grows by `steps[i]` a turn: after as many
    turns as it weighs, by exactly ROUND x `parts[i]`. The line holds a deadline and its candidate
    in one number, the candidate in the lowest bits.
    """

    __slots__ = ("_bits", "_line", "_mask", "_parts", "_present", "_sleepers", "_steps", "_turns")

    def __init__(self, weights: Sequence[int]) -> None:
        alike, seen = Counter(weights), Counter[int]()
        self._steps = [2 * alike[weight] * ROUND for weight in weights]
        self._parts = [2 * alike[weight] * weight for weight in weights]
        self._turns = []
        for weight in weights:
            self._turns.append((2 * seen[weight] + 1) * ROUND)
            seen[weight] += 1
        self._bits = len(weights).bit_length()
        self._mask = (1 << self._bits) - 1
        self._present = 0  # the latest deadline that was picked
        self._sleepers: list[tuple[float, int]] = []
        self._line = sorted(map(self._key, range(len(weights))))

    def __repr__(self) -> str:
        following = self._line[0] & self._mask if self._line else "nobody"
        return f"next {following}, {len(self._line)} awake, {len(self._sleepers)} asleep"

    def pick(self, now: float, blocked: Blocked, *, skipping: bool) -> int | None:
        """The first that may be taken, or None.

        Unless `skipping`, the first that is to be skipped ends the search: `_SKIPPED`.
        """
        if self._sleepers and self._sleepers[0][0] <= now:
            self.rouse(now)
        line, mask, place = self._line, self._mask, 0
        while place < len(line):
            i = line[place] & mask
            until = blocked(i)
            if not until or 0.0 < until <= now:
                self._take(i, line.pop(place) >> self._bits)
                return i
            if until > 0.0:
                heappush(self._sleepers, (until, i))
                del line[place]
            elif skipping:
                place += 1
            else:
                return _SKIPPED
        return None

    def awake(self, now: float) -> int:
        """How many stand in line."""
        if self._sleepers and self._sleepers[0][0] <= now:
            self.rouse(now)
        return len(self._line)

    def at(self, place: int) -> int:
        """Who stands at a place of the line."""
        return self._line[place] & self._mask

    def some(self, start: int, count: int) -> list[int]:
        """Those at `count` places of the line, which goes round, from `start` on; each once."""
        line, mask = self._line, self._mask
        found = line[start : start + count]
        if len(found) < count:
            found += line[: min(start, count - len(found))]
        return [number & mask for number in found]

    def rest(self, i: int, until: float) -> None:
        """Who stands in line sleeps until a moment."""
        del self._line[bisect_left(self._line, self._key(i))]
        heappush(self._sleepers, (until, i))

    def rouse(self, now: float) -> None:
        """Those whose sleep ends by now come back to where they stood."""
        while self._sleepers and self._sleepers[0][0] <= now:
            insort(self._line, self._key(heappop(self._sleepers)[1]))

    def _take(self, i: int, deadline: int) -> None:
        turn, step, part = self._turns[i] + self._steps[i], self._steps[i], self._parts[i]
        if deadline >= self._present:
            self._present = deadline
        else:  # it was away: this was the one turn of those it missed
            behind = (self._present + 1) * part - turn
            turn += max(0, -(-behind // step)) * step
        self._turns[i] = turn
        insort(self._line, turn // part << self._bits | i)

    def _key(self, i: int) -> int:
        return self._turns[i] // self._parts[i] << self._bits | i
