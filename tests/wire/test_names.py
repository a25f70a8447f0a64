"""Tool names that an upstream takes, and the way back (wire-formats 8.5)."""

from __future__ import annotations

import pytest

from relayd.model import FormatName
from relayd.wire.names import Names, Original
from relayd.wire.neutral import Custom, Function, Namespace, Tool


@pytest.mark.parametrize("to", ["chat", "responses", "messages", "gemini"])
def test_a_name_that_is_valid_passes_untouched(to: FormatName) -> None:
    names = Names([Function(name="get_weather-2")], to)
    assert names.there("get_weather-2") == "get_weather-2"
    assert names.back("get_weather-2") == Original("get_weather-2")
    assert names.plain


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("chat", "a.b"),
        ("chat", "x" * 65),
        ("messages", "mcp:tool"),
        ("messages", ""),
        ("gemini", "1st"),
        ("responses", "wetter für morgen"),
    ],
)
def test_a_name_that_is_not_becomes_one_that_is_and_comes_back(to: FormatName, name: str) -> None:
    names, again = Names([Function(name=name)], to), Names([Function(name=name)], to)
    there = names.there(name)
    assert there.replace("_", "").replace("-", "").isalnum()
    assert there.isascii()
    assert len(there) <= 64
    assert not there[0].isdigit()
    assert names.back(there) == Original(name)
    assert again.there(name) == there
    assert not names.plain


def test_two_names_never_become_one() -> None:
    tools: list[Tool] = [Function(name=name) for name in ("a_b", "a.b", "a b", "a:b")]
    names = Names(tools, "chat")
    there = [names.there(tool.name) for tool in tools]
    assert len(set(there)) == len(tools)
    assert [names.back(each).name for each in there] == [tool.name for tool in tools]


def test_a_tool_in_a_namespace_carries_it_in_its_name() -> None:
    space = Namespace("files")
    names = Names([Function(name="read", namespace=space), Function(name="read")], "messages")
    assert names.there("read", "files") == "files__read"
    assert names.there("read") == "read"
    assert names.back("files__read") == Original("read", "files")
    assert not names.plain
    assert repr(names) == "<Names to=messages 2 tools, changed: {'files__read': 'read'}>"


def test_a_name_that_looks_like_a_namespace_gives_way() -> None:
    space = Namespace("files")
    names = Names([Function(name="files__read"), Function(name="read", namespace=space)], "chat")
    there = names.there("read", "files")
    assert there.startswith("files__read_")
    assert names.back(there) == Original("read", "files")


@pytest.mark.parametrize(("custom", "wrapped"), [(True, False), (False, True)])
def test_a_tool_with_free_text_is_wrapped_where_there_are_none(custom: bool, wrapped: bool) -> None:
    names = Names([Custom(name="patch")], "chat", custom=custom)
    assert names.back("patch") == Original("patch", wrapped=wrapped)
    assert names.plain is custom


def test_a_tool_that_is_not_declared_any_more_gets_a_name_as_well() -> None:
    names = Names([], "messages")
    assert names.back(names.there("old.tool")).name == "old.tool"


def test_a_name_that_the_model_made_up_stays_as_it_is() -> None:
    assert Names([], "chat").back("made.up") == Original("made.up")
