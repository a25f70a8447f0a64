"""Responses replies, read as events: by indexes, and whatever is said last is the whole of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.model import Usage
from relayd.wire.blocks import MOST_BLOCKS
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
    Logprob,
    Open,
    Seal,
    Start,
    fold,
)
from relayd.wire.parts import (
    Carrier,
    Image,
    Item,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.responses.pieces import NO_REASON
from relayd.wire.responses.reader import ResponsesReader
from relayd.wire.responses.writer import ResponsesWriter
from relayd.wire.transcode import Transcode
from tests.wire.cuts import every_way
from tests.wire.grammar.events import Order
from tests.wire.responses.streams import (
    Json,
    added,
    call,
    completed,
    created,
    delta,
    done,
    event,
    message,
    read,
    response,
    thinking,
    told,
)
from tests.wire.ways import coming

STOPPED = [Finish("stop", native="completed")]


def parts(events: Events) -> list[Part]:
    """The parts of the reply; the events obey their order."""
    Order().check(events)
    return [part for choice in fold(events).choices for part in choice.parts]


def texts(events: Events) -> list[str]:
    return [part.text for part in parts(events) if isinstance(part, Text | Refusal)]


def failure(events: Events) -> Failure:
    Order().check(events)
    assert isinstance(events[-1], Failure)
    return events[-1]


# --- texts --------------------------------------------------------------------------------------


def test_a_text_is_read_as_it_comes() -> None:
    item = message("Hi there", status="completed")
    events = read(
        created(),
        added(message("", status="in_progress") | {"content": []}),
        event("content_part.added", output_index=0, content_index=0, part={"type": "output_text"}),
        delta("Hi"),
        delta(" there", obfuscation="xyz"),
        event("output_text.done", output_index=0, content_index=0, text="Hi there"),
        event("content_part.done", output_index=0, content_index=0, part=item["content"][0]),
        done(item),
        completed(item, usage={"input_tokens": 3, "output_tokens": 2}),
    )
    assert [type(each) for each in events] == [
        Start, Open, Delta, Delta, Close, Counted, Finish, End
    ]  # fmt: skip
    assert events[0] == Start("resp_1", "m", 17)
    assert events[2:4] == [Delta(0, "Hi"), Delta(0, " there")]
    assert isinstance(events[5], Counted)
    assert events[5].usage == Usage(in_uncached=3, out_total=2)
    assert Finish("stop", native="completed") in events


def test_text_without_deltas_still_arrives() -> None:
    """wire-formats, trap 65."""
    item = message("all of it")
    for stream in (
        [created(), added(item | {"content": []}), done(item), completed(item)],
        [created(), done(item), completed(item)],
        [created(), completed(item)],
        [completed(item)],
        [created(), added(item | {"content": []}), completed(item)],
        [created(), added(item | {"content": []}), delta("all"), completed(item)],
    ):
        assert texts(read(*stream)) == ["all of it"]


def test_what_the_deltas_left_out_is_said_at_the_end() -> None:
    item = message("Hello")
    part = item["content"][0]
    events = read(
        created(),
        delta("He"),
        event("content_part.done", output_index=0, content_index=0, part=part),
        delta("late"),
        event("content_part.done", output_index=0, content_index=0, part=part),
        done(item),
        delta("later"),
        event("content_part.done", output_index=0, content_index=0, part=part),
        done(item),
        completed(item),
    )
    assert [each for each in events if isinstance(each, Delta)] == [Delta(0, "He"), Delta(0, "llo")]
    assert texts(events) == ["Hello"]


def test_ids_that_change_per_event_make_one_item_each() -> None:
    """wire-formats, trap 66: indexes count, and the call's own id."""
    events = read(
        created(),
        added(message("", id="a") | {"content": []}),
        event("output_text.delta", item_id="b", output_index=0, content_index=0, delta="x"),
        done(message("x", id="c")),
        added(call("", id="d"), 1),
        event("function_call_arguments.delta", item_id="e", output_index=1, delta="{}"),
        done(call("{}", id="f"), 1),
        completed(message("x", id="g"), call("{}", id="h")),
    )
    found = parts(events)
    assert [type(part) for part in found] == [Text, ToolCall]
    assert [part.item.id for part in found if part.item] == ["a", "d"]


def test_a_message_of_several_parts_is_several_blocks_of_one_item() -> None:
    refusal = {"type": "refusal", "refusal": "No."}
    item = message("Well.", phase="final_answer")
    item["content"].append(refusal)
    streamed = read(
        created(),
        added(item | {"content": []}),
        delta("Well."),
        event("refusal.delta", output_index=0, content_index=1, delta="N"),
        event("refusal.delta", output_index=0, content_index=1, delta=""),
        event("content_part.done", output_index=0, content_index=1, part=refusal),
        event("refusal.delta", output_index=0, content_index=1, delta="late"),
        done(item),
        completed(item),
    )
    for events in (streamed, ResponsesReader().whole(response(item))):
        text, no = parts(events)
        assert isinstance(no, Refusal)
        assert no.text == "No."
        assert text.item is no.item
        assert text.item is not None
        assert text.item.extra["phase"].value == "final_answer"


def test_a_part_is_closed_before_the_next_one_opens() -> None:
    events = read(created(), delta("a"), delta("b", place=1), completed())
    assert [type(each) for each in events[1:7]] == [Open, Delta, Close, Open, Delta, Close]


def test_what_an_item_left_out_of_its_end_is_closed_all_the_same() -> None:
    events = read(created(), delta("x"), done(message("") | {"content": []}), completed())
    assert texts(events) == ["x"]


def test_sources_come_once() -> None:
    cited: Json = {"type": "url_citation", "url": "https://a", "title": "A"}
    cited |= {"start_index": 0, "end_index": 2}
    filed = {"type": "file_citation", "filename": "f.txt", "index": 1}
    item = message("Hi")
    item["content"][0]["annotations"] = [cited, filed]
    where: Json = {"output_index": 0, "content_index": 0}
    events = read(
        created(),
        delta("Hi"),
        event("output_text.annotation.added", **where, annotation=cited),
        event("output_text.annotation.added", **where, annotation=None),
        done(item),
        event("output_text.annotation.added", **where, annotation=cited),
        completed(item),
    )
    first, second = [each.citation for each in events if isinstance(each, Cite)]
    assert (first.url, first.title, first.start, first.end) == ("https://a", "A", 0, 2)
    assert first.native == cited
    assert (second.url, second.title, second.start, second.end) == ("", "f.txt", None, None)


def test_how_probable_tokens_were_comes_with_their_text() -> None:
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]}
    logprobs = [token | {"top_logprobs": [{"token": "Ho", "logprob": None, "bytes": None}]}]
    known = [Logprob("Hi", -0.5, [72, 105], [Logprob("Ho", 0.0)])]
    item = message("Hi")
    item["content"][0]["logprobs"] = logprobs
    for events in (
        read(created(), delta("Hi", logprobs=logprobs), done(item), completed(item)),
        read(created(), done(item), completed(item)),
    ):
        assert fold(events).choices[0].logprobs == known
        assert texts(events) == ["Hi"]


# --- calls --------------------------------------------------------------------------------------


def test_a_first_call_behind_reasoning_is_the_first_call() -> None:
    """wire-formats, trap 64."""
    events = read(
        created(),
        added(thinking()),
        done(thinking(encrypted_content="gAAA")),
        added(call(""), 1),
        event("function_call_arguments.delta", output_index=1, delta='{"a"'),
        event("function_call_arguments.done", output_index=1, arguments='{"a":1}'),
        done(call(), 1),
        event("function_call_arguments.delta", output_index=1, delta="late"),
        event("function_call_arguments.done", output_index=1, arguments="late"),
        completed(thinking(encrypted_content="gAAA"), call()),
    )
    sealed, called = parts(events)
    assert isinstance(sealed, Reasoning)
    assert isinstance(called, ToolCall)
    assert sealed.carrier == Carrier("openai-encrypted", "gAAA", id="rs_1")
    assert (called.id, called.name, called.arguments) == ("call_1", "f", '{"a":1}')
    assert Finish("tool_calls", native="completed") in events


def test_a_call_of_free_text_is_a_custom_one() -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "exec"}
    item |= {"input": "ls -l", "namespace": "shell"}
    streamed = read(
        created(),
        added(item | {"input": ""}),
        event("custom_tool_call_input.delta", output_index=0, delta="ls"),
        event("custom_tool_call_input.done", output_index=0, input="ls -l"),
        done(item),
        completed(item),
    )
    for events in (streamed, read(created(), completed(item))):
        (found,) = parts(events)
        assert isinstance(found, ToolCall)
        assert (found.arguments, found.custom, found.namespace) == ("ls -l", True, "shell")


def test_a_call_without_a_name_is_none() -> None:
    nameless = call(name="")
    events = read(
        created(),
        added(nameless),
        event("function_call_arguments.delta", output_index=0, delta="{}"),
        event("function_call_arguments.done", output_index=0, arguments="{}"),
        done(nameless),
        completed(nameless),
    )
    assert parts(events) == []
    assert Finish("stop", native="completed") in events


def test_a_name_that_comes_late_is_the_calls_name() -> None:
    events = read(created(), added(call("", name=None)), done(call()), completed(call()))
    (found,) = parts(events)
    assert isinstance(found, ToolCall)
    assert (found.name, found.arguments) == ("f", '{"a":1}')


# --- thinking -----------------------------------------------------------------------------------


def test_a_summary_is_read_by_paragraphs_and_sealed_at_its_end() -> None:
    def said(index: int, text: str) -> Json:
        where = {"output_index": 0, "summary_index": index}
        return event("reasoning_summary_text.delta", **where, delta=text)

    item = thinking("One.", "Two!", encrypted_content="gAAA")
    events = read(
        created(),
        added(thinking(encrypted_content="not yet")),
        event("reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
        said(0, "One."),
        said(0, ""),
        event("reasoning_summary_text.done", output_index=0, summary_index=0, text="One."),
        said(1, "Two"),
        said(0, "late"),
        event("reasoning_summary_text.done", output_index=0, summary_index=1, text="Two!"),
        done(item),
        said(1, "later"),
        completed(item),
    )
    assert Break(0) in events
    (found,) = parts(events)
    assert isinstance(found, Reasoning)
    assert (found.text, found.raw) == (["One.", "Two!"], False)
    assert found.carrier == Carrier("openai-encrypted", "gAAA", id="rs_1")


def test_thinking_and_its_summary_are_two_parts_of_one_item() -> None:
    raw = [{"type": "reasoning_text", "text": "hm"}, {"type": "reasoning_text", "text": ""}]
    item = thinking("Sum.", content=raw, encrypted_content="gAAA")
    summary, itself = parts(ResponsesReader().whole(response(item)))
    assert isinstance(summary, Reasoning)
    assert isinstance(itself, Reasoning)
    assert (summary.text, summary.raw, summary.carrier) == (["Sum."], False, None)
    assert (itself.text, itself.raw) == (["hm"], True)
    assert itself.carrier is not None
    assert summary.item is itself.item


def test_raw_thinking_is_read_as_it_comes() -> None:
    item = thinking(content=[{"type": "reasoning_text", "text": "hm, so"}], status="completed")
    events = read(
        created(),
        event("reasoning_text.delta", output_index=0, content_index=0, delta="hm"),
        event(
            "content_part.done", output_index=0, content_index=0, part={"type": "reasoning_text"}
        ),
        done(item),
        completed(item),
    )
    (found,) = parts(events)
    assert isinstance(found, Reasoning)
    assert (found.text, found.raw, found.carrier) == (["hm, so"], True, None)


def test_thinking_that_shows_nothing_is_a_block_at_once() -> None:
    sealed = thinking(encrypted_content="gAAA", content=[])
    events = read(created(), added(thinking()), done(sealed), done(thinking(), 1), completed())
    carrier = Carrier("openai-encrypted", "gAAA", id="rs_1")
    first = events[1]
    assert isinstance(first, Open)
    assert isinstance(first.part, Reasoning)
    assert (first.part.text, first.part.carrier) == ([], carrier)
    assert first.part.item is not None
    assert first.part.item.extra["content"].value == []  # as its host wrote it
    assert events[2] == Close(0)
    assert isinstance(events[3], Open)
    assert events[3].part == Reasoning([], item=Item("rs_1"))


# --- hosted tools -------------------------------------------------------------------------------


def test_a_hosted_tool_is_told_whole_and_its_progress_is_not() -> None:
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"q": 1}}
    events = read(
        created(),
        added(item | {"status": "in_progress"}),
        event("web_search_call.searching", output_index=0),
        done(item),
        completed(item),
    )
    assert parts(events) == [Opaque("responses", "web_search_call", item)]


@pytest.mark.parametrize(
    ("said", "mime"),
    [
        ({"result": "iVBORw0KGgo="}, "image/png"),
        ({"result": "AAAA", "output_format": "webp"}, "image/webp"),
        ({"result": "AAAA"}, "image/png"),
    ],
)
def test_a_picture_that_was_drawn_is_a_picture(said: Json, mime: str) -> None:
    item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", **said}
    (found,) = parts(read(created(), completed(item)))
    assert isinstance(found, Image)
    assert (found.mime, found.data) == (mime, said["result"])


def test_a_picture_that_was_not_drawn_is_a_hosted_tools_call() -> None:
    item = {"type": "image_generation_call", "id": "ig_1", "status": "failed", "result": None}
    assert parts(read(created(), completed(item))) == [
        Opaque("responses", "image_generation_call", item)
    ]


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "filter"),
        ({"reason": "a new one"}, "length"),
        (None, "pause"),
    ],
)
def test_what_is_not_complete_says_why(details: Json | None, reason: str) -> None:
    whole = response(message("x"), status="incomplete", incomplete_details=details)
    for events in (
        read(created(), event("incomplete", response=whole)),
        ResponsesReader().whole(whole),
    ):
        assert [each.reason for each in events if isinstance(each, Finish)] == [reason]


@pytest.mark.parametrize(
    ("details", "reason"), [({"reason": "max_output_tokens"}, "length"), (None, "tool_calls")]
)
def test_calls_are_to_be_answered_where_nothing_says_why_no_more_came(
    details: Json | None, reason: str
) -> None:
    events = ResponsesReader().whole(
        response(call("{}"), status="incomplete", incomplete_details=details)
    )
    assert [each.reason for each in events if isinstance(each, Finish)] == [reason]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_reply_that_is_not_finished_is_a_failure(status: str) -> None:
    assert "not finished" in failure(ResponsesReader().whole(response(status=status))).message


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"status": "failed", "error": {"message": "Broken."}}, "Broken."),
        ({"error": {"message": "Broken."}}, "Broken."),
        ({"status": "cancelled"}, NO_REASON),
    ],
)
def test_a_failure_is_one_by_whatever_name_it_comes(said: Json, shown: str) -> None:
    for events in (read(created(), completed(**said)), ResponsesReader().whole(response(**said))):
        assert failure(events).message == shown
        assert not any(isinstance(each, Finish) for each in events)


def test_a_terminal_event_tells_by_its_name_what_it_does_not_say() -> None:
    reader = ResponsesReader()
    data = orjson.dumps({"type": -1, "response": {"output": [], "incomplete_details": None}})
    events = reader.read(b"response.incomplete", data)
    assert Finish("pause", native="incomplete") in events
    assert reader.read(b"", orjson.dumps(created())) == []
    assert reader.end() == []


def test_all_other_members_of_a_response_are_kept_for_its_own_format() -> None:
    whole = response(service_tier="default", created_at="soon", error=None, usage={"cost": 1})
    events = ResponsesReader().whole(whole)
    rest = {"service_tier": "default", "error": None}
    assert events == [
        Start("resp_1", "m", None, tier="standard", rest=rest),
        *STOPPED,
        End(rest),
    ]


def test_a_stream_without_its_last_event_is_a_failure() -> None:
    events = read(created(), delta("x"), end=True)
    assert failure(events).message.startswith("The upstream's stream ended")
    assert read(created(), completed(), end=True)[-1] == End()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("rate_limit_exceeded", 429),
        ("server_error", 502),
        ("invalid_prompt", 400),
        ("image_too_large", 400),
        (None, 502),
    ],
)
def test_a_failed_response_says_what_it_would_have_been(code: str | None, status: int) -> None:
    error = {"code": code, "message": "Sorry."}
    whole = response(status="failed", error=error)
    for events in (
        read(created(), event("failed", response=whole)),
        ResponsesReader().whole(whole),
    ):
        assert failure(events) == Failure("Sorry.", status, code or "upstream_error")


def test_azure_gives_the_reason_behind_the_failure() -> None:
    """wire-formats, trap 63."""
    failed = event("failed", response=response(status="failed", error=None))
    nested = {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "Slowly."}}
    assert failure(read(created(), failed, nested, end=True)).message == "Slowly."
    assert failure(read(created(), failed, end=True)).message.endswith("the response failed.")
    assert failure(ResponsesReader().whole(failed["response"])).message.endswith("failed.")


@pytest.mark.parametrize(
    "value",
    [
        {"type": "error", "code": "server_error", "message": "Broken."},
        {"type": "error", "error": {"message": "Broken."}},
        {"error": "Broken."},
    ],
)
def test_an_error_of_any_form_is_a_failure_and_nothing_comes_behind_it(value: Json) -> None:
    events = read(created(), value, delta("x"), completed(), end=True)
    assert failure(events).message == "Broken."


def test_what_is_no_reply_is_a_failure() -> None:
    assert failure(ResponsesReader().whole({})).message == "The upstream's reply has no output."
    assert failure(ResponsesReader().whole({"error": {"message": "No."}})).message == "No."


# --- whatever comes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"type": "response.new_thing", "error": {"message": "not ours"}},
        {"type": "keepalive"},
        {"type": None},
        {"type": "response.output_text.delta", "output_index": [], "delta": "x"},
        {"type": "response.output_text.delta", "output_index": 7, "content_index": "a", "delta": 1},
        {"type": "response.output_item.added", "item": None},
        {"type": "response.output_item.done", "item": []},
        {"type": "response.refusal.delta", "delta": None},
        {"type": "response.function_call_arguments.delta", "output_index": None, "delta": {}},
        {"type": "response.reasoning_text.delta", "content_index": "x", "delta": "hm"},
        {"type": "response.content_part.done", "content_index": "x", "part": {"type": "refusal"}},
    ],
)
def test_unknown_events_and_wrong_types_do_no_harm(value: Any) -> None:
    """wire-formats, traps 12 and 161."""
    events = read(created(), value, completed(message("x")))
    Order().check(events)
    assert isinstance(events[-1], End)


def test_what_is_no_json_object_is_ignored() -> None:
    reader = ResponsesReader()
    assert reader.read(b"", b"[DONE]") == []
    assert reader.read(b"error", b'{"message": "Broken."}') == [Failure("Broken.")]


def test_an_item_that_becomes_another_kind_keeps_the_first() -> None:
    events = read(created(), delta("x"), done(call()), completed(message("xy"), call()))
    assert texts(events) == ["xy"]
    assert [type(part) for part in parts(events)] == [Text, ToolCall]


def test_an_index_that_was_left_out_is_no_item() -> None:
    events = read(
        created(), added(call("")), added(call("")), done(call(), 2), completed(call(), call())
    )
    assert len(parts(events)) == 2


def test_only_so_many_items_are_taken() -> None:
    reader = ResponsesReader()
    reader.read(b"", orjson.dumps(created()))
    with pytest.raises(OverflowError):
        for index in range(MOST_BLOCKS + 1):
            reader.read(b"", orjson.dumps(added({"type": "web_search_call"}, index)))


def test_a_stream_is_read_the_same_however_it_was_cut() -> None:
    """Whole, byte by byte, inside of a character and of a line's end."""
    item = message("Grüße 👋")
    values = [created(), delta("Grüße"), delta(" 👋"), done(item), completed(item)]
    stream = b"".join(
        b"event: %b\ndata: %b\n\n" % (value["type"].encode(), orjson.dumps(value))
        for value in values
    )
    written = set()
    for pieces in every_way(stream):
        pipe = Transcode(ResponsesReader(), ResponsesWriter(coming("responses")))
        written.add(b"".join([*(pipe.feed(piece) for piece in pieces), pipe.finish()]))
        assert pipe.complete
    (data,) = written
    assert told(data)[-1]["response"]["output"][0]["content"][0]["text"] == "Grüße 👋"


def test_a_reader_says_how_far_it_is() -> None:
    assert "ended=False" in repr(ResponsesReader())


def test_seals_come_before_the_end_of_their_block() -> None:
    events = read(created(), done(thinking("x", encrypted_content="g")), completed())
    assert [type(each) for each in events[1:5]] == [Open, Delta, Seal, Close]
