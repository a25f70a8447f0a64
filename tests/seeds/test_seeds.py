"""Every request that the seed pages print works: a real relay, fakes of three vendors behind it.

The same as `make seeds`, one test for each request. The relay, the fakes and the programs of the
pages are processes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.seeds.printed import Seed, load
from benchmarks.seeds.run import FAILED, OK, SKIPPED, one, results
from benchmarks.seeds.snippets import missing, prepared, run
from benchmarks.seeds.stage import Stage

ASKED = [(seed, path) for seed in load() for path in seed.paths()]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.mark.parametrize(("seed", "path"), ASKED, ids=[f"{s.page} {s.name} {p}" for s, p in ASKED])
def test_a_request_of_the_pages_is_answered_as_they_promise(
    stage: Stage, seed: Seed, path: str
) -> None:
    if seed.snippet and (reason := missing(seed.snippet)):
        pytest.skip(reason)
    result = one(seed, path, stage.base, stage.keys[seed.key])
    assert result.verdict == OK, result.line()


def test_another_relay_is_asked_what_one_key_can_ask(stage: Stage) -> None:
    some = [seed for seed in load() if seed.promise.shape in ("credits", "error")]
    keys = {"main": stage.keys["main"], "bad": "sk-none"}
    verdicts = {(r.seed.key, r.verdict) for r in results(some, stage.base, keys, own=False)}
    assert ("main", OK) in verdicts
    assert ("bad", OK) in verdicts
    assert ("poor", SKIPPED) in verdicts
    assert ("main", SKIPPED) in verdicts


def test_a_relay_that_is_not_there_fails_and_is_told(stage: Stage) -> None:
    (balance,) = [seed for seed in load() if seed.promise.shape == "credits"]
    result = one(balance, balance.path, "http://127.0.0.1:1", "")
    assert result.verdict == FAILED
    assert "ConnectionRefusedError" in result.line()


def test_a_snippet_that_fails_is_told(stage: Stage) -> None:
    text = prepared("chat.js.txt", "http://a.example/", "k-1")
    assert 'fetch("http://a.example/v1/chat/completions"' in text
    assert '"Bearer k-1"' in text
    if reason := missing("chat.js.txt"):
        pytest.skip(reason)
    assert "ended with" in (run("chat.js.txt", stage.base, "sk-wrong") or "")
