"""A request of another format, written as a Responses request."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.wire import controls
from relayd.wire.capabilities import Capability
from relayd.wire.losses import CannotTranslate
from relayd.wire.neutral import (
    Caching,
    Custom,
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
    Audio,
    Cache,
    Carrier,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from relayd.wire.paths import Target
from relayd.wire.responses.decode import decode
from relayd.wire.responses.encode import (
    count_document,
    count_reply,
    encode,
    encode_count,
)
from relayd.wire.setting import Going, Rules
from tests.wire.ways import able, going, request, says

HI = says("user", "Hi")
MARKED = able(cache_marks=4)
MARK = Cache("5m")
PNG = Image("image/png", "AA==")


def written(*messages: Message, to: Going | None = None, **changes: Any) -> dict[str, Any]:
    asked = request(changes.pop("source", "chat"), *messages, **changes)
    return encode(asked, to or going("responses")).document


def inputs(*messages: Message, to: Going | None = None, **changes: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = written(*messages, to=to, **changes)["input"]
    return items


def refused(asked: Request, can: Capability | None = None, *, lenient: bool = False) -> str:
    to = going("responses", can or able(), lenient=lenient)
    with pytest.raises(CannotTranslate) as caught:
        encode(asked, to)
    assert caught.value.param is not None
    return caught.value.param


def called(*parts: Part) -> list[Message]:
    """A call, and its result of these parts."""
    result = ToolResult("c1", parts=list(parts), at="messages[1]")
    return [says("assistant", ToolCall("c1", "f", "{}")), Message("tool", [result])]


# --- turns --------------------------------------------------------------------------------------


def test_turns_become_items() -> None:
    history = [
        says("system", "Be short."),
        HI,
        says("assistant", Reasoning(["hm"]), "I look.", ToolCall("c1", "f", '{"a": 1}')),
        says("tool", ToolResult("c1", parts=[Text("42")])),
        says("user", "And?"),
        says("assistant", Refusal("No.")),
        says("user", "Oh."),
    ]
    document = written(*history)
    assert document["instructions"] == "Be short."
    assert document["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        {"role": "user", "content": [{"type": "input_text", "text": "And?"}]},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": [{"type": "input_text", "text": "Oh."}]},
    ]


def test_a_system_only_request_has_input() -> None:
    """wire-formats, trap 60."""
    document = written(says("system", "Be short."))
    assert document["input"] == [
        {"role": "system", "content": [{"type": "input_text", "text": "Be short."}]}
    ]
    assert "instructions" not in document


def test_later_system_turns_stay_where_they_stood() -> None:
    items = inputs(HI, says("system", "Now be long."), says("user", "Go."))
    assert [item["role"] for item in items] == ["user", "system", "user"]


def test_several_instructions_are_one_text() -> None:
    document = written(HI, instructions=[Text("a"), Text(""), Refusal("b")])
    assert document["instructions"] == "a\n\nb"


def test_a_picture_among_instructions_makes_them_input() -> None:
    items = inputs(HI, instructions=[Text("a"), PNG])
    assert [part["type"] for part in items[0]["content"]] == ["input_text", "input_image"]


def test_empty_texts_are_not_said() -> None:
    assert inputs(says("user", "", "Hi"), says("assistant", ""), says("user", "")) == [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    ]


def test_declarations_and_what_was_dropped_say_nothing() -> None:
    found = Declaration([Function(name="found")])
    lost = Opaque("messages", "x", {}, "lenient", at="messages[0]")
    to = going("responses", lenient=True)
    document = written(says("assistant", lost, found), says("user", found, "Hi"), to=to)
    assert len(document["input"]) == 1
    assert [tool["name"] for tool in document["tools"]] == ["found"]
    assert to.losses.dropped == ("messages[0]",)


# --- calls and results --------------------------------------------------------------------------


def test_results_match_on_call_id_and_long_ids_are_hashed_alike() -> None:
    """wire-formats, trap 58."""
    long = "call_" + "x" * 80
    history = [
        says("assistant", ToolCall(long, "f")),
        says("tool", ToolResult(long, parts=[Text("x")])),
    ]
    call, result = inputs(*history)
    assert call["call_id"] == result["call_id"]
    assert len(call["call_id"]) <= 64
    assert "id" not in call
    assert call["arguments"] == "{}"


def test_a_custom_call_stays_one_or_is_wrapped() -> None:
    history = [
        says("assistant", ToolCall("c1", "exec", "ls", custom=True)),
        says("tool", ToolResult("c1", parts=[Text("x")])),
    ]
    tools = [Custom(name="exec")]
    call, result = inputs(*history, tools=tools, to=going("responses", able(custom_tools=True)))
    assert (call["type"], call["input"]) == ("custom_tool_call", "ls")
    assert result["type"] == "custom_tool_call_output"
    call, result = inputs(*history, tools=tools)
    assert (call["type"], call["arguments"]) == ("function_call", '{"input":"ls"}')
    assert result["type"] == "function_call_output"


def test_a_picture_in_a_result_is_kept() -> None:
    """wire-formats, trap 61."""
    (_, result) = inputs(*called(Text("see"), PNG))
    assert [part["type"] for part in result["output"]] == ["input_text", "input_image"]
    (_, alone) = inputs(*called(PNG))
    assert alone["output"][0]["type"] == "input_image"
    (_, empty) = inputs(*called())
    assert empty["output"] == ""
    (_, two) = inputs(*called(Text("a"), Text("b")))
    assert [part["text"] for part in two["output"]] == ["a", "b"]


def test_that_a_result_is_an_error_is_reported_where_nothing_says_so() -> None:
    for structured, dropped in ((None, ("messages[1].is_error",)), ({"error": "x"}, ())):
        result = ToolResult("c1", parts=[Text("x")], failed=True, at="messages[1]")
        result.structured = structured
        to = going("responses")
        inputs(says("assistant", ToolCall("c1", "f")), Message("tool", [result]), to=to)
        assert to.losses.dropped == dropped


def test_a_result_without_its_call_is_refused() -> None:
    orphan = says("tool", ToolResult("c9", at="messages[0]"))
    assert refused(request("chat", orphan)) == "messages[0]"


# --- thinking -----------------------------------------------------------------------------------


def test_only_this_providers_own_thinking_comes_back() -> None:
    own = Carrier("openai-encrypted", "gAAA", "acc1", id="rs_1")
    nameless = Carrier("openai-encrypted", "gBBB", "acc1")
    theirs = Carrier("openai-encrypted", "gCCC", "acc2")
    other = Carrier("anthropic-signature", "sig", "acc1")
    thoughts = [Reasoning(["a", ""], raw=True, carrier=own), Reasoning([], carrier=nameless)]
    thoughts += [Reasoning(["b"], carrier=each) for each in (theirs, other, None)]
    assert inputs(HI, says("assistant", *thoughts, "x"))[1:-1] == [
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"}
        | {"summary": [{"type": "summary_text", "text": "a"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "gBBB"},
    ]


def test_nothing_is_kept_there_so_thinking_comes_back_sealed() -> None:
    document = written(HI)
    assert document["store"] is False
    assert document["include"] == ["reasoning.encrypted_content"]
    off = written(HI, thinking=Thinking(mode="off", effort="none"))
    assert off["reasoning"] == {"effort": "none"}
    assert "include" not in off
    assert "include" not in written(HI, to=going("responses", able(thinking=())))


def test_thinking_is_asked_for_and_shown() -> None:
    asked = Thinking(mode="on", effort="low", show="summary")
    assert written(HI, thinking=asked)["reasoning"] == {"effort": "low", "summary": "auto"}
    asked = Thinking(mode="on", effort="low", show="summary", style="detailed")
    assert written(HI, thinking=asked)["reasoning"]["summary"] == "detailed"
    asked = Thinking(mode="on", effort="low", show="none")
    assert written(HI, thinking=asked)["reasoning"] == {"effort": "low"}


# --- media --------------------------------------------------------------------------------------


def content(part: Part, to: Going | None = None) -> dict[str, Any]:
    (item,) = inputs(says("user", part), to=to)
    (found,) = item["content"]
    assert isinstance(found, dict)
    return found


def test_pictures_and_files_are_read() -> None:
    assert content(PNG) == {
        "type": "input_image",
        "image_url": "data:image/png;base64,AA==",
        "detail": "auto",
    }
    assert content(Image(url="https://a/b.png", detail="low"))["detail"] == "low"
    assert content(File("application/pdf", "AA=="))["filename"] == "document.pdf"
    assert content(File(url="https://a/b.pdf")) == {
        "type": "input_file",
        "file_url": "https://a/b.pdf",
    }


def test_a_document_that_is_text_is_its_text() -> None:
    to = going("responses")
    part = File(plain="All of it.", context="From a book.", at="messages[0].content[0]")
    assert content(part, to) == {"type": "input_text", "text": "All of it."}
    assert to.losses.dropped == ("messages[0].content[0].context",)


@pytest.mark.parametrize(
    ("part", "can"),
    [
        (Image(file_id="file-1"), able()),
        (File(file_id="file-1"), able()),
        (Image(url="gs://bucket/x"), able()),
        (PNG, able(inputs=("text",))),
        (Audio("audio/wav", "AA=="), able()),
    ],
)
def test_what_this_provider_cannot_read_is_refused(part: Part, can: Capability) -> None:
    """wire-formats 12, no. 7 and 8."""
    part.at = "messages[0].content[0]"
    for lenient in (False, True):
        asked = request("chat", says("user", part))
        assert refused(asked, can, lenient=lenient) == "messages[0].content[0]"


def test_a_picture_of_the_models_is_what_a_tool_drew() -> None:
    (_, drawn) = inputs(HI, says("assistant", PNG))
    assert (drawn["type"], drawn["result"], drawn["status"]) == (
        "image_generation_call",
        "AA==",
        "completed",
    )
    spoken = says("assistant", Audio("audio/wav", "AA==", at="messages[0]"))
    assert refused(request("chat", spoken)) == "messages[0]"


# --- controls -----------------------------------------------------------------------------------


def test_controls_are_written() -> None:
    to = going("responses")
    document = written(
        HI,
        to=to,
        tools=[Function(name="f")],
        tool_choice=ToolChoice("auto"),
        parallel=False,
        sampling=Sampling(temperature=0.5, top_p=0.9, logprobs=True, top_logprobs=3, n=1),
        output=Output(limit=100, shape=Shape("json"), verbosity="low"),
        metadata={"a": "b"},
        tier="standard",
        stream=True,
        user="me",
    )
    assert document["model"] == "upstream-model"
    assert document["tools"][0]["name"] == "f"
    assert document["tool_choice"] == "auto"
    assert document["parallel_tool_calls"] is False
    assert (document["temperature"], document["top_p"]) == (0.5, 0.9)
    assert document["top_logprobs"] == 3
    assert document["include"] == [
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    ]
    assert document["max_output_tokens"] == 100
    assert document["text"] == {"format": {"type": "json_object"}, "verbosity": "low"}
    assert document["metadata"] == {"a": "b"}
    assert document["service_tier"] == "default"
    assert document["stream"] is True
    assert document["safety_identifier"] == "me"
    assert to.losses.dropped == ()


def test_a_files_name_says_what_it_is() -> None:
    """OpenAI judges files by the endings of their names."""
    for name, shown in (("My report", "My report.pdf"), ("", "document.pdf")):
        file = File("application/pdf", "aGk=", name=name)
        [item] = inputs(says("user", file))
        assert item["content"][0]["filename"] == shown


def test_who_demands_any_json_says_so_in_the_input() -> None:
    """OpenAI looks for the word in the input, and not in the instructions."""
    form = Output(shape=Shape("json"))
    for said, texts in (
        ("Use JSON.", ["Use JSON."]),
        ("Be kind.", ["Be kind.", controls.JSON_ONLY]),
    ):
        document = written(HI, source="gemini", instructions=[Text(said)], output=form)
        parts = [{"type": "input_text", "text": text} for text in texts]
        assert document["input"][0] == {"role": "system", "content": parts}
        assert "instructions" not in document


def test_what_was_not_said_is_not_written() -> None:
    assert written(HI) == {
        "model": "upstream-model",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }


def test_a_long_name_of_the_user_becomes_a_digest() -> None:
    found = written(HI, user="x" * 65)["safety_identifier"]
    assert len(found) <= 64
    assert found == written(HI, user="x" * 65)["safety_identifier"]


def test_a_tier_of_another_provider_is_left_out() -> None:
    assert "service_tier" not in written(HI, tier="on_demand")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"sampling": Sampling(n=2)}, "n"),
        ({"output": Output(stop=["\n"])}, "stop"),
        ({"output": Output(modalities=["text", "audio"])}, "modalities"),
        ({"output": Output(limit=0)}, "output.limit"),
    ],
)
def test_what_has_no_field_and_is_missed_is_refused(changes: Any, param: str) -> None:
    """wire-formats 12, no. 1, 6, 7 and 18."""
    assert refused(request("chat", HI, **changes), lenient=True) == param


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (Sampling(seed=1), "seed"),
        (Sampling(frequency_penalty=0.5), "frequency_penalty"),
        (Sampling(presence_penalty=0.5), "presence_penalty"),
        (Sampling(logit_bias={"1": 2}), "logit_bias"),
        (Sampling(top_k=3), "top_k"),
    ],
)
def test_what_has_no_field_is_refused_or_reported(sampling: Sampling, param: str) -> None:
    """wire-formats 12, no. 3 and 4."""
    assert refused(request("chat", HI, sampling=sampling)) == param
    to = going("responses", lenient=True)
    written(HI, sampling=sampling, to=to)
    assert to.losses.dropped == (param,)


# --- caches -------------------------------------------------------------------------------------


def test_cache_marks_cross_and_their_counts_come_back_once() -> None:
    """wire-formats, trap 163: the marks; the counts are the writers' and the readers'."""
    long = Rules(longest_ttl="12h")
    for rules, ttl, mark in (
        (Rules(), "5m", {"mode": "explicit"}),
        (Rules(), "1h", {"mode": "explicit"}),
        (long, "1h", {"mode": "explicit", "ttl": "12h"}),
        (long, "5m", {"mode": "explicit"}),
    ):
        text = Text("long", cache=Cache(ttl))
        document = written(says("user", text), to=going("responses", MARKED, rules=rules))
        assert document["input"][0]["content"][0]["prompt_cache_breakpoint"] == mark
        assert document["prompt_cache_key"]


def test_marked_instructions_are_input_because_only_parts_have_marks() -> None:
    parts = [Text("a"), Text("b", cache=MARK)]
    document = written(HI, instructions=parts, to=going("responses", MARKED))
    assert "instructions" not in document
    marks = ["prompt_cache_breakpoint" in part for part in document["input"][0]["content"]]
    assert marks == [False, True]
    plain = written(HI, instructions=parts)
    assert plain["instructions"] == "a\n\nb"
    assert "prompt_cache_key" not in plain


def test_a_marked_result_has_its_mark_on_its_last_part() -> None:
    history = called(Text("x"))
    history[1].parts[0].cache = MARK
    (_, result) = inputs(*history, to=going("responses", MARKED))
    assert result["output"] == [
        {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}
    ]
    history = called()
    history[1].parts[0].cache = MARK
    (_, empty) = inputs(*history, to=going("responses", MARKED))
    assert empty["output"] == ""


def test_a_marked_document_of_text_keeps_its_mark() -> None:
    document = File(plain="All of it.", cache=MARK)
    (item,) = inputs(says("user", document), to=going("responses", MARKED))
    assert item["content"][0]["prompt_cache_breakpoint"] == {"mode": "explicit"}


def test_the_key_of_a_cache_is_the_clients_or_made_of_what_stays() -> None:
    assert written(HI, caching=Caching(key="k"))["prompt_cache_key"] == "k"
    marked = says("user", Text("x", cache=MARK))
    to = going("responses", MARKED)
    first = written(marked, instructions=[Text("s")], to=to)["prompt_cache_key"]
    later = written(marked, says("assistant", "y"), HI, instructions=[Text("s")], to=to)
    assert later["prompt_cache_key"] == first
    other = written(marked, instructions=[Text("t")], to=to)["prompt_cache_key"]
    assert other != first
    options = written(HI, caching=Caching(options={"ttl": "12h"}))
    assert options["prompt_cache_options"] == {"ttl": "12h"}


# --- counts -------------------------------------------------------------------------------------


def test_a_count_is_asked_for_with_what_counts() -> None:
    asked = request("messages", HI, sampling=Sampling(temperature=0.5), user="me")
    document = encode_count(asked, going("responses")).document
    assert list(document) == ["model", "input"]
    native = decode({"model": "m", "input": "x", "store": True}, Target("responses", "generate"))
    assert list(encode_count(native, going("responses")).document) == ["model", "input"]


def test_a_count_is_read_and_written() -> None:
    assert count_reply(count_document(7)) == 7
    assert count_reply({"input_tokens": -1}) is None
    assert count_reply({"input_tokens": "7"}) is None


def test_the_same_request_is_written_to_the_same_bytes() -> None:
    """wire-formats, trap 151."""
    history = [HI, says("assistant", ToolCall("x" * 80, "a b", "{}")), says("user", "x")]
    history.insert(2, says("tool", ToolResult("x" * 80, parts=[Text("y")])))
    assert repr(written(*history)) == repr(written(*history))
