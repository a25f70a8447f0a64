"""Equality forgives what is named, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.fidelity.equality import REPLY, REQUEST, STREAM, compare, explained

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(**members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [USER]} | members


def said(**message: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "assistant", "content": "Hi"} | message])


def reply(**members: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hi"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "1", "choices": [choice]} | members


# Two documents that mean the same, and the tolerance that says so.
ALIKE = [
    ("null_is_absent", REQUEST["chat"], chat(), chat(stop=None)),
    ("nothing_is_absent", REQUEST["chat"], chat(), chat(tools=[])),
    (
        "one_text_is_a_list",
        REQUEST["messages"],
        chat(),
        chat(messages=[USER | {"content": [{"type": "text", "text": "Hi"}]}]),
    ),
    (
        "no_content_is_empty",
        REQUEST["chat"],
        said(content=""),
        said(content=[{"type": "text", "text": ""}]),
    ),
    ("false_is_absent", REQUEST["chat"], chat(), chat(stream=False)),
    (
        "data_is_padded",
        REQUEST["messages"],
        chat(messages=[{"role": "user", "content": [{"type": "image", "data": "_-8"}]}]),
        chat(messages=[{"role": "user", "content": [{"type": "image", "data": "/+8="}]}]),
    ),
    ("usage_is_always_asked", REQUEST["chat"], chat(), chat(stream_options={"x": True})),
    (
        "thinking_has_two_names",
        REQUEST["chat"],
        said(reasoning="Hm."),
        said(reasoning_content="Hm."),
    ),
    (
        "a_picture_is_an_object",
        REQUEST["chat"],
        chat(messages=[{"role": "user", "content": [{"image_url": "https://x/y"}]}]),
        chat(messages=[{"role": "user", "content": [{"image_url": {"url": "https://x/y"}}]}]),
    ),
    (
        "no_arguments_are_an_object",
        REQUEST["chat"],
        said(tool_calls=[CALL]),
        said(tool_calls=[CALL | {"function": {"name": "f", "arguments": " "}}]),
    ),
    (
        "functions_say_so",
        REQUEST["chat"],
        said(tool_calls=[CALL]),
        said(tool_calls=[{"id": "c1", "function": CALL["function"], "index": 3}]),
    ),
    (
        "an_item_with_a_role_is_a_message",
        REQUEST["responses"],
        {"input": [{"role": "user", "content": []}]},
        {"input": [{"type": "message", "role": "user", "content": []}]},
    ),
    (
        "input_is_a_list",
        REQUEST["responses"],
        {"input": "Hi"},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
    ),
    (
        "plain_text_is_usual",
        REQUEST["responses"],
        {"input": []},
        {"input": [], "text": {"format": {"type": "text"}}},
    ),
    (
        "spelling_is_one",
        REQUEST["gemini"],
        {"contents": [], "system_instruction": {"parts": [{"text": "x"}]}},
        {"contents": [], "systemInstruction": {"parts": [{"text": "x"}]}},
    ),
    (
        "declarations_are_one_list",
        REQUEST["gemini"],
        {"tools": [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]},
        {
            "tools": [
                {"functionDeclarations": [{"name": "a"}]},
                {"functionDeclarations": {"name": "b"}},
            ]
        },
    ),
    (
        "an_instruction_is_parts",
        REQUEST["gemini"],
        {"systemInstruction": "x"},
        {"systemInstruction": {"role": "user", "parts": {"text": "x"}}},
    ),
    ("no_zero_values", REPLY["chat"], reply(), reply(service_tier="")),
    (
        "the_reason_is_true",
        REPLY["chat"],
        reply(),
        reply(choices=[{**reply()["choices"][0], "finish_reason": ""}]),
    ),
    (
        "cache_reads_have_many_names",
        REPLY["chat"],
        reply(usage={"prompt_tokens": 9, "num_cached_tokens": 4}),
        reply(usage={"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}),
    ),
    (
        "an_envelope_is_whole",
        REPLY["responses"],
        {"object": "response", "output": []},
        {"object": "response", "output": [], "store": False, "truncation": "disabled"},
    ),
    (
        "cache_writes_are_split",
        REPLY["messages"],
        {"usage": {"cache_creation_input_tokens": 5}},
        {
            "usage": {
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_5m_input_tokens": 5},
            }
        },
    ),
    (
        "index_zero_is_absent",
        REPLY["gemini"],
        {"candidates": [{"finishReason": "STOP"}]},
        {"candidates": [{"finishReason": "STOP", "index": 0}]},
    ),
    (
        "a_signature_is_its_texts",
        REPLY["gemini"],
        {"parts": [{"text": "Hi", "thoughtSignature": "c2ln"}]},
        {"parts": [{"text": "Hi"}, {"text": "", "thoughtSignature": "c2ln"}]},
    ),
    ("no_count_is_zero", REPLY["chat"], reply(), reply(usage={"prompt_tokens": 0, "d": {"x": 0}})),
    (
        "usage_stands_where_it_stands",
        STREAM["chat"],
        reply(usage={"prompt_tokens": 3}),
        reply(x_groq={"usage": {"prompt_tokens": 3}}),
    ),
    ("progress_is_not_repeated", STREAM["responses"], {"a": {}}, {"a": {"obfuscation": "xx"}}),
    (
        "a_word_is_said_once",
        STREAM["chat"],
        said(),
        chat(messages=[{"role": "assistantassistant", "content": "Hi"}]),
    ),
    (
        "logprobs_are_rounded",
        STREAM["responses"],
        {"logprobs": [{"logprob": -2.45848e-06}]},
        {"logprobs": [{"logprob": -2e-06}]},
    ),
]


@pytest.mark.parametrize(("name", "tolerances", "one", "other"), ALIKE, ids=[a[0] for a in ALIKE])
def test_each_tolerance_forgives_its_difference_and_is_named(
    name: str, tolerances: Any, one: Any, other: Any
) -> None:
    compared = compare(one, other, tolerances)

    assert compared.problems == []
    assert name in compared.tolerances


def test_every_tolerance_is_tried_here_and_explained() -> None:
    assert {name for name, _ in explained()} == {name for name, *_ in ALIKE}
    assert all(text.endswith(".") for _, text in explained())


@pytest.mark.parametrize(
    ("one", "other", "problem"),
    [
        (chat(n=1), chat(n=True), "n: 1 became True"),
        (chat(n=1), chat(), "n: lost 1"),
        (chat(), chat(seed=0), "seed: added 0"),
        (chat(), chat(messages=[USER, USER]), "messages: 1 items became 2"),
        (chat(stop=["a", "b"]), chat(stop=["b", "a"]), "stop[0]: 'a' became 'b'"),
        (said(content="Hi"), said(content="Hi "), "messages[0].content"),
        (
            said(tool_calls=[CALL]),
            said(tool_calls=[CALL | {"function": {"name": "f", "arguments": "{} "}}]),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (chat(response_format={"json_schema": {"schema": {"default": None}}}), chat(), "response"),
    ],
)
def test_what_has_no_name_is_a_difference_and_says_where(
    one: Any, other: Any, problem: str
) -> None:
    compared = compare(one, other, REQUEST["chat"])

    assert compared.problems[0].startswith(problem)
    assert compared.tolerances == ()


def test_a_null_inside_a_schema_is_a_value() -> None:
    schema = {"type": "object", "properties": {"x": {"default": None}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    without = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]

    assert compare(chat(tools=tools), chat(tools=tools), REQUEST["chat"]).problems == []
    assert compare(chat(tools=tools), chat(tools=without), REQUEST["chat"]).problems != []
    emptied = {"type": "object", "properties": {"x": {}}}
    null = [{"type": "function", "function": {"name": "f", "parameters": emptied}}]
    assert compare(chat(tools=tools), chat(tools=null), REQUEST["chat"]).problems != []


def test_equal_documents_need_no_tolerance_and_one_equals_one_point_zero() -> None:
    assert compare(chat(temperature=1), chat(temperature=1.0), ()) == ([], ())
