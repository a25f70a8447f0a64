"""The parts of a chat message's content (wire-formats 2.1, 8.9)."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.errors import BadCall
from relayd.wire.chat.details import carrier
from relayd.wire.chat.parts import content, part
from relayd.wire.parts import (
    Audio,
    Cache,
    Extra,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    Video,
)

PNG = "data:image/png;base64,aGk="


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"type": "text", "text": "a"}, Text("a", at="x")),
        ({"type": "refusal", "refusal": "no"}, Refusal("no", at="x")),
        (
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            Image(at="x", mime="image/png", data="aGk=", detail="low"),
        ),
        ({"type": "image_url", "image_url": "https://y/z"}, Image(at="x", url="https://y/z")),
        (
            {"type": "input_audio", "input_audio": {"data": "aGk", "format": "mp3"}},
            Audio(at="x", mime="audio/mpeg", data="aGk="),
        ),
        ({"type": "file", "file": {"file_id": "f"}}, File(at="x", file_id="f")),
        (
            {"type": "file", "file": {"filename": "n", "file_data": "data:a/b;base64,aGk="}},
            File(at="x", name="n", mime="a/b", data="aGk="),
        ),
        (
            {"type": "file", "file": {"file_data": "JVBERi0xLjQ="}},
            File(
                at="x",
                mime="application/pdf",
                data="JVBERi0xLjQ=",
                extra={"file": Extra({"file_data": "JVBERi0xLjQ="}, "silent")},
            ),
        ),
        ({"type": "file", "file": {"file_data": "https://y/z"}}, File(at="x", url="https://y/z")),
        ({"type": "video_url", "video_url": {"url": "https://y"}}, Video(at="x", url="https://y")),
        ({"type": "odd", "odd": 1}, Opaque("chat", "odd", {"type": "odd", "odd": 1}, at="x")),
        ({}, Opaque("chat", "", {}, at="x")),
    ],
)
def test_a_part_is_read_as_what_it_is(value: dict[str, Any], found: Part) -> None:
    assert part(value, "x") == found


@pytest.mark.parametrize("source", ["https://y/z.pdf", {"url": "https://y/z.pdf"}])
def test_a_document_by_its_address_is_a_file(source: object) -> None:
    value = {"type": "document_url", "document_url": source, "document_name": "n"}

    found = part(value, "x")

    assert isinstance(found, File)
    assert (found.url, found.name) == ("https://y/z.pdf", "n")
    assert found.extra["document_url"] == Extra(source, "silent")


def test_thinking_among_the_content_is_thinking() -> None:
    value = {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]}

    found = part(value, "x")

    assert isinstance(found, Reasoning)
    assert (found.text, found.carrier) == (["t"], carrier("content", []))
    empty = part({"type": "thinking", "thinking": None}, "x")
    assert isinstance(empty, Reasoning)
    assert empty.text == []


@pytest.mark.parametrize("name", ["cache_control", "prompt_cache_breakpoint"])
def test_a_mark_is_kept_in_the_way_it_was_written(name: str) -> None:
    value = {"type": "text", "text": "a", name: {"mode": "explicit", "ttl": "30m"}}

    found = part(value, "x")

    assert found.cache == Cache("30m")
    assert found.cache is not None
    assert found.cache.native == {name: {"mode": "explicit", "ttl": "30m"}}
    assert found.extra == {}


def test_what_only_its_host_knows_of_a_part_may_be_dropped() -> None:
    assert part({"type": "text", "text": "a", "odd": 1}, "x").extra == {"odd": Extra(1, "drop")}


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"type": "text"}, "x.text"),
        ({"type": 5}, "x.type"),
        ({"type": "image_url"}, "x.image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,no"}}, "x.image_url"),
        (
            {"type": "input_audio", "input_audio": {"data": "%", "format": "wav"}},
            "x.input_audio.data",
        ),
        ({"type": "input_audio", "input_audio": {"data": "aGk="}}, "x.input_audio.format"),
        ({"type": "file", "file": {"file_data": "%"}}, "x.file.file_data"),
        ({"type": "document_url"}, "x.document_url.url"),
    ],
)
def test_a_part_that_is_none_is_named(value: dict[str, Any], param: str) -> None:
    with pytest.raises(BadCall) as caught:
        part(value, "x")

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (None, []),
        ("a", [Text("a", at="m.content")]),
        ([], []),
        ([{"type": "text", "text": "a"}], [Text("a", at="m.content[0]")]),
    ],
)
def test_content_is_a_text_or_a_list(said: object, found: list[Part]) -> None:
    assert content({"content": said}, "m") == found
