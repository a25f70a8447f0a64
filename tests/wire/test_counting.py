"""Estimates of tokens: the right size, for whatever a prompt is made of."""

from __future__ import annotations

import pytest

from relayd.wire.counting import IMAGE, MESSAGE, PAGE, PAGE_SIZE, TOOL, UNSEEN, estimate
from relayd.wire.neutral import (
    Custom,
    Declaration,
    Function,
    Hosted,
    Message,
    Output,
    Request,
    Shape,
    Tool,
)
from relayd.wire.parts import (
    Audio,
    Carrier,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)

LONG = "word " * 80  # 100 tokens by four bytes each


def request(*parts: Part, tools: list[Tool] | None = None, shape: Shape | None = None) -> Request:
    return Request(
        source="messages",
        model="m",
        messages=[Message("user", list(parts))],
        tools=tools or [],
        output=Output(shape=shape),
    )


EMPTY = estimate(request())


def more(*parts: Part) -> int:
    """What these parts add."""
    return estimate(request(*parts)) - EMPTY


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (Text(LONG), 100),
        (Refusal(LONG), 100),
        (Reasoning([LONG, LONG]), 200),
        (Reasoning([], carrier=Carrier("openai-encrypted", LONG)), 100),
        (Reasoning([LONG], carrier=Carrier("openai-encrypted", LONG)), 100),
        (ToolCall(id="c", name="abcd", arguments=LONG), TOOL + 101),
        (ToolResult(id="c", parts=[Text(LONG)]), MESSAGE + 100),
        (Opaque("messages", "x", {"a": LONG}), 102),
        (Image(data="A" * 1000), IMAGE),
        (Image(url="https://a.test/b"), IMAGE),
        (File(plain=LONG), 100),
        (File(mime="text/csv", data="A" * 400), 75),
        (File(mime="application/pdf", data="A" * (PAGE_SIZE * 2)), 2 * PAGE),
        (File(file_id="file-1"), UNSEEN),
        (File(mime="text/csv", url="https://a.test/b"), UNSEEN),
        (Audio(mime="audio/wav", data="A" * 32_000), 60),
        (Audio(mime="audio/wav", file_id="f"), UNSEEN),
        (Video(mime="video/mp4", data="A" * 400_000), 600),
        (Video(url="https://a.test/b"), UNSEEN),
        (Declaration([]), 0),
    ],
)
def test_each_kind_of_part_counts(part: Part, tokens: int) -> None:
    assert more(part) == tokens


def test_what_is_not_latin_has_more_tokens_for_a_character() -> None:
    assert more(Text("語" * 100)) == 75
    assert more(Text("\ud800")) == 1


def test_messages_and_instructions_count() -> None:
    asked = request()
    asked.messages = asked.messages * 3
    asked.instructions = [Text(LONG)]

    assert estimate(asked) == EMPTY + 2 * MESSAGE + 100


@pytest.mark.parametrize(
    ("tool", "tokens"),
    [
        (Function(name="abcd", description=LONG, schema={"a": LONG}), TOOL + 1 + 100 + 102),
        (Function(name="abcd"), TOOL + 1),
        (Custom(name="abcd", grammar=LONG), TOOL + 1 + 100),
        (Hosted(name="", format="messages", kind="web_search", document={"a": LONG}), TOOL + 102),
        (Tool(name="abcd"), TOOL + 1),
    ],
)
def test_tools_count(tool: Tool, tokens: int) -> None:
    assert estimate(request(tools=[tool])) - EMPTY == pytest.approx(tokens, abs=1)
    assert more(Declaration([tool])) == pytest.approx(tokens, abs=1)


def test_a_schema_for_the_answer_counts() -> None:
    assert estimate(request(shape=Shape("json"))) > EMPTY
    schema = {"type": "object", "description": LONG}
    assert estimate(request(shape=Shape("schema", schema=schema))) > EMPTY + 100


def test_nothing_is_still_a_token() -> None:
    assert estimate(Request(source="chat", model="m", messages=[])) >= 1
