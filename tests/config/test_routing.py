"""The routing of a configuration, alone and against the upstreams."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.document import Problem, Source, root
from relayd.config.routing import (
    Offers,
    check,
    is_about_models,
    offered_by,
    overlap,
    responses,
    routing,
)
from relayd.model import FormatName, ModelRule, UpstreamSpec
from relayd.policy.globs import Glob
from relayd.routing import (
    AffinityRules,
    BreakerRules,
    ModelRouting,
    RetryRules,
    Routing,
    StateRules,
    WaitingRules,
)

FULL = """
strategy: cheapest
hedge: on
longest_cooldown: 0
breaker: {enabled: off, window: 1s, volume: 2, ratio: 0.3, consecutive: 4, open_for: 5s,
          longest: 6s, probes: 7}
retries: {attempts: 1, deadline: 2s, budget: 0.3, window: 4s, floor: 0}
affinity: {enabled: off, by_opening: off, ttl: 3s, entries: 4}
waiting: {timeout: 0, places: 2}
models:
  a*: {strategy: fastest, hedge: off, fallbacks: [b, c]}
  d:
"""


def spec(
    *models: str, formats: Sequence[FormatName] = ("chat",), cost: float | None = None
) -> UpstreamSpec:
    return UpstreamSpec(
        name="up",
        dialect="demo",
        base_urls=("http://a",),
        keys=(),
        models=tuple(ModelRule(name, cost=cost) for name in models),
        formats=tuple(formats),
    )


def read(text: str, *specs: UpstreamSpec) -> tuple[Routing, list[str]]:
    """What a section comes to, and the problems in it; checked where upstreams are given."""
    source = Source(Path("/etc"), {})
    found = routing(root(text, source))
    if specs:
        check(found, specs, Offers(offered_by(specs, translated=False)))
    return found.routing, [f"{p.line} {p.path}: {p.message}" for p in source.problems]


def problems(text: str, *specs: UpstreamSpec) -> list[str]:
    return read(text, *specs)[1]


def models(*lines: str) -> str:
    """A section with these lines of models, one to a line."""
    return "models:\n" + "".join(f"  {line}\n" for line in lines)


def test_every_line_reaches_its_field() -> None:
    found, faults = read(FULL)

    assert faults == []
    assert found == Routing(
        strategy="cheapest",
        hedge=True,
        longest_cooldown=0.0,
        breaker=BreakerRules(False, 1.0, 2, 0.3, 4, 5.0, 6.0, 7),
        retries=RetryRules(1, 2.0, 0.3, 4.0, 0),
        affinity=AffinityRules(False, False, 3.0, 4),
        waiting=WaitingRules(0.0, 2),
        models=(ModelRouting("a*", "fastest", False, ("b", "c")), ModelRouting("d")),
    )
    assert read("") == (Routing(), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "strategy: random",
            "strategy: 'random' is not one of weighted, least_busy, fastest, cheap",
        ),
        ("hedge: 2", "hedge: '2' is not true or false"),
        ("longest_cooldown: x", "longest_cooldown: 'x' is not a duration"),
        ("breaker: {ratio: 1.1}", "breaker.ratio: must be between 0.01 and 1"),
        ("breaker: {ratio: 0}", "breaker.ratio: must be between 0.01 and 1"),
        ("breaker: {window: 0}", "breaker.window: must be between 1 and 3600 seconds"),
        ("breaker: {volume: 0}", "breaker.volume: must be between 1 and 1000000"),
        ("breaker: {consecutive: 0}", "breaker.consecutive: must be between 1 and 1000000"),
        ("breaker: {probes: 0}", "breaker.probes: must be between 1 and 1000"),
        ("breaker: {open_for: 2m}", "breaker: open_for (120 s) is more than longest (60 s)"),
        ("breaker: {longest: 1s}", "breaker: open_for (5 s) is more than longest (1 s)"),
        ("breaker: {opne_for: 2m}", "breaker.opne_for: unknown name; did you mean 'open_for'?"),
        ("breaker: off", "breaker: expected a section"),
        ("retries: {attempts: 0}", "retries.attempts: must be between 1 and 10"),
        ("retries: {attempts: 11}", "retries.attempts: must be between 1 and 10"),
        ("retries: {budget: 2}", "retries.budget: must be between 0 and 1"),
        ("retries: {deadline: 0}", "retries.deadline: must be between 0.001 and"),
        ("retries: {window: 0}", "retries.window: must be between 1 and 3600 seconds"),
        ("retries: {floor: -1}", "retries.floor: must be between 0 and 1000000"),
        ("affinity: {ttl: 0}", "affinity.ttl: must be between 1 and"),
        ("affinity: {entries: 0}", "affinity.entries: must be between 1 and 10000000"),
        ("waiting: {places: 0}", "waiting.places: must be between 1 and 1000000"),
        ("waiting: {timeout: 2h}", "waiting.timeout: must be between 0 and 3600 seconds"),
        ("models: [a]", "models: expected a section"),
        ("models: {'a b': {}}", "models.a b: is not the name of a model"),
        ("models: {a: b}", "models.a: expected a section"),
        ("models: {a: {strategy: x}}", "models.a.strategy: 'x' is not one of"),
        ("models: {a: {fallbacks: b}}", "models.a.fallbacks: expected a list"),
        ("models: {a: {fallbacks: []}}", "models.a.fallbacks: names no model: leave the line out"),
        (
            "models: {a: {fallbacks: ['b*']}}",
            "models.a.fallbacks[0]: is a wildcard: name one model",
        ),
        ("models: {a: {fallbacks: [b, b]}}", "models.a.fallbacks[1]: stands here twice"),
    ],
)
def test_a_wrong_line_is_named_with_its_path(text: str, message: str) -> None:
    (found,) = problems(text)

    assert found.startswith(f"1 {message}")


def test_all_is_said_at_once_each_with_its_line() -> None:
    text = models("a: {fallbacks: [a, nobody]}", "strange: {}", "c: {fallbacks: [other]}")

    assert problems(text, spec("a", "c"), spec("other", formats=["gemini"])) == [
        "2 models.a.fallbacks[0]: is the model itself",
        "2 models.a.fallbacks[1]: no upstream offers the model 'nobody'",
        "3 models.strange: no upstream offers such a model",
        "4 models.c.fallbacks[0]: shares no format with 'c': it is offered in gemini, 'c' in chat",
    ]


def test_a_model_is_offered_by_name_or_by_wildcard() -> None:
    text = models("x-1: {fallbacks: [y-9]}", "'x-*': {}", "'*-1': {}", "'y-*-z': {}")

    assert problems(text, spec("x-1", "y-*")) == []
    assert problems(text, spec("*")) == []
    assert problems(text, spec("x-1", "y-9")) == ["5 models.y-*-z: no upstream offers such a model"]


def test_a_misspelt_model_gets_the_nearest_one() -> None:
    text = models("large-modle: {fallbacks: [smal-model]}")

    assert problems(text, spec("large-model", "small-model")) == [
        "2 models.large-modle: no upstream offers such a model; did you mean 'large-model'?",
        "2 models.large-modle.fallbacks[0]: no upstream offers the model 'smal-model'; "
        "did you mean 'small-model'?",
    ]


def test_one_common_format_is_enough() -> None:
    one, other = spec("a", formats=["chat", "responses"]), spec("b", formats=["responses"])

    assert problems(models("a: {fallbacks: [b]}"), one, other) == []
    assert problems(models("'*': {fallbacks: [b]}", "b: {}"), spec("c"), other) == []


def test_two_models_may_fall_back_on_each_other_but_none_on_itself() -> None:
    assert problems(models("a: {fallbacks: [b]}", "b: {fallbacks: [a]}"), spec("*")) == []
    assert problems(models("a: {fallbacks: [b, a]}"), spec("*")) == [
        "2 models.a.fallbacks[1]: is the model itself"
    ]


def test_cheapest_needs_a_cost_somewhere() -> None:
    message = "strategy: cheapest needs a `cost` on the models of upstreams"
    text = "strategy: cheapest\n" + models("a: {strategy: cheapest}")

    assert problems(text, spec("a")) == [f"1 : {message}", f"3 models.a: {message}"]
    assert problems(text, spec("a"), spec("b", cost=0.0)) == []


@pytest.mark.parametrize(
    ("path", "about"),
    [
        ("upstreams", True),
        ("upstreams.up", True),
        ("upstreams.up.models", True),
        ("upstreams.up.models[3]", True),
        ("upstreams.up.models.x.name", True),
        ("upstreams.up.dialect", True),
        ("upstreams.up.formats[0]", True),
        ("upstreams.up.weight", False),
        ("routing.models.x", False),
        ("", False),
    ],
)
def test_a_problem_leaves_open_what_is_offered_or_not(path: str, about: bool) -> None:
    assert is_about_models(Problem(path, 1, "")) is about


PATTERNS = st.text("ab*", min_size=1, max_size=6)


@given(PATTERNS, PATTERNS)
def test_patterns_overlap_where_a_name_fits_both(one: str, other: str) -> None:
    """The shortest such name: each pattern's stars filled with what the other wants."""
    assert overlap(one, other) == overlap(other, one)
    bodies = [one.replace("*", ""), other.replace("*", "")]
    names = {a[:i] + b + a[i:] for a in bodies for b in bodies for i in range(len(a) + 1)}
    names |= {*bodies, one[: one.find("*") + 1 or None].strip("*") + other.lstrip("*")}
    if any(fits(one, name) and fits(other, name) for name in names):
        assert overlap(one, other)


def fits(pattern: str, name: str) -> bool:
    return Glob(pattern).match(name) is not None if "*" in pattern else pattern == name


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a*", "*b", True),
        ("a*", "b*", False),
        ("*a", "*b", False),
        ("a*b", "ab", True),
        ("a*b", "a", False),
        ("ab*", "a*", True),
        ("*x*", "a*b", True),
        ("ab*yz", "a*z", True),
        ("ab*yz", "ac*z", False),
    ],
)
def test_patterns_overlap(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is expected


def silly(kind: str) -> tuple[list[str], UpstreamSpec]:
    """Thousands of lines of models, and an upstream with thousands of names, none of them alike."""
    return {
        "names": ([f"m{i}: {{fallbacks: [n{i}]}}" for i in range(4000)], spec(*numbered("o{}"))),
        "stars": (
            [f"'*{i}x': {{fallbacks: [n{i}]}}" for i in range(4000)],
            spec(*numbered("*o{}")),
        ),
        "long": (
            [f"'{'*a' * 100}{i}': {{}}" for i in range(3000)],
            spec(*(f"{'a' * 200}{i}b" for i in range(3000))),
        ),
    }[kind]


def numbered(name: str) -> list[str]:
    return [name.format(i) for i in range(4000)]


@pytest.mark.parametrize("kind", ["names", "stars", "long"])
def test_a_silly_file_takes_bounded_time(kind: str) -> None:
    lines, upstream = silly(kind)
    source = Source(Path("/etc"), {})
    found = routing(root(models(*lines), source))
    start = time.perf_counter()

    check(found, [upstream], Offers(offered_by([upstream], translated=False)))

    assert time.perf_counter() - start < 15  # measured: 1 at most
    assert len(source.problems) <= 2 * len(lines)


def test_what_the_budget_does_not_reach_is_believed() -> None:
    offers = Offers([("a*", ["chat"]), ("b", ["chat"])], budget=30)

    assert offers.formats("x") == frozenset()
    assert offers.formats("yyyy") == frozenset()
    assert offers.formats("z") is None
    assert offers.nearest("z") == ""
    assert repr(offers) == "<Offers of 2 names, -15 of the budget left>"


def test_what_is_known_of_responses_is_bounded_as_it_is_written() -> None:
    source = Source(Path("/etc"), {})
    text = "entries: 7\nttl: 2d\nbackground: 0\ntrust_unknown: on\n"
    assert responses(root(text, source)) == StateRules(7, 2 * 86400.0, 0, True)
    assert source.problems == []


@pytest.mark.parametrize("line", ["entries: 0", "ttl: 0", "background: -1", "trust_unknown: 3"])
def test_what_cannot_be_known_of_responses_is_refused(line: str) -> None:
    source = Source(Path("/etc"), {})
    root(line, source).take(responses)
    assert len(source.problems) == 1
