"""Events, written as a Responses stream or as a whole response."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire.events import (
    Break,
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
    Reason,
    Seal,
    Start,
    fold,
)
from relayd.wire.neutral import Function
from relayd.wire.parts import Carrier, Citation, Reasoning, Text, ToolCall
from relayd.wire.responses.reader import ResponsesReader
from relayd.wire.responses.writer import ResponsesWriter
from relayd.wire.setting import Coming
from tests.wire.grammar import responses as grammar
from tests.wire.responses.streams import Json, told
from tests.wire.ways import coming, request

CLIENT = coming("responses")
START = Start("chatcmpl-1", "m", 17.0)
DONE: Events = [Finish("stop"), End()]


def text(block: int, *said: str, choice: int = 0) -> Events:
    """A block of text."""
    return [Open(block, Text(""), choice), *(Delta(block, each) for each in said), Close(block)]


def call(block: int, *said: str, name: str = "f") -> Events:
    """A block of a call."""
    opened = Open(block, ToolCall(f"call_{block}", name))
    return [opened, *(Delta(block, each) for each in said), Close(block)]


def stream(*events: Event, to: Coming = CLIENT) -> list[Json]:
    """The events of a whole stream, which obeys its grammar."""
    data = ResponsesWriter(to).write([START, *events])
    grammar.stream(data)
    return told(data)


def output(*events: Event, to: Coming = CLIENT) -> list[Json]:
    """The items of the last event; a whole reply has the same."""
    last = stream(*events, *DONE, to=to)[-1]["response"]
    whole = ResponsesWriter(to).whole(fold([START, *events, *DONE]))
    assert whole == last
    grammar.whole(orjson.loads(orjson.dumps(whole)))
    items: list[Json] = whole["output"]
    return items


def kinds(values: list[Json]) -> list[str]:
    return [value["type"].removeprefix("response.") for value in values]


# --- the order of things ------------------------------------------------------------------------


def test_created_comes_first_and_the_id_never_changes() -> None:
    """wire-formats, trap 38."""
    values = stream(*text(0, "Hi"), *DONE)
    assert kinds(values)[:2] == ["created", "in_progress"]
    assert len({value["response"]["id"] for value in values if "response" in value}) == 1
    assert values[0]["response"]["id"].startswith("resp_")
    kept = ResponsesWriter(CLIENT).write([Start("resp_upstream", "m")])
    assert told(kept)[0]["response"]["id"] == "resp_upstream"


def test_items_and_parts_are_added_before_their_deltas() -> None:
    """wire-formats, trap 39."""
    assert kinds(stream(*text(0, "Hi", " you"), *DONE)) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_output_indexes_ascend_and_parts_close_before_the_next_item() -> None:
    """wire-formats, trap 40: what is interleaved waits."""
    first, second, third = call(0, "{", "}"), call(1, "{ ", "}"), text(2, "x")
    mixed = [first[0], second[0], first[1], second[1], third[0], *second[2:], third[1], third[2]]
    values = stream(*mixed, *first[2:], *DONE)
    added = [value["output_index"] for value in values if "item" in value]
    assert added == [0, 0, 1, 1, 2, 2]
    items = values[-1]["response"]["output"]
    assert [item.get("arguments") for item in items] == ["{}", "{ }", None]


def test_many_waiting_blocks_are_told_one_after_the_other() -> None:
    waiting: Events = [event for block in range(1, 1200) for event in call(block, "{}")]
    first = call(0, "{}")
    items = output(first[0], *waiting, *first[1:])
    assert len(items) == 1200


def test_an_item_is_done_as_the_item_that_was_added() -> None:
    """wire-formats, trap 41."""
    values = stream(*text(0, "Hi"), *call(1, "{}"), *DONE)
    added = [value["item"] for value in values if value["type"].endswith("item.added")]
    done = [value["item"] for value in values if value["type"].endswith("item.done")]
    names = ("type", "id", "call_id")
    assert [[item.get(n) for n in names] for item in added] == [
        [item.get(n) for n in names] for item in done
    ]


def test_text_behind_a_call_is_a_new_item() -> None:
    """wire-formats, trap 42."""
    first, called, last = output(*text(0, "one"), *call(1, "{}"), *text(2, "two"))
    assert (first["type"], called["type"], last["type"]) == ("message", "function_call", "message")
    assert first["id"] != last["id"]


def test_the_terminal_event_repeats_the_whole_output() -> None:
    """wire-formats, trap 43."""
    values = stream(*text(0, "Hi"), *call(1, "{}"), *DONE)
    done = [value["item"] for value in values if value["type"].endswith("item.done")]
    assert values[-1]["response"]["output"] == done
    assert len(done) == 2


def test_sequence_numbers_have_no_gaps_over_keepalives() -> None:
    """wire-formats, trap 46."""
    writer = ResponsesWriter(CLIENT)
    data = b"".join(
        writer.write([event]) + writer.keepalive for event in [START, *text(0, "a", "b"), *DONE]
    )
    assert writer.keepalive.startswith(b":")
    values = [orjson.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: ")]
    assert [value["sequence_number"] for value in values] == list(range(len(values)))


def test_arguments_done_is_what_the_deltas_say() -> None:
    """wire-formats, trap 51: also where none came."""
    for said in (['{"a"', ":1}"], []):
        values = stream(*call(0, *said), *DONE)
        deltas = "".join(v["delta"] for v in values if v["type"].endswith("arguments.delta"))
        (done,) = [v for v in values if v["type"].endswith("arguments.done")]
        assert done["arguments"] == deltas == ("".join(said) or "{}")


def test_only_the_first_answer_is_told() -> None:
    other: Events = [*text(1, "no", choice=1), Finish("length", choice=1)]
    values = stream(*text(0, "yes"), *other, *DONE)
    assert kinds(values)[-1] == "completed"
    (item,) = values[-1]["response"]["output"]
    assert item["content"][0]["text"] == "yes"


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "details"),
    [
        ("length", {"reason": "max_output_tokens"}),
        ("context_full", {"reason": "max_output_tokens"}),
        ("filter", {"reason": "content_filter"}),
        ("pause", None),
    ],
)
def test_length_and_filter_end_incomplete_with_the_reason(
    reason: Reason, details: Json | None
) -> None:
    """wire-formats, trap 45."""
    writer = ResponsesWriter(CLIENT)
    last = told(writer.write([START, *text(0, "x"), Finish(reason), End()]))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == details


@pytest.mark.parametrize("reason", ["stop", "stop_sequence", "tool_calls"])
def test_all_other_ends_are_complete(reason: Reason) -> None:
    last = stream(*call(0, "{}"), Finish(reason), End())[-1]
    assert (last["type"], last["response"]["status"]) == ("response.completed", "completed")


def test_an_answer_that_was_refused_says_why() -> None:
    why: Events = [Finish("filter", explanation="Not this."), End()]
    (item,) = stream(*why)[-1]["response"]["output"]
    assert item["content"] == [{"type": "refusal", "refusal": "Not this."}]
    (said,) = stream(*text(0, "x"), *why)[-1]["response"]["output"]
    assert said["content"][0]["type"] == "output_text"


def test_a_cut_stream_ends_with_response_failed() -> None:
    """wire-formats, trap 44."""
    opened = text(0, "half")[:-1]
    values = stream(*opened, Failure("Cut.", 502), *DONE)
    assert kinds(values)[-1] == "failed"
    assert values[-1]["response"]["status"] == "failed"
    assert values[-1]["response"]["error"] == {"code": "server_error", "message": "Cut."}
    (item,) = values[-1]["response"]["output"]
    assert item["status"] == "in_progress"


def test_an_error_is_response_failed() -> None:
    """wire-formats, trap 52: even before anything was told, and once only."""
    writer = ResponsesWriter(CLIENT)
    data = writer.error(RelayError("Slowly.", status=429))
    assert grammar.stream(data) == "failed"
    values = told(data)
    assert kinds(values) == ["created", "in_progress", "failed"]
    assert values[-1]["response"]["error"]["code"] == "rate_limit_exceeded"
    assert values[-1]["response"]["metadata"] == {"request_id": "req_1"}
    assert writer.error(RelayError("Again.")) == b""
    assert writer.write([End()]) == b""


# --- the response -------------------------------------------------------------------------------


def test_the_envelope_has_what_the_sdk_demands() -> None:
    """wire-formats, trap 49; and what was asked is repeated."""
    tool = Function(name="f", schema={"type": "object"}, strict=False)
    asked = request("responses", tools=[tool], parallel=False)
    response = stream(*DONE, to=replace(CLIENT, request=asked))[-1]["response"]
    assert response["object"] == "response"
    assert response["model"] == "asked-model"
    assert response["created_at"] == 17
    assert response["output"] == []
    assert response["tool_choice"] == "auto"
    assert response["parallel_tool_calls"] is False
    assert response["tools"][0]["name"] == "f"
    assert response["store"] is False


def test_the_moment_is_the_clients_where_the_upstream_tells_none() -> None:
    (first, _) = told(ResponsesWriter(CLIENT).write([Start("", "")]))
    assert first["response"]["created_at"] == CLIENT.moment


@pytest.mark.parametrize(
    ("tier", "word"),
    [("standard", "default"), ("flex", "flex"), ("on_demand", "auto"), ("", "auto")],
)
def test_a_tier_has_a_word_that_clients_know(tier: str, word: str) -> None:
    (first, _) = told(ResponsesWriter(CLIENT).write([Start("", "", tier=tier)]))
    assert first["response"]["service_tier"] == word


def test_usage_always_has_both_detail_objects() -> None:
    """wire-formats, trap 48; and it is told at the end only."""
    values = stream(Counted(Usage(in_uncached=3, out_total=2)), *DONE)
    assert values[0]["response"]["usage"] is None
    assert values[-1]["response"]["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }


def test_usage_that_only_the_start_told_is_told_at_the_end() -> None:
    start = replace(START, usage=Usage(in_uncached=4))
    values = told(ResponsesWriter(CLIENT).write([start, *DONE]))
    assert values[0]["response"]["usage"] is None
    assert values[-1]["response"]["usage"]["input_tokens"] == 4
    assert stream(*DONE)[-1]["response"]["usage"] is None


# --- thinking -----------------------------------------------------------------------------------


def test_a_summary_is_told_in_full_order_and_sealed_at_done() -> None:
    """wire-formats, trap 50."""
    carrier = Carrier("anthropic-signature", "sig")
    thought: Events = [
        Open(0, Reasoning([], raw=True)),
        Delta(0, "a"),
        Break(0),
        Break(0),
        Delta(0, "b"),
        Seal(0, Carrier("anthropic-signature", "first")),
        Seal(0, carrier),
        Close(0),
    ]
    values = stream(*thought, *DONE)
    one = [
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    assert kinds(values)[2:-1] == ["output_item.added", *one, *one, "output_item.done"]
    item = values[-2]["item"]
    assert [part["text"] for part in item["summary"]] == ["a", "b"]
    assert "encrypted_content" not in values[2]["item"]
    assert item["encrypted_content"].startswith("rly1~anthropic-signature.acc1.")
    assert len(output(*thought)) == 1


def test_thinking_that_says_nothing_and_holds_nothing_is_not_told() -> None:
    assert output(Open(0, Reasoning([])), Close(0)) == []


def test_thinking_that_only_holds_something_is_an_item_of_its_own() -> None:
    carrier = Carrier("anthropic-redacted", "data")
    (item,) = output(Open(0, Reasoning([], carrier=carrier)), Close(0))
    assert item["summary"] == []
    assert item["encrypted_content"].startswith("rly1~anthropic-redacted.")


# --- what stays in its format -------------------------------------------------------------------

NATIVE = replace(CLIENT, sealed=False)


def native(document: Json) -> Json:
    """A whole response, read and written again."""
    return ResponsesWriter(NATIVE).whole(fold(ResponsesReader().whole(document)))


def test_a_response_that_stays_in_its_format_keeps_all_of_it() -> None:
    document: Json = {
        "id": "resp_1",
        "object": "response",
        "created_at": 17.5,
        "model": "asked-model",
        "status": "incomplete",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"},
        "service_tier": "default",
        "billing": {"payer": "developer"},
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "cost": 0.5}
        | {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
        | {"output_tokens_details": {"reasoning_tokens": 0}},
        "output": [
            {"type": "reasoning", "id": "rs_1", "content": [], "summary": []}
            | {"encrypted_content": "gAAA"},
            {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "s"}]}
            | {"content": [{"type": "reasoning_text", "text": "raw"}], "status": "completed"},
            {"type": "web_search_call", "id": "ws_1", "status": "failed"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "incomplete"}
            | {"phase": "commentary"}
            | {
                "content": [
                    {"type": "output_text", "text": "x", "logprobs": []}
                    | {"annotations": [{"type": "file_path", "file_id": "f", "index": 1}]},
                    {"type": "refusal", "refusal": "no"},
                ]
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
            | {"status": "completed", "namespace": "n"},
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "d", "name": "e", "input": ""},
            {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AA=="}
            | {"size": "1x1"},
        ],
    }
    assert native(document) == document


def test_a_source_of_another_format_is_told_by_its_address() -> None:
    cited: Events = [
        Open(0, Text("")),
        Delta(0, "Hello"),
        Cite(0, Citation("https://a", "A", native={"type": "web"})),
        Cite(0, Citation(title="no address")),
        Close(0),
    ]
    (item,) = output(*cited)
    assert item["content"][0]["annotations"] == [
        {"type": "url_citation", "url": "https://a", "title": "A"}
        | {"start_index": 0, "end_index": 5}
    ]


def test_a_writer_says_how_far_it_is() -> None:
    assert repr(ResponsesWriter(CLIENT)) == (
        "<ResponsesWriter <Output done=0 open=None sequence=0> waiting=[]>"
    )


def test_what_is_of_no_block_says_nothing() -> None:
    writer = ResponsesWriter(CLIENT)
    stray: Any = [Delta(9, "x"), Seal(9, Carrier("chat-details", "x")), Close(9)]
    assert writer.write(stray) == b""
