"""What models take: the rows of the configuration, and those that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.capabilities import READERS, capabilities, shipped, table
from relayd.config.document import ConfigProblems, Source, root
from relayd.wire.capabilities import FIELDS, Capabilities, Rows


def read(text: str) -> tuple[Rows, list[str]]:
    """What a section comes to, and the problems in it."""
    source = Source(Path("/"), {})
    found = capabilities(root(text, source))
    return found, [str(problem) for problem in source.problems]


def test_a_row_says_only_what_it_changes() -> None:
    assert read("m-*: {context: 1_000, prefill: no}\nn: {}") == (
        {"m-*": {"context": 1000, "prefill": False}, "n": {}},
        [],
    )


def test_a_row_may_name_several_patterns_and_a_pattern_stand_in_several_rows() -> None:
    assert read("a, b-*: {context: 1, prefill: no}\nb-*: {context: 2}\n'b-*, c': {}") == (
        {
            "a": {"context": 1, "prefill": False},
            "b-*": {"context": 2, "prefill": False},
            "c": {},
        },
        [],
    )


def test_null_says_that_nobody_knows() -> None:
    text = "m: {context: null, tools_endpoint: ~, default_effort: null, disabled_up_to: null}"

    assert read(text)[0]["m"] == dict.fromkeys(
        ("context", "tools_endpoint", "default_effort", "disabled_up_to")
    )


def test_words_that_yaml_takes_for_switches_are_words() -> None:
    """`no` is what YAML calls a boolean; here it is one of three answers."""
    rows, faults = read("m: {sampling: no, forced_tool: yes, efforts: [none], thinking: []}")

    assert faults == []
    assert rows["m"] == {"sampling": "no", "forced_tool": "yes", "efforts": ("none",)} | {
        "thinking": ()
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{contxt: 1}", "m.contxt: unknown name; did you mean 'context'?"),
        ("{context: many}", "m.context: 'many' is not a whole number"),
        ("{max_output: -1}", "m.max_output: must be between 0 and 1000000000"),
        ("{default_output: null}", "m.default_output: has no value: give one, or leave"),
        ("{prefill: idle}", "m.prefill: 'idle' is not true or false"),
        ("{sampling: false}", "m.sampling: 'false' is not one of yes, no, idle"),
        ("{thinking: [level, levl]}", "m.thinking[1]: 'levl' is an unknown name; did you mean"),
        ("{efforts: [low, low]}", "m.efforts[1]: stands here twice"),
        ("{efforts: low}", "m.efforts: expected a list, found text"),
        ("{endpoints: [chats]}", "m.endpoints[0]: 'chats' is an unknown name"),
        ("{tools_endpoint: chats}", "m.tools_endpoint: 'chats' is an unknown name"),
        ("{budgets: [2, 1]}", "m.budgets: is not the smallest and the largest, such as"),
        ("{budgets: [1]}", "m.budgets: is not the smallest and the largest, such as"),
        ("{budgets: 1}", "m.budgets: expected a list, found a number"),
        ("[]", "m: expected a section of `name: value` lines, found a list"),
    ],
)
def test_a_wrong_line_is_named_with_its_path_and_line(row: str, said: str) -> None:
    _, (problem,) = read(f"n: {{}}\nm: {row}")

    assert problem.startswith(f"line 2: {said}")


def test_a_pattern_is_the_name_of_a_model_or_a_wildcard() -> None:
    rows, faults = read("'a b': {context: 1}\n'c, ': {}\nd: {}")

    assert rows == {"d": {}}
    assert faults == [
        "line 1: a b: is not the name of a model (1 to 256 characters, no spaces)",
        "line 2: c, : is not the name of a model (1 to 256 characters, no spaces)",
    ]


def test_every_capability_has_a_line() -> None:
    assert READERS.keys() == FIELDS


# --- the shipped table ----------------------------------------------------------------------------


def test_the_shipped_table_is_read_once_and_has_rows_for_the_large_families() -> None:
    assert {"claude-*", "gemini-*", "gpt-*"} <= shipped().keys()
    assert shipped() is shipped()


def test_a_table_that_somebody_broke_is_named_rather_than_used() -> None:
    with pytest.raises(ConfigProblems, match=r"line 1: m\.contxt: unknown name"):
        table("m: {contxt: 1}")


@pytest.mark.parametrize(
    ("model", "like"),
    [
        ("claude-sonnet-9", "claude-fable-5-1"),
        ("gemini-9-pro", "gemini-3.8-flash"),
        ("gpt-9", "gpt-6-sol"),
        ("claude-opus-5-20260801", "claude-opus-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("anthropic/claude-sonnet-4.5:beta", "claude-sonnet-4-5"),
        ("publishers/claude-opus-4-6@20260101", "claude-opus-4-6"),
    ],
)
def test_an_unknown_name_is_the_newest_of_its_family_or_the_model_without_its_date(
    model: str, like: str
) -> None:
    table = Capabilities(shipped())

    assert table.of(model) == table.of(like)


def test_what_decides_about_the_shipped_models() -> None:
    """Appendix A of the formats, in the rows that differ from their family."""
    table = Capabilities(shipped())

    def of(name: str, models: str) -> list[object]:
        return [getattr(table.of(model), name) for model in models.split()]

    claudes = "claude-haiku-4-5 claude-opus-4-6 claude-opus-4-8 claude-sonnet-5-5 claude-fable-5"
    assert of("sampling", claudes) == ["one", "one", "no", "no", "no"]
    assert of("prefill", claudes) == [True, False, False, False, False]
    assert of("mid_system", claudes) == [False, False, True, True, True]
    assert of("forced_tool", claudes) == ["idle", "idle", "yes", "no", "yes"]
    assert of("always_thinks", claudes) == [False, False, False, True, True]
    assert of("disabled_up_to", "claude-opus-5 claude-opus-5-5") == ["high", None]
    geminis = "gemini-2.5-flash gemini-3.1-pro-preview gemini-3.5-flash gemini-3.6-flash"
    assert of("thinking", geminis) == [("budget", "disabled"), ("level",), ("level",), ("level",)]
    assert of("sampling", geminis) == ["yes", "yes", "yes", "no"]
    assert of("prefill", geminis) == [True, True, True, False]
    assert of("call_ids", geminis) == [False, True, True, True]
    assert of("outputs", "gemini-2.5-flash gemini-2.5-flash-image") == [
        ("text", "image", "audio"),
        ("text", "image"),
    ]
    gpts = "gpt-4o gpt-5 gpt-5.4 gpt-6-sol gpt-6-astra o3"
    assert of("tools_endpoint", gpts) == [None, None, "responses", "responses", "responses", None]
    assert of("sampling", gpts) == ["yes", "no", "idle", "idle", "idle", "no"]
    assert of("cache_marks", gpts) == [0, 0, 0, 4, 4, 0]
    only = "gpt-5-pro gpt-5.1-codex-max o3-pro o3-deep-research"
    assert of("endpoints", only) == [("responses",)] * 4


def test_sizes_of_pictures_are_classes_or_pixels() -> None:
    rows = table('"m": {aspects: ["1:1", "16:9"], picture_sizes: ["512", 1K, 1024x1536]}')
    assert rows["m"] == {
        "aspects": ("1:1", "16:9"),
        "picture_sizes": ("512", "1K", "1024x1536"),
    }
    assert table('"m": {aspects: [], picture_sizes: []}')["m"] == {
        "aspects": (),
        "picture_sizes": (),
    }
    with pytest.raises(ConfigProblems) as caught:
        table('"m": {aspects: ["1:7"], picture_sizes: [3K]}')
    told = "\n".join(map(str, caught.value.problems))
    assert "1:7" in told
    assert "'3K' is none of 512, 1K, 2K, 4K, nor a size such as 1024x1024" in told
