"""Chat replies, read as events (wire-formats 2.2, 2.3, 9.2)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import Usage
from relayd.wire.chat import reader as module
from relayd.wire.chat.details import carrier
from relayd.wire.chat.reader import ChatReader
from relayd.wire.events import (
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Failure,
    Finish,
    Open,
    Seal,
    Start,
)
from relayd.wire.parts import Audio, Carrier, Image, Part, Reasoning, Refusal, Text, ToolCall
from tests.wire.chat.chunks import DONE, calling, chunk, read, streamed, whole

STOP = chunk({}, "stop")


def parts(*data: bytes) -> list[Part]:
    """The parts of a stream's only answer."""
    [choice] = streamed(*data).choices
    return choice.parts


def calls(*data: bytes) -> list[tuple[str, str, str]]:
    """Ids, names and arguments of a stream's calls."""
    found = parts(*data)
    return [(p.id, p.name, p.arguments) for p in found if isinstance(p, ToolCall)]


# --- ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"[DONE]", b"[DONE]   ", b" [DONE]\t"])
def test_done_with_trailing_spaces_is_the_end(end: bytes) -> None:
    """wire-formats, trap 13."""
    assert read(chunk({"content": "a"}), end)[-1] == End()


def test_nothing_after_done_counts() -> None:
    """wire-formats, trap 14."""
    reader = ChatReader()
    for data in (chunk({"content": "a"}), STOP, DONE):
        reader.read(b"", data)

    assert reader.read(b"", chunk({"content": "more"})) == []
    assert reader.read(b"", DONE) == []
    assert reader.end() == []


def test_unknown_events_are_ignored() -> None:
    """wire-formats, trap 12."""
    reader = ChatReader()

    assert reader.read(b"ping", b"not json") == []
    assert reader.read(b"other", b'{"type":"other"}') == []
    assert reader.read(b"", DONE) == []  # nothing began


def test_a_finish_reason_and_the_end_of_the_bytes_are_an_end() -> None:
    assert read(chunk({"content": "a"}), STOP)[-2:] == [Finish("stop", 0, "stop"), End()]


def test_bytes_that_end_too_early_are_a_failure() -> None:
    assert isinstance(read(chunk({"content": "a"}))[-1], Failure)
    assert isinstance(read()[-1], Failure)


def test_done_without_a_finish_reason_is_an_end_all_the_same() -> None:
    assert read(chunk({"content": "a"}), DONE)[-2:] == [Finish("stop"), End()]


def test_a_whole_reply_without_choices_is_a_failure() -> None:
    assert isinstance(ChatReader().whole({"id": "c", "choices": []})[-1], Failure)


# --- chunks -----------------------------------------------------------------------------------


def test_a_chunk_with_delta_finish_and_usage_loses_nothing() -> None:
    """wire-formats, trap 24."""
    last = chunk({"content": "b"}, "length", usage={"prompt_tokens": 3, "completion_tokens": 2})
    reply = streamed(chunk({"role": "assistant", "content": "a"}), last, DONE)

    assert reply.choices[0].parts == [Text("ab")]
    assert reply.choices[0].finish == Finish("length", 0, "length")
    assert reply.usage == Usage(in_uncached=3, out_total=2)


def test_a_role_alone_opens_the_reply_and_a_refusal_alone_is_text() -> None:
    """wire-formats, trap 25."""
    reader = ChatReader()
    [start] = reader.read(b"", chunk({"role": "assistant", "content": "", "refusal": None}))

    assert start == Start("chatcmpl-1", "m", 7)
    assert parts(chunk({"refusal": "No"}), chunk({"refusal": "."}), STOP) == [Refusal("No.")]


@pytest.mark.parametrize("error", [None, "", {}, []])
def test_a_null_error_is_no_error(error: object) -> None:
    """wire-formats, trap 29."""
    assert parts(
        chunk({"content": "a"}, error=error), chunk({"content": "b"}, error=error), STOP
    ) == [Text("ab")]


def test_azures_prefix_chunk_says_nothing() -> None:
    """wire-formats, trap 33."""
    prefix = {"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}

    assert ChatReader().read(b"", orjson.dumps(prefix)) == []


def test_two_calls_on_one_index_are_two_calls() -> None:
    """wire-formats, trap 36."""
    one = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    two = {"index": 0, "id": "c2", "function": {"name": "g", "arguments": ""}}
    more = {"index": 0, "function": {"arguments": '{"a":1}'}}

    found = calls(calling(one), calling(two), calling(more), STOP)

    assert found == [("c1", "f", "{}"), ("c2", "g", '{"a":1}')]


def test_obfuscation_is_left_out() -> None:
    """wire-formats, trap 37."""
    [start, *_] = read(chunk({"content": "a"}, obfuscation="x7"), STOP)

    assert isinstance(start, Start)
    assert start.rest == {}


def test_the_first_token_of_a_new_kind_is_kept() -> None:
    """wire-formats, trap 73: also where the finish reason is in the same chunk."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    found = parts(
        chunk({"reasoning_content": "t"}),
        chunk({"content": "a"}),
        chunk({"content": "b", "tool_calls": [call]}, "tool_calls"),
    )

    assert [type(part) for part in found] == [Reasoning, Text, ToolCall]
    assert found[1] == Text("ab")


def test_fragments_without_index_are_told_apart() -> None:
    """wire-formats, trap 135."""
    found = calls(
        calling({"id": "c1", "function": {"name": "f", "arguments": '{"a"'}}),
        calling({"function": {"arguments": ":1}"}}),
        calling({"id": "c2", "function": {"name": "f", "arguments": ""}}),
        calling({"id": "c2", "function": {"arguments": "{}"}}),
        calling({"function": {"name": "g", "arguments": "{}"}}),
        calling({"function": {"name": "g", "arguments": "{}"}}),
        STOP,
    )

    assert found == [
        ("c1", "f", '{"a":1}'),
        ("c2", "f", "{}"),
        ("", "g", "{}"),
        ("", "g", "{}"),
    ]


def test_a_repeated_id_and_name_go_on_with_the_call() -> None:
    first = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":'}}
    again = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "1}"}}
    nameless = {"index": 0, "function": {"name": "f", "arguments": ""}}

    assert calls(calling(first), calling(again), calling(nameless), STOP) == [
        ("c1", "f", '{"a":1}')
    ]


def test_another_name_on_a_known_index_is_another_call() -> None:
    found = calls(
        calling({"index": 0, "function": {"name": "f", "arguments": "{}"}}),
        calling({"index": 0, "function": {"name": "g", "arguments": "{}"}}),
        STOP,
    )

    assert [name for _, name, _ in found] == ["f", "g"]


def test_an_index_gap_is_closed() -> None:
    """wire-formats, trap 136."""
    events = read(
        calling({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}),
        calling({"index": 2, "id": "b", "function": {"name": "g", "arguments": "{}"}}),
        STOP,
    )

    assert [event.block for event in events if isinstance(event, Open)] == [0, 1]


@pytest.mark.parametrize(
    ("said", "kept"), [({"a": 1}, '{"a":1}'), (None, ""), ("", ""), (7, ""), ({}, "{}")]
)
def test_arguments_as_object_null_or_never(said: object, kept: str) -> None:
    """wire-formats, trap 137."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": said}}

    assert calls(calling(call), STOP) == [("c", "f", kept)]


@pytest.mark.parametrize("choices", [None, [], "x"])
def test_usage_everywhere_is_a_running_total(choices: object) -> None:
    """wire-formats, trap 138: the last one holds, null is none, choices may be anything."""
    reply = streamed(
        chunk({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
        chunk({"content": "b"}, usage=None),
        chunk({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 2}),
        chunk({}, usage={"prompt_tokens": 3, "completion_tokens": 5}, choices=choices),
    )

    assert reply.usage == Usage(in_uncached=3, out_total=5)
    assert reply.choices[0].parts == [Text("ab")]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_in_three_spellings_is_thinking(field: str) -> None:
    """wire-formats, trap 139."""
    [thought, said] = parts(chunk({field: "t"}), chunk({field: "u"}), chunk({"content": "a"}), STOP)

    assert thought == Reasoning(["tu"], raw=True, carrier=carrier(field, []))
    assert said == Text("a")


def test_thinking_in_details_alone_is_thinking() -> None:
    """wire-formats, trap 139."""
    first = {"type": "reasoning.text", "index": 0, "text": "t"}
    second = {"type": "reasoning.text", "index": 0, "text": "u", "signature": "s"}

    [thought] = parts(
        chunk({"reasoning_details": [first]}), chunk({"reasoning_details": [second]}), STOP
    )

    merged = {"type": "reasoning.text", "index": 0, "signature": "s", "text": "tu"}
    assert thought == Reasoning(["tu"], raw=True, carrier=carrier("", [merged]))


def test_details_beside_thinking_are_its_carrier() -> None:
    entry = {"type": "reasoning.text", "index": 0, "text": "t"}
    sealed = {"type": "reasoning.encrypted", "index": 0, "data": "e"}

    [thought, _] = parts(
        chunk({"reasoning": "t", "reasoning_details": [entry]}),
        chunk({"reasoning": None, "reasoning_details": [sealed]}),
        chunk({"content": "a"}),
        STOP,
    )

    kept = [{"type": "reasoning.text", "index": 0, "text": "t"}, sealed]
    assert thought == Reasoning(["t"], raw=True, carrier=carrier("reasoning", kept))


def test_details_that_come_late_are_a_block_without_text() -> None:
    sealed = {"type": "reasoning.encrypted", "data": "e"}

    found = parts(
        chunk({"reasoning": "t"}),
        chunk({"content": "a"}),
        chunk({"reasoning_details": [sealed]}),
        STOP,
    )

    assert found[2] == Reasoning([], raw=True, carrier=carrier("", [sealed]))


@pytest.mark.parametrize("finish", ["", None])
def test_an_empty_finish_is_none_and_content_may_follow_one(finish: str | None) -> None:
    """wire-formats, trap 140."""
    reply = streamed(
        chunk({"content": "a"}, finish), chunk({}, "stop"), chunk({"content": "b"}), DONE
    )

    assert reply.choices[0].parts == [Text("ab")]


@pytest.mark.parametrize("delta", ["text", ["text"], 5])
def test_a_delta_that_is_no_object_says_nothing(delta: object) -> None:
    assert parts(chunk(delta), STOP) == []


@pytest.mark.parametrize("said", [None, "", [], 5, {"text": "a"}])
def test_content_as_null_empty_or_list(said: object) -> None:
    """wire-formats, trap 143."""
    assert parts(chunk({"content": said}), STOP) == []


def test_content_as_a_list_is_texts_thinking_and_pictures() -> None:
    """wire-formats, trap 143."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "t"}], "closed": True}
    picture = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    [thought, said, shown] = (
        whole({"content": [thinking, {"type": "text", "text": "a"}, picture, {"type": "odd"}, "b"]})
        .choices[0]
        .parts
    )

    assert isinstance(thought, Reasoning)
    assert (thought.text, thought.carrier) == (["t"], carrier("content", []))
    assert thought.item is not None
    assert thought.item.extra["closed"].value is True
    assert said == Text("a")
    assert shown == Image(url="https://x/y.png")


# --- what else a message has --------------------------------------------------------------------


def test_a_plain_chunk_is_one_delta_and_nothing_else() -> None:
    reader = ChatReader()
    reader.read(b"", chunk({"role": "assistant", "content": "a"}))

    assert reader.read(b"", chunk({"content": "b"})) == [Delta(0, "b")]
    assert reader.read(b"", chunk({"role": "assistant", "content": "c"})) == [Delta(0, "c")]


def test_chunks_that_are_alike_end_with_their_block() -> None:
    reader = ChatReader()
    texts = [reader.read(b"", chunk({"content": each})) for each in ("a", "b", "c", "")]
    reader.read(b"", chunk({"refusal": "no"}))

    assert texts[1:] == [[Delta(0, "b")], [Delta(0, "c")], []]
    assert reader.read(b"", chunk({"content": "d"}))[1:] == [Open(2, Text("")), Delta(2, "d")]
    reader.read(b"", DONE)
    assert reader.read(b"", chunk({"content": "e"})) == []


def test_what_a_chunk_repeats_of_the_whole_message_is_not_said_twice() -> None:
    so_far = orjson.loads(chunk({"content": "b"}))
    so_far["choices"][0]["message"] = {"content": "ab"}
    last = orjson.loads(chunk({}, "stop"))
    last["choices"][0]["message"] = {"content": "ab"}

    assert parts(chunk({"content": "a"}), orjson.dumps(so_far), orjson.dumps(last)) == [Text("ab")]


def test_nulls_beside_the_text_say_nothing() -> None:
    reader = ChatReader()
    reader.read(b"", chunk({"content": "a"}))

    assert reader.read(b"", chunk({"content": "b", "reasoning_content": None})) == [Delta(0, "b")]


def test_probabilities_come_with_their_text() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    empty = chunk({"content": ""})
    first = orjson.loads(empty)
    first["choices"][0]["logprobs"] = {"content": [token]}
    second = orjson.loads(chunk({"content": "a"}))
    second["choices"][0]["logprobs"] = {"content": [token]}

    reply = streamed(orjson.dumps(first), chunk({"content": "x"}), orjson.dumps(second), STOP)

    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert [each.token for each in logprobs] == ["a", "a"]


def test_probabilities_without_text_wait_for_it() -> None:
    token = {"token": "\N{SNOWMAN}", "logprob": -1}
    opened = orjson.loads(chunk({"content": "a"}))
    waiting = orjson.loads(chunk({"content": ""}))
    waiting["choices"][0]["logprobs"] = {"content": [token]}

    events = read(orjson.dumps(opened), orjson.dumps(waiting), chunk({"content": "b"}), STOP)

    [first, second] = [event for event in events if isinstance(event, Delta)]
    assert first.logprobs is None
    assert second.logprobs is not None


def test_pictures_are_blocks_of_their_own() -> None:
    inline = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    bad = {"type": "image_url", "image_url": {"url": "ftp://x"}}

    found = parts(chunk({"content": "a"}), chunk({"images": [inline, bad]}), STOP)

    assert found == [Text("a"), Image(mime="image/png", data="aGk=")]


def test_sound_is_told_whole() -> None:
    [heard] = parts(
        chunk({"audio": {"id": "a1", "transcript": "He"}}),
        chunk({"audio": {"data": "aGk=", "transcript": "y"}}),
        chunk({"audio": {"data": "aG8=", "expires_at": 9}}),
        chunk({"audio": {"data": "", "odd": 1}}),
        STOP,
    )

    assert isinstance(heard, Audio)
    assert (heard.data, heard.transcript) == ("aGlobw==", "Hey")
    assert {name: extra.value for name, extra in heard.extra.items()} == {
        "id": "a1",
        "expires_at": 9,
    }


@pytest.mark.parametrize("heard", [{"id": "a"}, {"data": "%"}, {"data": 5, "transcript": None}, 7])
def test_sound_that_is_none_is_not_told(heard: object) -> None:
    assert parts(chunk({"content": "a", "audio": heard}), STOP) == [Text("a")]


def test_sources_belong_to_their_text() -> None:
    source = {
        "type": "url_citation",
        "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1},
    }
    other = {"type": "file", "file": {"hash": "h"}}

    events = read(
        chunk({"annotations": [source]}),
        chunk({"content": "a"}),
        chunk({"annotations": [other]}),
        STOP,
    )

    [cite] = [event for event in events if isinstance(event, Cite)]
    assert (cite.citation.url, cite.citation.start, cite.citation.native) == ("u", 0, source)
    [finish] = [event for event in events if isinstance(event, Finish)]
    assert finish.rest == {"message": {"annotations": [other]}}


def test_the_older_function_call_is_a_call() -> None:
    [call] = parts(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
        chunk({}, "function_call"),
    )

    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments, "function_call" in call.extra) == ("f", "{}", True)


def test_a_custom_call_takes_free_text() -> None:
    [call] = parts(
        calling({"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": "a"}}),
        calling({"index": 0, "custom": {"input": "b"}}),
        STOP,
    )

    assert call == ToolCall("c", "f", "ab", custom=True)


def test_a_call_waits_for_its_name() -> None:
    first = {"index": 0, "id": "c", "function": {"arguments": "{"}}

    assert calls(calling(first), calling({"index": 0, "function": {"name": "f"}}), STOP) == [
        ("c", "f", "{")
    ]


def test_a_call_that_never_gets_a_name_is_none() -> None:
    nameless = calling({"index": 0, "id": "c", "function": {"arguments": "{}"}})
    reply = streamed(nameless, calling({"index": 0, "function": {"arguments": ""}}), STOP)

    assert reply.choices[0].parts == []
    assert reply.choices[0].finish == Finish("stop", 0, "stop")


def test_what_stands_beside_a_call_is_its_carrier() -> None:
    beside = {"google": {"thought_signature": "s"}}
    early = {"index": 0, "id": "c", "extra_content": beside, "function": {"name": "f"}}
    late = {"index": 0, "extra_content": beside}
    sealed = Carrier("chat-details", '{"extra_content":{"google":{"thought_signature":"s"}}}')

    [call] = parts(calling(early), STOP)
    assert call.carrier == sealed
    events = read(calling({"index": 0, "id": "c", "function": {"name": "f"}}), calling(late), STOP)
    assert Seal(0, sealed) in events


def test_lists_that_only_their_host_knows_grow() -> None:
    reply = streamed(
        chunk({"content": "a", "token_id": 5, "executed_tools": [{"index": 0}]}),
        chunk({"content": "b", "token_id": 6, "executed_tools": [{"index": 1}]}),
        STOP,
    )

    finish = reply.choices[0].finish
    assert finish is not None
    assert finish.rest == {"message": {"executed_tools": [{"index": 0}, {"index": 1}]}}


def test_a_whole_reply_keeps_all_that_only_its_host_says() -> None:
    reply = whole({"content": "a", "odd": "b"}, stop_reason=5)

    finish = reply.choices[0].finish
    assert finish is not None
    assert finish.rest == {"stop_reason": 5, "message": {"odd": "b"}}


def test_calls_of_a_whole_reply_are_told_apart_by_their_place() -> None:
    call = {"index": 0, "id": "", "function": {"name": "f", "arguments": "{}"}}

    assert len(whole({"tool_calls": [call, call]}).choices[0].parts) == 2


def test_what_the_host_says_beside_its_usage_is_kept() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    events = read(
        chunk({"content": "a"}), STOP, chunk({}, usage=usage, choices=[], fingerprint="f")
    )

    assert events[-1] == End({"fingerprint": "f"})
    [counted] = [event for event in events if isinstance(event, Counted)]
    assert counted.rest == usage


def test_several_answers_are_told_apart() -> None:
    reply = streamed(
        chunk({"content": "b"}, index=1),
        chunk({"content": "a"}, index=0),
        chunk({"content": "c"}, "stop", index=1),
        chunk({}, "length", index=0),
        DONE,
    )

    assert [choice.parts for choice in reply.choices] == [[Text("a")], [Text("bc")]]
    assert [choice.finish.reason for choice in reply.choices if choice.finish] == [
        "length",
        "stop",
    ]


# --- failures and bounds ------------------------------------------------------------------------


def test_an_error_ends_the_reply() -> None:
    error = {"message": "Slow down.", "code": 429}
    reader = ChatReader()
    reader.read(b"", chunk({"content": "a"}))

    assert reader.read(b"", orjson.dumps({"error": error})) == [Failure("Slow down.", 429)]
    assert reader.read(b"", chunk({"content": "b"})) == []
    assert reader.read(b"", DONE) == []
    assert reader.end() == []


def test_an_answer_that_broke_off_is_a_failure() -> None:
    broken = orjson.loads(chunk({"content": "a"}, "error", usage={"prompt_tokens": 1}))
    broken["choices"].append({"index": 1, "delta": {"content": "b"}})

    events = read(orjson.dumps(broken))

    assert events[-1] == Failure("The reply broke off.")
    assert not any(isinstance(event, Counted) for event in events)


def test_an_error_of_groqs_is_one() -> None:
    assert read(orjson.dumps({"x_groq": {"error": "over"}, "choices": []})) == [Failure("over")]


@pytest.mark.parametrize("index", [-1, 128, 10**9])
def test_too_many_answers_are_refused(index: int) -> None:
    with pytest.raises(OverflowError):
        ChatReader().read(b"", chunk({}, "stop", index=index))


@pytest.mark.parametrize("index", [None, "0", [0], 0.5])
def test_an_index_that_is_no_number_is_the_first(index: Any) -> None:
    reply = streamed(chunk({"content": "a"}, index=index), chunk({"content": "b"}, "stop", index))

    assert reply.choices[0].parts == [Text("ab")]


@pytest.mark.parametrize("created", [None, "7", True, -1, 2**60, 1e300])
def test_a_moment_that_is_none_is_left_out(created: object) -> None:
    [start, *_] = read(chunk({"content": "a"}, created=created), STOP)

    assert isinstance(start, Start)
    assert start.created is None


def test_what_has_to_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 10)

    with pytest.raises(OverflowError):
        read(*[calling({"index": 0, "function": {"arguments": "xxxx"}})] * 3)


def test_what_only_a_host_knows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MEMBERS", 2)
    other = {"type": "file"}

    reply = streamed(
        chunk({"odd": [1, 2, 3], "annotations": [other, other, other]}), chunk({}, "stop")
    )

    finish = reply.choices[0].finish
    assert finish is not None
    assert finish.rest == {"message": {"annotations": [other, other]}}


def test_blocks_close_when_another_kind_begins() -> None:
    events = read(chunk({"content": "a"}), chunk({"refusal": "b"}), chunk({"content": "c"}), STOP)

    closed = [event.block for event in events if isinstance(event, Close)]
    assert closed == [0, 1, 2]


def test_it_tells_its_state() -> None:
    assert repr(ChatReader()).startswith("<ChatReader <Blocks 0")
