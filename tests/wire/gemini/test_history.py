"""The history of a request, written for Google."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.gemini.history import UNSIGNED, History
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.names import Names
from relayd.wire.neutral import Declaration, Function, Message, Request
from relayd.wire.parts import (
    Audio,
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
from relayd.wire.setting import Going, Rules, nothing_remembered

OURS = Carrier("gemini-signature", "c2ln", "account")
SIGNING = replace(UNKNOWN, signatures=True)


def user(*parts: Part | str) -> Message:
    return Message("user", [Text(each) if isinstance(each, str) else each for each in parts], "u")


def model(*parts: Part) -> Message:
    return Message("assistant", list(parts), "m")


def results(*ids: str) -> Message:
    return Message("tool", [ToolResult(each, parts=[Text("ok")], at="t") for each in ids])


def called(call_id: str = "1", name: str = "f", **more: Any) -> ToolCall:
    return ToolCall(call_id, name, "{}", at="m.calls[0]", **more)


def written(
    *messages: Message,
    can: Capability = UNKNOWN,
    rules: Rules | None = None,
    lenient: bool = False,
    remembered: Any = nothing_remembered,
    source: Any = "chat",
    instructions: list[Part] | None = None,
) -> tuple[list[Document], list[Document]]:
    request = Request(
        source=source, model="m", messages=list(messages), instructions=instructions or []
    )
    losses = Losses("gemini", lenient=lenient)
    going = Going(
        "gemini", "m", can, losses, "account", rules=rules or Rules(), remembered=remembered
    )
    return History(request, going, Names((), "gemini")).contents()


def contents(*messages: Message, **how: Any) -> list[Document]:
    return written(*messages, **how)[1]


def parts(*found: Part, **how: Any) -> list[Document]:
    [content] = contents(user(*found), **how)
    said: list[Document] = content["parts"]
    return said


# --- turns --------------------------------------------------------------------------------------


def test_nothing_empty_is_sent() -> None:
    """wire-formats, trap 107."""
    silent = Message("system", [Text("")])
    said, found = written(silent, user(""), model(Text("")), user("a", "", Refusal("")))
    assert (said, found) == ([], [{"role": "user", "parts": [{"text": "a"}]}])


def test_turns_alternate() -> None:
    found = contents(user("a"), user("b"), model(Text("c")), model(Text("d")), user("e"))
    assert [(each["role"], len(each["parts"])) for each in found] == [
        ("user", 2),
        ("model", 2),
        ("user", 1),
    ]


def test_instructions_stand_apart_and_alone_are_the_users() -> None:
    system = Message("system", [Text("be brief")])
    assert written(system, user("a")) == (
        [{"text": "be brief"}],
        [{"role": "user", "parts": [{"text": "a"}]}],
    )
    assert written(system) == ([], [{"role": "user", "parts": [{"text": "be brief"}]}])


def test_a_later_system_message_is_the_users_in_a_tag() -> None:
    picture = Image(mime="image/png", data="AAAA")
    later = Message("system", [Text("x"), picture, Text("y")])
    [first, _, last] = contents(user("a"), model(Text("b")), later, user("c"))
    tag, image, text = last["parts"]
    assert tag == {"text": "<system-reminder>\nx\n\ny\n</system-reminder>"}
    assert "inlineData" in image
    assert text == {"text": "c"}
    assert first["role"] == last["role"] == "user"


def test_a_declaration_in_the_middle_is_no_content() -> None:
    declared = Message("system", [Declaration([Function(name="f")])])
    assert len(contents(user("a"), model(Text("b")), declared, user("c"))) == 3


def test_results_are_as_many_as_calls_and_in_their_order() -> None:
    """wire-formats, trap 119."""
    calls = model(called("1", "f"), called("2", "g"))
    [_, _, answers] = contents(user("a"), calls, results("2"), results("1"), user("b"))
    assert [part.get("functionResponse", part) for part in answers["parts"]] == [
        {"name": "f", "response": {"output": "ok"}, "id": "1"},
        {"name": "g", "response": {"output": "ok"}, "id": "2"},
        {"text": "b"},
    ]


def test_a_history_ending_on_the_model_is_refused_or_gets_a_user_turn() -> None:
    """wire-formats, trap 132."""
    turns = (user("a"), model(Text("b")))
    assert len(contents(*turns)) == 2
    picky = replace(UNKNOWN, prefill=False)
    with pytest.raises(CannotTranslate) as refused:
        contents(*turns, can=picky)
    assert refused.value.param == "m"
    for how in ({"rules": Rules(append_user_turn=True)}, {"lenient": True}):
        assert contents(*turns, can=picky, **how)[-1]["role"] == "user"


def test_a_history_opening_with_a_call_is_refused() -> None:
    """wire-formats, trap 133."""
    with pytest.raises(CannotTranslate) as refused:
        contents(model(called()), results("1"))
    assert refused.value.param == "m.calls[0]"
    assert contents(model(Text("Hello!")), user("a"))[0]["role"] == "model"


# --- calls and results --------------------------------------------------------------------------


def test_call_ids_are_left_out_where_the_model_has_none() -> None:
    """wire-formats, trap 125."""
    turns = (user("a"), model(called()), results("1"))
    [_, calls, answers] = contents(*turns, can=replace(UNKNOWN, call_ids=False))
    assert calls["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
    assert answers["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "ok"}}}]
    [_, calls, answers] = contents(*turns)
    assert calls["parts"][0]["functionCall"]["id"] == "1"
    assert answers["parts"][0]["functionResponse"]["id"] == "1"


def test_a_result_is_an_object_and_a_ref_is_no_reference() -> None:
    """wire-formats, trap 120."""
    said = '{"$ref": "#/x"}'
    answers = Message("tool", [ToolResult("1", parts=[Text(said), Text("more")])])
    [*_, found] = contents(user("a"), model(called()), answers)
    assert found["parts"][0]["functionResponse"]["response"] == {"output": f"{said}\nmore"}


def test_a_failed_result_is_an_error() -> None:
    answers = Message("tool", [ToolResult("1", parts=[Text("no")], failed=True)])
    [*_, found] = contents(user("a"), model(called()), answers)
    assert found["parts"][0]["functionResponse"]["response"] == {"error": "no"}


def test_a_picture_in_a_result_is_inside_or_behind() -> None:
    picture = Image(mime="image/png", data="AAAA")
    plain = File(plain="a,b")
    answers = [Message("tool", [ToolResult("1", parts=[each])]) for each in (picture, plain)]
    blob = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    turns = (user("a"), model(called()))
    [*_, inside] = contents(*turns, answers[0])
    assert inside["parts"][0]["functionResponse"]["parts"] == [blob]
    [*_, behind] = contents(*turns, answers[0], can=replace(UNKNOWN, result_media=False))
    assert behind["parts"][1] == blob
    [*_, text] = contents(*turns, answers[1])
    assert text["parts"][1] == {"text": "a,b"}


def test_calls_have_names_that_google_takes() -> None:
    call = ToolCall("1", "search", "{}", namespace="web")
    [_, calls, answers] = contents(user("a"), model(call), results("1"))
    assert calls["parts"][0]["functionCall"]["name"] == "web__search"
    assert answers["parts"][0]["functionResponse"]["name"] == "web__search"


@pytest.mark.parametrize(
    ("call", "args"),
    [
        (ToolCall("1", "f", ""), {}),
        (ToolCall("1", "f", '{"a": 1}'), {"a": 1}),
        (ToolCall("1", "f", "*** patch", custom=True), {"input": "*** patch"}),
    ],
)
def test_arguments_are_an_object(call: ToolCall, args: Any) -> None:
    [_, calls, _] = contents(user("a"), model(call), results("1"))
    assert calls["parts"][0]["functionCall"]["args"] == args


@pytest.mark.parametrize(
    ("source", "param"),
    [
        ("chat", "m.function.arguments"),
        ("responses", "m.arguments"),
        ("messages", "m"),
    ],
)
@pytest.mark.parametrize("arguments", ["{", "[1]", "7"])
def test_arguments_that_are_no_object_are_refused(source: str, param: str, arguments: str) -> None:
    turns = (user("a"), model(ToolCall("1", "f", arguments, at="m")), results("1"))
    with pytest.raises(CannotTranslate) as refused:
        contents(*turns, source=source)
    assert refused.value.param == param


# --- signatures ---------------------------------------------------------------------------------


def signatures(*turns: Message, **how: Any) -> list[list[str | None]]:
    """Of the calls of each turn of the model's."""
    found = contents(*turns, **how)
    return [
        [part.get("thoughtSignature") for part in each["parts"] if "functionCall" in part]
        for each in found
        if each["role"] == "model"
    ]


def remember(call_id: str) -> Carrier | None:
    return OURS if call_id == "1" else None


FOREIGN = replace(OURS, scope="elsewhere")


@pytest.mark.parametrize(
    ("calls", "found", "remembered"),
    [
        ([called("1", carrier=OURS), called("2")], ["c2ln", None], nothing_remembered),
        ([called("1"), called("2")], ["c2ln", None], remember),
        ([called("1"), called("2")], [UNSIGNED, None], nothing_remembered),
        ([called("1", carrier=FOREIGN)], [UNSIGNED], nothing_remembered),
        (
            [called("1", carrier=Carrier("anthropic-signature", "x"))],
            [UNSIGNED],
            nothing_remembered,
        ),
    ],
)
def test_signatures_come_back_to_their_parts(
    calls: list[Part], found: list[str | None], remembered: Any
) -> None:
    """wire-formats, trap 122."""
    answers = results(*(call.id for call in calls if isinstance(call, ToolCall)))
    turns = (user("a"), model(*calls), answers)
    assert signatures(*turns, can=SIGNING, remembered=remembered) == [found]


def test_each_step_of_the_turn_that_goes_on_is_signed_and_no_other() -> None:
    """wire-formats, trap 122."""
    old = (user("a"), model(called("1")), results("1"), model(Text("done")))
    now = (user("b"), model(called("2")), results("2"), model(called("3")), results("3"))
    assert signatures(*old, *now, can=SIGNING) == [[None], [], [UNSIGNED], [UNSIGNED]]
    assert signatures(*old, *now) == [[None], [], [None], [None]]
    assert signatures(user("a"), model(Text("b")), can=SIGNING) == [[]]


@pytest.mark.parametrize("between", [[], [Message("system", [Text("s")], "s")]])
def test_what_is_said_beside_results_does_not_end_the_turn(between: list[Message]) -> None:
    """wire-formats, trap 122: one content with results is one, however the client wrote it."""
    turns = (user("a"), model(called("1")), results("1"), *between, user("b"))
    assert signatures(*turns, can=SIGNING) == [[UNSIGNED]]


def test_a_history_of_the_models_words_alone_has_nothing_to_sign() -> None:
    assert signatures(model(Text("x")), can=SIGNING) == [[]]


def test_a_later_system_message_between_answers_begins_a_turn() -> None:
    said = (user("a"), model(called("1")), results("1"), model(Text("x")))
    now = (Message("system", [Text("s")], "s"), model(called("2")), results("2"))
    assert signatures(*said, *now, can=SIGNING) == [[None], [], [UNSIGNED]]


def test_a_signature_of_a_text_stands_on_it() -> None:
    signed = Reasoning([], carrier=OURS)
    [_, said] = contents(user("a"), model(Text("b"), signed, signed))
    assert said["parts"] == [
        {"text": "b", "thoughtSignature": "c2ln"},
        {"text": "", "thoughtSignature": "c2ln"},
    ]


def test_thinking_of_this_account_goes_back_and_no_other() -> None:
    others = Reasoning(["elsewhere"], carrier=replace(OURS, scope="elsewhere"))
    ours = Reasoning(["hm", "so"], carrier=OURS)
    [_, said] = contents(user("a"), model(Reasoning(["plain"]), others, ours, Text("b")))
    assert said["parts"] == [
        {"text": "hm\n\nso", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "b"},
    ]


# --- media --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "document"),
    [
        (
            Image(mime="image/png", data="AAAA", name="a.png"),
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        ),
        (
            Audio(mime="audio/wav", data="AAAA"),
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        ),
        (
            File(data="AAAA"),
            {"inlineData": {"mimeType": "application/octet-stream", "data": "AAAA"}},
        ),
        (File(plain="text"), {"text": "text"}),
        (
            Image(mime="image/png", url="gs://a/b"),
            {"fileData": {"mimeType": "image/png", "fileUri": "gs://a/b"}},
        ),
    ],
)
def test_media_are_inline_or_where_google_reads_them(part: Part, document: Document) -> None:
    assert parts(part, can=replace(UNKNOWN, image_urls=False)) == [document]


def test_a_type_that_nobody_named_is_seen() -> None:
    [document] = parts(Image(data="iVBORw0KGgo="))
    assert document["inlineData"]["mimeType"] == "image/png"


@pytest.mark.parametrize(
    ("part", "can"),
    [
        (Image(file_id="file-1", at="p"), UNKNOWN),
        (Image(url="https://e.org/a.png", at="p"), replace(UNKNOWN, image_urls=False)),
        (Video(mime="video/mp4", data="AAAA", at="p"), replace(UNKNOWN, inputs=("text",))),
    ],
)
def test_what_the_model_cannot_read_is_refused(part: Part, can: Capability) -> None:
    with pytest.raises(CannotTranslate) as refused:
        parts(part, can=can)
    assert refused.value.param == "p"


def test_a_model_that_fetches_gets_addresses() -> None:
    [document] = parts(Image(mime="image/png", url="https://e.org/a.png"))
    assert document["fileData"]["fileUri"] == "https://e.org/a.png"


def test_what_was_lost_before_is_not_written() -> None:
    assert parts(Opaque("messages", "x", {}), Text("a")) == [{"text": "a"}]


def test_it_shows_where_the_request_came_from() -> None:
    request = Request(source="chat", model="m", messages=[])
    going = Going("gemini", "m", UNKNOWN, Losses("gemini"))
    assert repr(History(request, going, Names((), "gemini"))) == "<History of a chat request>"
