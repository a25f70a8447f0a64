"""The `capture:` section."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.capture_terms import CaptureTerms
from relayd.config.capture import capture
from relayd.config.document import Source, root


def taken(text: str) -> tuple[CaptureTerms | None, list[str]]:
    source = Source(Path("/etc/relayd"), {})
    found = root(text, source).take(capture)
    return found, [str(problem) for problem in source.problems]


def test_everything_at_once() -> None:
    found, problems = taken(
        "keys: [laptop, ci]\ndirectory: seen\nlargest: 64KiB\ntotal: 2MiB\nttl: 1h\n"
    )
    assert not problems
    assert found == CaptureTerms(
        ("laptop", "ci"), Path("/etc/relayd/seen"), 64 * 2**10, 2 * 2**20, 3600.0
    )


def test_one_key_needs_no_list() -> None:
    found, _ = taken("keys: laptop")
    assert found is not None and found.keys == ("laptop",)


@pytest.mark.parametrize("text", ["", "keys: []", "ttl: 1h"])
def test_without_a_key_nothing_is_kept(text: str) -> None:
    found, problems = taken(text)
    assert found is not None and found.keys == () and not problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys: ['*']", "is a pattern"),
        ("keys: 'laptop*'", "is a pattern"),
        ("keys: ['']", "is not the name of a key"),
        ("keys: [a, a]", "stands here twice"),
        ("largest: 1", "must be"),
        ("ttl: 1s", "must be"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    _, [problem] = taken(text)
    assert said in problem
