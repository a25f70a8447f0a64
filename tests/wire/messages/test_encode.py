"""A request of the hub, written as a Messages request (wire-formats 4.1, 8)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import FormatName
from relayd.wire import controls, paths
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.losses import CannotTranslate
from relayd.wire.messages.decode import BILLING, decode
from relayd.wire.messages.encode import BEGUN, encode, encode_count
from relayd.wire.neutral import (
    Caching,
    Declaration,
    Function,
    Message,
    Output,
    Request,
    Sampling,
    Shape,
    Thinking,
    ToolChoice,
)
from relayd.wire.parts import (
    Carrier,
    Document,
    Extra,
    Image,
    Opaque,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from relayd.wire.setting import USUAL, Rules, Written
from tests.wire.ways import SCOPE, able, going, request, says

OBJECT: Document = {"type": "object", "properties": {"a": {"type": "string"}}}
F = Function(name="f", schema=OBJECT)
HI = says("user", "hi", at="messages[0]")
NEWEST: dict[str, Any] = {
    "thinking": ("adaptive", "disabled"),
    "efforts": ("low", "medium", "high", "xhigh", "max"),
    "shows_thinking": True,
    "sampling": "no",
    "prefill": False,
    "mid_system": True,
    "forced_tool": "yes",
}
OLDER: dict[str, Any] = {
    "thinking": ("enabled", "disabled"),
    "efforts": (),
    "shows_thinking": True,
    "forced_tool": "idle",
}


def encoded(
    *messages: Message,
    can: Capability = UNKNOWN,
    lenient: bool = False,
    rules: Rules = USUAL,
    source: FormatName = "chat",
    **changes: Any,
) -> tuple[Written, tuple[str, ...]]:
    """The request as it is written, and what was dropped."""
    way = going("messages", can, lenient=lenient, rules=rules)
    return encode(request(source, *messages, **changes), way), way.losses.dropped


def written(*messages: Message, **changes: Any) -> Document:
    return encoded(*messages, **changes)[0].document


def refused(*messages: Message, **changes: Any) -> str | None:
    with pytest.raises(CannotTranslate) as caught:
        encoded(*messages, **changes)
    return caught.value.param


def texts(message: Document) -> list[str]:
    return [block.get("text", block["type"]) for block in message["content"]]


# --- limits and sampling ------------------------------------------------------------------------


def test_a_request_has_what_the_api_demands() -> None:
    assert written(HI) == {
        "model": "upstream-model",
        "max_tokens": 32_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_a_missing_limit_comes_from_the_table_and_a_large_one_is_capped() -> None:
    """wire-formats, trap 87."""
    can = able(max_output=64_000, default_output=20_000)
    assert written(HI, can=can)["max_tokens"] == 20_000
    document, dropped = encoded(HI, can=can, output=Output(limit=99_000))
    assert (document.document["max_tokens"], dropped) == (64_000, ("output.limit",))


def test_temperature_one_is_accepted_and_the_version_fits() -> None:
    """wire-formats, trap 82."""
    plain, dropped = encoded(HI, can=able(**NEWEST), sampling=Sampling(temperature=1, top_p=1))
    assert ("temperature" in plain.document, plain.version, dropped) == (False, "", ())
    cool, _ = encoded(HI, sampling=Sampling(temperature=0.3, top_k=4))
    assert (cool.document["temperature"], cool.document["top_k"]) == (0.3, 4)
    assert cool.version == "2023-06-01"
    assert refused(HI, can=able(**NEWEST), sampling=Sampling(temperature=0.3)) == "temperature"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"sampling": Sampling(n=2)}, "n"),
        ({"sampling": Sampling(logprobs=True)}, "logprobs"),
        ({"output": Output(modalities=["audio"])}, "modalities"),
        ({"output": Output(limit=0)}, "output.limit"),
        ({"caching": Caching(named="cachedContents/1")}, "caching.named"),
        ({"extra": {"hologram": Extra(1, "lenient")}}, "hologram"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    assert refused(HI, **changes) == param


def test_what_can_be_said_is_said() -> None:
    document = written(
        HI, output=Output(limit=5, stop=["a", "b"]), user="u", tier="standard", stream=True
    )
    assert document["stop_sequences"] == ["a", "b"]
    assert document["metadata"] == {"user_id": "u"}
    assert (document["service_tier"], document["stream"]) == ("standard_only", True)
    assert "service_tier" not in written(HI, tier="flex", metadata={"a": "b"}, store=True)


# --- the history --------------------------------------------------------------------------------


def test_results_stand_first_in_one_user_message() -> None:
    """wire-formats, trap 83."""
    messages = written(
        HI,
        says("assistant", "so", ToolCall("1", "f"), ToolCall("2", "f")),
        says("tool", ToolResult("2", parts=[Text("b")])),
        says("tool", ToolResult("1", parts=[Text("a")])),
        says("user", "and?"),
        tools=[F],
    )["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert texts(messages[1]) == ["so", "tool_use", "tool_use"]
    assert texts(messages[2]) == ["tool_result", "tool_result", "and?"]
    assert [block["tool_use_id"] for block in messages[2]["content"][:2]] == ["1", "2"]


def test_empty_texts_are_removed_and_an_empty_message_goes() -> None:
    """wire-formats, trap 86."""
    messages = written(says("user", "a", " "), says("assistant", ""), says("user", "b"))["messages"]
    assert [texts(message) for message in messages] == [["a", "b"]]


def test_instructions_have_a_field_of_their_own() -> None:
    document = written(says("system", "a"), says("system", "b"), HI, instructions=[Text("first")])
    assert document["system"] == [{"type": "text", "text": each} for each in ("first", "a", "b")]
    assert len(document["messages"]) == 1


def test_the_billing_header_of_another_client_goes_to_nobody() -> None:
    header = Opaque("messages", "billing header", {"text": BILLING}, "silent")
    assert "system" not in written(HI, source="gemini", instructions=[header])


def test_instructions_alone_are_what_the_user_says() -> None:
    document = written(instructions=[Text("Say hi.")])
    assert document["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Say hi."}]}
    ]
    assert "system" not in document


U, A, S = says("user", "u"), says("assistant", "a"), says("system", "s", at="messages[1]")
RESULT: list[Message] = [
    says("assistant", ToolCall("1", "f")),
    says("tool", ToolResult("1", parts=[Text("r")])),
]


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([S, U], ["user"]),  # first: an instruction
        ([U, S], ["user", "system"]),  # last
        ([U, S, A, U], ["user", "system", "assistant", "user"]),
        ([U, S, S, A, U], ["user", "system", "assistant", "user"]),  # two in a row
        ([U, *RESULT, S], ["user", "assistant", "user", "system"]),  # behind results
        ([U, A, S, U], ["user", "assistant", "user"]),  # behind the model
        ([U, S, U], ["user"]),  # before the user
    ],
)
def test_system_turns_stay_or_become_tagged_text(messages: list[Message], roles: list[str]) -> None:
    """wire-formats, trap 90."""
    found = written(*messages, can=able(mid_system=True), tools=[F])["messages"]
    assert [message["role"] for message in found] == roles
    older = written(*messages, tools=[F])["messages"]
    assert "system" not in [message["role"] for message in older]
    tagged = "<system-reminder>\ns\n</system-reminder>"
    said = [text for message in older for text in texts(message)]
    assert any(text == tagged or "\n\n" in text for text in said) is (messages[0] is not S)


def test_a_system_turn_with_a_picture_is_the_users() -> None:
    picture = says("system", "look", Image(url="https://x", at="here"))
    found = written(U, picture, can=able(mid_system=True), rules=Rules(system_tag="note"))
    [message] = found["messages"]
    assert texts(message) == ["u", "<note>\nlook\n</note>", "image"]


def test_a_system_turn_that_says_nothing_is_left_out() -> None:
    declares = says("system", Declaration([F]), " ")
    assert [texts(m) for m in written(U, declares)["messages"]] == [["u"]]


def test_a_model_may_go_on_with_its_own_words_where_it_takes_them() -> None:
    """wire-formats, trap 132."""
    messages = written(U, says("assistant", "The answer is "))["messages"]
    assert texts(messages[-1]) == ["The answer is"]
    newest = able(**NEWEST)
    assert refused(U, says("assistant", "a", at="messages[1]"), can=newest) == "messages[1]"
    appended = written(U, A, can=newest, rules=Rules(append_user_turn=True))["messages"]
    assert [message["role"] for message in appended] == ["user", "assistant", "user"]


def test_a_last_turn_that_ends_on_something_else_stays() -> None:
    signed = Reasoning(["hm"], carrier=Carrier("anthropic-signature", "S", SCOPE))
    [_, last] = written(U, says("assistant", "a ", signed))["messages"]
    assert texts(last) == ["a ", "thinking"]


# --- thinking -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("can", "thinking", "control", "config"),
    [
        (
            NEWEST,
            Thinking("on", "high"),
            {"type": "adaptive", "display": "summarized"},
            {"effort": "high"},
        ),
        (NEWEST, Thinking("off", "none"), {"type": "disabled"}, None),
        (
            NEWEST,
            Thinking("on", "max", show="none"),
            {"type": "adaptive", "display": "omitted"},
            {"effort": "max"},
        ),
        (
            OLDER,
            Thinking("on", "low"),
            {"type": "enabled", "budget_tokens": 2048, "display": "summarized"},
            None,
        ),
        ({}, Thinking("on", "low"), {"type": "adaptive"}, {"effort": "low"}),
        ({"thinking": ()}, Thinking("on", "low"), None, None),
        ({}, Thinking(), None, None),
    ],
)
def test_thinking_is_said_as_the_model_takes_it(
    can: dict[str, Any], thinking: Thinking, control: Document | None, config: Document | None
) -> None:
    document = written(HI, can=able(**can), thinking=thinking)
    assert (document.get("thinking"), document.get("output_config")) == (control, config)


FOREIGN = Reasoning(["hm"], carrier=Carrier("openai-encrypted", "E", SCOPE))
OWN = Reasoning(["hm"], carrier=Carrier("anthropic-signature", "S", SCOPE))


@pytest.mark.parametrize(
    ("thought", "can", "control"),
    [
        (FOREIGN, OLDER, None),
        (OWN, OLDER, "enabled"),
        (FOREIGN, NEWEST, "adaptive"),
    ],
)
def test_foreign_thinking_is_removed_and_thinking_turned_off(
    thought: Reasoning, can: dict[str, Any], control: str | None
) -> None:
    """wire-formats, trap 91."""
    written_, dropped = encoded(
        HI,
        says("assistant", thought, ToolCall("1", "f")),
        says("tool", ToolResult("1")),
        can=able(**can),
        thinking=Thinking("on", "high"),
        tools=[F],
        source="responses",
    )
    document = written_.document
    assert document.get("thinking", {}).get("type") == control
    kinds = [block["type"] for block in document["messages"][1]["content"]]
    assert kinds == (["thinking", "tool_use"] if thought is OWN else ["tool_use"])
    assert dropped == (("thinking",) if control is None else ())


def test_foreign_thinking_without_calls_turns_nothing_off() -> None:
    messages = [HI, says("assistant", FOREIGN, "a"), says("user", "b")]
    document = written(*messages, can=able(**OLDER), thinking=Thinking("on", "high"))
    assert document["thinking"]["type"] == "enabled"


def test_a_forced_call_and_thinking_are_resolved() -> None:
    """wire-formats, trap 92."""
    forced: dict[str, Any] = {"tools": [F], "tool_choice": ToolChoice("required", ("f",))}
    thinking = Thinking("on", "high")
    found, dropped = encoded(HI, can=able(**OLDER), thinking=thinking, **forced)
    assert found.document["thinking"] == {"type": "disabled"}
    assert found.document["tool_choice"] == {"type": "tool", "name": "f"}
    assert dropped == ("thinking",)
    adaptive, dropped = encoded(HI, can=able(**NEWEST), thinking=thinking, **forced)
    assert adaptive.document["thinking"]["type"] == "adaptive"
    assert dropped == ()


# --- the form of the answer ---------------------------------------------------------------------


def test_a_schema_is_the_format_of_the_answer() -> None:
    shape = Shape("schema", name="city", schema=OBJECT, strict=True)
    document = written(HI, output=Output(shape=shape), thinking=Thinking("on", "low"))
    assert document["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": OBJECT | {"additionalProperties": False}},
    }


def test_a_schema_is_a_tool_where_the_model_knows_none() -> None:
    shape = Shape("schema", schema=OBJECT)
    can = able(**OLDER, native_schema=False)
    found, dropped = encoded(
        HI, can=can, output=Output(shape=shape), thinking=Thinking("on", "low")
    )
    assert found.shaped_by == "json_output"
    assert found.document["tool_choice"] == {"type": "tool", "name": "json_output"}
    assert found.document["thinking"] == {"type": "disabled"}
    assert "output_config" not in found.document
    assert dropped == ("thinking",)


@pytest.mark.parametrize("opening", [(), (says("user", " "),)])
def test_the_first_message_is_the_users(opening: tuple[Message, ...]) -> None:
    """wire-formats 4: interfaces that greet begin with the model's words."""
    found, dropped = encoded(*opening, says("assistant", "Hello."), HI)
    first, second, _ = found.document["messages"]
    assert first == {"role": "user", "content": [{"type": "text", "text": BEGUN}]}
    assert second["content"] == [{"type": "text", "text": "Hello."}]
    assert dropped == ()


@pytest.mark.parametrize(
    ("said", "system"),
    [("Be kind.", ["Be kind.", controls.JSON_ONLY]), ("Use JSON.", ["Use JSON."])],
)
def test_any_json_is_asked_for_in_words(said: str, system: list[str]) -> None:
    json = Output(shape=Shape("json"))
    found, dropped = encoded(HI, instructions=[Text(said)], output=json)
    assert [block["text"] for block in found.document["system"]] == system
    assert dropped == ("shape",)


# --- counting, and the same twice ---------------------------------------------------------------


def test_a_count_is_asked_for_without_what_a_count_has_not() -> None:
    asked = request("gemini", HI, tools=[F], output=Output(limit=5), stream=True, user="u")
    found = encode_count(asked, going("messages"))
    assert set(found.document) == {"model", "messages", "tools"}


def test_the_same_history_is_written_to_the_same_bytes() -> None:
    """wire-formats, trap 151."""
    shape = Output(shape=Shape("schema", schema=OBJECT))
    asked = request(
        "gemini",
        HI,
        says("assistant", ToolCall("", "a.b", '{"z":1,"a":2}'), Reasoning(["x"])),
        says("user", ToolResult("", "a.b", [Text("r")]), "go"),
        tools=[Function(name="a.b", schema=OBJECT)],
        output=shape,
    )
    first = orjson.dumps(encode(asked, going("messages")).document)
    assert orjson.dumps(encode(asked, going("messages")).document) == first


# --- natively -----------------------------------------------------------------------------------

NATIVE: Document = {
    "model": "upstream-model",
    "max_tokens": 0,
    "system": [{"type": "text", "text": f"{BILLING} cch=1"}, {"type": "text", "text": "s"}],
    "messages": [
        {"role": "assistant", "content": [{"type": "text", "text": ""}], "x": 1},
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
    ],
    "tools": [{"name": "f", "input_schema": OBJECT, "defer_loading": True}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted", "y": 2},
    "temperature": 1,
    "top_p": 0.5,
    "top_k": 3,
    "stop_sequences": [" "],
    "metadata": {"user_id": "u", "z": 3},
    "service_tier": "standard_only",
    "stream": True,
    "cache_control": {"type": "ephemeral", "ttl": "1h"},
    "output_config": {
        "effort": "low",
        "format": {"type": "json_schema", "schema": OBJECT},
        "task_budget": 5,
    },
    "container": "c",
}


def natively(document: Document) -> Written:
    asked: Request = decode(document, paths.Target("messages", "generate"))
    return encode(asked, going("messages"))


def test_natively_a_request_is_written_as_it_came() -> None:
    found = natively(NATIVE)
    assert found.document == NATIVE
    assert found.version == "2023-06-01"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"output_format": {"type": "json_schema", "schema": OBJECT}},
        {"thinking": {"type": "adaptive"}},
        {"output_config": {"effort": "max"}},
    ],
)
def test_natively_nothing_is_put_in(members: Document) -> None:
    document = {"model": "upstream-model", "messages": [], **members}
    found = natively(document)
    assert (found.document, found.version) == (document, "")
