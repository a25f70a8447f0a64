"""The items of a request, read into messages."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire import envelope
from relayd.wire.losses import CannotTranslate, Losses
from relayd.wire.neutral import Declaration, Message
from relayd.wire.parts import (
    Audio,
    Carrier,
    File,
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from relayd.wire.responses.items import messages

PNG = "data:image/png;base64,iVBORw0KGgo="


def read(*items: Any) -> list[Message]:
    return messages({"input": list(items)})


def part(said: Any, role: str = "user") -> Any:
    (message,) = read({"role": role, "content": [said]})
    return message.parts[0]


def call(number: int) -> dict[str, str]:
    return {"type": "function_call", "call_id": f"c{number}", "name": "f", "arguments": "{}"}


# --- messages -----------------------------------------------------------------------------------


def test_an_item_with_a_role_is_a_message() -> None:
    """wire-formats, trap 53."""
    texts = [
        messages({"input": "Hi"}),
        read({"role": "user", "content": "Hi"}),
        read({"type": "message", "role": "user", "content": "Hi"}),
        read({"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}),
    ]
    for found in texts:
        assert [message.role for message in found] == ["user"]
        assert [p.text for p in found[0].parts if isinstance(p, Text)] == ["Hi"]


@pytest.mark.parametrize(
    ("spoken", "role"),
    [("developer", "system"), ("system", "system"), ("user", "user"), ("assistant", "assistant")],
)
def test_a_role_keeps_its_own_word(spoken: str, role: str) -> None:
    (found,) = read({"role": spoken, "content": "x"})
    assert (found.role, found.spoken) == (role, spoken)


def test_calls_in_a_row_are_one_turn() -> None:
    """wire-formats, trap 59; with what was thought and said around them."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    said = {"type": "message", "role": "assistant", "content": "I look."}
    outputs = [{"type": "function_call_output", "call_id": f"c{n}", "output": "x"} for n in (1, 2)]
    found = read(thought, said, call(1), call(2), *outputs, {"role": "user", "content": "And?"})
    assert [message.role for message in found] == ["assistant", "tool", "tool", "user"]
    assert [type(p) for p in found[0].parts] == [Reasoning, Text, ToolCall, ToolCall]


def test_phase_survives_its_own_format_and_is_dropped_elsewhere() -> None:
    """wire-formats, trap 62."""
    (found,) = read({"role": "assistant", "content": "x", "phase": "commentary"})
    item = found.parts[0].item
    assert item is not None
    assert item.extra["phase"].value == "commentary"
    losses = Losses("chat")
    losses.parts(found.parts)
    assert losses.dropped == ()


# --- parts --------------------------------------------------------------------------------------


def test_texts_refusals_and_pictures_are_read() -> None:
    assert part({"type": "output_text", "text": "x", "annotations": [1]}).text == "x"
    assert isinstance(part({"type": "refusal", "refusal": "no"}, "assistant"), Refusal)
    image = part({"type": "input_image", "image_url": PNG, "detail": "low"})
    assert (image.mime, image.data, image.detail) == ("image/png", "iVBORw0KGgo=", "low")
    assert part({"type": "input_image", "image_url": "https://a/b.png"}).url == "https://a/b.png"
    assert part({"type": "input_image", "file_id": "file-1"}).file_id == "file-1"


def test_files_are_read_in_all_their_forms() -> None:
    pdf = "JVBERi0xLjQ="
    for data in (f"data:application/pdf;base64,{pdf}", pdf):
        found = part(
            {"type": "input_file", "filename": "a.pdf", "file_data": data, "detail": "high"}
        )
        assert isinstance(found, File)
        assert (found.mime, found.data, found.name) == ("application/pdf", pdf, "a.pdf")
        assert found.detail == "high"
    assert part({"type": "input_file", "file_url": "https://a/b.pdf"}).url == "https://a/b.pdf"
    assert part({"type": "input_file", "file_id": "file-1"}).file_id == "file-1"


def test_sound_is_read() -> None:
    found = part({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}})
    assert isinstance(found, Audio)
    assert (found.mime, found.data) == ("audio/mpeg", "AAAA")


def test_a_mark_is_kept_as_it_was_written() -> None:
    mark = {"mode": "explicit", "ttl": "12h"}
    found = part({"type": "input_text", "text": "x", "prompt_cache_breakpoint": mark})
    assert found.cache.ttl == "12h"
    assert found.cache.native == {"prompt_cache_breakpoint": mark}


def test_a_part_that_nobody_knows_is_refused_and_never_text() -> None:
    """wire-formats 12, no. 23."""
    found = part({"type": "input_smell", "smell": "x"})
    assert isinstance(found, Opaque)
    losses = Losses("chat", lenient=True)
    with pytest.raises(CannotTranslate) as caught:
        losses.parts([found])
    assert caught.value.param == "input[0].content[0]"
    unknown = part({"type": "input_text", "text": "x", "new": 1})
    losses.parts([unknown])
    assert losses.dropped == ("input[0].content[0].new",)


# --- items --------------------------------------------------------------------------------------


def test_a_picture_in_a_result_is_kept() -> None:
    """wire-formats, trap 61."""
    output = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PNG}]
    (found,) = read({"type": "function_call_output", "call_id": "c", "output": output})
    (result,) = found.parts
    assert isinstance(result, ToolResult)
    assert [type(p) for p in result.parts] == [Text, Image]
    (empty,) = read({"type": "custom_tool_call_output", "call_id": "c", "output": None})
    assert isinstance(empty.parts[0], ToolResult)
    assert (empty.parts[0].parts, empty.parts[0].custom) == ([], True)


def test_a_call_of_free_text_keeps_its_namespace() -> None:
    item = {"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": "ls"}
    (found,) = read(item | {"namespace": "shell", "id": "ctc_1", "status": "completed"})
    (call,) = found.parts
    assert isinstance(call, ToolCall)
    assert (call.arguments, call.custom, call.namespace) == ("ls", True, "shell")
    assert call.item is not None
    assert (call.item.id, list(call.item.extra)) == ("ctc_1", ["status"])


def test_thinking_and_its_summary_are_two_parts_and_the_last_is_sealed() -> None:
    item: Any = {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"}
    item |= {"summary": [{"type": "summary_text", "text": "s"}]}
    item |= {"content": [{"type": "reasoning_text", "text": "raw"}]}
    (found,) = read(item)
    summary, raw = found.parts
    assert isinstance(summary, Reasoning)
    assert isinstance(raw, Reasoning)
    assert (summary.text, summary.raw, summary.carrier) == (["s"], False, None)
    assert (raw.text, raw.raw) == (["raw"], True)
    assert raw.carrier == Carrier("openai-encrypted", "gAAA", id="rs_1")
    assert summary.item is raw.item


@pytest.mark.parametrize("content", [None, []])
def test_thinking_without_content_is_read(content: Any) -> None:
    """Codex sends `content: null`."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "content": content}
    (found,) = read(item | {"encrypted_content": "gAAA"})
    (sealed,) = found.parts
    assert isinstance(sealed, Reasoning)
    assert sealed.text == []
    assert sealed.carrier is not None


def test_an_envelope_is_opened_and_a_broken_one_holds_nothing() -> None:
    carrier = Carrier("anthropic-signature", "sig")
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}
    (whole,) = read(item | {"encrypted_content": envelope.wrap(carrier, "acc1")})
    assert whole.parts[0].carrier == Carrier("anthropic-signature", "sig", "acc1")
    (broken,) = read(item | {"encrypted_content": "rly1~broken"})
    assert broken.parts[0].carrier == envelope.UNSEALED


def test_a_carrier_that_stands_on_a_call_goes_onto_it() -> None:
    sealed = envelope.wrap(Carrier("gemini-signature", "c2ln", call_id="c1"), "acc1")
    (found,) = read({"type": "reasoning", "summary": [], "encrypted_content": sealed}, call(1))
    (called,) = found.parts
    assert called.carrier == Carrier("gemini-signature", "c2ln", "acc1")


def test_a_picture_that_was_drawn_is_the_models() -> None:
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed"}
    for said, mime in (({"output_format": "webp"}, "image/webp"), ({}, "image/png")):
        (found,) = read(item | said | {"result": "AAAA"})
        (drawn,) = found.parts
        assert isinstance(drawn, Image)
        assert (found.role, drawn.mime, drawn.data) == ("assistant", mime, "AAAA")
    (reference,) = read({"type": "image_generation_call", "id": "ig_1"})
    assert isinstance(reference.parts[0], Opaque)


def test_tools_may_be_declared_in_the_middle() -> None:
    tool = {"type": "function", "name": "f", "parameters": {}}
    (found,) = read({"type": "additional_tools", "role": "developer", "tools": [tool]})
    (declared,) = found.parts
    assert isinstance(declared, Declaration)
    assert (found.role, found.spoken, declared.tools[0].name) == ("system", "developer", "f")


def test_what_a_search_for_tools_found_is_declared_and_the_search_may_be_forgotten() -> None:
    tool = {"type": "function", "name": "f", "parameters": {}}
    search: Any = {"type": "tool_search_call", "call_id": None, "arguments": {}}
    output = {"type": "tool_search_output", "execution": "server", "tools": [tool], "id": "t"}
    (found,) = read(search, output)
    searched, declared = found.parts
    assert isinstance(declared, Declaration)
    assert declared.tools[0].name == "f"
    losses = Losses("chat", lenient=True)
    losses.parts([searched, declared])
    assert losses.dropped == ("input[0]",)
    with pytest.raises(CannotTranslate):
        Losses("chat").parts([searched])


def test_a_hosted_tools_history_is_refused() -> None:
    """wire-formats 12, no. 11."""
    (found,) = read({"type": "mcp_call", "id": "m"})
    with pytest.raises(CannotTranslate) as caught:
        Losses("chat", lenient=True).parts(found.parts)
    assert caught.value.param == "input[0]"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "critic", "content": "x"}, "input[0].role"),
        ({"type": "message", "content": "x"}, "input[0].role"),
        ({"role": "user", "content": 3}, "input[0].content"),
        ({"role": "user", "content": [3]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:,x"}]},
            "input[0].content[0]",
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "!"}}]},
            "input[0].content[0].input_audio.data",
        ),
        ({"type": "function_call", "name": "f"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c"}, "input[0].name"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "reasoning", "summary": [{}]}, "input[0].summary[0].text"),
        ({"type": 3}, "input[0].type"),
    ],
)
def test_what_is_wrong_is_named(item: Any, param: str) -> None:
    with pytest.raises(BadCall) as caught:
        read(item)
    assert caught.value.param == param
