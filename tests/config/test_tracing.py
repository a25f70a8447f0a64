"""The `tracing:` section."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config import tracing as config_tracing
from relayd.config.document import Source, root
from relayd.config.tracing import tracing
from relayd.tracing import TracingTerms


def taken(text: str) -> tuple[TracingTerms | None, list[str]]:
    source = Source(Path("/"), {})
    found = root(text, source).take(tracing)
    return found, [str(problem) for problem in source.problems]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is there, whatever this machine has."""
    monkeypatch.setattr(config_tracing, "is_installed", lambda: True)


def test_everything_at_once() -> None:
    found, problems = taken(
        "endpoint: https://otel.example/v1/traces\nheaders: {x-team: s3cret}\n"
        "sample: 0.25\nservice: relay-one\n"
    )
    assert found is not None and not problems
    assert (found.endpoint, found.sample) == ("https://otel.example/v1/traces", 0.25)
    assert [(name, value.reveal()) for name, value in found.headers] == [("x-team", "s3cret")]
    assert found.service == "relay-one"
    assert "s3cret" not in repr(found)


def test_nothing_said_is_no_tracing() -> None:
    assert taken("")[0] == TracingTerms() == taken('endpoint: ""')[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("endpoint: localhost:4318", "is not an address"),
        ("endpoint: ftp://x/y", "is not an address"),
        ('endpoint: "http://[::1"', "is not an address"),
        ("endpoint: http://me:s3cret@x/y", "must not hold a password"),
        ("sample: 2", "between 0 and 1"),
        ('service: ""', "is not a name"),
        ("headers: {a b: c}", "is not the name of a header"),
        ("endpiont: x", "endpoint"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(text: str, said: str) -> None:
    _, problems = taken(text)
    [problem] = problems
    assert said in problem
    assert "s3cret" not in problem


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_tracing, "is_installed", lambda: False)
    _, [problem] = taken("endpoint: http://localhost:4318/v1/traces")
    assert "pip install '.[otel]' in relayd's folder" in problem
    assert taken("sample: 0.5")[1] == []


def test_whether_it_is_installed_is_found_without_importing_it() -> None:
    assert config_tracing.is_installed() in (True, False)
