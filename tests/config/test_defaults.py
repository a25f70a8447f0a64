"""The `defaults:` section: what requests leave out, by endpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.config import ConfigProblems, load
from relayd.config.defaults import DefaultsConfig


def read(folder: Path, text: str) -> DefaultsConfig:
    (folder / "config.yaml").write_text(text)
    return load(folder / "config.yaml", {}).defaults


def test_without_a_section_only_limits_are_added(tmp_path: Path) -> None:
    assert read(tmp_path, "{}").by_endpoint() == {
        "chat": {"max_tokens": 4096, "temperature": 1},
        "image": {},
        "moderation": {},
    }


def test_each_endpoint_has_its_own(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "defaults: {chat: {model: a, max_tokens: 0, temperature: 0.5}, image: {model: b},"
        " moderation: {model: c}}",
    )

    assert found.by_endpoint() == {
        "chat": {"model": "a", "temperature": 0.5},
        "image": {"model": "b"},
        "moderation": {"model": "c"},
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{image: {model: 'a*'}}", "defaults.image.model: 'a*' is a wildcard"),
        ("{image: {model: 'a b'}}", "defaults.image.model: is not the name of a model"),
        ("{image: {max_tokens: 1}}", "defaults.image"),
        ("{chat: {temperature: 3}}", "defaults.chat.temperature: must be between 0 and 2"),
        ("{speech: {model: a}}", "defaults"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigProblems) as caught:
        read(tmp_path, f"defaults: {text}")

    assert problem in str(caught.value)
