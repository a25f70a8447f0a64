"""`make seeds` prints a line for each request and a count; its exit status tells how it went."""

from __future__ import annotations

import pytest

from benchmarks.seeds.__main__ import root, tell
from benchmarks.seeds.printed import Promise, Seed
from benchmarks.seeds.run import FAILED, OK, SKIPPED, Result

SEED = Seed("chat, whole", "001", "", "/v1/chat/completions", Promise())


def result(verdict: str, told: str = "", status: int = 200) -> Result:
    return Result(SEED, SEED.path, verdict, told, status, 0.0125)


def test_a_failure_is_an_exit_status_and_a_skipped_one_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = [result(OK), result(SKIPPED, "there is no key 'poor'", 0)]
    assert tell(good) == 0
    assert "2 requests: 1 ok, 0 failed, 1 skipped" in capsys.readouterr().out
    assert tell([*good, result(FAILED, "status 500, not 200", 500)]) == 1
    said = capsys.readouterr().out
    assert "3 requests: 1 ok, 1 failed, 1 skipped" in said
    assert "status 500, not 200" in said
    assert len(said.splitlines()) == 5


def test_a_line_says_which_request_it_was() -> None:
    line = result(OK).line()
    assert line.split() == [OK, "001", "chat,", "whole", "POST", SEED.path, "200", "12", "ms"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("http://a.example:8080", "http://a.example:8080"),
        ("https://a.example/v1/", "https://a.example"),
        ("https://a.example/v1beta", "https://a.example"),
        ("a.example/relay/v1", "http://a.example/relay"),
    ],
)
def test_a_base_url_may_have_the_version_that_the_paths_have(given: str, wanted: str) -> None:
    assert root(given) == wanted
