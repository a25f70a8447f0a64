"""Events, written as a Gemini reply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.errors import BadReply
from relayd.model import Usage
from relayd.wire import envelope
from relayd.wire.events import (
    Break,
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Events,
    Failure,
    Finish,
    Open,
    Reason,
    Reply,
    Seal,
    Start,
    fold,
)
from relayd.wire.gemini.writer import (
    REASONS,
    GeminiWriter,
    count_document,
    count_reply,
    usage_document,
)
from relayd.wire.neutral import Request, Thinking
from relayd.wire.parts import Carrier, Citation, Image, Reasoning, Text, ToolCall
from relayd.wire.setting import Coming

FOREIGN = envelope.wrap_base64(replace(envelope.UNSEALED, call_id="1"), "")
BEGIN = Start("up-1", "upstream-model")
STOP: Events = [Finish("stop"), End()]


def writer(*, array: bool = False, native: bool = False, shown: bool = False) -> GeminiWriter:
    thinking = Thinking(show="summary" if shown else None)
    request = Request(source="gemini", model="m", messages=[], thinking=thinking)
    return GeminiWriter(Coming(request, "asked", "req", 0, "acc", array=array, sealed=not native))


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The chunks of an event stream, each framed exactly as Google's clients demand."""
    pieces = data.split(b"\r\n\r\n")
    assert pieces.pop() == b""
    assert all(piece.startswith(b'data: {"') and b"\n" not in piece for piece in pieces)
    return [orjson.loads(piece.removeprefix(b"data: ")) for piece in pieces]


def told(events: Events, **how: bool) -> list[dict[str, Any]]:
    """The parts of the first answer, of all chunks."""
    this = writer(**how)
    data = b"".join(this.write([event]) for event in events)
    assert data == writer(**how).write(events)
    return [
        part
        for chunk in chunks(data)
        for candidate in chunk["candidates"][:1]
        for part in candidate["content"]["parts"]
    ]


def texts(*said: str, block: int = 0) -> Events:
    return [Open(block, Text("")), *(Delta(block, each) for each in said), Close(block)]


# --- framing ------------------------------------------------------------------------------------


def test_only_data_with_a_space_is_written() -> None:
    """wire-formats, trap 99."""
    data = writer().write([BEGIN, *texts("a", "b"), *STOP])
    first, second, last = chunks(data)
    around = {"modelVersion": "asked", "responseId": first["responseId"]}
    said = {"content": {"parts": [{"text": "a"}], "role": "model"}, "index": 0}
    assert first == {"candidates": [said]} | around
    assert second["candidates"][0]["content"]["parts"] == [{"text": "b"}]
    assert (
        last
        == {
            "candidates": [
                {
                    "content": {"parts": [{"text": ""}], "role": "model"},
                    "finishReason": "STOP",
                    "index": 0,
                }
            ]
        }
        | around
    )


def test_a_keepalive_is_a_blank_line() -> None:
    """wire-formats, trap 100."""
    assert writer().keepalive == b"\r\n"
    assert writer(array=True).keepalive == b"\n"


def test_the_last_blank_line_is_sent() -> None:
    """wire-formats, trap 101."""
    assert writer().write([BEGIN, *STOP]).endswith(b"\r\n\r\n")
    assert writer().error(BadReply("no")).endswith(b"\r\n\r\n")


def test_an_array_is_valid_for_no_chunk_and_after_an_error() -> None:
    """wire-formats, trap 102."""
    whole = writer(array=True).write([BEGIN, *texts("a", "b"), *STOP])
    assert [len(each["candidates"]) for each in orjson.loads(whole)] == [1, 1, 1]
    [only] = orjson.loads(writer(array=True).write([BEGIN, *STOP]))
    assert only["candidates"][0]["finishReason"] == "STOP"
    [error] = orjson.loads(writer(array=True).error(BadReply("no")))
    assert error["error"]["message"] == "no"
    this = writer(array=True)
    data = this.write([BEGIN, *texts("a")]) + this.error(BadReply("no"))
    assert list(orjson.loads(data)[1]) == ["error"]
    assert this.error(BadReply("again")) == b""


def test_an_array_is_json_and_a_stream_is_not() -> None:
    assert (b"content-type", b"application/json") in writer(array=True).stream_headers
    assert (b"content-type", b"text/event-stream") in writer().stream_headers


def test_an_error_stands_first_with_a_whole_code() -> None:
    """wire-formats, trap 105."""
    this = writer()
    data = this.write([BEGIN, *texts("a"), Failure("slow down", 429, "rate_limit_exceeded")])
    error = chunks(data)[-1]
    assert list(error) == ["error"]
    assert error["error"]["code"] == 429
    assert error["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert this.error(BadReply("again")) == b""


# --- blocks -------------------------------------------------------------------------------------


def test_a_call_is_told_when_it_is_whole() -> None:
    call = ToolCall("1", "f")
    assert told([BEGIN, Open(0, call), Delta(0, '{"a"'), Delta(0, ":1}"), Close(0), *STOP]) == [
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "1"}, "thoughtSignature": FOREIGN},
        {"text": ""},
    ]


def test_arguments_are_an_object_or_the_call_is_malformed() -> None:
    """wire-formats, trap 103."""
    events: Events = [BEGIN, Open(0, ToolCall("1", "f")), Delta(0, "{"), Close(0)]
    events += [Finish("tool_calls"), End()]
    [last] = chunks(writer().write(events))
    assert last["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    document = writer().whole(fold(events))
    assert document["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    assert document["candidates"][0]["finishMessage"]


def test_one_block_at_a_time() -> None:
    first, second = ToolCall("1", "f"), ToolCall("2", "g")
    events = [
        BEGIN,
        Open(0, Text("")),
        Delta(0, "a"),
        Open(1, first),
        Open(2, second),
        Delta(1, "{}"),
        Delta(2, "{}"),
        Close(2),
        Delta(0, "b"),
        Close(0),
        *texts("c", block=3),
        Close(1),
        *STOP,
    ]
    assert told(events) == [
        {"text": "a"},
        {"text": "b"},
        {"functionCall": {"name": "f", "args": {}, "id": "1"}, "thoughtSignature": FOREIGN},
        {"functionCall": {"name": "g", "args": {}, "id": "2"}},
        {"text": "c"},
        {"text": ""},
    ]


def test_thoughts_are_shown_only_to_who_asked() -> None:
    """wire-formats, trap 113."""
    thinking: Events = [
        Open(0, Reasoning([])),
        Delta(0, "h"),
        Delta(0, "m"),
        Break(0),
        Delta(0, "so"),
    ]
    events: Events = [BEGIN, *thinking, Close(0), *texts("a", block=1), *STOP]
    assert told(events) == [{"text": "a"}, {"text": ""}]
    thought = {"thought": True}
    assert told(events, shown=True) == [
        {"text": "h"} | thought,
        {"text": "m"} | thought,
        {"text": "\n\n"} | thought,
        {"text": "so"} | thought,
        {"text": "a"},
        {"text": ""},
    ]


def test_a_break_before_the_first_word_separates_nothing() -> None:
    thinking: Events = [Open(0, Reasoning([])), Break(0), Delta(0, "a"), Close(0)]
    assert told([BEGIN, *thinking, *STOP], shown=True) == [
        {"text": "a", "thought": True},
        {"text": ""},
    ]


def test_the_last_seal_counts_and_is_written_at_the_end() -> None:
    early, late = Carrier("anthropic-signature", "early"), Carrier("anthropic-signature", "late")
    thinking: Events = [
        Open(0, Reasoning([])),
        Seal(0, early),
        Delta(0, "a"),
        Seal(0, late),
        Close(0),
    ]
    first, second, _ = told([BEGIN, *thinking, *STOP], shown=True)
    assert first == {"text": "a", "thought": True}
    assert second.keys() == {"text", "thought", "thoughtSignature"}


def test_what_no_call_took_stands_in_the_last_chunk() -> None:
    sealed = Reasoning([], carrier=Carrier("openai-encrypted", "x"))
    [last] = told([BEGIN, Open(0, sealed), Close(0), *STOP])
    assert last["text"] == ""
    assert last["thoughtSignature"]


def test_pictures_are_told_whole() -> None:
    picture = Image(mime="image/png", data="AAAA")
    [first, _] = told([BEGIN, Open(0, picture), Close(0), *STOP])
    assert first == {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def test_sources_have_no_place() -> None:
    events: Events = [
        BEGIN,
        Open(0, Text("")),
        Delta(0, "a"),
        Cite(0, Citation("https://e.org")),
        Close(0),
    ]
    assert told([*events, *STOP]) == [{"text": "a"}, {"text": ""}]


def test_events_of_no_block_say_nothing() -> None:
    assert writer().write([BEGIN, Delta(7, "a"), Close(8)]) == b""


def test_several_answers_have_their_index() -> None:
    events: Events = [BEGIN, Open(0, Text("")), Delta(0, "a"), Open(1, Text(""), 1), Delta(1, "b")]
    events += [Delta(0, "c"), Close(0), Close(1), Finish("length", 1), Finish("stop"), End()]
    found = chunks(writer().write(events))
    said = [
        (each["index"], each["content"]["parts"][0]["text"], each.get("finishReason"))
        for chunk in found
        for each in chunk["candidates"]
    ]
    assert said == [
        (0, "a", None),
        (1, "b", None),
        (0, "c", None),
        (0, "", "STOP"),
        (1, "", "MAX_TOKENS"),
    ]


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reason", "word"), REASONS.items())
def test_every_reason_has_its_word(reason: Reason, word: str) -> None:
    [last] = chunks(writer().write([BEGIN, Finish(reason, explanation="so"), End()]))
    assert last["candidates"][0]["finishReason"] == word
    assert last["candidates"][0]["finishMessage"] == "so"


def test_a_reply_that_never_said_why_it_ended_has_stopped() -> None:
    [last] = chunks(writer().write([BEGIN, End()]))
    assert last["candidates"][0]["finishReason"] == "STOP"


def test_counts_stand_in_the_last_chunk() -> None:
    usage = Usage(in_uncached=3, out_total=2)
    late: Events = [BEGIN, Finish("stop"), Counted(usage), End()]
    early: Events = [Start("i", "m", usage=usage), *STOP]
    for events in (late, early):
        [last] = chunks(writer().write(events))
        assert last["usageMetadata"] == {
            "promptTokenCount": 3,
            "candidatesTokenCount": 2,
            "totalTokenCount": 5,
        }


def test_counts_are_written_as_google_counts() -> None:
    usage = Usage(
        in_uncached=10,
        cache_read=5,
        cache_write_5m=2,
        out_total=8,
        reasoning=3,
        tool_prompt=4,
        in_audio=1,
        out_image=6,
    )
    assert usage_document(usage) == {
        "promptTokenCount": 17,
        "candidatesTokenCount": 5,
        "totalTokenCount": 29,
        "cachedContentTokenCount": 5,
        "thoughtsTokenCount": 3,
        "toolUsePromptTokenCount": 4,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 6}],
    }


@pytest.mark.parametrize(("output", "candidates", "thoughts"), [(None, 0, 0), (1, 0, 1), (5, 3, 2)])
def test_thoughts_are_part_of_the_output(
    output: int | None, candidates: int, thoughts: int
) -> None:
    found = usage_document(Usage(out_total=output, reasoning=2))
    assert (found["candidatesTokenCount"], found["thoughtsTokenCount"]) == (candidates, thoughts)
    assert found["totalTokenCount"] == candidates + thoughts


def test_a_count_is_a_total() -> None:
    assert count_document(7) == {"totalTokens": 7}
    assert count_reply({"totalTokens": 7}) == 7
    assert count_reply({}) is None


# --- whole replies ------------------------------------------------------------------------------


def test_a_whole_reply_is_one_document() -> None:
    events: Events = [
        BEGIN,
        *texts("a"),
        Open(1, ToolCall("1", "f")),
        Close(1),
        Counted(Usage(1)),
        *STOP,
    ]
    document = writer().whole(fold(events))
    assert document["candidates"] == [
        {
            "content": {
                "parts": [
                    {"text": "a"},
                    {
                        "functionCall": {"name": "f", "args": {}, "id": "1"},
                        "thoughtSignature": FOREIGN,
                    },
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ]
    assert document["modelVersion"] == "asked"
    assert document["usageMetadata"]["promptTokenCount"] == 1


def test_an_empty_reply_has_a_candidate() -> None:
    [candidate] = writer().whole(Reply())["candidates"]
    assert candidate == {"content": {"role": "model"}, "finishReason": "STOP", "index": 0}


def test_ids_are_stable_and_never_the_upstreams() -> None:
    one = writer().whole(fold([BEGIN, *STOP]))
    other = writer().whole(fold([BEGIN, *STOP]))
    assert one["responseId"] == other["responseId"] != "up-1"


# --- the same format ----------------------------------------------------------------------------


def test_what_only_google_says_comes_through_natively() -> None:
    own = {"groundingMetadata": {"a": 1}, "index": 0}
    counts = {"promptTokenCount": 1, "trafficType": "ON_DEMAND"}
    events: Events = [Start("r", "m", rest={"createTime": "now"}), *texts("a")]
    events += [Counted(Usage(1), counts), Finish("filter", native="SPII", rest=own), End()]
    for document in (
        writer(native=True).whole(fold(events)),
        chunks(writer(native=True).write(events))[-1],
    ):
        candidate = document["candidates"][0]
        assert (candidate["finishReason"], candidate["groundingMetadata"]) == ("SPII", {"a": 1})
        assert (document["responseId"], document["createTime"]) == ("r", "now")
        assert document["usageMetadata"]["trafficType"] == "ON_DEMAND"


def test_a_blocked_prompt_has_no_candidates_natively() -> None:
    feedback = {"promptFeedback": {"blockReason": "SAFETY"}}
    events: Events = [Start("", "m"), Finish("filter", native="SAFETY", rest=feedback), End()]
    for document in (
        writer(native=True).whole(fold(events)),
        chunks(writer(native=True).write(events))[0],
    ):
        assert document == feedback | {"modelVersion": "asked"}
    assert "candidates" in writer().whole(fold(events))


def test_a_signature_stands_on_its_text_natively() -> None:
    one, two = Carrier("gemini-signature", "b25l"), Carrier("gemini-signature", "dHdv")
    events: Events = [BEGIN, *texts("a")]
    events += [Open(1, Reasoning([], carrier=one)), Close(1)]
    events += [Open(2, Reasoning([], carrier=two)), Close(2), *STOP]
    [candidate] = writer(native=True).whole(fold(events))["candidates"]
    assert candidate["content"]["parts"] == [
        {"text": "a", "thoughtSignature": "b25l"},
        {"text": "", "thoughtSignature": "dHdv"},
    ]


def test_it_shows_its_answers() -> None:
    this = writer()
    this.write([BEGIN, Open(0, Text(""))])
    assert repr(this) == "<GeminiWriter array=False {0: <Answer current=0 waiting=[]>}>"
