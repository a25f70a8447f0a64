"""The measure of crossings: what must be the same is noticed when it is not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from benchmarks.fidelity import gist, gist_replies, hub
from relayd.model import Usage
from relayd.wire.events import Choice, Finish, Reply
from relayd.wire.names import Names
from relayd.wire.neutral import Request
from relayd.wire.parts import Image, Part, Reasoning, Text, ToolCall

ASKED: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100,
    "temperature": 0.5,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Köln"}},
                {"type": "tool_use", "id": "t2", "name": "weather", "input": {"city": "Bonn"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "sun"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                },
                {"type": "text", "text": "So?"},
            ],
        },
    ],
    "tools": [
        {
            "name": "weather",
            "description": "The weather.",
            "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    ],
    "tool_choice": {"type": "tool", "name": "weather"},
    "output_config": {
        "format": {
            "type": "json_schema",
            "schema": {"type": "object", "properties": {"answer": {"type": "string"}}},
        }
    },
}


def decoded(document: dict[str, Any]) -> Request:
    aim = hub.target("/v1/messages")
    return hub.codec("messages").decode(document, aim)


def changed(*path: Any, to: Any) -> Request:
    """ASKED with one value replaced; None removes it."""
    document = deepcopy(ASKED)
    holder: Any = document
    for step in path[:-1]:
        holder = holder[step]
    if to is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = to
    return decoded(document)


def differences(other: Request) -> list[str]:
    """What is noticed when ASKED arrives as `other`."""
    meant, names = decoded(ASKED), Names([], "messages")
    told = gist.changes(meant, other, names)
    return told + gist.control_differences(meant, other, ())


def test_the_same_request_has_no_differences() -> None:
    assert differences(decoded(ASKED)) == []


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("system",), "Be long."),
        (("messages", 0, "content"), "Weather!"),
        (("messages", 1, "content", 0), None),
        (("messages", 1, "content", 1, "input", "city"), "Aachen"),
        (("messages", 1, "content", 1, "name"), "wether"),
        (("messages", 2, "content", 0, "content"), "snow"),
        (("messages", 2, "content", 0, "tool_use_id"), "t2"),
        (("messages", 2, "content", 0, "is_error"), True),
        (("messages", 2, "content", 2), None),
        (("messages", 2, "content", 2, "source", "data"), "aGkh"),
        (("messages", 2, "content", 3, "text"), "And?"),
        (("tools", 0, "name"), "wether"),
        (("tools", 0, "description"), "Nothing."),
        (("tools", 0, "input_schema", "properties"), {"town": {}}),
        (("max_tokens",), 50),
        (("temperature",), 0.4),
        (("stop_sequences",), ["x"]),
        (("tool_choice",), {"type": "auto"}),
        (("output_config",), None),
        (("output_config", "format", "schema", "properties"), {"other": {}}),
    ],
)
def test_whatever_is_lost_or_changed_is_noticed(path: tuple[Any, ...], to: Any) -> None:
    other = changed(*path, to=to)
    meant = decoded(ASKED)
    either = differences(other) + gist.control_differences(other, meant, ())

    assert either != []


def test_an_order_of_text_behind_calls_is_noticed_where_the_format_has_one() -> None:
    calls = ASKED["messages"][1]["content"]
    other = changed("messages", 1, "content", to=[*calls[1:], calls[0]])

    assert differences(other) != []


def test_a_reported_control_is_no_difference() -> None:
    meant, other = decoded(ASKED), changed("temperature", to=None)

    assert gist.control_differences(meant, other, ()) != []
    assert gist.control_differences(meant, other, ["temperature"]) == []


def test_neighbouring_messages_of_one_side_are_one_turn() -> None:
    parts = ASKED["messages"][2]["content"]
    split = [{"role": "user", "content": [part]} for part in parts]
    other = changed("messages", to=[*ASKED["messages"][:2], *split])

    assert differences(other) == []


# --- replies --------------------------------------------------------------------------------------

CALL = ToolCall(id="c1", name="f", arguments='{"a": 1}')
COUNTED = Usage(in_uncached=3, cache_read=2, cache_write_5m=1, out_total=9, reasoning=4)


def reply(*parts: Part, usage: Usage = COUNTED, **ends: Any) -> Reply:
    finish = Finish(**{"reason": "stop"} | ends)
    return Reply(choices=[Choice(list(parts), finish)], usage=usage)


WHOLE = reply(Reasoning(["Hm."]), Text("Hi"), CALL)


@pytest.mark.parametrize(
    "other",
    [
        reply(Text("Ho"), CALL),
        reply(Text("Hi")),
        reply(Text("Hi"), ToolCall(id="c2", name="f", arguments='{"a": 1}')),
        reply(Text("Hi"), ToolCall(id="c1", name="g", arguments='{"a": 1}')),
        reply(Text("Hi"), ToolCall(id="c1", name="f", arguments='{"a": 2}')),
        reply(Text("Hi"), CALL, CALL),
        reply(CALL, Text("Hi")),
        reply(Text("Hi"), CALL, Image(mime="image/png", data="aGk=")),
        reply(Text("Hi"), CALL, reason="length"),
        reply(Text("Hi"), CALL, usage=Usage(in_uncached=4, out_total=9)),
        reply(Reasoning(["Ho."]), Text("Hi"), CALL),
    ],
)
def test_whatever_a_reply_says_otherwise_is_noticed(other: Reply) -> None:
    assert (
        gist_replies.said_differences(gist_replies.of_reply(WHOLE), gist_replies.of_reply(other))
        != []
    )


def test_thinking_that_is_not_shown_and_spaces_in_arguments_are_no_difference() -> None:
    other = reply(Text("H"), Text("i"), ToolCall(id="c1", name="f", arguments='{"a":1}'))

    assert (
        gist_replies.said_differences(gist_replies.of_reply(WHOLE), gist_replies.of_reply(other))
        == []
    )


def test_an_id_that_was_missing_may_be_any_if_it_is_the_only_one() -> None:
    missing = gist_replies.of_reply(reply(ToolCall(id="", name="f"), ToolCall(id="", name="f")))
    minted = gist_replies.of_reply(reply(ToolCall(id="a", name="f"), ToolCall(id="b", name="f")))
    doubled = gist_replies.of_reply(reply(ToolCall(id="a", name="f"), ToolCall(id="a", name="f")))

    assert gist_replies.said_differences(missing, minted) == []
    assert gist_replies.said_differences(missing, doubled) != []


def test_what_a_format_has_no_place_for_is_allowed_by_name_only() -> None:
    into_input = reply(
        Text("Hi"), usage=Usage(in_uncached=4, cache_read=2, out_total=9, reasoning=4)
    )
    meant = gist_replies.of_reply(reply(Text("Hi")), writes=False)
    assert (
        gist_replies.said_differences(meant, gist_replies.of_reply(into_input, writes=False)) == []
    )

    picture = gist_replies.of_reply(reply(Image(mime="image/png", data="aGk=")), pictures=False)
    assert (
        gist_replies.said_differences(
            picture, gist_replies.of_reply(reply(Text("[picture: image/png]")))
        )
        == []
    )

    blocked = gist_replies.of_reply(reply(reason="filter", explanation="No."))
    assert (
        gist_replies.said_differences(
            blocked, gist_replies.of_reply(reply(Text("No."), reason="filter"))
        )
        == []
    )
