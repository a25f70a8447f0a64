"""Messages replies, read as events (wire-formats 4.2, 4.3, 9.2)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import Usage
from relayd.wire.blocks import MOST_BLOCKS
from relayd.wire.events import (
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
from relayd.wire.messages.reader import LARGEST_INPUT, MessagesReader, count_reply
from relayd.wire.parts import Carrier, Citation, Extra, Opaque, Part, Reasoning, Text, ToolCall

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "m",
        "role": "assistant",
        "usage": {"input_tokens": 9, "output_tokens": 1, "service_tier": "standard"},
    },
}
STOP = {"type": "message_stop"}


def opens(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def adds(index: int, kind: str, **said: Any) -> dict[str, Any]:
    delta = {"type": kind, **said}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stops(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ends(reason: str | None = "end_turn", **usage: Any) -> dict[str, Any]:
    told = {"usage": usage} if usage else {}
    return {"type": "message_delta", "delta": {"stop_reason": reason}, **told}


def read(*values: Any, reader: MessagesReader | None = None) -> Events:
    """The events of these, and of the end."""
    reading = reader or MessagesReader()
    found: Events = []
    for value in values:
        found += reading.read(b"", value if isinstance(value, bytes) else orjson.dumps(value))
    return found + reading.end()


def reply(*blocks: dict[str, Any]) -> Reply:
    return fold(read(START, *blocks, ends(), STOP))


def parts(*blocks: dict[str, Any]) -> list[Part]:
    return reply(*blocks).choices[0].parts


TEXT = [opens(0, type="text", text=""), adds(0, "text_delta", text="Hi"), stops(0)]


def test_a_stream_of_text_is_read() -> None:
    found = read(START, *TEXT, ends(output_tokens=5), STOP)
    usage = {"input_tokens": 9, "output_tokens": 1, "service_tier": "standard"}
    first = Usage(in_uncached=9, out_total=1)
    start = Start("msg_1", "m", None, first, "standard", {"usage": usage})
    last = Counted(Usage(in_uncached=9, out_total=5), {"output_tokens": 5})
    expected: list[Event] = [start, Open(0, Text("")), Delta(0, "Hi"), Close(0), last]
    assert found == [*expected, Finish("stop", native="end_turn"), End()]


def test_unknown_events_are_ignored() -> None:
    """wire-formats, trap 12."""
    unknown = [
        {"type": "content_block_hologram", "index": 0},
        {"type": "future_event"},
        {"no": "type"},
        [1],
        b"garbage",
        b"[DONE]",
        adds(0, "hologram_delta", hologram="x"),
        adds(7, "text_delta", text="of no block"),
        {"type": "content_block_delta", "index": "0", "delta": {"text": "x"}},
        {"type": "content_block_delta", "index": 0, "delta": "x"},
        {"type": "content_block_stop", "index": 9},
    ]
    found = read(START, TEXT[0], *unknown, *TEXT[1:], ends(), STOP)
    assert found == read(START, *TEXT, ends(), STOP)


def test_done_is_no_error() -> None:
    """wire-formats, trap 13."""
    assert read(START, ends(), STOP, b"[DONE] ")[-1] == End()


def test_texts_are_read_alike_whatever_stands_between_them() -> None:
    found = parts(
        opens(0, type="text", text=""),
        *[adds(0, "text_delta", text=each) for each in ("a", "b", 'say "text":', "", "c")],
        {"type": "ping"},
        adds(0, "text_delta", text="d"),
        stops(0),
        adds(0, "text_delta", text="of no block"),
        opens(1, type="text", text=""),
        *[adds(1, "text_delta", text=each) for each in ("e", "f")],
        stops(1),
    )
    assert found == [Text('absay "text":cd'), Text("ef")]


def test_an_event_may_be_named_outside_of_its_data() -> None:
    reader = MessagesReader()
    reader.read(b"", orjson.dumps(START))
    block = {"index": 0, "content_block": {"type": "text", "text": "a"}}
    assert reader.read(b"content_block_start", orjson.dumps(block)) == [
        Open(0, Text("")),
        Delta(0, "a"),
    ]
    delta = {"index": 0, "delta": {"text": "b"}}
    assert reader.read(b"content_block_delta", orjson.dumps(delta)) == [Delta(0, "b")]
    assert "MessagesReader" in repr(reader)


def test_what_is_nested_too_deep_is_no_event() -> None:
    deep = b'{"type":"message_start","message":' + b'{"a":' * 300 + b"1" + b"}" * 301
    assert read(deep, START, *TEXT, ends(), STOP) == read(START, *TEXT, ends(), STOP)
    assert isinstance(MessagesReader().whole(orjson.loads(deep))[0], Failure)


# --- pings, nulls, ends -------------------------------------------------------------------------


def test_pings_null_reasons_and_null_usage_do_no_harm() -> None:
    """wire-formats, trap 95."""
    found = fold(
        read(
            {"type": "ping"},
            START,
            {"type": "ping"},
            START,
            ends(None, output_tokens=2),
            {"type": "message_delta", "delta": None, "usage": None},
            ends("max_tokens", input_tokens=None, output_tokens=7),
            STOP,
        )
    )
    assert found.usage == Usage(in_uncached=9, out_total=7)
    assert found.choices[0].finish == Finish("length", native="max_tokens")
    assert found.ended


def test_nothing_counts_behind_the_end() -> None:
    assert read(START, STOP, *TEXT, STOP) == read(START, STOP)


@pytest.mark.parametrize("events", [[], [START], [START, *TEXT], [START, *TEXT, ends()]])
def test_an_end_without_message_stop_is_a_failure(events: list[dict[str, Any]]) -> None:
    """wire-formats, trap 96."""
    last = read(*events)[-1]
    assert isinstance(last, Failure)
    assert last.message == "The upstream's stream ended before it was complete."


def test_a_stream_without_its_beginning_gets_one() -> None:
    assert read(*TEXT, STOP)[0] == Start("", "")
    assert read(ends(output_tokens=1), STOP)[0] == Start("", "")
    assert read(ends(), STOP) == [Start("", ""), Finish("stop", native="end_turn"), End()]


def test_blocks_that_nobody_closed_are_closed_at_the_end() -> None:
    two = [opens(0, type="text", text="a"), opens(1, type="text", text="b")]
    assert read(START, *two, STOP)[-4:] == [Close(0), Close(1), Finish("stop"), End()]


def test_an_index_that_comes_again_is_a_new_block() -> None:
    assert parts(opens(0, type="text", text="a"), opens(0, type="text", text="b")) == [
        Text("a"),
        Text("b"),
    ]


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            {"type": "overloaded_error", "message": "busy"},
            Failure("busy", 503, "upstream_error"),
        ),
        (
            {"type": "rate_limit_error", "message": "slow"},
            Failure("slow", 429, "rate_limit_exceeded"),
        ),
        ({"type": "timeout_error"}, Failure("timeout_error", 504, "upstream_timeout")),
        ({"type": "api_error", "message": "no"}, Failure("no")),
        ("text", Failure("text")),
        (None, Failure("error")),
    ],
)
def test_an_error_in_the_middle_is_a_failure_and_the_end(error: Any, failure: Failure) -> None:
    found = read(START, {"type": "error", "error": error}, *TEXT, STOP)
    assert found[1:] == [failure]


def test_an_error_without_a_name_is_one_as_well() -> None:
    assert read({"error": {"message": "no"}}) == [Failure("no")]


# --- why it ended -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop_sequence"),
        ("pause_turn", "pause"),
        ("refusal", "filter"),
        ("model_context_window_exceeded", "context_full"),
        ("compaction", "length"),
        ("hologram", "stop"),
        ("tool_use", "stop"),  # without any call
    ],
)
def test_reasons_become_the_hubs_words(word: str, reason: str) -> None:
    finish = fold(read(START, ends(word), STOP)).choices[0].finish
    assert finish is not None
    assert (finish.reason, finish.native) == (reason, word)


def test_calls_end_with_tool_calls_whatever_the_upstream_says() -> None:
    found = reply(opens(0, type="tool_use", id="c", name="f", input={}))
    assert found.choices[0].finish == Finish("tool_calls", native="end_turn")
    full = fold(read(START, opens(0, type="tool_use", id="c", name="f"), ends("max_tokens"), STOP))
    assert full.choices[0].finish == Finish("length", native="max_tokens")


def test_what_a_reply_says_of_its_end_is_kept() -> None:
    delta = {
        "stop_reason": "refusal",
        "stop_sequence": "END",
        "stop_details": {"type": "refusal", "explanation": "because"},
        "container": {"id": "c"},
    }
    last = {"type": "message_delta", "delta": delta, "context_management": {"applied_edits": []}}
    finish = fold(read(START, last, STOP)).choices[0].finish
    assert finish == Finish(
        "filter",
        native="refusal",
        stop="END",
        explanation="because",
        rest={
            "stop_details": delta["stop_details"],
            "container": {"id": "c"},
            "context_management": {"applied_edits": []},
        },
    )


# --- blocks -------------------------------------------------------------------------------------


def test_thinking_is_sealed_by_its_signature() -> None:
    found = read(
        START,
        opens(0, type="thinking", thinking="", signature=""),
        adds(0, "thinking_delta", thinking="hm"),
        adds(0, "signature_delta", signature="S"),
        adds(0, "signature_delta", signature=""),
        stops(0),
        STOP,
    )
    signed = Seal(0, Carrier("anthropic-signature", "S"))
    assert found[1:5] == [Open(0, Reasoning([], raw=True)), Delta(0, "hm"), signed, Close(0)]


def test_redacted_thinking_comes_whole_and_unknown_blocks_keep_the_count() -> None:
    """wire-formats, trap 97."""
    found = parts(
        opens(0, type="redacted_thinking", data="D"),
        stops(0),
        opens(1, type="hologram", light="x"),
        adds(1, "hologram_delta", more="y"),
        stops(1),
        *[{**event, "index": 2} for event in TEXT],
    )
    assert found == [
        Reasoning([], carrier=Carrier("anthropic-redacted", "D")),
        Opaque("messages", "hologram", {"type": "hologram", "light": "x"}),
        Text("Hi"),
    ]


@pytest.mark.parametrize(
    ("block", "deltas", "arguments"),
    [
        ({"input": {}}, ['{"a"', ": 1}"], '{"a": 1}'),
        ({"input": {}}, [], ""),
        ({"input": {}}, [""], ""),
        ({"input": {"a": 1}}, [], '{"a":1}'),
        ({"input": {"a": 1}}, ["", '{"a":2}'], '{"a":2}'),
        ({}, [], ""),
    ],
)
def test_arguments_come_in_pieces_or_at_once_and_never_twice(
    block: dict[str, Any], deltas: list[str], arguments: str
) -> None:
    [call] = parts(
        opens(0, type="tool_use", id="c", name="f", caller={"type": "direct"}, **block),
        *[adds(0, "input_json_delta", partial_json=each) for each in deltas],
        stops(0),
    )
    extra = {"caller": Extra({"type": "direct"}, "silent")}
    assert call == ToolCall("c", "f", arguments, extra=extra)


def test_a_call_without_a_name_is_no_call() -> None:
    found = reply(opens(0, type="tool_use", id="c", name=""), stops(0))
    assert isinstance(found.choices[0].parts[0], Opaque)
    assert found.choices[0].finish == Finish("stop", native="end_turn")


def test_a_hosted_tools_block_is_told_whole() -> None:
    found = parts(
        opens(0, type="server_tool_use", id="s", name="web_search", input={}),
        adds(0, "input_json_delta", partial_json='{"query":'),
        adds(0, "input_json_delta", partial_json='"x"}'),
        stops(0),
        opens(1, type="server_tool_use", id="t", name="web_search", input={}),
        adds(1, "input_json_delta", partial_json="broken"),
        stops(1),
        opens(2, type="compaction", content=None),
        adds(2, "compaction_delta", content="summary"),
        stops(2),
    )
    assert [part.document for part in found if isinstance(part, Opaque)] == [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "server_tool_use", "id": "t", "name": "web_search", "input": {}},
        {"type": "compaction", "content": "summary"},
    ]


def test_citations_belong_to_their_text() -> None:
    web = {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "q"}
    page = {"type": "page_location", "document_title": "d"}
    found = read(
        START,
        opens(0, type="text", text="", citations=[web]),
        adds(0, "citations_delta", citation=page),
        adds(0, "citations_delta", citation="none"),
    )
    assert [event for event in found if isinstance(event, Cite)] == [
        Cite(0, Citation("u", "t", "q", native=web)),
        Cite(0, Citation("", "d", "", native=page)),
    ]


# --- usage --------------------------------------------------------------------------------------


def test_cache_counts_and_iterations_are_summed() -> None:
    """wire-formats, trap 98."""
    counted: dict[str, Any] = {
        "input_tokens": 4,
        "output_tokens": 3,
        "cache_read_input_tokens": None,
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_1h_input_tokens": 5},
    }
    found = fold(read(START, ends(**counted), STOP))
    expected = Usage(in_uncached=4, out_total=3, cache_write_5m=4, cache_write_1h=5)
    assert found.usage == expected
    passes: dict[str, Any] = {"iterations": [{"input_tokens": 1, "output_tokens": 2}] * 2}
    assert fold(read(START, ends(**passes), STOP)).usage == Usage(in_uncached=2, out_total=4)


# --- whole replies ------------------------------------------------------------------------------


def test_a_whole_reply_is_read_as_if_it_had_been_streamed() -> None:
    document = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "text", "text": "Hi", "citations": None},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            "no block",
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "stop_details": None,
        "usage": {"input_tokens": 9, "output_tokens": 5},
        "diagnostics": 1,
    }
    whole = fold(MessagesReader().whole(document))
    assert whole.choices[0].parts == [
        Reasoning(["hm"], raw=True, carrier=Carrier("anthropic-signature", "S")),
        Text("Hi"),
        ToolCall("c", "f", '{"a":1}'),
    ]
    rest = {"stop_details": None}
    assert whole.choices[0].finish == Finish("tool_calls", native="tool_use", rest=rest)
    assert whole.usage == Usage(in_uncached=9, out_total=5)
    assert whole.usage_rest == document["usage"]
    assert whole.start is not None
    assert whole.start.rest["diagnostics"] == 1
    assert whole.ended


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"type": "error", "error": {"message": "no"}}, "no"),
        ({"choices": []}, "The upstream's reply is no message."),
        ({"content": "text"}, "The upstream's reply is no message."),
    ],
)
def test_what_is_no_message_is_a_failure(document: dict[str, Any], message: str) -> None:
    assert MessagesReader().whole(document) == [Failure(message)]


@pytest.mark.parametrize(("document", "count"), [({"input_tokens": 3}, 3), ({}, None)])
def test_a_count_is_read(document: dict[str, Any], count: int | None) -> None:
    assert count_reply(document) == count


# --- bounds -------------------------------------------------------------------------------------


def test_a_reply_of_endless_blocks_is_given_up() -> None:
    with pytest.raises(OverflowError, match="too many parts"):
        read(START, *(opens(index, type="hologram") for index in range(MOST_BLOCKS + 1)))


def test_a_hosted_tools_endless_input_is_given_up() -> None:
    piece = adds(0, "input_json_delta", partial_json="x" * (LARGEST_INPUT // 2 + 1))
    with pytest.raises(OverflowError, match="too large"):
        read(START, opens(0, type="server_tool_use"), piece, piece)


@pytest.mark.parametrize("reason", [{}, {"stop_reason": None}])
def test_a_message_without_content_or_reason_is_a_failure(reason: dict[str, Any]) -> None:
    document = {"type": "message", "role": "assistant", "content": [], **reason}
    [failed] = MessagesReader().whole(document)
    assert isinstance(failed, Failure)
    assert MessagesReader().whole(document | {"stop_reason": "end_turn"})[-1] == End()


def test_an_end_without_a_beginning_is_a_failure() -> None:
    [failed] = MessagesReader().read(b"message_stop", orjson.dumps(STOP))
    assert isinstance(failed, Failure)
