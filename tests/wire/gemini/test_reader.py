"""Gemini replies, read as events."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import Usage
from relayd.wire.events import (
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Events,
    Failure,
    Finish,
    Logprob,
    Open,
    Reply,
    Start,
    fold,
)
from relayd.wire.gemini.reader import COUNTED_EVERY, GeminiReader
from relayd.wire.gemini.reasons import FAULTS, REASONS
from relayd.wire.parts import Carrier, Image, Opaque, Part, Reasoning, Text, ToolCall

PNG = "iVBORw0KGgo="
SIGNED = Carrier("gemini-signature", "c2ln")


def chunk(*parts: Any, finish: str = "", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate | more], "modelVersion": "m", "responseId": "r"}


def text(said: str) -> dict[str, str]:
    return {"text": said}


def streamed(*chunks: Any) -> Events:
    reader = GeminiReader()
    events: Events = []
    for each in chunks:
        events += reader.read(b"", each if isinstance(each, bytes) else orjson.dumps(each))
    return events + reader.end()


def said(*chunks: Any) -> Reply:
    reply = fold(streamed(*chunks))
    assert reply.ended, reply.failure
    return reply


def parts(*chunks: Any) -> list[Part]:
    return said(*chunks).choices[0].parts


# --- texts and thoughts -------------------------------------------------------------------------


def test_a_reply_is_its_events() -> None:
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
    usage = Usage(in_uncached=3, out_total=2, total_reported=5)
    first = chunk(text("Hel")) | {"createTime": "now"}
    last = chunk(text("lo"), finish="STOP") | {"usageMetadata": counts}
    assert streamed(first, last) == [
        Start("r", "m", rest={"createTime": "now"}),
        Open(0, Text("")),
        Delta(0, "Hel"),
        Counted(usage, counts),
        Delta(0, "lo"),
        Close(0),
        Counted(usage, counts),
        Finish("stop", native="STOP", rest={"index": 0}),
        End(),
    ]


def test_a_whole_reply_is_one_chunk() -> None:
    document = chunk(text("Hello"))
    events = GeminiReader().whole(document)
    assert fold(events).choices[0].parts == [Text("Hello")]
    assert isinstance(events[-1], End)


def test_consecutive_thoughts_are_one_block() -> None:
    """wire-formats, trap 47."""
    thought = {"thought": True}
    found = parts(
        chunk(text("a") | thought, text("b") | thought),
        chunk(text("c") | thought),
        chunk(text("d"), finish="STOP"),
    )
    assert found == [Reasoning(["abc"]), Text("d")]


def test_thinking_that_is_signed_is_complete() -> None:
    thought = {"thought": True}
    signed = thought | {"thoughtSignature": "c2ln"}
    found = parts(
        chunk(text("a") | thought),
        chunk(text("") | signed),
        chunk(text("b") | thought, finish="STOP"),
    )
    assert found == [Reasoning(["a"], carrier=SIGNED), Reasoning(["b"])]


def test_a_signature_on_an_empty_text_is_kept_without_a_block_of_text() -> None:
    """wire-formats, trap 123."""
    signed = {"thoughtSignature": "c2ln"}
    found = parts(chunk(text("a")), chunk(text("") | signed, finish="STOP"))
    assert found == [Text("a"), Reasoning([], carrier=SIGNED)]
    assert parts(chunk(text("") | signed, finish="STOP")) == [Reasoning([], carrier=SIGNED)]


def test_a_signature_on_a_piece_of_text_waits_for_the_others() -> None:
    first = {"text": "a", "thoughtSignature": "Zmlyc3Q="}
    second = {"text": "c", "thoughtSignature": "c2ln"}
    found = parts(chunk(first), chunk(text("b")), chunk(second, finish="STOP"))
    assert found == [
        Text("abc"),
        Reasoning([], carrier=Carrier("gemini-signature", "Zmlyc3Q=")),
        Reasoning([], carrier=SIGNED),
    ]


def test_empty_texts_say_nothing() -> None:
    assert parts(chunk(text("")), chunk(text("a")), chunk(text(""), finish="STOP")) == [Text("a")]


# --- calls and the rest -------------------------------------------------------------------------


def test_stop_with_calls_is_tool_calls() -> None:
    """wire-formats, trap 117."""
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    reply = said(chunk(text("I"), call, text("see"), finish="STOP"))
    assert reply.choices[0].parts == [
        Text("I"),
        ToolCall("", "f", '{"a":1}', carrier=SIGNED),
        Text("see"),
    ]
    assert reply.choices[0].finish == Finish("tool_calls", native="STOP", rest={"index": 0})


def test_two_calls_without_ids_are_two() -> None:
    """wire-formats, trap 121: `Restore` gives each an id of its own, by its block."""
    call = {"functionCall": {"name": "f", "args": {}}}
    events = streamed(chunk(call, call, finish="STOP"))
    opened = [(each.block, each.part) for each in events if isinstance(each, Open)]
    assert opened == [(0, ToolCall("", "f")), (1, ToolCall("", "f"))]
    assert [each for each in events if isinstance(each, Delta)] == [Delta(0, "{}"), Delta(1, "{}")]


def test_interim_pictures_are_left_out_and_several_are_kept() -> None:
    """wire-formats, trap 158."""
    picture = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    found = parts(chunk(picture | {"thought": True}, picture, picture, finish="STOP"))
    assert found == [Image(mime="image/png", data=PNG)] * 2


@pytest.mark.parametrize("data", [None, "", "!"])
def test_a_picture_of_nothing_is_left_out(data: object) -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": data}}
    assert parts(chunk(picture, text("a"), finish="STOP")) == [Text("a")]


def test_a_thought_of_a_kind_of_googles_is_opaque() -> None:
    [found] = parts(chunk({"toolCall": {"id": "1"}, "thought": True}, finish="STOP"))
    assert isinstance(found, Opaque)
    assert found.kind == "toolCall"


def test_several_answers_are_told_apart() -> None:
    def both(*said: str, finish: str = "") -> dict[str, Any]:
        done = {"finishReason": finish} if finish else {}
        return {
            "candidates": [
                {"content": {"parts": [text(each)]}, "index": index} | done
                for index, each in enumerate(said)
            ]
        }

    reply = said(both("a", "b"), both("c", "d"), both("", "", finish="STOP"))
    assert [choice.parts for choice in reply.choices] == [[Text("ac")], [Text("bd")]]


def test_answers_without_index_go_by_their_place() -> None:
    contents = [{"content": {"parts": [text(each)]}, "finishReason": "STOP"} for each in "ab"]
    reply = said({"candidates": contents})
    assert [choice.parts for choice in reply.choices] == [[Text("a")], [Text("b")]]


@pytest.mark.parametrize("index", [-1, 10**9, "0", None, 1.5])
def test_an_answer_out_of_bounds_is_ignored(index: object) -> None:
    odd = {"candidates": [{"index": index, "finishReason": "STOP"}]}
    reply = said(odd, chunk(text("a"), finish="STOP"))
    assert [choice.parts for choice in reply.choices] == [[Text("a")]]


# --- beside the answer --------------------------------------------------------------------------


def test_sources_are_citations_of_the_open_text() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://e.org", "title": "E"}}],
        "groundingSupports": [{"segment": {"endIndex": 5}, "groundingChunkIndices": [0]}],
    }
    events = streamed(chunk(text("Hello")), chunk(finish="STOP", groundingMetadata=grounding))
    [cite] = [each for each in events if isinstance(each, Cite)]
    assert (cite.block, cite.citation.url, cite.citation.end) == (0, "https://e.org", 5)
    finish = next(each for each in events if isinstance(each, Finish))
    assert finish.rest["groundingMetadata"] == grounding
    assert not any(
        isinstance(each, Cite) for each in streamed(chunk(finish="STOP", groundingMetadata={}))
    )


def test_logprobs_go_with_the_text_of_their_chunk() -> None:
    result = {"chosenCandidates": [{"token": "Hi", "logProbability": -0.5}]}
    events = streamed(chunk(text("Hi"), finish="STOP", logprobsResult=result))
    [delta] = [each for each in events if isinstance(each, Delta)]
    assert delta.logprobs == [Logprob("Hi", -0.5, [72, 105])]
    assert not any(
        isinstance(each, Delta) for each in streamed(chunk(finish="STOP", logprobsResult=result))
    )


def test_the_last_count_of_each_field_holds() -> None:
    """wire-formats, trap 126."""
    first = {"promptTokenCount": 9, "cachedContentTokenCount": 4, "thoughtsTokenCount": 5}
    second = first | {"thoughtsTokenCount": 6}
    third = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": None}
    chunks = [chunk(text("a")) | {"usageMetadata": each} for each in (first, second, second, third)]
    reply = said(*chunks, chunk(text("b")), chunk(finish="STOP"))
    assert reply.usage == Usage(in_uncached=5, cache_read=4, out_total=8, reasoning=6)


def test_an_inclusive_count_is_seen_by_its_total() -> None:
    """wire-formats, trap 126."""
    counts = {"promptTokenCount": 4, "candidatesTokenCount": 6, "thoughtsTokenCount": 5}
    reply = said(
        chunk(text("a"), finish="STOP") | {"usageMetadata": counts | {"totalTokenCount": 10}}
    )
    assert reply.usage is not None
    assert (reply.usage.out_total, reply.usage.reasoning) == (6, 5)


def test_counts_are_told_now_and_then() -> None:
    counted = chunk(text("a")) | {"usageMetadata": {"promptTokenCount": 1}}
    events = streamed(*[counted] * (COUNTED_EVERY + 1), chunk(finish="STOP"))
    assert 2 <= sum(isinstance(each, Counted) for each in events) <= 5


def test_the_tier_is_told_with_the_counts() -> None:
    counts = {"promptTokenCount": 1, "serviceTier": "FLEX"}
    start = streamed(chunk(text("a"), finish="STOP") | {"usageMetadata": counts})[0]
    assert isinstance(start, Start)
    assert start.tier == "flex"


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("native", "reason"), [*REASONS.items(), ("NEWEST", "stop")])
def test_every_reason_has_its_word(native: str, reason: str) -> None:
    finish = said(chunk(text("a"), finish=native, finishMessage="so")).choices[0].finish
    assert finish is not None
    assert (finish.reason, finish.native) == (reason, native)
    assert finish.explanation == ("so" if reason == "filter" else "")
    assert finish.rest == {"index": 0, "finishMessage": "so"}


@pytest.mark.parametrize("native", sorted(FAULTS))
def test_a_malformed_call_without_content_is_a_failure(native: str) -> None:
    """wire-formats, trap 118."""
    [*_, last] = streamed(chunk(finish=native, finishMessage="bad call"))
    assert last == Failure(f"The model ended with {native}: bad call")
    [*_, last] = streamed(chunk(finish=native))
    assert last == Failure(f"The model ended with {native}.")
    reply = said(chunk(text("I tried."), finish=native))
    assert reply.choices[0].finish is not None
    assert reply.choices[0].finish.reason == "stop"


def test_a_blocked_prompt_is_an_empty_reply_with_a_reason() -> None:
    """wire-formats, trap 115."""
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "no"}
    value = {"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 7}}
    for events in (streamed(value), GeminiReader().whole(value)):
        reply = fold(events)
        assert reply.ended
        assert reply.usage == Usage(in_uncached=7)
        [choice] = reply.choices
        assert choice.parts == []
        assert choice.finish == Finish(
            "filter", native="SAFETY", explanation="no", rest={"promptFeedback": feedback}
        )


@pytest.mark.parametrize(
    "odd",
    [
        {"candidates": []},
        {"candidates": 7},
        {"candidates": [7]},
        {"candidates": [{}]},
        {"candidates": [{"content": None}]},
        {"candidates": [{"content": {}}]},
        {"candidates": [{"content": {"parts": []}}]},
        {"candidates": [{"content": {"parts": [7]}}]},
        {"candidates": [{"content": {"parts": [{"text": 7}]}}]},
        {"candidates": [{"content": {"parts": [{"text": ""}]}}]},
        {"promptFeedback": {}},
        {"usageMetadata": None},
        {},
        [],
        b"no JSON",
    ],
)
def test_candidates_without_content_do_no_harm(odd: Any) -> None:
    """wire-formats, trap 116."""
    found = parts(odd, chunk(text("a")), odd, chunk(text("b")), chunk(finish="STOP"))
    assert "".join(part.text for part in found if isinstance(part, Text)) == "ab"


def test_a_stream_without_a_reason_was_cut() -> None:
    [*_, last] = streamed(chunk(text("a")))
    assert isinstance(last, Failure)
    [*_, last] = streamed()
    assert isinstance(last, Failure)


def test_a_whole_reply_without_a_candidate_is_none() -> None:
    [*_, last] = GeminiReader().whole({})
    assert isinstance(last, Failure)


def test_done_with_trailing_spaces_is_the_end() -> None:
    """wire-formats, trap 13."""
    reader = GeminiReader()
    reader.read(b"", orjson.dumps(chunk(text("a"), finish="STOP")))
    assert isinstance(reader.read(b"", b"[DONE]  ")[-1], End)
    assert reader.read(b"", orjson.dumps(chunk(text("b")))) == []
    assert reader.end() == []


@pytest.mark.parametrize(
    ("error", "message", "status"),
    [
        ({"code": 429, "message": "slow down"}, "slow down", 429),
        ({"code": 503, "message": "busy"}, "busy", 503),
        ({"code": 500, "message": "oh"}, "oh", 502),
        ("broken", "broken", 502),
        ([{"message": "listed"}], "listed", 502),
        ({"code": "x" * 9}, "x" * 9, 502),
    ],
)
def test_an_error_of_any_shape_is_read(error: Any, message: str, status: int) -> None:
    """wire-formats, trap 127."""
    for value in ({"error": error}, [{"error": error}]):
        events = streamed(chunk(text("a")), value, chunk(text("b"), finish="STOP"))
        assert events[-1] == Failure(message, status)


def test_it_shows_what_is_open() -> None:
    reader = GeminiReader()
    reader.read(b"", orjson.dumps(chunk(text("a"))))
    assert repr(reader).startswith("<GeminiReader <Blocks 1 open=[0]")
    assert "<_Choice open=0 Text finish=''>" in repr(reader)


def test_thoughts_go_on_as_quickly_as_texts() -> None:
    """A chunk that only goes on is one event, whatever kind is open."""
    reader = GeminiReader()
    thought = {"text": "a", "thought": True}
    reader.read(b"", orjson.dumps(chunk(thought)))
    assert reader.read(b"", orjson.dumps(chunk(thought))) == [Delta(0, "a")]
    assert reader.read(b"", orjson.dumps(chunk(thought | {"thought": False}))) == [
        Close(0),
        Open(1, Text("")),
        Delta(1, "a"),
    ]


@pytest.mark.parametrize(
    ("finish", "reason"), [("SAFETY", "filter"), ("MAX_TOKENS", "length"), ("STOP", "stop")]
)
def test_a_candidate_may_be_nothing_but_its_end(finish: str, reason: str) -> None:
    """wire-formats, trap 118: a reply that was blocked must not look like one that is complete."""
    document = {"candidates": [{"finishReason": finish}]}
    streamed = GeminiReader()
    streamed.read(b"", orjson.dumps(document))
    for events in (GeminiReader().whole(document), streamed.end()):
        [end] = [event for event in events if isinstance(event, Finish)]
        assert (end.reason, end.native) == (reason, finish)


def test_a_fault_alone_is_a_failure() -> None:
    events = GeminiReader().whole({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]})
    assert any(isinstance(event, Failure) for event in events)
