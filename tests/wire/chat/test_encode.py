"""Requests of the hub, written as chat requests (wire-formats 8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relayd.wire import controls, envelope
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.chat.decode import decode
from relayd.wire.chat.details import behind_text, carrier, of_call, told
from relayd.wire.chat.encode import _Encoder, encode
from relayd.wire.losses import CannotTranslate
from relayd.wire.neutral import Declaration, Function, Message, Output, Request, Shape
from relayd.wire.parts import (
    Audio,
    Cache,
    Carrier,
    Document,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from relayd.wire.paths import Target
from relayd.wire.setting import Going, Rules
from tests.wire.ways import SCOPE, able, going, request, says

CHAT = Target("chat", "generate")
CALL = ToolCall("c", "f", '{"a":1}', at="call")
RESULT = ToolResult("c", parts=[Text("r")], at="result")
WRITTEN_CALL = {
    "id": "c",
    "type": "function",
    "function": {"name": "f", "arguments": '{"a":1}'},
}


def written(
    *messages: Message, can: Capability = UNKNOWN, way: Going | None = None, **changes: Any
) -> Document:
    """The body that messages of another format become."""
    return encode(request("messages", *messages, **changes), way or going("chat", can)).document


def said(*messages: Message, **changes: Any) -> list[Document]:
    """The messages that messages of another format become."""
    found: list[Document] = written(*messages, **changes)["messages"]
    return found


def called(*more: Part) -> list[Message]:
    """A call and its result, with more of the user's."""
    return [says("user", "q"), says("assistant", CALL), says("user", RESULT, *more)]


def refused(*messages: Message, **changes: Any) -> str | None:
    """What a refusal names."""
    with pytest.raises(CannotTranslate) as caught:
        said(*messages, **changes)
    return caught.value.param


# --- turns --------------------------------------------------------------------------------------


def test_instructions_come_first_and_later_system_turns_stay_where_they_stood() -> None:
    found = said(
        says("system", "b"),
        says("user", "c"),
        says("system", "d"),
        says("user", "e"),
        instructions=[Text("a")],
    )

    assert [each["role"] for each in found] == ["system", "user", "system", "user"]
    assert found[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert found[2]["content"] == "d"


def test_a_result_is_a_message_of_its_own_and_the_rest_follows_it() -> None:
    assert said(*called(Text("and"))) == [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [WRITTEN_CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
        {"role": "user", "content": "and"},
    ]


def test_what_the_system_shows_is_shown_by_the_user() -> None:
    """Only the user's messages have pictures."""
    picture = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    image = Image(url="https://a/b.png")
    found = said(says("user", "Hi"), says("system", "Look.", image), says("user", "And?"))
    assert found[1:3] == [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [picture]},
    ]
    assert said(says("system", image), says("user", "Hi"))[0]["role"] == "user"


def test_who_demands_any_json_says_so() -> None:
    """OpenAI refuses the demand where no message has the word."""
    asked = says("user", "Hi")
    [first, _] = said(asked, output=Output(shape=Shape("json")))
    assert first == {"role": "system", "content": controls.JSON_ONLY}
    assert len(said(says("user", "as JSON"), output=Output(shape=Shape("json")))) == 1


def test_text_and_calls_of_a_turn_stay_together() -> None:
    [_, turn, *_] = said(says("user", "q"), says("assistant", "a", CALL), says("tool", RESULT))

    assert turn == {"role": "assistant", "content": "a", "tool_calls": [WRITTEN_CALL]}


def test_a_picture_in_a_result_is_said_by_the_user_behind_it() -> None:
    """wire-formats, trap 61."""
    picture = Image(mime="image/png", data="aGk=", at="picture")
    result = replace(RESULT, parts=[Text("r"), picture])
    found = said(says("user", "q"), says("assistant", CALL), says("user", result, "and"))

    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert found[2]["content"] == "r"
    assert found[3]["content"] == [url, {"type": "text", "text": "and"}]


def test_that_a_result_is_an_error_is_reported_as_lost() -> None:
    way = going("chat")
    failed = replace(RESULT, failed=True, parts=[])
    found = said(says("user", "q"), says("assistant", CALL), says("user", failed), way=way)

    assert found[2] == {"role": "tool", "tool_call_id": "c", "content": ""}
    assert way.losses.dropped == ("result.is_error",)


def test_what_says_nothing_is_left_out() -> None:
    agreed = Opaque("messages", "tool_reference", {}, at="o", loss="silent")
    declared = Declaration([Function(at="t", name="f")], at="d")

    found = said(
        says("user", "", "a", agreed),
        says("assistant", Reasoning(["t"], at="t"), ""),
        says("system", declared),
        says("user", ""),
    )

    assert found == [{"role": "user", "content": "a"}]


def test_ids_that_chat_does_not_take_are_hashed_alike() -> None:
    long = "x" * 100
    found = said(
        says("user", "q"),
        says("assistant", replace(CALL, id=long)),
        says("user", replace(RESULT, id=long)),
    )

    call_id = found[1]["tool_calls"][0]["id"]
    assert len(call_id) <= 64
    assert found[2]["tool_call_id"] == call_id


@pytest.mark.parametrize("arguments", ["", " "])
def test_a_call_without_arguments_has_an_empty_object(arguments: str) -> None:
    call = replace(CALL, arguments=arguments)
    [_, turn, _] = said(says("user", "q"), says("assistant", call), says("user", RESULT))

    assert turn["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_custom_call_is_one_where_the_model_knows_them_else_a_function() -> None:
    history = [
        says("user", "q"),
        says("assistant", replace(CALL, arguments="x", custom=True)),
        says("user", RESULT),
    ]

    [_, known, _] = said(*history, can=able(custom_tools=True))
    [_, unknown, _] = said(*history)

    assert known["tool_calls"][0]["custom"] == {"name": "f", "input": "x"}
    assert unknown["tool_calls"][0]["function"]["arguments"] == '{"input":"x"}'


def test_a_refusal_of_the_models_is_one() -> None:
    [_, turn] = said(says("user", "q"), says("assistant", Refusal("no"), Refusal(".")))

    assert turn == {"role": "assistant", "content": None, "refusal": "no."}


def test_the_same_history_is_written_to_the_same_beginning() -> None:
    """wire-formats, trap 151."""
    first = said(*called())
    second = said(*called(), says("assistant", "b"), says("user", "c"))

    assert second[: len(first)] == first


# --- parts --------------------------------------------------------------------------------------


def test_a_picture_url_stays_a_url() -> None:
    """wire-formats, trap 88."""
    picture = Image(url="https://x/y.png", detail="low")

    assert said(says("user", picture))[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
    ]


def test_files_and_sound_are_inline() -> None:
    pdf = File(mime="application/pdf", data="aGk=", name="n")
    heard = Audio(mime="audio/wav", data="aGk=")
    plain = File(plain="text")

    assert said(says("user", pdf, heard, plain))[0]["content"] == [
        {
            "type": "file",
            "file": {"filename": "n.pdf", "file_data": "data:application/pdf;base64,aGk="},
        },
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        {"type": "text", "text": "text"},
    ]


def test_what_a_client_says_about_a_file_is_reported_as_lost() -> None:
    way = going("chat")

    said(says("user", File(plain="text", context="c", at="f")), way=way)

    assert way.losses.dropped == ("f.context",)


@pytest.mark.parametrize(
    "part",
    [
        Image(file_id="f"),
        Image(url="gs://x"),
        File(file_id="f"),
        File(url="https://x/y.pdf"),
        Audio(mime="audio/ogg", data="aGk="),
        Audio(mime="audio/wav", url="https://x"),
        Video(url="https://x"),
        Opaque("messages", "server_tool_use", {}),
    ],
)
def test_what_cannot_be_read_there_is_refused(part: Part) -> None:
    """wire-formats 12, numbers 7, 8, 11, 15 and 23."""
    part.at = "here"

    assert refused(says("user", part)) == "here"


@pytest.mark.parametrize(
    "history",
    [
        [says("user", CALL)],
        [says("user", "q"), says("assistant", ToolResult("c", at="call"))],
    ],
)
def test_what_stands_where_it_cannot_is_refused(history: list[Message]) -> None:
    assert refused(*history) == "call"


@pytest.mark.parametrize("part", [Image(data="aGk="), File(data="aGk="), Audio(data="aGk=")])
def test_what_the_model_cannot_read_is_refused(part: Part) -> None:
    part.at = "here"

    assert refused(says("user", part), can=able(inputs=("text",))) == "here"


@pytest.mark.parametrize("part", [File(plain="a", at="here"), Audio(data="aGk=", at="here")])
def test_a_model_speaks_and_draws_but_attaches_nothing(part: Part) -> None:
    """wire-formats 12, number 20."""
    assert refused(says("user", "q"), says("assistant", part)) == "here"


def test_a_picture_that_a_model_drew_is_missed() -> None:
    drawn = Image(mime="image/png", data="aGk=", at="here")
    history = [says("user", "q"), says("assistant", "a", drawn)]

    assert refused(*history) == "here"
    way = going("chat", lenient=True)
    assert said(*history, way=way)[1] == {"role": "assistant", "content": "a"}
    assert way.losses.dropped == ("here",)


# --- thinking -----------------------------------------------------------------------------------


def test_thinking_goes_back_to_its_own_host_where_it_stood() -> None:
    entries = [{"type": "reasoning.encrypted", "data": "e"}]
    first = Reasoning(["a", "b"], carrier=replace(carrier("reasoning", entries), scope=SCOPE))
    second = Reasoning(["c"], carrier=replace(carrier("reasoning", entries), scope=SCOPE))
    third = Reasoning(["d"], carrier=replace(carrier("content", []), scope=SCOPE))

    [_, turn] = said(says("user", "q"), says("assistant", first, second, third, "a"))

    assert turn == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "d"}]},
            {"type": "text", "text": "a"},
        ],
        "reasoning": "a\n\nb\n\nc",
        "reasoning_details": [*entries, *entries],
    }


def test_thinking_without_text_goes_back_as_details() -> None:
    entries = [{"type": "reasoning.encrypted", "data": "e"}]
    part = Reasoning([], carrier=replace(carrier("", entries), scope=SCOPE))

    [_, turn] = said(says("user", "q"), says("assistant", part))

    assert turn == {"role": "assistant", "content": None, "reasoning_details": entries}


@pytest.mark.parametrize(
    "sealed",
    [
        None,
        Carrier("anthropic-signature", "s", SCOPE),
        replace(carrier("reasoning", []), scope="another"),
    ],
)
def test_thinking_of_another_provider_is_left_out(sealed: Carrier | None) -> None:
    [_, turn] = said(says("user", "q"), says("assistant", Reasoning(["t"], carrier=sealed), "a"))

    assert turn == {"role": "assistant", "content": "a"}


def test_what_stood_beside_a_call_goes_back_to_its_own_host() -> None:
    beside = {"google": {"thought_signature": "s"}}
    sealed = of_call(beside)
    assert sealed is not None

    def call(scope: str) -> Document:
        part = replace(CALL, carrier=replace(sealed, scope=scope))
        history = [says("user", "q"), says("assistant", part), says("user", RESULT)]
        found: Document = said(*history)[1]["tool_calls"][0]
        return found

    assert call(SCOPE) == WRITTEN_CALL | {"extra_content": beside}
    assert call("another") == WRITTEN_CALL


# --- cache marks --------------------------------------------------------------------------------


def test_marks_become_breakpoints_where_the_model_knows_them() -> None:
    """wire-formats, trap 163."""
    can = able(cache_marks=4)
    system = [Text("s", cache=Cache("1h"))]
    result = replace(RESULT, cache=Cache())
    history = [
        says("user", Text("q", cache=Cache("5m"))),
        says("assistant", CALL),
        says("user", result),
    ]
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}

    body = written(*history, can=can, instructions=system)

    found = body["messages"]
    assert found[0]["content"] == [{"type": "text", "text": "s"} | mark]
    assert found[1]["content"] == [{"type": "text", "text": "q"} | mark]
    assert found[3]["content"] == [{"type": "text", "text": "r"} | mark]
    assert len(body["prompt_cache_key"]) == 24


def test_marks_live_as_long_as_the_operator_has_it() -> None:
    way = going("chat", able(cache_marks=4), rules=Rules(longest_ttl="12h"))
    marked = [Text("s", cache=Cache("1h")), Text("t", cache=Cache("5m"))]

    [first, second] = said(says("user", *marked), way=way)[0]["content"]

    assert first["prompt_cache_breakpoint"] == {"mode": "explicit", "ttl": "12h"}
    assert second["prompt_cache_breakpoint"] == {"mode": "explicit"}


def test_marks_are_left_out_where_the_model_knows_none() -> None:
    body = written(says("user", Text("q", cache=Cache())))

    assert body["messages"] == [{"role": "user", "content": "q"}]
    assert "prompt_cache_key" not in body


def test_only_text_can_be_marked_where_nothing_was_said() -> None:
    result = replace(RESULT, cache=Cache(), parts=[])
    history = [says("user", "q"), says("assistant", CALL), says("user", result)]

    assert said(*history, can=able(cache_marks=4))[2]["content"] == ""


# --- the same format ----------------------------------------------------------------------------


def same(*messages: Document) -> list[Document]:
    """Chat messages, read and written again."""
    asked: Request = decode({"model": "m", "messages": list(messages)}, CHAT)
    found: list[Document] = encode(asked, going("chat")).document["messages"]
    return found


FUNCTION = {"name": "f", "arguments": "{}"}
PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "developer", "content": "a", "name": "n"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, PNG]},
        {"role": "user", "content": [PNG | {"cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [{"type": "text", "text": "a", "odd": 1}]},
        {"role": "user", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "flac"}},
                {"type": "file", "file": {"file_id": "f"}},
                {"type": "file", "file": {"filename": "n", "file_data": "data:a/b;base64,aGk="}},
                {"type": "file", "file": {"file_data": "aGk="}},
                {"type": "document_url", "document_url": "https://x", "document_name": "n"},
                {"type": "video_url", "video_url": {"url": "https://x"}},
                {"type": "odd", "odd": 1},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "a"}],
            "refusal": "no",
            "images": [PNG],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "t"}], "closed": True},
                {"type": "text", "text": "a"},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning": "t",
            "reasoning_details": [{"type": "reasoning.text", "text": "t"}],
            "prefix": True,
            "tool_calls": [
                WRITTEN_CALL | {"extra_content": {"google": {"thought_signature": "s"}}},
                {"id": "d", "type": "custom", "custom": {"name": "g", "input": "x"}},
            ],
        },
        {"role": "assistant", "content": None, "function_call": FUNCTION},
        {"role": "function", "name": "f", "content": "r"},
        {"role": "tool", "tool_call_id": "x" * 80, "content": "r", "is_error": True},
        {"role": "tool", "tool_call_id": "c", "content": [PNG, {"type": "text", "text": "r"}]},
    ],
)
def test_messages_of_the_same_format_stay_as_they_were(message: Document) -> None:
    assert same(message) == [message]


def test_envelopes_of_others_go_to_nobody() -> None:
    sealed = envelope.wrap(Carrier("gemini-signature", "s", call_id="c"), SCOPE)
    beside = {"google": {"thought_signature": sealed}}
    message = {
        "role": "assistant",
        "content": "a",
        "reasoning_content": "t",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "t"},
            {"type": "reasoning.encrypted", "data": sealed},
        ],
        "tool_calls": [WRITTEN_CALL | {"extra_content": beside}],
    }

    assert same(message) == [{"role": "assistant", "content": "a", "tool_calls": [WRITTEN_CALL]}]


def test_a_text_that_thinking_stood_in_is_one_text_to_the_same_format() -> None:
    sealed = envelope.wrap(Carrier("anthropic-signature", "s"), "other")
    entries = told(["t"], sealed, behind_text(1), raw=True)
    message = {"role": "assistant", "content": "ab", "reasoning_details": entries}
    assert same(message) == [{"role": "assistant", "content": "ab"}]


def test_no_envelope_goes_to_the_same_format_in_a_part_that_nobody_reads() -> None:
    sealed = envelope.wrap(Carrier("openai-encrypted", "s", "other"), "other")
    part = {"type": "hologram", "signature": sealed, "of": "a cat"}
    [message] = same({"role": "user", "content": [part]})
    assert message["content"] == [{"type": "hologram", "of": "a cat"}]


def test_it_tells_its_state() -> None:
    assert repr(_Encoder(request("gemini"), going("chat"))) == "<_Encoder gemini -> chat>"
