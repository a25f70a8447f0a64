"""When a target is left alone."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relayd.policy.breakers import SLOTS, Breaker
from relayd.routing import BreakerRules

RULES = BreakerRules(
    window=30.0, volume=10, ratio=0.5, consecutive=5, open_for=5.0, longest=60.0, probes=1
)


def breaker(**changes: Any) -> Breaker:
    return Breaker(replace(RULES, **changes), random.Random(1))


def opened(at: float = 100.0, **changes: Any) -> Breaker:
    one = breaker(**changes)
    one.fail(one.enter(at), at, at_once=True)
    assert one.state == "open"
    return one


def serve(one: Breaker, answers: str, now: float) -> None:
    """A request for each letter: `.` is a success, `x` a failure."""
    for letter in answers:
        generation = one.enter(now)
        if letter == "x":
            one.fail(generation, now)
        else:
            one.succeed(generation, now)


def test_a_new_one_lets_everyone_through() -> None:
    one = breaker()
    assert (one.state, one.until, one.generation) == ("closed", 0.0, 0)
    assert one.allows(0.0) and one.allows(1e9)
    assert repr(one) == "<Breaker closed failures=0/0>"


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ("xxxx", "closed"),
        ("xxxxx", "open"),
        ("xxxx.xxxx", "closed"),
        ("xxxx.xxxx.", "closed"),
        ("xxxx.xxxx.x", "open"),
        ("......xxxx", "closed"),
        (".x.x.x.x.", "closed"),
        (".x.x.x.x.x", "open"),
    ],
)
def test_failures_in_a_row_open_it_and_their_share_when_there_are_enough(
    answers: str, state: str
) -> None:
    one = breaker()
    serve(one, answers, 100.0)
    assert one.state == state


def test_a_failure_that_speaks_for_the_next_opens_at_once() -> None:
    one = opened(100.0)
    assert 104.5 <= one.until <= 105.5
    assert not one.allows(100.0)
    assert repr(one) == f"<Breaker open until={one.until:.1f} failures=1/1>"


def test_failures_that_left_the_window_count_no_more() -> None:
    one = breaker(consecutive=100)
    serve(one, "x" * 9, 100.0)
    serve(one, ".........", 130.0)
    serve(one, "x", 130.0)
    assert one.state == "closed"


def test_one_that_is_not_enabled_never_opens() -> None:
    one = breaker(enabled=False)
    for _ in range(50):
        one.fail(one.enter(1.0), 1.0, at_once=True)
    assert one.state == "closed" and one.allows(1.0)
    assert repr(one) == "<Breaker closed failures=50/50>"


def test_when_it_is_due_one_probe_goes_through() -> None:
    one = opened()
    assert not one.allows(one.until - 0.001)
    assert one.allows(one.until)
    assert one.state == "open", "asking changes nothing"
    one.enter(one.until)
    assert one.state == "half_open"
    assert not one.allows(one.until)
    assert repr(one) == "<Breaker half_open probes=1 failures=1/1>"


def test_a_good_probe_closes_it_and_the_counts_begin_anew() -> None:
    one = opened()
    one.succeed(one.enter(110.0), 111.0)
    assert (one.state, one.until) == ("closed", 0.0)
    serve(one, "xxxx", 111.0)
    assert one.state == "closed"


def test_failed_probes_double_the_open_time_to_its_bound() -> None:
    one, now, times = opened(), 100.0, []
    for _ in range(6):
        times.append(one.opened_for())
        now = one.until
        one.fail(one.enter(now), now)
        assert one.state == "open"
        assert now < one.until <= now + RULES.longest
    assert times == [5, 10, 20, 40, 60, 60]


def test_the_open_time_is_jittered() -> None:
    rng = random.Random(7)
    ends = set()
    for _ in range(200):
        one = Breaker(RULES, rng)
        one.fail(one.enter(100.0), 100.0, at_once=True)
        ends.add(one.until)
    assert len(ends) == 200
    assert 104.5 <= min(ends) < 104.6 and 105.4 < max(ends) <= 105.5


def test_the_doubling_is_forgotten_after_a_whole_window_closed() -> None:
    def reopened_after(seconds: float) -> float:
        one = opened()
        one.fail(one.enter(110.0), 110.0)
        one.succeed(one.enter(130.0), 130.0)
        one.fail(one.enter(130.0 + seconds), 130.0 + seconds, at_once=True)
        return one.opened_for()

    assert reopened_after(29.9) == 10.0
    assert reopened_after(30.0) == 5.0


def test_the_operator_says_that_it_is_well() -> None:
    one = opened()
    one.fail(one.enter(110.0), 110.0)
    late = one.enter(150.0)
    one.reset()
    assert (one.state, one.until, one.opened_for()) == ("closed", 0.0, 5.0)
    one.fail(late, 151.0)
    assert repr(one) == "<Breaker closed failures=0/0>"


def test_reports_from_before_a_change_are_ignored() -> None:
    one = breaker()
    before = one.enter(100.0)
    one.fail(one.enter(100.0), 100.0, at_once=True)
    until = one.until
    one.succeed(before, 101.0)
    one.fail(before, 101.0, at_once=True)
    assert (one.state, one.until) == ("open", until)
    one.enter(110.0)
    one.succeed(before, 111.0)
    one.fail(before, 111.0)
    one.leave(before)
    assert one.state == "half_open" and not one.allows(111.0)


def test_a_success_from_before_a_change_breaks_no_row_of_failures() -> None:
    one = breaker()
    before = one.enter(100.0)
    one.fail(one.enter(100.0), 100.0, at_once=True)
    one.succeed(one.enter(110.0), 110.0)
    serve(one, "xxxx", 111.0)
    one.succeed(before, 111.0)
    serve(one, "x", 111.0)
    assert one.state == "open"


def test_who_leaves_gives_its_probe_place_back_once() -> None:
    one = opened(probes=2)
    first, second = one.enter(110.0), one.enter(110.0)
    assert not one.allows(110.0)
    one.leave(first)
    assert one.allows(110.0)
    third = one.enter(110.0)
    one.leave(first)
    assert not one.allows(110.0), "what left has no place to give"
    one.leave(second)
    one.leave(third)
    assert one.state == "half_open" and one.allows(110.0)


def test_who_leaves_a_closed_one_changes_nothing() -> None:
    one = breaker()
    one.leave(one.enter(1.0))
    assert repr(one) == "<Breaker closed failures=0/0>"


def test_a_probe_that_never_reports_loses_its_place() -> None:
    one = opened()
    lost = one.enter(110.0)
    assert not one.allows(169.9)
    assert one.allows(170.0)
    probe = one.enter(170.0)
    assert not one.allows(170.0)
    one.leave(lost)
    one.succeed(lost, 170.0)
    one.fail(lost, 170.0)
    assert one.state == "half_open" and not one.allows(170.0)
    one.succeed(probe, 171.0)
    assert one.state == "closed"


@pytest.mark.parametrize("now", [101.0, 110.0])
def test_who_enters_unasked_goes_unnoticed(now: float) -> None:
    one = opened()
    if now > one.until:
        one.enter(now)
    state = one.state
    for report in (one.succeed, one.fail):
        report(one.enter(now), now)
    one.leave(one.enter(now))
    assert one.state == state and not one.allows(now)


def test_a_request_while_open_gets_no_generation_that_a_probe_has() -> None:
    one = opened()
    forced = one.enter(101.0)
    assert one.enter(110.0) != forced
    one.fail(forced, 110.0)
    assert one.state == "half_open"


class AgainstAModel(RuleBasedStateMachine):
    """Random requests, reports and time, compared with lists of events."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = BreakerRules(
            window=10.0, volume=4, ratio=0.5, consecutive=3, open_for=2.0, longest=8.0, probes=2
        )
        self.breaker = Breaker(self.limits, random.Random(3))
        self.now = 1000.0
        self.state = "closed"
        self.events: list[tuple[float, bool]] = []  # since it closed: when, whether it failed
        self.open_for, self.closed_at = 2.0, 0.0
        self.probes: dict[int, float] = {}
        self.under_way: list[tuple[int, int]] = []  # its generation, in which epoch it entered
        self.epoch = 0

    def change(self, state: str) -> None:
        self.state = state
        self.epoch += 1
        self.probes = {}

    def live(self) -> dict[int, float]:
        return {g: t for g, t in self.probes.items() if self.now < t + self.limits.longest}

    def open(self) -> None:
        self.change("open")
        until = self.breaker.until - self.now
        assert min(0.9 * self.open_for, 8.0) - 1e-6 <= until <= min(1.1 * self.open_for, 8.0) + 1e-6

    def in_window(self) -> list[bool]:
        width = self.limits.window / SLOTS
        first = int(self.now / width) - SLOTS
        return [failed for at, failed in self.events if int(at / width) > first]

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 2.5, 8.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.allows(self.now))
    @rule()
    def enter(self) -> None:
        before = self.live()
        generation = self.breaker.enter(self.now)
        assert generation == self.breaker.generation
        if self.state == "open":
            self.change("half_open")
            before = {}
        if self.state == "half_open":
            assert len(before) < self.limits.probes
            if len(self.probes) == self.limits.probes:  # the oldest one's place was free again
                del self.probes[min(self.probes)]
            self.probes[generation] = self.now
        self.under_way.append((generation, self.epoch))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(["well", "failed", "at once", "left"]))
    def report(self, data: st.DataObject, outcome: str) -> None:
        place = data.draw(st.integers(0, len(self.under_way) - 1))
        generation, epoch = self.under_way.pop(place)
        if outcome == "well":
            self.breaker.succeed(generation, self.now)
        elif outcome == "left":
            self.breaker.leave(generation)
        else:
            self.breaker.fail(generation, self.now, at_once=outcome == "at once")
        if epoch != self.epoch:
            return
        if self.state == "closed" and outcome != "left":
            self.count(outcome)
        elif generation in self.probes:
            self.probed(generation, outcome)

    def count(self, outcome: str) -> None:
        self.events.append((self.now, outcome != "well"))
        row = [failed for _, failed in self.events[-3:]]
        seen = self.in_window()
        ratio = len(seen) >= 4 and sum(seen) >= len(seen) / 2
        if outcome != "well" and (outcome == "at once" or row == [True] * 3 or ratio):
            if self.now - self.closed_at >= self.limits.window:
                self.open_for = self.limits.open_for
            self.open()

    def probed(self, generation: int, outcome: str) -> None:
        if outcome == "left":
            del self.probes[generation]
        elif outcome == "well":
            self.change("closed")
            self.events, self.closed_at = [], self.now
        else:
            self.open_for = min(self.open_for * 2, self.limits.longest)
            self.open()

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.change("closed")
        self.events, self.open_for, self.closed_at = [], self.limits.open_for, 0.0

    @invariant()
    def agrees(self) -> None:
        one = self.breaker
        assert one.state == self.state
        assert one.opened_for() == self.open_for
        assert (one.until == 0.0) == (self.state == "closed")
        allowed = {
            "closed": True,
            "open": self.now >= one.until,
            "half_open": len(self.live()) < self.limits.probes,
        }
        assert one.allows(self.now) == allowed[self.state]


AgainstAModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstAModel = AgainstAModel.TestCase


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 9))
def test_generations_only_grow(answers: list[bool], seed: int) -> None:
    one, now, last = Breaker(RULES, random.Random(seed)), 100.0, 0
    for well in answers:
        now += 3.0
        generation = one.enter(now)
        report = one.succeed if well else one.fail
        report(generation, now)
        assert one.generation >= generation >= last
        last = one.generation
