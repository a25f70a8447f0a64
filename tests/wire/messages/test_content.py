"""The parts of a history, written as the blocks of a Messages request (wire-formats 4.1, 8.8 to
8.10)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from relayd.model import FormatName
from relayd.wire import envelope
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.losses import CannotTranslate
from relayd.wire.messages.content import Content
from relayd.wire.names import Names
from relayd.wire.neutral import Declaration
from relayd.wire.parts import (
    Audio,
    Cache,
    Carrier,
    Citation,
    Document,
    Extra,
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
from tests.wire.ways import SCOPE, able, going, request, says

MARKING = able(cache_marks=4)


def maker(
    *parts: Part, source: FormatName = "chat", can: Capability = UNKNOWN, native: bool = False
) -> Content:
    asked = request(source, says("user", *parts))
    way = going("messages", can)
    return Content(asked, way, Names([], "messages"), native=native)


def blocks(*parts: Part, role: str = "user", **changes: Any) -> list[Document]:
    return maker(*parts, **changes).blocks(parts, role)


def natively(*parts: Part) -> list[Document]:
    return maker(*parts, source="messages", native=True).native(parts)


def refused(*parts: Part, role: str = "user", **changes: Any) -> str | None:
    with pytest.raises(CannotTranslate) as caught:
        blocks(*parts, role=role, **changes)
    return caught.value.param


def test_texts_and_refusals_are_texts() -> None:
    assert blocks(Text("a", [Citation("u")]), Refusal("no")) == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "no"},
    ]
    assert repr(maker()) == "<Content of chat native=False>"


def test_empty_texts_are_removed() -> None:
    """wire-formats, trap 86."""
    assert blocks(Text(""), Text(" \n"), Refusal(""), Text("a ")) == [
        {"type": "text", "text": "a "}
    ]


def test_what_was_agreed_to_be_lost_is_left_out() -> None:
    opaque = Opaque("chat", "hologram", {"type": "hologram"}, "drop")
    inside = ToolResult("c", parts=[opaque, Text("a")])
    assert blocks(opaque, Declaration([]), inside) == [
        {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "a"}]}
    ]


# --- thinking -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "carrier",
    [
        None,
        Carrier("gemini-signature", "S", SCOPE),
        Carrier("openai-encrypted", "E"),
        Carrier("anthropic-signature", "S", "another account"),
    ],
)
def test_foreign_thinking_is_removed_with_its_text(carrier: Carrier | None) -> None:
    assert blocks(Reasoning(["hm"], carrier=carrier), role="assistant") == []


def test_thinking_of_this_very_account_comes_back() -> None:
    signed = Carrier("anthropic-signature", "S", SCOPE)
    hidden = Carrier("anthropic-redacted", "D", SCOPE)
    thought = Reasoning(["a", "b"], carrier=signed)
    assert blocks(thought, Reasoning([], carrier=hidden), role="assistant") == [
        {"type": "thinking", "thinking": "a\n\nb", "signature": "S"},
        {"type": "redacted_thinking", "data": "D"},
    ]


# --- calls and results --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "block"),
    [
        (ToolCall("c", "f", '{"b": 1, "a": 2}'), {"input": {"b": 1, "a": 2}}),
        (ToolCall("c", "f", " "), {"input": {}}),
        (ToolCall("c", "f", "*** Begin", custom=True), {"input": {"input": "*** Begin"}}),
        (ToolCall("c", "read", "{}", namespace="files"), {"name": "files__read", "input": {}}),
    ],
)
def test_a_call_has_an_object(call: ToolCall, block: Document) -> None:
    usual: Document = {"type": "tool_use", "id": "c", "name": "f"}
    assert blocks(call, role="assistant") == [usual | block]


@pytest.mark.parametrize("arguments", ["{", "[1]", "5", '{"a":' * 300 + "1" + "}" * 300])
@pytest.mark.parametrize(
    ("source", "param"), [("chat", "here.function.arguments"), ("responses", "here.arguments")]
)
def test_arguments_that_are_no_object_are_refused(
    arguments: str, source: FormatName, param: str
) -> None:
    call = ToolCall("c", "f", arguments, at="here")
    assert refused(call, role="assistant", source=source) == param


def test_an_id_that_is_not_taken_becomes_the_same_in_call_and_result() -> None:
    call, result = blocks(ToolCall("f:0", "f"), ToolResult("f:0"))
    assert call["id"] == result["tool_use_id"]
    assert call["id"].startswith("call_")


def test_a_result_may_show_pictures_and_fail() -> None:
    picture = Image(mime="image/png", data="aaaa")
    result = ToolResult("c", parts=[Text("a"), picture], failed=True)
    assert blocks(result) == [
        {
            "type": "tool_result",
            "tool_use_id": "c",
            "content": [
                {"type": "text", "text": "a"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"},
                },
            ],
            "is_error": True,
        }
    ]


# --- media --------------------------------------------------------------------------------------


def test_a_picture_url_stays_a_url() -> None:
    [block] = blocks(Image(url="https://x/a.png", detail="low"))
    assert block["source"] == {"type": "url", "url": "https://x/a.png"}


PLAIN = base64.b64encode("Größe".encode()).decode()


@pytest.mark.parametrize(
    ("file", "document"),
    [
        (
            File(mime="application/pdf", data="JVBERi0=", name="a.pdf", context="c"),
            {
                "source": {
                    "type": "base64",
                    "media_type": "application/pdf",
                    "data": "JVBERi0=",
                },
                "title": "a.pdf",
                "context": "c",
            },
        ),
        (
            File(mime="text/csv", data=PLAIN),
            {"source": {"type": "text", "media_type": "text/plain", "data": "Größe"}},
        ),
        (
            File(plain="said"),
            {"source": {"type": "text", "media_type": "text/plain", "data": "said"}},
        ),
        (File(url="https://x/a.pdf"), {"source": {"type": "url", "url": "https://x/a.pdf"}}),
    ],
)
def test_a_document_is_pdf_or_plain_text(file: File, document: Document) -> None:
    assert blocks(file) == [{"type": "document", **document}]


@pytest.mark.parametrize(
    ("part", "can"),
    [
        (Image(mime="image/tiff", data="aaaa"), {}),
        (Image(data="aaaa"), {}),
        (Image(url="http://x"), {}),
        (Image(url="gs://x"), {}),
        (Image(url="https://x"), {"image_urls": False}),
        (Image(file_id="f"), {}),
        (Image(url="https://x"), {"inputs": ("text",)}),
        (File(file_id="f"), {}),
        (File(url="https://x"), {"inputs": ("text", "image")}),
        (File(mime="application/zip", data="aaaa"), {}),
        (File(mime="text/plain", data="/w=="), {}),
        (File(mime="text/plain", data="a"), {}),
        (Audio(mime="audio/wav", data="aaaa"), {}),
        (Video(url="https://youtu.be/x"), {}),
    ],
)
def test_what_is_not_looked_at_is_refused_by_its_place(part: Part, can: dict[str, Any]) -> None:
    part.at = "here"
    assert refused(part, can=able(**can)) == "here"


@pytest.mark.parametrize("role", ["assistant", "system"])
def test_only_the_user_shows_pictures(role: str) -> None:
    assert refused(Image(url="https://x", at="here"), role=role) == "here"


# --- marks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "said"),
    [
        ("", {}),
        ("30m", {}),
        ("5m", {"ttl": "5m"}),
        ("1h", {"ttl": "1h"}),
        ("12h", {"ttl": "1h"}),
    ],
)
def test_marks_hold_as_long_as_they_can_here(ttl: str, said: Document) -> None:
    [block] = blocks(Text("a", cache=Cache(ttl)), can=MARKING)
    assert block["cache_control"] == {"type": "ephemeral", **said}


def test_a_model_without_marks_gets_none() -> None:
    assert blocks(Text("a", cache=Cache())) == [{"type": "text", "text": "a"}]


# --- natively -----------------------------------------------------------------------------------


def test_natively_blocks_stay_what_they_were() -> None:
    cited = {"type": "page_location"}
    parts: list[Part] = [
        Text("", [Citation(native=cited)], cache=Cache("1h"), extra={"x": Extra(1, "drop")}),
        Declaration([], extra={"tool": Extra({"name": "f"}, "silent")}),
        Opaque("messages", "hologram", {"type": "hologram"}),
        ToolResult("f:0", parts=[Text(""), Opaque("messages", "ref", {"type": "ref"})]),
        ToolCall("f:0", "f", "{}"),
        Image(mime="image/tiff", data="aaaa"),
        Image(file_id="f"),
        File(mime="application/zip", data="aaaa"),
        File(plain="p", mime="text/markdown"),
    ]
    assert natively(*parts) == [
        {
            "type": "text",
            "text": "",
            "citations": [cited],
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
            "x": 1,
        },
        {"type": "tool_addition", "tool": {"name": "f"}},
        {"type": "hologram"},
        {
            "type": "tool_result",
            "tool_use_id": "f:0",
            "content": [{"type": "text", "text": ""}, {"type": "ref"}],
        },
        {"type": "tool_use", "id": "f:0", "name": "f", "input": {}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/tiff", "data": "aaaa"},
        },
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/zip", "data": "aaaa"},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/markdown", "data": "p"},
        },
    ]


def test_natively_only_what_came_from_elsewhere_is_removed() -> None:
    unsigned = Reasoning(["hm"])
    foreign = Reasoning(["hm"], carrier=Carrier("openai-encrypted", "E", SCOPE))
    own = Reasoning([], carrier=Carrier("anthropic-signature", "S"))
    assert natively(unsigned, foreign, own) == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "thinking", "thinking": "", "signature": "S"},
    ]


def test_no_envelope_goes_natively_in_a_block_that_nobody_reads() -> None:
    sealed = envelope.wrap(Carrier("openai-encrypted", "x", "acc"), "acc")
    block = {"type": "hologram", "signature": sealed, "of": "a cat"}
    opaque = Opaque("messages", "hologram", block)
    assert natively(opaque) == [{"type": "hologram", "of": "a cat"}]


def test_thinking_that_nobody_sealed_goes_to_nobody() -> None:
    """wire-formats, trap 91: an empty signature is refused, also by who told it."""
    assert natively(Reasoning(["hm"], carrier=envelope.UNSEALED)) == []
    assert blocks(Reasoning(["hm"], carrier=envelope.UNSEALED), role="assistant") == []


def test_a_picture_is_of_the_type_that_its_first_bytes_show() -> None:
    """OpenAI never looks at what its clients say; Anthropic compares it, and refuses."""
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    for said in ("image/jpeg", "image/png", "text/html"):
        [block] = blocks(Image(said, png))
        assert block["source"]["media_type"] == "image/png"
    [unknown] = blocks(Image("image/webp", "aGk="))
    assert unknown["source"]["media_type"] == "image/webp"


@pytest.mark.parametrize("arguments", ["", " ", "null"])
def test_a_call_without_arguments_has_an_empty_object(arguments: str) -> None:
    [block] = blocks(ToolCall("c", "f", arguments), role="assistant")
    assert block["input"] == {}
