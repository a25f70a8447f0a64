"""Who waits, and whose turn it is."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relayd.policy.fairqueue import FairQueue

PLACES = 8


def drain(queue: FairQueue[str]) -> str:
    items = []
    while (item := queue.take()) is not None:
        items.append(item)
    return " ".join(items)


def filled(*items: str) -> FairQueue[str]:
    """Of items like `1a`: account 1 puts `1a`."""
    queue: FairQueue[str] = FairQueue(100)
    for item in items:
        assert queue.put(int(item[0]), item)
    return queue


def test_accounts_take_turns_and_each_is_first_come_first_served() -> None:
    queue = filled("1a", "1b", "1c", "2a", "3a", "3b")
    assert (len(queue), queue.accounts) == (6, 3)
    assert drain(queue) == "1a 2a 3a 1b 3b 1c"
    assert (len(queue), queue.accounts) == (0, 0)


def test_who_comes_back_stands_at_the_end() -> None:
    queue = filled("1a", "2a", "3a")
    queue.take()
    queue.put(1, "1b")
    assert drain(queue) == "2a 3a 1b"


def test_a_full_one_takes_nobody() -> None:
    queue: FairQueue[str] = FairQueue(2)
    assert queue.put(1, "a") and queue.put(2, "b")
    assert not queue.put(3, "c")
    assert repr(queue) == "FairQueue(2 of 2 places, 2 accounts)"
    queue.take()
    assert queue.put(3, "c")
    assert not FairQueue[str](0).put(1, "a")


def test_looking_takes_nobody_out() -> None:
    queue = filled("1a", "2a")
    assert queue.peek() == queue.peek() == "1a"
    assert len(queue) == 2
    assert filled().peek() is None


def test_an_account_that_is_passed_over_goes_to_the_end() -> None:
    queue = filled("1a", "1b", "2a", "3a")
    queue.skip()
    assert queue.peek() == "2a"
    assert drain(queue) == "2a 3a 1a 1b"
    queue.skip()
    assert queue.take() is None


def test_after_as_many_skips_as_accounts_all_had_the_turn() -> None:
    queue = filled("1a", "2a", "2b", "3a")
    seen = []
    for _ in range(queue.accounts):
        seen.append(queue.peek())
        queue.skip()
    assert seen == ["1a", "2a", "3a"]
    assert queue.peek() == "1a"


def test_who_gives_up_leaves_its_place() -> None:
    queue = filled("1a", "1b", "2a")
    assert queue.remove(1, "1a")
    assert not queue.remove(1, "1a")
    assert not queue.remove(9, "1a")
    assert queue.remove(2, "2a")
    assert (len(queue), queue.accounts) == (1, 1)
    assert drain(queue) == "1b"


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60))
def test_at_no_moment_has_anyone_waiting_had_two_turns_less(accounts: list[int]) -> None:
    queue: FairQueue[int] = FairQueue(100)
    for account in accounts:
        queue.put(account, account)
    left, served = Counter(accounts), Counter[int]()
    while (turn := queue.take()) is not None:
        left[turn] -= 1
        served[turn] += 1
        waiting = [served[other] for other, n in left.items() if n > 0]
        assert served[turn] - min(waiting, default=served[turn]) <= 1
    assert served == Counter(accounts)


class AgainstAModel(RuleBasedStateMachine):
    """Random acts, compared with plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(PLACES)
        self.lines: list[tuple[int, list[int]]] = []
        self.items = 0

    def line(self, account: int) -> list[int]:
        return next((line for name, line in self.lines if name == account), [])

    @rule(account=st.integers(1, 4))
    def put(self, account: int) -> None:
        self.items += 1
        fits = sum(len(line) for _, line in self.lines) < PLACES
        assert self.queue.put(account, self.items) == fits
        if fits and self.line(account):
            self.line(account).append(self.items)
        elif fits:
            self.lines.append((account, [self.items]))

    @rule()
    def take(self) -> None:
        expected = None
        if self.lines:
            account, line = self.lines.pop(0)
            expected = line.pop(0)
            self.lines += [(account, line)] if line else []
        assert self.queue.take() == expected

    @rule()
    def skip(self) -> None:
        self.queue.skip()
        self.lines = self.lines[1:] + self.lines[:1]

    @rule(account=st.integers(1, 4), back=st.integers(0, 10))
    def remove(self, account: int, back: int) -> None:
        item = self.items - back
        assert self.queue.remove(account, item) == (item in self.line(account))
        if item in self.line(account):
            self.line(account).remove(item)
        self.lines = [(name, line) for name, line in self.lines if line]

    @invariant()
    def agrees(self) -> None:
        assert len(self.queue) == sum(len(line) for _, line in self.lines) <= PLACES
        assert self.queue.accounts == len(self.lines)
        assert self.queue.peek() == (self.lines[0][1][0] if self.lines else None)


AgainstAModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestAgainstAModel = AgainstAModel.TestCase
