"""A Gemini request, read."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire.gemini.decode import LOSSES, decode, decode_count
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.neutral import Function, Hosted, Request, Shape, Thinking, ToolChoice
from relayd.wire.parts import Extra, Text
from relayd.wire.paths import Target

ASKED = Target("gemini", "generate", "m", stream=True, verb="streamGenerateContent")


def read(**body: Any) -> Request:
    return decode({"contents": [{"parts": [{"text": "hi"}]}]} | body, ASKED)


def configured(**config: Any) -> Request:
    return read(generationConfig=config)


def test_the_path_says_the_model_and_whether_it_streams() -> None:
    request = read(model="models/other")
    assert (request.model, request.stream, request.source) == ("m", True, "gemini")
    assert request.extra == {}


def test_system_turns_are_instructions() -> None:
    """wire-formats, trap 111."""
    contents = [{"role": "system", "parts": [{"text": "b"}]}, {"parts": [{"text": "hi"}]}]
    request = read(contents=contents, systemInstruction="a")
    said, rest = request.opening()
    assert [part.text for part in said if isinstance(part, Text)] == ["a", "b"]
    assert [message.role for message in rest] == ["user"]


# --- tools --------------------------------------------------------------------------------------


def test_declarations_are_functions_in_either_dialect() -> None:
    schema = {"type": "object"}
    legacy = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
    declared = [
        {"name": "f", "description": "d", "parametersJsonSchema": schema, "behavior": "BLOCKING"},
        {"name": "g", "parameters": legacy},
        {"name": "h"},
    ]
    f, g, h = read(tools=[{"functionDeclarations": declared}]).tools
    assert isinstance(f, Function)
    assert isinstance(g, Function)
    assert isinstance(h, Function)
    assert (f.name, f.description, f.schema) == ("f", "d", schema)
    assert f.extra == {
        "behavior": Extra("BLOCKING", "drop"),
        "parametersJsonSchema": Extra(schema, "silent"),
    }
    assert f.at == "tools[0].functionDeclarations[0]"
    assert g.schema == {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"]}},
    }
    assert h.schema is None


def test_tools_of_googles_are_hosted() -> None:
    search, code = read(tools={"googleSearch": {}, "codeExecution": {}, "urlContext": None}).tools
    assert isinstance(search, Hosted)
    assert isinstance(code, Hosted)
    assert (search.kind, search.document) == ("web_search", {"googleSearch": {}})
    assert (code.kind, code.at) == ("codeExecution", "tools")


@pytest.mark.parametrize(
    ("mode", "names", "choice"),
    [
        ("ANY", [], ToolChoice("required")),
        ("ANY", ["f"], ToolChoice("required", ("f",))),
        ("AUTO", [], ToolChoice("auto")),
        ("VALIDATED", ["f"], ToolChoice("auto", ("f",), listed=True)),
        ("NONE", [], ToolChoice("none")),
    ],
)
def test_the_mode_is_a_choice(mode: str, names: list[str], choice: ToolChoice) -> None:
    config = {"mode": mode, "allowedFunctionNames": names}
    found = read(toolConfig={"functionCallingConfig": config}).tool_choice
    assert found is not None
    assert found.extra == {"mode": Extra(mode, "silent")}
    found.extra = {}
    assert found == choice


def test_no_mode_is_no_choice() -> None:
    assert read(toolConfig={"functionCallingConfig": {}}).tool_choice is None


# --- controls -----------------------------------------------------------------------------------


def test_the_configuration_is_sampling_and_output() -> None:
    request = configured(
        temperature=0.5,
        topP=0.9,
        topK=40.0,
        frequencyPenalty=0.1,
        presencePenalty=0.2,
        seed=-1,
        responseLogprobs=True,
        logprobs=3,
        candidateCount=2,
        maxOutputTokens=10,
        stopSequences=["x"],
        responseModalities=["TEXT", "IMAGE"],
        imageConfig={"aspectRatio": "1:1"},
    )
    sampling, output = request.sampling, request.output
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 40)
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (0.1, 0.2)
    assert (sampling.seed, sampling.logprobs, sampling.top_logprobs, sampling.n) == (-1, True, 3, 2)
    assert (output.limit, output.stop, output.modalities) == (10, ["x"], ["text", "image"])
    assert output.image == {"aspectRatio": "1:1"}
    assert request.param("n") == "generationConfig.candidateCount"


@pytest.mark.parametrize("name", ["responseJsonSchema", "_responseJsonSchema"])
def test_a_schema_is_the_shape_of_the_answer(name: str) -> None:
    schema = {"type": "object"}
    shape = configured(responseMimeType="application/json", **{name: schema}).output.shape
    assert shape is not None
    assert (shape.kind, shape.schema) == ("schema", schema)
    assert shape.extra == {
        "responseMimeType": Extra("application/json", "silent"),
        name: Extra(schema, "silent"),
    }


def test_googles_types_are_read_under_the_names_of_either_dialect() -> None:
    """wire-formats, trap 129: Google's own client writes upper-case types as JSON Schema."""
    written = {"type": "OBJECT", "properties": {"a": {"type": ["STRING", "NULL", 7]}}}
    meant = {"type": "object", "properties": {"a": {"type": ["string", "null", 7]}}}
    shape = configured(responseJsonSchema=written).output.shape
    assert shape is not None
    assert shape.schema == meant
    declared = [{"name": "f", "parametersJsonSchema": written}]
    [f] = read(tools=[{"functionDeclarations": declared}]).tools
    assert isinstance(f, Function)
    assert f.schema == meant
    assert f.extra == {"parametersJsonSchema": Extra(written, "silent")}


def test_a_legacy_schema_is_one_too() -> None:
    shape = configured(responseSchema={"type": "OBJECT"}).output.shape
    assert shape == Shape(
        "schema",
        schema={"type": "object"},
        extra={"responseSchema": Extra({"type": "OBJECT"}, "silent")},
    )


@pytest.mark.parametrize(
    ("mime", "kind", "loss"),
    [
        ("application/json", "json", None),
        ("text/plain", None, "silent"),
        ("text/x.enum", None, "lenient"),
    ],
)
def test_a_type_alone_is_json_or_kept(mime: str, kind: str | None, loss: str | None) -> None:
    request = configured(responseMimeType=mime)
    shape = request.output.shape
    assert (shape.kind if shape else None) == kind
    kept = request.extra.get("generationConfig.responseMimeType")
    assert (kept.loss if kept else None) == loss


@pytest.mark.parametrize(
    ("config", "thinking"),
    [
        ({}, Thinking()),
        ({"thinkingBudget": 0}, Thinking("off", budget=0)),
        ({"thinkingBudget": -1}, Thinking("on", budget=-1)),
        ({"includeThoughts": True}, Thinking(show="summary")),
        ({"includeThoughts": False}, Thinking(show="none")),
        (
            {"thinkingLevel": "high"},
            Thinking("on", "high", extra={"thinkingLevel": Extra("high", "silent")}),
        ),
        (
            {"thinkingLevel": "NEW"},
            Thinking("on", extra={"thinkingLevel": Extra("NEW", "silent")}),
        ),
    ],
)
def test_thinking_is_a_budget_or_a_level(config: Any, thinking: Thinking) -> None:
    assert configured(thinkingConfig=config).thinking == thinking


def test_a_budget_and_a_level_contradict_each_other() -> None:
    with pytest.raises(BadCall) as refused:
        configured(thinkingConfig={"thinkingBudget": 1, "thinkingLevel": "LOW"})
    assert refused.value.param == "generationConfig.thinkingConfig"


@pytest.mark.parametrize(("said", "tier"), [("FLEX", "flex"), ("batch", "batch"), (None, "")])
def test_tiers_are_written_small(said: str | None, tier: str) -> None:
    assert read(serviceTier=said).tier == tier


# --- what only Google has -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "param", "lenient"),
    [
        ({"cachedContent": "cachedContents/1"}, "cachedContent", False),
        ({"continuationToken": "t"}, "continuationToken", False),
        ({"toolConfig": {"retrievalConfig": {"a": 1}}}, "toolConfig.retrievalConfig", False),
        ({"safetySettings": [{}]}, "safetySettings", True),
        ({"generationConfig": {"speechConfig": {"a": 1}}}, "generationConfig.speechConfig", True),
        ({"generationConfig": {"newField": 1}}, "generationConfig.newField", True),
        ({"newField": 1}, "newField", True),
        (
            {"generationConfig": {"thinkingConfig": {"newField": 1}}},
            "generationConfig.thinkingConfig.newField",
            True,
        ),
        (
            {"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}},
            "toolConfig.functionCallingConfig.streamFunctionCallArguments",
            True,
        ),
    ],
)
def test_what_others_cannot_say_is_refused_by_its_name(
    body: Any, param: str, lenient: bool
) -> None:
    request = read(**body)
    with pytest.raises(CannotTranslate) as refused:
        Losses("chat").of_request(request)
    assert refused.value.param == param
    losses = Losses("chat", lenient=True)
    if lenient:
        losses.of_request(request)
        assert losses.dropped == (param,)
    else:
        with pytest.raises(CannotTranslate):
            losses.of_request(request)


@pytest.mark.parametrize(
    "body",
    [
        {"labels": {"a": "b"}, "store": True, "safetySettings": []},
        {"generationConfig": {"mediaResolution": "LOW", "speechConfig": {}}},
        {"toolConfig": {"includeServerSideToolInvocations": True}},
    ],
)
def test_what_nobody_misses_is_silent(body: Any) -> None:
    losses = Losses("chat")
    losses.of_request(read(**body))
    assert losses.dropped == ()


def test_the_table_of_losses_names_paths() -> None:
    assert all("." not in path or path.split(".")[0].endswith("Config") for path in LOSSES)


# --- counting -----------------------------------------------------------------------------------


def test_a_count_is_of_contents_or_of_a_whole_request() -> None:
    contents = [{"parts": [{"text": "hi"}]}]
    bare = decode_count({"contents": contents}, ASKED)
    whole = decode_count({"generate_content_request": {"contents": contents}}, ASKED)
    assert bare.messages == whole.messages
    assert bare.extra == {}
    assert whole.extra == {"generateContentRequest": Extra(value=True, loss="silent")}
