"""Events, written as chat chunks and as whole replies (wire-formats 2.2, 2.3, 9.3, 14.2)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.errors import BadReply
from relayd.model import Usage
from relayd.wire import envelope
from relayd.wire.chat import writer as module
from relayd.wire.chat.decode import decode
from relayd.wire.chat.reader import ChatReader
from relayd.wire.chat.writer import ChatWriter
from relayd.wire.events import (
    Break,
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Event,
    Failure,
    Finish,
    Logprob,
    Open,
    Reply,
    Seal,
    Start,
    fold,
)
from relayd.wire.neutral import Request, Thinking
from relayd.wire.parts import (
    Audio,
    Carrier,
    Citation,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.paths import Target
from relayd.wire.setting import Rules
from tests.wire.chat.chunks import DONE, chunk, read
from tests.wire.grammar.chat import ChatStream
from tests.wire.ways import SCOPE, coming

CHAT = Target("chat", "generate")
START = Start("up", "m", 7.5)
SIGNED = Carrier("anthropic-signature", "sig")
USAGE = Usage(in_uncached=3, cache_read=1, out_total=4, reasoning=2)


def asked(**changes: Any) -> ChatWriter:
    """A writer for a client that asked for usage."""
    request = Request(source="chat", model="asked-model", messages=[], show_usage=True)
    return ChatWriter(coming("chat", **({"request": request} | changes)))


def reply(*events: Event, reason: Any = "stop") -> list[Event]:
    """A whole reply of one answer."""
    return [START, *events, Finish(reason), End()]


def block(part: Part, *said: str, number: int = 0, choice: int = 0) -> list[Event]:
    """A block with its text."""
    deltas = [Delta(number, each) for each in said]
    return [Open(number, part, choice), *deltas, Close(number)]


def sent(events: list[Event], **changes: Any) -> list[dict[str, Any]]:
    """The chunks of these events, once their grammar is checked."""
    data = asked(**changes).write(events)
    usage = changes["request"].show_usage if "request" in changes else True
    ChatStream(usage=usage, arguments=False).check(data)
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n\n") if line]
    return [orjson.loads(line) for line in lines if line != DONE]


def raw_deltas(events: list[Event], **changes: Any) -> list[dict[str, Any]]:
    """What the answers say, where the grammar of today does not hold."""
    lines = asked(**changes).write(events).replace(b"data: ", b"").split(b"\n\n")
    said = [orjson.loads(line) for line in lines if line not in (b"", DONE)]
    return [each["delta"] for value in said for each in value["choices"]]


def deltas(events: list[Event], **changes: Any) -> list[dict[str, Any]]:
    """What the answers say, chunk by chunk."""
    return [each["delta"] for value in sent(events, **changes) for each in value["choices"]]


def message(events: list[Event], **changes: Any) -> dict[str, Any]:
    """The message of the whole reply that these events make."""
    found: dict[str, Any] = asked(**changes).whole(fold(events))["choices"][0]["message"]
    return found


# --- the rules of the grammar -------------------------------------------------------------------


def test_no_id_retry_or_bare_event_line_is_ever_written() -> None:
    """wire-formats, trap 16."""
    data = asked().write(reply(*block(Text(""), "a\nb\r\nid: 1")))

    assert all(line.startswith(b"data: ") for line in data.split(b"\n") if line)
    assert ChatWriter.keepalive.startswith(b":")


def test_the_role_is_said_once_per_choice() -> None:
    """wire-formats, trap 17."""
    events: list[Event] = [START, *block(Text(""), "a"), *block(Text(""), "b", number=1, choice=1)]
    said = sent([*events, Finish("stop", 1), Finish("stop", 0), End()])

    roles = [each["index"] for v in said for each in v["choices"] if "role" in each["delta"]]
    assert roles == [0, 1]


def test_id_type_and_name_are_said_once_per_call() -> None:
    """wire-formats, trap 18."""
    found = deltas(reply(*block(ToolCall("c", "f"), '{"a"', ":1}"), reason="tool_calls"))

    [first, *more] = [call for each in found for call in each.get("tool_calls", ())]
    opened = {"name": "f", "arguments": ""}
    assert first == {"index": 0, "id": "c", "type": "function", "function": opened}
    assert more == [
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ]


def test_call_indexes_are_dense_from_zero() -> None:
    """wire-formats, trap 19: also where text came before the first call."""
    events: list[Event] = [*block(Text(""), "a"), *block(ToolCall("c", "f"), "{}", number=1)]
    events += block(ToolCall("d", "g", custom=True), "x", number=2)
    found = deltas(reply(*events, reason="tool_calls"))

    calls = [call for each in found for call in each.get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 0, 1, 1]
    assert calls[2] == {
        "index": 1,
        "id": "d",
        "type": "custom",
        "custom": {"name": "g", "input": ""},
    }


def test_every_call_delta_has_its_index() -> None:
    """wire-formats, trap 20: also where two calls take turns."""
    events: list[Event] = [Open(0, ToolCall("c", "f")), Open(1, ToolCall("d", "g"))]
    events += [Delta(1, "{"), Delta(0, "{}"), Delta(1, "}"), Close(0), Close(1)]
    found = deltas(reply(*events, reason="tool_calls"))

    assert [c["index"] for each in found for c in each.get("tool_calls", ())] == [0, 1, 1, 0, 1]


def test_the_usage_chunk_is_last_and_has_empty_choices() -> None:
    """wire-formats, trap 21."""
    said = sent(reply(*block(Text(""), "a"), Counted(USAGE)))

    assert said[-1]["choices"] == []
    assert said[-1]["usage"]["total_tokens"] == 8
    assert all(each["usage"] is None for each in said[:-1])


def test_nothing_but_done_follows_the_usage() -> None:
    """wire-formats, trap 22."""
    data = asked().write(reply(Counted(USAGE)))

    assert b'"usage":{' in data.split(b"\n\n")[-3]
    assert data.endswith(b"data: [DONE]\n\n")


def test_usage_nobody_asked_for_is_not_told() -> None:
    """wire-formats, trap 23."""
    silent = Request(source="chat", model="m", messages=[], show_usage=False)

    assert not any("usage" in each for each in sent(reply(Counted(USAGE)), request=silent))


def test_each_choice_has_one_finish_chunk() -> None:
    """wire-formats, trap 26: also one that nobody finished, and one that says nothing."""
    events: list[Event] = [START, *block(Text(""), "a", choice=1), Finish("length", 1)]
    said = sent([*events, Finish("stop", 1), End()])

    finished = {
        each["index"]: each["finish_reason"]
        for value in said
        for each in value["choices"]
        if each["finish_reason"]
    }
    assert finished == {0: "stop", 1: "length"}


def test_choice_zero_opens_first() -> None:
    """wire-formats, trap 27: also when another speaks first."""
    said = sent([START, *block(Text(""), "a", choice=1), Finish("stop", 1), End()])

    assert said[0]["choices"][0]["index"] == 0


def test_a_failure_is_an_error_object_in_a_data_line() -> None:
    """wire-formats, trap 28."""
    data = asked().write([START, Failure("It broke.", 503, "overloaded")])
    ours = asked().error(BadReply("It is no reply."))

    told = orjson.loads(data.split(b"\n\n")[1].removeprefix(b"data: "))
    assert told["error"]["message"] == "It broke."
    assert told["error"]["type"] == "service_unavailable_error"
    assert orjson.loads(ours.removeprefix(b"data: "))["request_id"] == "req_1"


def test_content_is_null_beside_calls_and_refusal_is_there() -> None:
    """wire-formats, trap 30."""
    found = message(reply(*block(ToolCall("c", "f"), "{}"), reason="tool_calls"))

    assert found["content"] is None
    assert found["refusal"] is None


@pytest.mark.parametrize("said", [[], [" "]])
def test_a_call_without_arguments_has_an_empty_object(said: list[str]) -> None:
    """wire-formats, trap 31."""
    events = reply(*block(ToolCall("c", "f"), *said), reason="tool_calls")
    pieces = [
        call["function"]["arguments"] for d in deltas(events) for call in d.get("tool_calls", ())
    ]

    assert "".join(pieces).strip() == "{}"
    assert message(events)["tool_calls"][0]["function"]["arguments"] == "{}"


def test_who_declared_functions_is_told_of_one_call_in_the_older_way() -> None:
    older = Request(source="chat", model="m", messages=[], places={"tools": "functions"})
    first = block(ToolCall("c", "f"), '{"a"', ":1}")
    events = reply(*first, *block(ToolCall("d", "g"), number=1), reason="tool_calls")

    found = [each.get("function_call", {}) for each in raw_deltas(events, request=older)]
    whole = asked(request=older).whole(fold(events))["choices"][0]

    assert found[1] == {"name": "f", "arguments": ""}
    assert "".join(each.get("arguments", "") for each in found) == '{"a":1}'
    assert whole["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert [call["id"] for call in whole["message"]["tool_calls"]] == ["d"]
    assert whole["finish_reason"] == "function_call"


def test_a_custom_call_without_input_says_nothing() -> None:
    events = reply(*block(ToolCall("c", "f", custom=True)), reason="tool_calls")

    assert message(events)["tool_calls"][0]["custom"] == {"name": "f", "input": ""}
    assert b"{}" not in asked().write(events).replace(b'"delta":{}', b"")


def test_created_is_whole_and_ids_are_stable() -> None:
    """wire-formats, trap 32."""
    said = sent(reply(*block(Text(""), "a"), Counted(USAGE)))

    assert {each["created"] for each in said} == {7}
    assert len({each["id"] for each in said}) == 1
    assert said[0]["id"].startswith("chatcmpl-")
    assert said[0]["object"] == "chat.completion.chunk"
    assert said[1]["choices"][0]["logprobs"] is None


def test_delta_content_is_always_a_string() -> None:
    """wire-formats, trap 34."""
    found = deltas(reply(*block(Text(""), "a"), *block(Image(url="https://x"), number=1)))

    assert all(isinstance(each.get("content", ""), str) for each in found)


def test_reasoning_details_carry_their_index() -> None:
    """wire-formats, trap 35."""
    events: list[Event] = [*block(Reasoning([], carrier=SIGNED)), *block(Text(""), "a", number=1)]
    events += block(Reasoning([], carrier=SIGNED), number=2)
    found = [d for each in deltas(reply(*events)) for d in each.get("reasoning_details", ())]

    assert [each["index"] for each in found] == [0, 1]


# --- thinking and carriers ----------------------------------------------------------------------


def test_paragraphs_of_thinking_are_one_text() -> None:
    events: list[Event] = [
        Open(0, Reasoning([])),
        Break(0),
        Delta(0, "a"),
        Break(0),
        Delta(0, "b"),
        Close(0),
    ]
    events += [Open(1, Text("")), Break(1), Close(1), *block(Reasoning([]), "c", number=2)]
    found = deltas(reply(*events))

    said = "".join(each.get("reasoning_content", "") for each in found)
    assert said == "a\n\nb\n\nc"
    assert message(reply(*events))["reasoning_content"] == said


def test_a_carrier_follows_its_thinking_in_an_envelope() -> None:
    events: list[Event] = [
        Open(0, Reasoning([], raw=True)),
        Delta(0, "t"),
        Seal(0, SIGNED),
        Close(0),
    ]
    sealed = envelope.wrap(SIGNED, SCOPE)
    entries = [
        {"type": "reasoning.text", "text": "t", "index": 0},
        {"type": "reasoning.encrypted", "data": sealed, "index": 1},
    ]

    assert deltas(reply(*events))[2] == {"reasoning_details": entries}
    assert message(reply(*events))["reasoning_details"] == entries


def test_the_carrier_of_a_call_stands_on_it_and_in_the_details() -> None:
    carrier = Carrier("gemini-signature", "s")
    early = reply(*block(ToolCall("c", "f", carrier=carrier), "{}"), reason="tool_calls")
    late = reply(
        Open(0, ToolCall("c", "f")), Delta(0, "{}"), Seal(0, carrier), Close(0), reason="tool_calls"
    )
    sealed = envelope.wrap(replace(carrier, call_id="c"), SCOPE)

    for events in (early, late):
        found = deltas(events)
        beside = [
            c["extra_content"]
            for d in found
            for c in d.get("tool_calls", ())
            if len(c) > 1 and "extra_content" in c
        ]
        assert beside == [{"google": {"thought_signature": sealed}}]
        details = [each for d in found for each in d.get("reasoning_details", ())]
        whole = message(events)
        assert details == whole["reasoning_details"]
        assert details[0]["data"] == sealed
        assert details[0]["id"] == "c"
        assert whole["tool_calls"][0]["extra_content"] == beside[0]


def test_thinking_comes_back_to_where_it_stood() -> None:
    """What a client sends back of a reply is what the reply said."""
    events: list[Event] = [
        Open(0, Reasoning([])),
        Delta(0, "a"),
        Break(0),
        Delta(0, "b"),
        Seal(0, SIGNED),
        Close(0),
    ]
    events += [*block(Text(""), "said", number=1), *block(ToolCall("c", "f"), "{}", number=2)]
    events += [Open(3, Reasoning([])), Seal(3, SIGNED), Close(3)]
    sent_back = message(reply(*events, reason="tool_calls"))
    result = {"role": "tool", "tool_call_id": "c", "content": "r"}

    request = decode({"model": "m", "messages": [sent_back, result]}, CHAT)

    [first, said, call, last] = request.messages[0].parts
    mine = replace(SIGNED, scope=SCOPE)
    assert isinstance(first, Reasoning)
    assert (first.text, first.carrier) == (["a", "b"], mine)
    assert isinstance(said, Text)
    assert isinstance(call, ToolCall)
    assert isinstance(last, Reasoning)
    assert (last.text, last.carrier) == ([], mine)


def test_thinking_comes_back_between_the_texts_that_it_stood_between() -> None:
    """wire-formats 8.10: its provider wants it back in the same order."""
    events: list[Event] = []
    for number, said in ((0, "Let me see. "), (2, "Found.")):
        thinking: list[Event] = [Open(number, Reasoning([])), Delta(number, "hm")]
        events += [*thinking, Seal(number, SIGNED), Close(number)]
        events += block(Text(""), said, number=number + 1)
    events += block(ToolCall("c", "f"), "{}", number=4)
    sent_back = message(reply(*events, reason="tool_calls"))

    request = decode({"model": "m", "messages": [sent_back]}, CHAT)

    first, second = "Let me see. ", "Found."
    kinds = [part.text if isinstance(part, Text) else type(part) for part in request.parts()]
    assert kinds == [Reasoning, first, Reasoning, second, ToolCall]


def test_thinking_may_be_hidden() -> None:
    hidden = Rules(show_reasoning=False)
    events: list[Event] = [
        Open(0, Reasoning([])),
        Delta(0, "t"),
        Break(0),
        Seal(0, SIGNED),
        Close(0),
    ]
    bare: list[Event] = [Open(1, Reasoning([])), Seal(1, SIGNED), Close(1)]

    found = deltas(reply(*events, *bare), rules=hidden)

    assert not any("reasoning_content" in each for each in found)
    [details] = [each["reasoning_details"] for each in found if "reasoning_details" in each]
    assert [each["type"] for each in details] == ["reasoning.encrypted"]
    assert "reasoning_content" not in message(reply(*events), rules=hidden)
    unwanted = Request(source="chat", model="m", messages=[], thinking=Thinking(show="none"))
    assert "reasoning_content" not in message(reply(*events), request=unwanted)


def test_thinking_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_THOUGHT", 3)

    with pytest.raises(OverflowError):
        asked().write(reply(*block(Reasoning([]), "aa", "bb")))


# --- what else there is -------------------------------------------------------------------------


def test_sources_are_annotations_of_the_whole_text() -> None:
    cited = Citation("https://x", "T", start=1, end=2)
    bare = Citation("https://y")
    events: list[Event] = [Open(0, Text("")), Delta(0, "abc"), Cite(0, cited), Close(0)]
    events += [Open(1, Text("")), Delta(1, "de"), Cite(1, bare), Cite(1, Citation("")), Close(1)]
    annotations = [
        {
            "type": "url_citation",
            "url_citation": {
                "url": "https://x",
                "title": "T",
                "start_index": 1,
                "end_index": 2,
            },
        },
        {
            "type": "url_citation",
            "url_citation": {
                "url": "https://y",
                "title": "https://y",
                "start_index": 3,
                "end_index": 5,
            },
        },
    ]

    found = [each["annotations"] for each in deltas(reply(*events)) if "annotations" in each]

    assert found == [[annotations[0]], [annotations[1] | {"index": 1}]]
    assert message(reply(*events))["annotations"] == annotations
    silent = Rules(citations=False)
    assert "annotations" not in message(reply(*events), rules=silent)


def test_pictures_and_sound_are_told() -> None:
    drawn = Image(mime="image/png", data="aGk=", carrier=Carrier("gemini-signature", "s"))
    events: list[Event] = [
        *block(drawn),
        *block(Audio(mime="audio/wav", data="aGk=", transcript="hi"), number=1),
    ]

    found, whole = deltas(reply(*events)), message(reply(*events))

    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}, "index": 0}
    assert found[1] == {"images": [picture]}
    assert whole["images"] == [picture]
    assert found[2]["reasoning_details"] == whole["reasoning_details"]
    assert found[3]["audio"] == whole["audio"]
    assert whole["audio"]["expires_at"] == 7 + 3600


def test_what_chat_has_no_word_for_is_left_out() -> None:
    events = reply(*block(Opaque("messages", "server_tool_use", {"type": "x"})))

    assert [each for each in deltas(events) if each] == [
        {"role": "assistant", "content": "", "refusal": None}
    ]
    assert message(events)["content"] is None


def test_probabilities_stand_beside_their_text() -> None:
    top = [Logprob("b", -2.0)]
    token = Logprob("a", -0.5, [97], top)
    events: list[Event] = [
        Open(0, Text("")),
        Delta(0, "a", [token]),
        Close(0),
        Open(1, Refusal("")),
    ]
    events += [Delta(1, "no", [token]), Close(1)]

    said = [each for value in sent(reply(*events)) for each in value["choices"]]

    assert said[1]["logprobs"]["content"][0]["top_logprobs"][0]["token"] == "b"
    assert said[2]["logprobs"]["refusal"][0]["token"] == "a"
    whole = asked().whole(fold(reply(*events)))
    assert whole["choices"][0]["logprobs"]["refusal"][1]["logprob"] == -0.5


def test_a_refusal_that_comes_with_the_end_is_told() -> None:
    refused = Finish("filter", explanation="Not this.")

    assert {"refusal": "Not this."} in deltas([START, refused, End()])
    assert message([START, refused, End()])["refusal"] == "Not this."
    worded: list[Event] = [START, *block(Refusal(""), "No."), refused, End()]
    assert message(worded)["refusal"] == "No."
    assert {"refusal": "Not this."} not in deltas(worded)
    assert {"refusal": "No."} in deltas(worded)


def test_the_tier_and_the_clients_name_of_the_model_are_told() -> None:
    [first, *_] = sent([Start("up", "m", tier="standard"), Finish("stop"), End()])

    assert first["service_tier"] == "default"
    assert first["model"] == "asked-model"
    assert first["created"] == 1_700_000_000
    assert sent([Start("up", "m", tier="flex"), Finish("stop"), End()])[0]["service_tier"] == "flex"


def test_an_empty_reply_has_one_answer() -> None:
    document = asked().whole(Reply())

    assert document["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in document


def test_it_does_not_matter_how_many_events_come_at_once() -> None:
    events = reply(*block(Text(""), "a", "b"), Counted(USAGE))
    writer = asked()

    assert b"".join(writer.write([event]) for event in events) == asked().write(events)


def test_seals_of_closed_or_hidden_blocks_do_no_harm() -> None:
    writer = asked()

    assert writer.write([Seal(9, SIGNED), Close(9), Delta(9, "x"), Cite(9, Citation("u"))]) == b""


def test_it_tells_its_state() -> None:
    writer = asked()
    writer.write([START, Open(0, Text(""))])

    assert repr(writer).endswith("open=[0]>")
    assert repr(writer._blocks[0]) == "<_Block Text 0 characters>"


# --- where both sides speak chat ----------------------------------------------------------------


NATIVE = [
    chunk({"role": "assistant", "reasoning": "t"}, system_fingerprint="fp", service_tier="flex"),
    chunk({"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "e"}]}),
    chunk({"content": "a", "executed_tools": [{"index": 0}]}),
    chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "u"}]}]}),
    chunk({"function_call": {"name": "f", "arguments": "{}"}}),
    chunk({}, "function_call"),
    chunk({}, usage={"prompt_tokens": 1, "completion_tokens": 2, "cost": 5}, choices=[], late=1),
    DONE,
]


def test_a_host_of_the_same_format_is_told_in_its_own_words() -> None:
    events = read(*NATIVE)
    data = asked(sealed=False).write(events)
    again = [line.removeprefix(b"data: ") for line in data.split(b"\n\n") if line]

    assert fold(read(*again)).choices == fold(events).choices
    first = orjson.loads(again[0])
    assert (first["id"], first["system_fingerprint"]) == ("chatcmpl-1", "fp")
    assert first["service_tier"] == "flex"
    last = orjson.loads(again[-2])
    assert (last["usage"]["cost"], last["late"]) == (5, 1)


def test_a_whole_reply_of_the_same_format_is_told_in_its_own_words() -> None:
    source = {"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}
    thinking = [{"type": "text", "text": "t"}]
    original = {
        "id": "x",
        "object": "chat.completion",
        "created": 7,
        "model": "asked-model",
        "provider": "p",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": thinking, "closed": True},
                        {"type": "text", "text": "a"},
                    ],
                    "refusal": None,
                    "annotations": [{"type": "file"}, source],
                    "function_call": {"name": "f", "arguments": "{}"},
                },
                "native_finish_reason": "x",
                "logprobs": None,
                "finish_reason": "function_call",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost": 3},
    }

    again = asked(sealed=False).whole(fold(ChatReader().whole(original)))

    again["usage"] = {k: v for k, v in again["usage"].items() if k in original["usage"]}  # type: ignore[operator]
    assert again == original


def test_thinking_without_text_beside_it_is_content_alone() -> None:
    part = {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}
    choice = {"index": 0, "message": {"content": [part]}, "finish_reason": "stop"}
    events = ChatReader().whole({"id": "x", "choices": [choice]})

    found = asked(sealed=False).whole(fold(events))["choices"][0]["message"]

    assert found["content"] == [part]


def test_calls_of_the_same_format_keep_what_stood_beside_them() -> None:
    beside = {"google": {"thought_signature": "s"}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {
        "index": 0,
        "message": {"content": None, "tool_calls": [call | {"extra_content": beside}]},
        "finish_reason": "tool_calls",
    }
    events = ChatReader().whole({"id": "x", "choices": [choice]})

    found = asked(sealed=False).whole(fold(events))["choices"][0]["message"]

    assert found["tool_calls"] == [call | {"extra_content": beside}]
    assert b"extra_content" in asked(sealed=False).write(events)
    assert "extra_content" not in str(told_without(events))


def told_without(events: list[Event]) -> dict[str, Any]:
    """The same reply, sealed thinking on the call instead."""
    plain = Carrier("chat-details", "{}")
    changed = [
        replace(e, part=replace(e.part, carrier=plain)) if isinstance(e, Open) else e
        for e in events
    ]
    found: dict[str, Any] = asked(sealed=False).whole(fold(changed))
    return found


def test_thinking_in_two_blocks_of_one_member_is_joined() -> None:
    data = [
        chunk({"reasoning": "a"}),
        chunk({"content": "x"}),
        chunk({"reasoning": "b"}),
        chunk({}, "stop"),
    ]
    events = read(*data)

    whole = asked(sealed=False).whole(fold(events))["choices"][0]["message"]
    streamed = [
        orjson.loads(line[6:])
        for line in asked(sealed=False).write(events).split(b"\n\n")
        if line and line[6:] != DONE
    ]
    said = "".join(e["delta"].get("reasoning", "") for v in streamed for e in v["choices"])

    assert whole["reasoning"] == said == "ab"
