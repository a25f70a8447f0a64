"""Parts as contents of items."""

from __future__ import annotations

import pytest

from relayd.wire.losses import CannotTranslate
from relayd.wire.parts import Audio, Carrier, File, Image, Reasoning, Refusal, Text
from relayd.wire.responses import contents
from tests.wire.ways import going

TO = going("responses")


def test_a_text_is_what_its_speaker_makes_it() -> None:
    assert contents.content(Text("x"), "user", TO) == {"type": "input_text", "text": "x"}
    assert contents.content(Text("x"), "assistant", TO) == {"type": "output_text", "text": "x"}
    assert contents.content(Refusal("n"), "assistant", TO) == {"type": "refusal", "refusal": "n"}


def test_a_picture_has_one_source() -> None:
    kind = {"type": "input_image"}
    inline = contents.content(Image("image/png", "AA==", detail="low"), "user", TO)
    assert inline == kind | {"image_url": "data:image/png;base64,AA==", "detail": "low"}
    assert contents.content(Image(url="https://a"), "user", TO) == kind | {"image_url": "https://a"}
    assert contents.content(Image(file_id="f"), "user", TO) == kind | {"file_id": "f"}


def test_a_file_says_what_it_has() -> None:
    kind = {"type": "input_file"}
    inline = contents.content(File("application/pdf", "AA==", name="a.pdf"), "user", TO)
    assert inline == kind | {
        "filename": "a.pdf",
        "file_data": "data:application/pdf;base64,AA==",
    }
    assert contents.content(File(url="https://a"), "user", TO) == kind | {"file_url": "https://a"}


def test_what_the_format_does_not_have_is_refused() -> None:
    """wire-formats 12, no. 7."""
    with pytest.raises(CannotTranslate) as caught:
        contents.content(Audio("audio/wav", "AA==", at="messages[0].content[0]"), "user", TO)
    assert caught.value.param == "messages[0].content[0]"


def test_thinking_is_an_item_with_its_summary() -> None:
    carrier = Carrier("openai-encrypted", "gAAA")
    assert contents.thinking([Reasoning(["s"]), Reasoning(["r"], raw=True)], carrier) == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "s"}],
        "content": [{"type": "reasoning_text", "text": "r"}],
        "encrypted_content": "gAAA",
    }
    assert contents.thinking([], None) == {"type": "reasoning", "summary": []}
