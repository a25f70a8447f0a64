"""A request, written for Google."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.wire import envelope
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.gemini.decode import decode, decode_count
from relayd.wire.gemini.encode import encode, encode_count
from relayd.wire.gemini.history import UNSIGNED
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.neutral import (
    Custom,
    Function,
    Hosted,
    Message,
    Namespace,
    Output,
    Picture,
    Request,
    Sampling,
    Shape,
    Thinking,
    Tool,
    ToolChoice,
)
from relayd.wire.parts import Carrier, Document, Extra, Text
from relayd.wire.paths import Target
from relayd.wire.setting import Going, Rules

ASKED = Target("gemini", "generate", "m", verb="generateContent")
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
F = Function(name="f", description="d", schema=SCHEMA, at="tools[0]")
SEARCH = Hosted(
    at="tools[1]",
    name="web",
    format="responses",
    kind="web_search",
    document={"type": "web_search"},
)


def asking(**more: Any) -> Request:
    messages = [Message("user", [Text("hi")])]
    return Request(**{"source": "chat", "model": "m", "messages": messages} | more)


def going(can: Capability = UNKNOWN, *, lenient: bool = False, rules: Rules | None = None) -> Going:
    return Going("gemini", "up", can, Losses("gemini", lenient=lenient), rules=rules or Rules())


def written(request: Request, can: Capability = UNKNOWN, **how: Any) -> Document:
    return encode(request, going(can, **how)).document


def configured(can: Capability = UNKNOWN, **more: Any) -> Any:
    return written(asking(**more), can).get("generationConfig")


# --- tools --------------------------------------------------------------------------------------


def declared(*tools: Tool, **how: Any) -> Any:
    return written(asking(tools=list(tools)), **how).get("tools")


def test_functions_are_declared_together() -> None:
    no_arguments: list[Any] = [None, {}, {"type": "object", "properties": {}}]
    nothing = [Function(name=f"n{n}", schema=each) for n, each in enumerate(no_arguments)]
    [tools] = declared(F, *nothing)
    assert tools["functionDeclarations"] == [
        {"name": "f", "description": "d", "parametersJsonSchema": SCHEMA},
        {"name": "n0"},
        {"name": "n1"},
        {"name": "n2"},
    ]


def test_a_schema_is_brought_into_googles_dialect() -> None:
    [tools] = declared(Function(name="f", schema={"properties": {"a": {"const": 1}}}))
    [function] = tools["functionDeclarations"]
    assert function["parametersJsonSchema"] == {
        "type": "object",
        "properties": {"a": {"enum": [1], "type": "integer"}},
    }


def test_names_are_ones_that_google_takes_and_come_back() -> None:
    tool = Function(name="do it", namespace=Namespace("web"), schema=SCHEMA)
    found = encode(asking(tools=[tool]), going())
    [tools] = found.document["tools"]
    name = tools["functionDeclarations"][0]["name"]
    assert name.startswith("web__do_it")
    assert found.names.back(name).name == "do it"


def test_a_tool_with_free_text_is_wrapped_or_refused() -> None:
    free = Custom(name="patch", grammar="start: x", at="tools[0]")
    [tools] = declared(free, Custom(name="any"))
    first, second = tools["functionDeclarations"]
    properties = first["parametersJsonSchema"]["properties"]
    about = "Text of this formal grammar:\nstart: x"
    assert properties == {"input": {"type": "string", "description": about}}
    assert second["parametersJsonSchema"]["required"] == ["input"]
    with pytest.raises(CannotTranslate) as refused:
        declared(free, rules=Rules(wrap_custom=False))
    assert refused.value.param == "tools[0]"


def test_a_search_becomes_googles_where_the_operator_says() -> None:
    assert declared(F, SEARCH, rules=Rules(map_search=True))[1] == {"googleSearch": {}}
    with pytest.raises(CannotTranslate) as refused:
        declared(F, SEARCH)
    assert refused.value.param == "tools[1]"
    assert declared(SEARCH, lenient=True) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("allowed_domains", ["a.b"]), ("filters", {"allowed_domains": ["a.b"]}), ("max_uses", 3)],
)
def test_the_limits_of_a_search_are_not_forgotten(name: str, value: Any) -> None:
    mapped = Rules(map_search=True)
    bounded = replace(SEARCH, document={"type": "web_search", name: value, "filters_": 1})
    with pytest.raises(CannotTranslate) as refused:
        declared(bounded, rules=mapped)
    assert str(refused.value.param).startswith(f"{SEARCH.at}.{name}")
    assert declared(bounded, rules=mapped, lenient=True) == [{"googleSearch": {}}]
    unbounded = replace(SEARCH, document={name: type(value)()})
    assert declared(unbounded, rules=mapped) == [{"googleSearch": {}}]


def test_search_beside_functions_is_refused_on_old_models() -> None:
    """wire-formats, trap 131."""
    old = replace(UNKNOWN, hosted_with_functions=False)
    with pytest.raises(CannotTranslate) as refused:
        declared(F, SEARCH, can=old, rules=Rules(map_search=True))
    assert refused.value.param == "tools[1]"
    assert declared(SEARCH, can=old, rules=Rules(map_search=True)) == [{"googleSearch": {}}]


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("none", ("f",)), {"mode": "NONE"}),
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (
            ToolChoice("auto", ("f",), listed=True),
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("required", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_names_with_auto_are_validated_mode(choice: ToolChoice | None, config: Any) -> None:
    """wire-formats, trap 130."""
    document = written(asking(tools=[F], tool_choice=choice))
    found = document.get("toolConfig")
    assert found == (None if config is None else {"functionCallingConfig": config})


def test_a_choice_among_no_functions_says_nothing() -> None:
    document = written(asking(tool_choice=ToolChoice("auto")))
    assert "toolConfig" not in document


def test_one_call_at_a_time_cannot_be_said() -> None:
    way = going()
    encode(asking(tools=[F], parallel=False, places={"parallel": "parallel_tool_calls"}), way)
    assert way.losses.dropped == ("parallel_tool_calls",)


# --- controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("logprobs", [None, False])
def test_a_number_of_logprobs_goes_only_beside_the_wish_for_them(logprobs: bool | None) -> None:
    """Google refuses the one without the other; elsewhere it says nothing."""
    found = configured(sampling=Sampling(0.5, logprobs=logprobs, top_logprobs=3))
    assert found is not None
    assert "logprobs" not in found


def test_the_configuration_says_all_that_google_takes() -> None:
    sampling = Sampling(0.5, 0.9, 40, 0.1, 0.2, 7, None, True, 3, 2)
    output = Output(limit=10, stop=["x"], modalities=["text", "image"])
    assert configured(sampling=sampling, output=output) == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "frequencyPenalty": 0.1,
        "presencePenalty": 0.2,
        "seed": 7,
        "responseLogprobs": True,
        "logprobs": 3,
        "candidateCount": 2,
        "maxOutputTokens": 10,
        "stopSequences": ["x"],
        "responseModalities": ["TEXT", "IMAGE"],
    }
    assert configured() is None


def test_sampling_is_dropped_at_its_default_else_by_the_table() -> None:
    """wire-formats, trap 134."""
    newest = replace(UNKNOWN, sampling="no", penalties=False)
    assert configured(newest, sampling=Sampling(temperature=1, top_p=1)) is None
    request = asking(sampling=Sampling(temperature=0.2))
    with pytest.raises(CannotTranslate) as refused:
        written(request, newest)
    assert refused.value.param == "temperature"
    way = going(newest, lenient=True)
    assert "generationConfig" not in encode(request, way).document
    assert way.losses.dropped == ("temperature",)


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        (Shape("json"), {"responseMimeType": "application/json"}),
        (
            Shape("schema", schema={"type": "object", "properties": {"a": {"minLength": 1}}}),
            {
                "responseMimeType": "application/json",
                "responseJsonSchema": {
                    "type": "object",
                    "properties": {"a": {"description": "{minLength: 1}"}},
                },
            },
        ),
    ],
)
def test_the_shape_of_the_answer_is_said(shape: Shape, config: Any) -> None:
    assert configured(output=Output(shape=shape)) == config


def test_json_beside_functions_is_refused_on_old_models() -> None:
    old = replace(UNKNOWN, schema_with_functions=False)
    shaped = Output(shape=Shape("json"))
    request = asking(tools=[F], output=shaped, places={"shape": "response_format"})
    with pytest.raises(CannotTranslate) as refused:
        written(request, old)
    assert refused.value.param == "response_format"
    assert "tools" in written(request)
    for alone in (asking(tools=[F]), asking(output=shaped)):
        assert written(alone, old)
    search = asking(tools=[SEARCH], output=shaped)
    assert written(search, old, rules=Rules(map_search=True))


def test_json_beside_a_function_that_must_be_called_is_left_out_on_old_models() -> None:
    """Instructor asks for both, with the same schema."""
    old = replace(UNKNOWN, schema_with_functions=False)
    must = ToolChoice("required", names=("f",))
    request = asking(tools=[F], tool_choice=must, output=Output(shape=Shape("json")))
    document = written(request, old)
    assert document["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"
    assert "generationConfig" not in document
    assert written(request)["generationConfig"] == {"responseMimeType": "application/json"}


LEVELS = replace(UNKNOWN, thinking=("level",), efforts=("low", "medium", "high"))
BUDGETS = replace(UNKNOWN, thinking=("budget", "disabled"))


@pytest.mark.parametrize(
    ("thinking", "can", "config"),
    [
        (Thinking(effort="high"), LEVELS, {"thinkingLevel": "HIGH"}),
        (Thinking(effort="minimal"), LEVELS, {"thinkingLevel": "LOW"}),
        (Thinking(effort="max"), UNKNOWN, {"thinkingLevel": "HIGH"}),
        (Thinking("on", budget=5000), LEVELS, {"thinkingLevel": "MEDIUM"}),
        (Thinking("on", budget=5000), BUDGETS, {"thinkingBudget": 5000}),
        (Thinking("on"), BUDGETS, {"thinkingBudget": -1}),
        (Thinking("off"), BUDGETS, {"thinkingBudget": 0}),
        (Thinking("off"), LEVELS, {"thinkingLevel": "LOW", "includeThoughts": False}),
    ],
)
def test_level_and_budget_are_never_both_sent(
    thinking: Thinking, can: Capability, config: Document
) -> None:
    """wire-formats, trap 124."""
    request = asking(thinking=thinking, source="responses")
    found = written(request, can)["generationConfig"]["thinkingConfig"]
    assert found == config


def test_who_wants_to_see_the_thinking_says_so() -> None:
    thinking = Thinking("on", show="summary")
    found = configured(LEVELS, thinking=thinking, source="responses")
    assert found == {"thinkingConfig": {"includeThoughts": True}}


@pytest.mark.parametrize(("tier", "said"), [("flex", "flex"), ("auto", None), ("batch", None)])
def test_tiers_that_google_knows_are_said(tier: str, said: str | None) -> None:
    assert written(asking(tier=tier)).get("serviceTier") == said


def test_what_only_the_client_says_is_asked_for_first() -> None:
    with pytest.raises(CannotTranslate) as refused:
        written(asking(extra={"prediction": Extra({}, "lenient")}))
    assert refused.value.param == "prediction"


def test_the_same_request_is_written_to_the_same_bytes() -> None:
    """wire-formats, trap 151."""
    request = asking(tools=[F], tool_choice=ToolChoice("required", ("f",)))
    one, other = (orjson.dumps(written(request)) for _ in range(2))
    assert one == other


def test_an_instruction_stands_apart() -> None:
    document = written(asking(instructions=[Text("be brief")]))
    assert document == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "be brief"}]},
    }


# --- the same format ----------------------------------------------------------------------------

NATIVE: Document = {
    "contents": [
        {"role": "user", "parts": [{"text": "hi", "partMetadata": {"a": 1}}]},
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"text": "", "thoughtSignature": "c2ln"},
                {
                    "functionCall": {
                        "name": "f",
                        "args": {"a": 1},
                        "id": "1",
                        "willContinue": True,
                    },
                    "thoughtSignature": "c2ln",
                },
                {"functionCall": {"name": "g", "args": {}}},
                {"executableCode": {"code": "1", "language": "PYTHON"}},
            ],
        },
        {
            "parts": [
                {
                    "functionResponse": {
                        "name": "f",
                        "response": {"output": 1},
                        "id": "1",
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
                    }
                },
                {"functionResponse": {"name": "g", "response": {"a": 1}}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://a", "displayName": "n"}},
                {"fileData": {"mimeType": "image/png", "fileUri": "files/abc"}},
            ]
        },
    ],
    "systemInstruction": {"parts": [{"text": "be brief"}]},
    "tools": [
        {
            "functionDeclarations": [
                {"name": "f", "description": "d", "parametersJsonSchema": {"type": "OBJECT"}},
                {"name": "g", "parameters": {"type": "OBJECT"}, "behavior": "BLOCKING"},
                {"name": "h"},
            ]
        },
        {"googleSearch": {}},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        "retrievalConfig": {"languageCode": "de"},
    },
    "generationConfig": {
        "temperature": 0,
        "candidateCount": 1,
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "OBJECT"},
        "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True},
        "mediaResolution": "LOW",
    },
    "serviceTier": "flex",
    "safetySettings": [{"category": "c", "threshold": "t"}],
    "labels": {"a_b": "c"},
}


@pytest.mark.parametrize(
    "document",
    [
        NATIVE,
        {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
        {"contents": [], "generationConfig": {"responseSchema": {"type": "STRING"}}},
        {"contents": [], "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
        {"contents": [], "generationConfig": {"responseMimeType": "text/plain"}},
    ],
)
def test_a_request_of_googles_comes_out_as_it_went_in(document: Document) -> None:
    found = written(decode(document, ASKED))
    if "responseSchema" in document.get("generationConfig", {}):
        found["generationConfig"].pop("responseMimeType")
    assert found == document


def test_what_another_account_wants_back_never_goes_to_google() -> None:
    def signed(carrier: Carrier, scope: str) -> Document:
        return {"thoughtSignature": envelope.wrap_base64(carrier, scope)}

    google, anthropic = Carrier("gemini-signature", "c2ln"), Carrier("anthropic-signature", "x")
    call = {"functionCall": {"name": "f", "args": {}}}
    parts = [
        {"text": "hm", "thought": True} | signed(anthropic, "account"),
        {"text": "a"} | signed(google, "elsewhere"),
        {"text": ""} | signed(google, "elsewhere"),
        call | signed(google, "elsewhere"),
        call | signed(google, "account"),
    ]
    request = decode({"contents": [{"role": "model", "parts": parts}]}, ASKED)
    for can, first in (
        (UNKNOWN, {}),
        (replace(UNKNOWN, signatures=True), {"thoughtSignature": UNSIGNED}),
    ):
        way = replace(going(can), scope="account", native=True)
        [content] = encode(request, way).document["contents"]
        assert content["parts"] == [
            {"text": "a"},
            call | first,
            call | {"thoughtSignature": "c2ln"},
        ]


def test_a_call_of_another_providers_is_signed_when_it_comes_to_google() -> None:
    """wire-formats, trap 122 "other upstream": the first call of each step of the turn that goes
    on; without an envelope the relay would not even have looked."""
    foreign = envelope.wrap_base64(replace(envelope.UNSEALED, call_id="1"), "")
    call = {"functionCall": {"name": "f", "args": {}, "id": "1"}}
    answer = {"functionResponse": {"name": "f", "response": {"output": "ok"}, "id": "1"}}
    step = [{"role": "model", "parts": [call, call]}, {"role": "user", "parts": [answer]}]
    told = [{"role": "model", "parts": [call | {"thoughtSignature": foreign}, call]}, step[1]]
    asked = [{"parts": [{"text": "a"}]}]
    request = decode({"contents": [*asked, *step, *asked, *told, *step]}, ASKED)
    signed = [{"role": "model", "parts": [call | {"thoughtSignature": UNSIGNED}, call]}, step[1]]
    for can, found in ((UNKNOWN, step), (replace(UNKNOWN, signatures=True), signed)):
        way = replace(going(can), scope="account", native=True)
        contents = encode(request, way).document["contents"]
        assert contents == [*asked, *step, *asked, *found, *found]


# --- counting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"contents": [{"parts": [{"text": "hi"}]}]},
        {
            "contents": [{"parts": [{"text": "hi"}]}],
            "systemInstruction": {"parts": [{"text": "x"}]},
        },
        {
            "generateContentRequest": {
                "model": "models/up",
                "contents": [{"parts": [{"text": "hi"}]}],
                "systemInstruction": {"parts": [{"text": "x"}]},
            }
        },
    ],
)
def test_a_count_of_googles_comes_out_as_it_went_in(document: Document) -> None:
    assert encode_count(decode_count(document, ASKED), going()).document == document


def test_a_count_of_others_is_of_the_contents_or_of_all() -> None:
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    assert encode_count(asking(), going()).document == {"contents": contents}
    assert encode_count(asking(tier="flex"), going()).document == {
        "generateContentRequest": {
            "model": "models/up",
            "contents": contents,
            "serviceTier": "flex",
        }
    }


def test_a_picture_is_asked_for_by_its_size() -> None:
    wanted = Output(modalities=["text", "image"], picture=Picture(1, False, 2048, 1152))
    assert configured(output=wanted) == {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
    }
    any_size = Output(modalities=["text", "image"], picture=Picture())
    assert configured(output=any_size) == {"responseModalities": ["TEXT", "IMAGE"]}


@pytest.mark.parametrize(("size", "there"), [("2k", "2K"), ("512", "512"), (7, 7), (None, None)])
def test_a_pictures_size_has_a_capital_letter(size: object, there: object) -> None:
    config = {"imageConfig": {"aspectRatio": "1:1", "imageSize": size}}
    body = {"contents": [{"parts": [{"text": "A cat"}]}], "generationConfig": config}
    found = encode(decode(body, ASKED), going()).document["generationConfig"]["imageConfig"]
    assert found == {"aspectRatio": "1:1", "imageSize": there}
