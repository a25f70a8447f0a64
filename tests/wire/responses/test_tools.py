"""The tools of a request, and which of them may be called."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire.neutral import Custom, Function, Hosted, ToolChoice
from relayd.wire.responses.tools import choice, tools


def read(*declared: Any) -> list[Any]:
    return list(tools({"tools": list(declared)}, ""))


def test_functions_are_read() -> None:
    said = {"type": "function", "name": "f", "description": "d", "parameters": {"a": 1}}
    (found,) = read(said | {"strict": True, "defer_loading": True, "new": 1})
    assert isinstance(found, Function)
    assert (found.name, found.description, found.schema) == ("f", "d", {"a": 1})
    assert (found.strict, found.at) == (True, "tools[0]")
    assert {name: extra.loss for name, extra in found.extra.items()} == {
        "defer_loading": "silent",
        "new": "drop",
    }


def test_tools_of_free_text_are_read() -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    (ruled,) = read({"type": "custom", "name": "patch", "format": form})
    assert isinstance(ruled, Custom)
    assert (ruled.syntax, ruled.grammar, ruled.extra) == ("lark", "start: x", {})
    free, plain = read(
        {"type": "custom", "name": "exec", "format": {"type": "text"}},
        {"type": "custom", "name": "exec2"},
    )
    assert (free.grammar, free.extra["format"].value) == ("", {"type": "text"})
    assert plain.extra == {}


def test_a_namespace_is_one_group_of_tools() -> None:
    inner = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
    said = {"type": "namespace", "name": "n", "description": "d", "tools": inner, "new": 1}
    first, second = read(said)
    assert first.namespace is second.namespace
    assert (first.namespace.name, first.namespace.description) == ("n", "d")
    assert first.namespace.extra["new"].value == 1
    assert first.at == "tools[0].tools[0]"
    (nested,) = read({"type": "namespace", "name": "n", "tools": [said]})
    assert isinstance(nested, Hosted)


def test_a_tool_that_the_provider_runs_keeps_its_document() -> None:
    search, other = read({"type": "web_search_preview", "x": 1}, {"type": "mcp"})
    assert isinstance(search, Hosted)
    assert (search.kind, search.document["x"]) == ("web_search", 1)
    assert other.kind == "mcp"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        ("none", ToolChoice("none")),
        ("auto", ToolChoice("auto")),
        ("required", ToolChoice("required")),
    ],
)
def test_a_choice_may_be_a_word(said: Any, expected: ToolChoice | None) -> None:
    assert choice(said) == expected


def test_one_tool_may_be_demanded() -> None:
    for kind in ("function", "custom"):
        found = choice({"type": kind, "name": "f"})
        assert found is not None
        assert found.forced == "f"


def test_some_tools_may_be_allowed() -> None:
    names = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
    for said, mode in (
        ({"type": "allowed_tools", "mode": "required", "tools": names}, "required"),
        ({"type": "allowed_tools", "mode": "auto", "tools": names}, "auto"),
        ({"mode": "auto", "tools": names}, "auto"),
    ):
        found = choice(said)
        assert found is not None
        assert (found.mode, found.names, found.listed) == (mode, ("f", "g"), True)
        assert found.hosted is None


def test_a_choice_among_hosted_tools_is_kept_as_it_was_written() -> None:
    for said in (
        {"type": "web_search"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]},
    ):
        found = choice(said)
        assert found is not None
        assert found.hosted == said


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ("any", "tool_choice"),
        (3, "tool_choice"),
        ({"type": "function"}, "tool_choice.name"),
        ({"type": 3}, "tool_choice.type"),
        ({"type": "allowed_tools", "tools": 3}, "tool_choice.tools"),
    ],
)
def test_a_wrong_choice_is_named(said: Any, param: str) -> None:
    with pytest.raises(BadCall) as caught:
        choice(said)
    assert caught.value.param == param


def test_a_tool_without_a_name_is_named() -> None:
    with pytest.raises(BadCall) as caught:
        read({"type": "function"})
    assert caught.value.param == "tools[0].name"
