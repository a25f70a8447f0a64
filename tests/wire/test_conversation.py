"""Conversations: all turns of one have the same name, and different ones have different names."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.conversation import (
    LONGEST_NAME,
    OPENING,
    READ_TEXT,
    READ_TURNS,
    SESSION_HEADERS,
    from_headers,
    of_chat,
    of_gemini,
    of_messages,
    of_responses,
)

Body = dict[str, Any]


def chat(system: Any, turns: list[tuple[str, Any]]) -> Body:
    messages = [{"role": role, "content": content} for role, content in turns]
    before = [{"role": "system", "content": system}] if system else []
    return {"messages": before + messages}


def responses(system: Any, turns: list[tuple[str, Any]]) -> Body:
    items: list[Body] = [{"type": "reasoning", "summary": []}]
    items += [{"role": role, "content": content} for role, content in turns]
    return {"instructions": system, "input": items}


def messages(system: Any, turns: list[tuple[str, Any]]) -> Body:
    listed = [{"role": role, "content": content} for role, content in turns]
    return {"system": system, "messages": listed}


def gemini(system: Any, turns: list[tuple[str, Any]]) -> Body:
    contents = [{"role": role, "parts": _parts(content)} for role, content in turns]
    instruction = {"systemInstruction": {"parts": _parts(system)}} if system else {}
    return {**instruction, "contents": contents}


def _parts(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [{"text": content}]


SPOKEN: dict[str, tuple[Callable[[Body], bytes], Callable[[Any, Any], Body]]] = {
    "chat": (of_chat, chat),
    "responses": (of_responses, responses),
    "messages": (of_messages, messages),
    "gemini": (of_gemini, gemini),
}
texts = st.text(max_size=12) | st.lists(st.text(max_size=5).map(lambda t: {"text": t}), max_size=3)
turns = st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), texts), max_size=6)


FIELDS = st.sampled_from(
    "messages input contents system instructions systemInstruction role content parts text "
    "metadata user_id conversation id session_id previous_response_id".split()
)


def named(name: str, system: Any, said: list[tuple[str, Any]]) -> bytes:
    read, write = SPOKEN[name]
    return read(write(system, said))


@pytest.mark.parametrize("name", SPOKEN)
@given(system=texts, before=turns, first=texts, after=turns)
def test_the_name_does_not_change_when_turns_are_appended(
    name: str,
    system: Any,
    before: list[tuple[str, Any]],
    first: Any,
    after: list[tuple[str, Any]],
) -> None:
    begun = [*before, ("user", first)]
    conversation = named(name, system, begun)
    assert conversation.startswith(OPENING) and len(conversation) == len(OPENING) + 16
    assert named(name, system, begun + after) == conversation


@pytest.mark.parametrize("name", SPOKEN)
def test_another_opening_is_another_conversation(name: str) -> None:
    systems = ["", "be brief", [{"text": "be"}, {"text": "brief"}]]
    firsts = ["hi", "ho", [{"text": "hi"}, {"text": "ho"}]]
    openings = list(itertools.product(systems, firsts))
    found = {named(name, system, [("user", first)]) for system, first in openings}
    assert len(found) == len(openings)


def test_the_same_opening_has_the_same_name_in_every_format() -> None:
    found = {named(name, "be brief", [("user", "hi")]) for name in SPOKEN}
    assert len(found) == 1
    assert found == {of_responses({"instructions": "be brief", "input": "hi"})}


def test_the_name_is_the_same_in_every_process() -> None:
    digest = bytes.fromhex("f78d2bb3469e27de41d301fc1a1dba94")
    assert named("chat", "s", [("user", "hi")]) == OPENING + digest


def test_developers_instruct_and_later_instructions_are_turns_like_others() -> None:
    plain = chat("", [("developer", "x"), ("user", "hi")])
    assert of_chat(plain) == of_chat(chat("x", [("user", "hi")]))
    assert of_chat(plain) != of_chat(chat("", [("user", "hi")]))
    assert of_chat(chat("x", [("user", "hi"), ("system", "now")])) == of_chat(plain)


def test_googles_turns_need_no_role_and_instructions_come_in_two_spellings() -> None:
    parts = {"parts": [{"text": "hi"}]}
    expected = gemini("x", [("user", "hi")])
    for value in (
        {"systemInstruction": {"parts": {"text": "x"}}, "contents": parts},
        {"system_instruction": "x", "contents": [parts]},
        {"system_instruction": "x", "contents": "hi"},
        {"system_instruction": "x", "contents": [{"role": "model", "parts": []}, "hi"]},
    ):
        assert of_gemini(value) == of_gemini(expected)


@pytest.mark.parametrize("read", [of_chat, of_responses, of_messages, of_gemini])
@pytest.mark.parametrize(
    "value",
    [
        {},
        {"messages": None, "input": 3, "contents": {}},
        {"messages": [], "input": [[]], "contents": [None, 3]},
        {"messages": [{"role": "assistant"}], "input": [{"type": "item_reference", "id": "x"}]},
        {"messages": [{"role": {}}], "contents": [{"role": "model", "parts": 3}]},
        {"messages": [{"role": "system", "content": "x"}], "instructions": "x"},
        {"user": "u", "safety_identifier": "u", "metadata": "m"},
        {"prompt_cache_key": "", "conversation": {"id": 3}, "session_id": 5, "thread_id": None},
        {"metadata": {"user": "u", "session_id": " ", "user_id": []}},
        {"prompt": "a text to go on from"},
    ],
)
def test_where_nothing_tells_there_is_no_name(read: Callable[[Body], bytes], value: Body) -> None:
    assert read(value) == b""


@pytest.mark.parametrize("content", [None, "", [], {}, 3, [None, 3, []]])
def test_a_first_message_without_any_text_is_an_opening_too(content: object) -> None:
    first = chat("", [("user", content)])
    later = chat("", [("user", content), ("user", "hi")])
    assert of_chat(first) == of_chat(later) != b""


def test_only_the_beginning_of_a_text_is_read() -> None:
    long = "x" * READ_TEXT
    assert named("chat", long, [("user", "a")]) == named("chat", long + "y", [("user", "a")])
    assert named("chat", long, [("user", long)]) == named("chat", long, [("user", long + "y")])
    # The user's words are read even behind endless instructions.
    endless = [{"text": long}] * 100
    assert named("chat", endless, [("user", "a")]) != named("chat", endless, [("user", "b")])


def test_a_user_who_comes_too_late_opens_nothing() -> None:
    for count, found in ((READ_TURNS - 1, True), (READ_TURNS, False)):
        said = [("assistant", "x")] * count + [("user", "hi")]
        assert bool(of_chat(chat("", said))) is found


def image(data: str, **more: object) -> list[Body]:
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return [{"type": "text", "text": "what is this?"}, {"type": "image", "source": source, **more}]


def test_images_tell_openings_apart_and_cache_marks_do_not() -> None:
    """A thousand pictures with the same question are not one conversation."""
    head = "x" * 5000
    names = {named("messages", "", [("user", image(head + each))]) for each in "ab"}
    names.add(named("messages", "", [("user", image(head + "yyb"))]))
    assert len(names) == 3
    marked = image(head + "a", cache_control={"type": "ephemeral"})
    assert named("messages", "", [("user", marked)]) in names


def test_a_part_of_countless_fields_is_read_in_part() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = {"content": deep}
    wide = {"type": "x", **{f"k{n}": "v" for n in range(10_000)}}
    assert of_chat(chat("", [("user", [deep, wide])]))
    assert of_chat({"messages": [{"role": "user", **deep}]})


KEY = {"prompt_cache_key": "k"}
CONVERSATION = {"conversation": {"id": "conv_1"}}
METADATA = {"metadata": {"user_id": '{"session_id":"s"}', "session_id": "s"}}


@pytest.mark.parametrize("read", [of_chat, of_responses])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (METADATA | {"thread_id": "t"} | CONVERSATION | KEY, b"prompt_cache_key=k"),
        (METADATA | {"thread_id": "t"} | CONVERSATION, b"conversation=conv_1"),
        ({"conversation": "conv_1"}, b"conversation=conv_1"),
        (METADATA | {"thread_id": "t"}, b"thread_id=t"),
        (METADATA, b"session_id=s"),
        ({"session_id": " é "}, "session_id=é".encode()),
    ],
)
def test_the_surest_name_in_the_body_wins(
    read: Callable[[Body], bytes], value: Body, expected: bytes
) -> None:
    assert read({**chat("s", [("user", "hi")]), "input": "hi", **value}) == expected


def test_the_user_id_of_messages_is_taken_whole() -> None:
    """Claude Code writes JSON into it, with the session inside."""
    said = '{"device_id":"0","account_uuid":"","session_id":"s1"}'
    value = {**messages("s", [("user", "hi")]), "metadata": {"user_id": said}}
    assert of_messages(value) == b"user_id=" + said.encode()
    assert of_chat(value).startswith(OPENING)


@pytest.mark.parametrize("key", ["cachedContent", "cached_content"])
def test_googles_cache_names_the_conversation(key: str) -> None:
    value = {**gemini("", [("user", "hi")]), key: "cachedContents/1"}
    assert of_gemini(value) == key.encode() + b"=cachedContents/1"


def test_a_name_beyond_the_limit_is_hashed() -> None:
    longest = "x" * LONGEST_NAME
    assert of_chat({"session_id": longest}) == b"session_id=" + longest.encode()
    assert len(of_chat({"session_id": longest + "x"})) == len(b"session_id=") + 16
    assert len(from_headers([(b"session-id", b"x" * 10_000)])) == len(b"session-id=") + 16


def test_the_middle_of_a_conversation_is_no_opening() -> None:
    value = {"input": "and then?", "previous_response_id": "resp_1"}
    assert of_responses(value) == b""
    assert of_responses({**value, **KEY}) == b"prompt_cache_key=k"


@pytest.mark.parametrize("name", SESSION_HEADERS)
def test_a_session_header_names_the_conversation(name: bytes) -> None:
    for spelled in (name, name.upper(), name.title()):
        headers = [(b"Host", b"h"), (spelled, b" s1 "), (b"Accept", b"*/*")]
        assert from_headers(headers) == name + b"=s1"


def test_the_surest_header_wins_wherever_it_stands() -> None:
    both = [(SESSION_HEADERS[3], b"b"), (SESSION_HEADERS[0], b"a"), (SESSION_HEADERS[2], b"c")]
    for headers in itertools.permutations(both):
        assert from_headers(headers) == b"x-relayd-session=a"
    assert from_headers([*both[:1], (SESSION_HEADERS[0], b" ")]) == SESSION_HEADERS[3] + b"=b"


@pytest.mark.parametrize("headers", [[], [(b"user", b"u"), (b"x-request-id", b"r")]])
def test_other_headers_name_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    assert from_headers(headers) == b""


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(FIELDS, anything, max_size=5))
def test_any_document_has_a_name_or_none(value: Body) -> None:
    for read, _ in SPOKEN.values():
        assert isinstance(read(value), bytes)
