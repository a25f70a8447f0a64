"""Events, written as a Messages stream or as a whole message (wire-formats 4.2, 4.3, 9.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire import envelope, sse
from relayd.wire.events import (
    Break,
    Choice,
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Event,
    Events,
    Failure,
    Finish,
    Open,
    Reply,
    Seal,
    Start,
    fold,
)
from relayd.wire.messages import writer as module
from relayd.wire.messages.writer import MessagesWriter, count_document
from relayd.wire.neutral import Function, Request, Thinking
from relayd.wire.parts import (
    Audio,
    Carrier,
    Citation,
    Image,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from tests.wire.grammar.messages import MessagesStream
from tests.wire.ways import SCOPE, coming, request

START = Start("chatcmpl-1", "upstream-model", usage=Usage(in_uncached=7))
COUNTED = Counted(Usage(in_uncached=7, out_total=3))
END: Events = [COUNTED, Finish("stop"), End()]
SIGNATURE = Carrier("gemini-signature", "sig")
CURIOUS = request("messages", thinking=Thinking("adaptive"))  # who wants to see all


def text(block: int, *said: str) -> Events:
    return [Open(block, Text("")), *(Delta(block, each) for each in said), Close(block)]


def call(block: int, *said: str, name: str = "f") -> Events:
    part = ToolCall(f"call_{block}", name)
    return [Open(block, part), *(Delta(block, each) for each in said), Close(block)]


def stream(*events: Event, native: bool = False, **changes: Any) -> bytes:
    """The bytes of these events, each written by itself."""
    writer = MessagesWriter(
        coming("messages", sealed=not native, **{"request": CURIOUS, **changes})
    )
    return b"".join([writer.write([event]) for event in events])


def documents(data: bytes) -> list[dict[str, Any]]:
    found = [sse.parse(block) for block in sse.blocks(data)]
    return [orjson.loads(event.data) for event in found]


def blocks(data: bytes) -> list[dict[str, Any]]:
    """The blocks as a client puts them together."""
    found: list[dict[str, Any]] = []
    arguments = ""
    for event in documents(data):
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(found)
                found.append(event["content_block"])
                arguments = ""
            case "content_block_delta":
                delta = dict(event["delta"])
                kind = delta.pop("type")
                [(member, said)] = delta.items()
                if kind == "input_json_delta":
                    arguments += said
                elif kind == "citations_delta":
                    found[-1].setdefault("citations", []).append(said)
                else:
                    found[-1][member] += said
            case "content_block_stop" if arguments:
                found[-1]["input"] = orjson.loads(arguments)
    return found


def checked(data: bytes) -> bytes:
    """`data`, which obeys the grammar."""
    MessagesStream().check(data)
    return data


def whole(*events: Event, native: bool = False, **changes: Any) -> dict[str, Any]:
    writer = MessagesWriter(
        coming("messages", sealed=not native, **{"request": CURIOUS, **changes})
    )
    return writer.whole(fold(events))


def both(*events: Event, native: bool = False, request: Request = CURIOUS) -> list[dict[str, Any]]:
    """The blocks of a reply, which are the same streamed and whole."""
    start = Start("msg_1", "m") if native else START
    all_of_it = [start, *events, *ended(*events)]
    streamed = blocks(checked(stream(*all_of_it, native=native, request=request)))
    assert streamed == whole(*all_of_it, native=native, request=request)["content"]
    return streamed


def ended(*events: Event) -> Events:
    """The end of a reply of these."""
    called = any(isinstance(event, Open) and isinstance(event.part, ToolCall) for event in events)
    return [COUNTED, Finish("tool_calls" if called else "stop"), End()]


# --- the stream ---------------------------------------------------------------------------------


def test_every_event_is_named_as_its_type() -> None:
    """wire-formats, trap 68."""
    data = stream(START, *text(0, "Hi"), *call(1, "{}"), *END)
    events = [sse.parse(block) for block in sse.blocks(data)]
    assert [event.name.decode() for event in events] == [
        orjson.loads(event.data)["type"] for event in events
    ]
    assert [event.name for event in events] == [
        b"message_start",
        *[b"content_block_start", b"content_block_delta", b"content_block_stop"] * 2,
        b"message_delta",
        b"message_stop",
    ]


def test_events_are_written_alike_one_by_one_and_together() -> None:
    events: Events = [START, *text(0, "a", "b"), *call(1, "{}"), *ended(*call(1))]
    together = MessagesWriter(coming("messages")).write(events)
    assert together == checked(stream(*events))


def test_blocks_are_dense_and_one_at_a_time() -> None:
    """wire-formats, trap 69: interleaved calls are kept back."""
    data = stream(
        START,
        Open(0, Text("")),
        Close(0),
        Open(1, ToolCall("a", "f")),
        Delta(1, '{"x"'),
        Open(2, ToolCall("b", "g")),
        Delta(2, '{"y":'),
        Open(3, Text("")),
        Delta(1, ":1}"),
        Delta(3, "said"),
        Delta(2, "2}"),
        Close(2),
        Close(1),
        Close(3),
        *ended(Open(1, ToolCall("a", "f"))),
    )
    assert blocks(checked(data)) == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": "said"},
    ]


def test_a_block_that_waits_goes_on_when_its_turn_has_come() -> None:
    data = stream(
        START,
        Open(0, Text("")),
        Open(1, Text("")),
        Delta(1, "b"),
        Delta(0, "a"),
        Close(0),
        Delta(1, "c"),
        *END,
    )
    assert [block["text"] for block in blocks(checked(data))] == ["a", "bc"]


def test_any_number_of_blocks_may_wait() -> None:
    others = [event for block in range(1, 3000) for event in text(block, "x")]
    data = stream(START, Open(0, Text("")), Delta(0, "a"), *others, Close(0), *END)
    assert len(blocks(checked(data))) == 3000


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_WAITING", 10 + 2 * module.EVENT_SIZE)
    waiting: Events = [Open(0, Text("")), Open(1, Text("")), Delta(1, "x" * 6)]
    stream(START, *waiting)
    with pytest.raises(OverflowError, match="too large"):
        stream(START, *waiting, Delta(1, "x" * 6))
    with pytest.raises(OverflowError, match="too large"):
        stream(START, *waiting, Break(1), Break(1))  # events have a size, too


def test_usage_is_there_at_start_and_end() -> None:
    """wire-formats, trap 70."""
    events = documents(stream(START, *END))
    usage = events[0]["message"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 0)
    assert events[1]["usage"] == {"input_tokens": 7, "output_tokens": 3}
    unknown = documents(stream(Start("", ""), Finish("stop"), End(), input_estimate=12))
    assert unknown[0]["message"]["usage"]["input_tokens"] == 12


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (None, {"output_tokens": 0}),
        (Usage(out_total=3), {"output_tokens": 3}),
        (
            Usage(in_uncached=0, cache_read=9, cache_write_5m=0, out_total=3),
            {
                "input_tokens": 0,
                "cache_creation_input_tokens": 0,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 0,
                    "ephemeral_1h_input_tokens": 0,
                },
                "cache_read_input_tokens": 9,
                "output_tokens": 3,
            },
        ),
    ],
)
def test_no_input_count_of_zero_is_a_placeholder(usage: Usage | None, told: dict[str, int]) -> None:
    """wire-formats, trap 71."""
    counted: Events = [Counted(usage)] if usage is not None else []
    events = documents(stream(Start("", ""), *counted, Finish("stop"), End()))
    assert events[1]["usage"] == told


def test_texts_and_thoughts_start_with_an_empty_string() -> None:
    """wire-formats, trap 72."""
    thought: Events = [Open(0, Reasoning([])), Delta(0, "hm"), Close(0)]
    starts = [
        event["content_block"]
        for event in documents(stream(START, *thought, *text(1, "Hi"), *END))
        if event["type"] == "content_block_start"
    ]
    assert starts == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
    ]


def test_a_delta_fits_its_block_and_none_is_empty() -> None:
    """wire-formats, trap 74."""
    events: Events = [Open(0, Reasoning([])), Delta(0, "hm"), Close(0)]
    events += [*text(1, "Hi"), *call(2, "{}"), *text(3), *ended(*call(2))]
    deltas = [
        event["delta"]
        for event in documents(checked(stream(START, *events)))
        if event["type"] == "content_block_delta"
    ]
    assert deltas == [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": envelope.wrap(envelope.UNSEALED, "")},
        {"type": "text_delta", "text": "Hi"},
        {"type": "input_json_delta", "partial_json": "{}"},
    ]


def test_one_signature_right_before_the_stop() -> None:
    """wire-formats, trap 75."""
    early: Events = [
        Open(0, Reasoning([], carrier=Carrier("openai-encrypted", "first"))),
        Seal(0, SIGNATURE),
        Delta(0, "hm"),
        Close(0),
    ]
    sealed = envelope.wrap(SIGNATURE, SCOPE)
    assert both(*early) == [{"type": "thinking", "thinking": "hm", "signature": sealed}]
    told = documents(stream(START, *early, *END))[1:5]
    assert [event.get("delta", event)["type"] for event in told] == [
        "content_block_start",
        "thinking_delta",
        "signature_delta",
        "content_block_stop",
    ]


def test_a_call_without_arguments_is_an_object() -> None:
    """wire-formats, trap 76."""
    assert both(*call(0)) == [{"type": "tool_use", "id": "call_0", "name": "f", "input": {}}]


def test_message_stop_comes_even_without_usage() -> None:
    """wire-formats, trap 77."""
    events = documents(checked(stream(Start("", ""), *text(0, "Hi"), Finish("stop"), End())))
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]


def test_blocks_that_nobody_closed_are_closed_at_the_end() -> None:
    opened: Events = [Open(0, Text("")), Delta(0, "a"), Open(1, Text("")), Delta(1, "b")]
    assert [block["text"] for block in blocks(checked(stream(START, *opened, *END)))] == ["a", "b"]


def test_failures_pings_and_no_done() -> None:
    """wire-formats, trap 79."""
    data = stream(START, *text(0, "Hi"), Failure("upstream broke", 503))
    assert documents(data)[-1] == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "upstream broke"},
        "request_id": "req_1",
    }
    assert data.endswith(b"\n\n")
    assert b"[DONE]" not in stream(START, *END)
    writer = MessagesWriter(coming("messages"))
    assert writer.keepalive == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert writer.error(RelayError("ours")).startswith(b"event: error\ndata: ")
    assert repr(writer) == "<MessagesWriter index=-1 waiting=[]>"


def test_other_answers_than_the_first_are_not_told() -> None:
    other: Events = [
        Open(1, Text(""), choice=1),
        Delta(1, "no"),
        Close(1),
        Finish("length", choice=1),
    ]
    data = stream(START, Open(0, Text("")), *other, Delta(0, "yes"), Close(0), *END)
    assert blocks(checked(data)) == [{"type": "text", "text": "yes"}]
    assert documents(data)[-2]["delta"]["stop_reason"] == "end_turn"


# --- parts --------------------------------------------------------------------------------------


def test_text_is_text_and_so_are_the_words_of_a_refusal() -> None:
    refusal: Events = [Open(1, Refusal("")), Delta(1, "no"), Close(1)]
    assert both(*text(0, "a", "b"), *refusal) == [
        {"type": "text", "text": "ab"},
        {"type": "text", "text": "no"},
    ]


def test_words_of_refusal_end_in_a_refusal() -> None:
    events = [START, Open(0, Refusal("")), Delta(0, "no"), Close(0), *END]
    assert documents(stream(*events))[-2]["delta"]["stop_reason"] == "refusal"
    assert whole(*events)["stop_reason"] == "refusal"


def test_paragraphs_of_thinking_are_set_apart() -> None:
    events: Events = [
        Open(0, Reasoning([])),
        Break(0),
        Delta(0, "a"),
        Delta(0, "b"),
        Break(0),
        Delta(0, "c"),
        Break(0),
        Close(0),
    ]
    [found] = both(*events)
    assert found["thinking"] == "ab\n\nc"


def test_thinking_that_nobody_sealed_is_told_from_the_formats_own() -> None:
    """Without a signature it would be sent back as it is, and refused: wire-formats, trap 55."""
    [found] = both(Open(0, Reasoning([])), Delta(0, "hm"), Close(0))
    assert envelope.unwrap(found["signature"]) == envelope.UNSEALED


@pytest.mark.parametrize("empty", [Text(""), Refusal(""), Reasoning([])])
def test_no_block_is_empty(empty: Any) -> None:
    assert both(Open(0, empty), Close(0)) == []


@pytest.mark.parametrize("thinking", [Thinking(), Thinking("off"), Thinking(show="none")])
def test_who_did_not_ask_for_thinking_sees_none(thinking: Thinking) -> None:
    """wire-formats 9.3: programs read the first block for the answer."""
    thought: Events = [Open(0, Reasoning([])), Delta(0, "hm"), Break(0), Delta(0, "so")]
    thought.append(Seal(0, SIGNATURE))
    plain = request("messages", thinking=thinking)
    assert both(*thought, Close(0), *text(1, "Hi"), request=plain) == [
        {"type": "text", "text": "Hi"}
    ]
    # A turn with tools goes on, and has to bring the carrier back.
    working = request("messages", thinking=thinking, tools=[Function(name="f")])
    carried = {"type": "redacted_thinking", "data": envelope.wrap(SIGNATURE, SCOPE)}
    assert both(*thought, Close(0), *call(1, "{}"), request=working)[0] == carried


def test_natively_thinking_passes_whatever_was_asked() -> None:
    plain = request("messages")
    thought: Events = [Open(0, Reasoning([])), Delta(0, "hm"), Close(0)]
    assert both(*thought, native=True, request=plain)[0]["thinking"] == "hm"


def test_hidden_thinking_is_a_redacted_block() -> None:
    hidden = Carrier("openai-encrypted", "gAAA", id="rs_1")
    data = envelope.wrap(hidden, SCOPE)
    assert both(Open(0, Reasoning([], carrier=hidden)), Close(0), *text(1, "Hi")) == [
        {"type": "redacted_thinking", "data": data},
        {"type": "text", "text": "Hi"},
    ]
    assert both(Open(0, Reasoning([])), Seal(0, hidden), Close(0)) == [
        {"type": "redacted_thinking", "data": data}
    ]


def test_the_carrier_of_a_call_stands_right_before_it() -> None:
    part = ToolCall("call_0", "f", carrier=SIGNATURE)
    [block, made] = both(Open(0, part), Delta(0, '{"a":1}'), Close(0))
    carrier = envelope.unwrap(block["data"])
    assert carrier == Carrier("gemini-signature", "sig", SCOPE, call_id="call_0")
    assert made["input"] == {"a": 1}


def test_a_carrier_that_comes_late_stands_behind_its_call() -> None:
    late: Events = [Open(0, ToolCall("call_0", "f")), Delta(0, "{}"), Seal(0, SIGNATURE), Close(0)]
    [made, block] = blocks(checked(stream(START, *late, *ended(*late))))
    assert (made["type"], block["type"]) == ("tool_use", "redacted_thinking")


CARRYING = pytest.mark.parametrize("part", [Text(""), Refusal(""), Text("", carrier=SIGNATURE)])


def sealed_text(part: Any, *said: str) -> Events:
    return [Open(0, part), *(Delta(0, each) for each in said), Seal(0, SIGNATURE), Close(0)]


@CARRYING
@pytest.mark.parametrize("said", [["Hi"], []])
def test_the_carrier_of_a_text_stands_behind_it_where_more_follows(
    part: Any, said: list[str]
) -> None:
    data = {"type": "redacted_thinking", "data": envelope.wrap(SIGNATURE, SCOPE)}
    [*told, last] = both(*sealed_text(part, *said), *call(1, "{}"))
    assert told == [*({"type": "text", "text": each} for each in said), data]
    assert last["type"] == "tool_use"


@CARRYING
def test_the_carrier_of_the_last_text_is_not_told(part: Any) -> None:
    """Claude Code shows the last block of a message: behind the answer it would show nothing."""
    kinds: tuple[Text | Reasoning, ...] = (Text(""), Reasoning([]))
    for kind in kinds:  # as Google writes it: behind the text, by itself
        empty: Events = [Open(1, replace(kind, carrier=SIGNATURE)), Close(1)]
        assert both(*sealed_text(part, "Hi"), *empty) == [{"type": "text", "text": "Hi"}]
    shown = Image(mime="image/png", carrier=SIGNATURE)
    assert both(Open(0, shown), Close(0)) == [{"type": "text", "text": "[picture: image/png]"}]


def test_a_carrier_behind_a_call_is_told() -> None:
    late: Events = [Open(1, Reasoning([], carrier=SIGNATURE)), Close(1)]
    [made, block] = both(*call(0, "{}"), *late)
    assert (made["type"], block["type"]) == ("tool_use", "redacted_thinking")


def test_a_message_with_nothing_but_the_carrier_of_a_text_tells_it() -> None:
    data = {"type": "redacted_thinking", "data": envelope.wrap(SIGNATURE, SCOPE)}
    assert both(*sealed_text(Text(""))) == [data]


def test_ids_that_the_format_does_not_take_become_ones_that_it_takes() -> None:
    [block] = both(Open(0, ToolCall("functions.f:0", "f")), Close(0))
    assert block["id"].startswith("call_")


def test_free_text_is_the_input_of_a_call() -> None:
    part = ToolCall("c", "patch", custom=True, carrier=SIGNATURE)
    [sealed, block] = both(Open(0, part), Delta(0, "*** "), Delta(0, "End"), Close(0))
    assert sealed["type"] == "redacted_thinking"
    assert block["input"] == {"input": "*** End"}


def test_arguments_that_are_no_object_are_streamed_as_they_come() -> None:
    data = stream(START, *call(0, "[1"), *END)
    assert b'"partial_json":"[1"' in data
    assert whole(START, *call(0, "[1"), *END)["content"][0]["input"] == {
        "unreadable_arguments": "[1"
    }


def test_pictures_and_sound_leave_a_word() -> None:
    sound, spoken = Audio(mime="audio/wav"), Audio(mime="audio/wav", transcript="Hello")
    events: Events = [
        *(Open(0, Image(mime="image/png", carrier=SIGNATURE)), Close(0)),
        *(Open(1, Image()), Close(1)),
        *(Open(2, sound), Close(2)),
        *(Open(3, spoken), Close(3)),
    ]
    stray = stream(START, Open(0, sound), Delta(0, "stray"), Close(0), *END)
    assert [block["text"] for block in blocks(checked(stray))] == ["[sound]"]
    said = [block.get("text", block["type"]) for block in both(*events)]
    assert said == [
        "[picture: image/png]",
        "redacted_thinking",
        "[picture: image]",
        "[sound]",
        "Hello",
    ]


def test_what_only_another_format_says_is_left_out() -> None:
    opaque = Opaque("responses", "web_search_call", {"type": "web_search_call"})
    assert both(Open(0, opaque), Close(0), *text(1, "Hi")) == [{"type": "text", "text": "Hi"}]


def test_citations_of_other_providers_are_left_out() -> None:
    cite = Cite(0, Citation("u", native={"type": "url_citation"}))
    assert both(Open(0, Text("")), Delta(0, "a"), cite, Close(0)) == [{"type": "text", "text": "a"}]


# --- natively -----------------------------------------------------------------------------------


def test_natively_carriers_and_citations_are_their_own() -> None:
    cite = Cite(0, Citation(native={"type": "page_location"}))
    events: Events = [
        *(Open(0, Text("")), cite, Delta(0, "a"), cite, Cite(0, Citation()), Close(0)),
        *(Open(1, Reasoning([])), Seal(1, Carrier("anthropic-signature", "S")), Close(1)),
        *(Open(2, Reasoning([], carrier=Carrier("anthropic-redacted", "D"))), Close(2)),
        *(Open(3, Opaque("messages", "hologram", {"type": "hologram"})), Close(3)),
        *call(4, "{}"),
    ]
    assert both(*events, native=True) == [
        {"type": "text", "text": "a", "citations": [{"type": "page_location"}] * 2},
        {"type": "thinking", "thinking": "", "signature": "S"},
        {"type": "redacted_thinking", "data": "D"},
        {"type": "hologram"},
        {"type": "tool_use", "id": "call_4", "name": "f", "input": {}},
    ]


def test_natively_nothing_of_the_message_is_lost() -> None:
    usage = {"input_tokens": 7, "service_tier": "standard", "geo": "eu"}
    start = Start("host-1", "m", tier="standard", rest={"diagnostics": 1, "usage": usage})
    details = {"stop_details": None, "container": {"id": "c"}, "context_management": {}}
    finish = Finish("length", native="compaction", rest=details)
    counted = Counted(Usage(out_total=3), {"output_tokens": 3, "iterations": []})
    events: Events = [start, counted, finish, End()]
    first, last, _ = documents(stream(*events, native=True))
    assert first["message"] | {"content": [], "stop_reason": None} == first["message"]
    assert (first["message"]["id"], first["message"]["diagnostics"]) == ("host-1", 1)
    assert first["message"]["usage"] == usage
    assert last == {
        "type": "message_delta",
        "delta": {
            "stop_reason": "compaction",
            "stop_sequence": None,
            "stop_details": None,
            "container": {"id": "c"},
        },
        "usage": {"output_tokens": 3, "iterations": []},
        "context_management": {},
    }
    document = whole(*events, native=True)
    assert document["usage"] == counted.rest
    assert (document["stop_reason"], document["diagnostics"]) == ("compaction", 1)
    assert (document["container"], document["context_management"]) == ({"id": "c"}, {})


# --- the message --------------------------------------------------------------------------------


def test_a_whole_message_has_all_that_the_sdk_demands() -> None:
    message = whole(Start("msg_up", "m", tier="priority"), *text(0, "Hi"), *END)
    assert message == {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": "asked-model",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
            "service_tier": "priority",
        },
    }


def test_a_foreign_id_becomes_one_of_the_formats() -> None:
    minted = whole(START, *END)["id"]
    assert minted.startswith("msg_")
    assert documents(stream(START, *END))[0]["message"]["id"] == minted


def test_an_empty_reply_is_a_message() -> None:
    message = MessagesWriter(coming("messages")).whole(Reply())
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")
    assert MessagesWriter(coming("messages")).whole(Reply(choices=[Choice()]))["content"] == []


def test_a_count_is_a_document() -> None:
    assert count_document(5) == {"input_tokens": 5}
