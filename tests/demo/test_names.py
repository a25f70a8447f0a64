"""Names are taken apart as their tables say."""

from __future__ import annotations

import pytest

from relayd.demo.names import KNOBS, MISBEHAVIOURS, parse


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("demo", {}),
        ("gpt-5.4", {}),
        ("demonstration-429", {}),
        ("acme/demo-429", {"429": None}),
        ("demo-429-7", {"429": 7}),
        ("demo-slow-first-byte-0.5", {"slow-first-byte": 0.5}),
        ("demo-cut", {"cut": None}),
        ("demo-cut-length", {"cut-length": None}),
        ("demo-chunks-100-at-50", {"chunks": 100, "at": 50}),
        ("demo-chunks-5-size-9-crlf", {"chunks": 5, "size": 9, "crlf": None}),
        ("demo-error-in-stream-gzip", {"error-in-stream": None, "gzip": None}),
        ("demo-100-continue", {"100-continue": None}),
        ("demo-unknown-split", {"split": None}),
    ],
)
def test_names_are_taken_apart(model: str, parts: dict[str, float | None]) -> None:
    assert parse(model).parts == parts


def test_every_listed_name_is_understood() -> None:
    for name in MISBEHAVIOURS:
        assert parse(name).parts == {name.removeprefix("demo-"): None}
    for name in KNOBS:
        number = name.replace("-N", "-3").replace("-R", "-3")
        assert len(parse(number).parts) == 1
