"""Parts of a reply as documents, and the events of a whole reply."""

from __future__ import annotations

from relayd.model import Usage
from relayd.wire.events import (
    Break,
    Choice,
    Counted,
    Delta,
    End,
    Finish,
    Logprob,
    Reply,
    Start,
    fold,
)
from relayd.wire.parts import Citation, Image, Reasoning, Refusal, Text, ToolCall
from relayd.wire.responses import shapes
from relayd.wire.setting import Rules
from tests.wire.ways import coming

CLIENT = coming("responses")


def test_a_source_keeps_the_place_that_it_was_given() -> None:
    placed = Citation("https://a", "A", start=1, end=3)
    found = shapes.annotation(placed, "Hello", CLIENT)
    assert found is not None
    assert (found["start_index"], found["end_index"]) == (1, 3)


def test_sources_are_not_told_where_the_operator_has_it_so() -> None:
    quiet = coming("responses", rules=Rules(citations=False))
    assert shapes.annotation(Citation("https://a"), "Hello", quiet) is None


def test_a_token_always_has_bytes() -> None:
    known = Logprob("é", -1.0, None, [Logprob("e", -2.0, [101])])
    assert shapes.logprobs([known]) == [
        {
            "token": "é",
            "bytes": [195, 169],
            "logprob": -1.0,
            "top_logprobs": [{"token": "e", "bytes": [101], "logprob": -2.0}],
        }
    ]


def test_usage_is_all_of_the_prompt_and_what_the_cache_gave_and_took() -> None:
    usage = Usage(
        in_uncached=1,
        cache_read=2,
        cache_write_30m=4,
        cache_write_12h=8,
        tool_prompt=16,
        out_total=32,
        reasoning=5,
    )
    assert shapes.usage_document(usage) == {
        "input_tokens": 31,
        "input_tokens_details": {
            "cached_tokens": 2,
            "cache_write_tokens": 12,
            "cache_write_tokens_details": {"ttl_30m_tokens": 4, "ttl_12h_tokens": 8},
        },
        "output_tokens": 32,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 63,
    }


def test_what_was_thought_is_never_more_than_what_was_said() -> None:
    document = shapes.usage_document(Usage(out_total=2, reasoning=5))
    assert document["output_tokens_details"] == {"reasoning_tokens": 2}


def test_a_whole_reply_is_its_events_again() -> None:
    reply = Reply(
        Start("id", "m"),
        [
            Choice(
                [
                    Reasoning(["a", "", "b"]),
                    Text("one"),
                    Refusal(""),
                    Text("two"),
                    ToolCall("c", "f", "{}"),
                    ToolCall("d", "f"),
                    Image("image/png", "AAAA"),
                ],
                Finish("length"),
                [Logprob("on", 0.0), Logprob("e", 0.0), Logprob("two", 0.0)],
            )
        ],
        Usage(out_total=1),
        {"cost": 1},
        ended=True,
    )
    events = list(shapes.unfolded(reply))
    assert Counted(Usage(out_total=1), {"cost": 1}) in events
    assert Delta(1, "one", [Logprob("on", 0.0), Logprob("e", 0.0)]) in events
    assert events.count(Break(0)) == 2
    # What was written whole is there when it opens; fold adds to it.
    for event in events:
        if hasattr(event, "part") and not isinstance(event.part, Image):
            assert event.part in reply.choices[0].parts
    assert [type(part) for part in fold(events).choices[0].parts] == [
        type(part) for part in reply.choices[0].parts
    ]


def test_nothing_at_all_is_an_empty_reply() -> None:
    assert list(shapes.unfolded(Reply())) == [Start("", ""), Finish("stop"), End()]
