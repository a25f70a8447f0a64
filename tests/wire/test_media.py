"""Inline data, and what its first bytes say it is (wire-formats 8.9)."""

from __future__ import annotations

import base64

import pytest

from relayd.wire import media
from relayd.wire.media import Inline

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.mark.parametrize(
    ("url", "inline"),
    [
        ("data:image/png;base64,aGk=", Inline("image/png", "aGk=")),
        ("DATA:Image/PNG;BASE64,aGk", Inline("image/png", "aGk=")),
        ("data:text/plain;charset=utf-8;base64,aGk=", Inline("text/plain", "aGk=")),
        (f"data:;base64,{PNG}", Inline("image/png", PNG)),
        (f"data:application/octet-stream;base64,{PNG}", Inline("image/png", PNG)),
        ("data:image/png,aGk=", None),
        ("data:image/png;base64,%%%", None),
        ("https://x/y.png", None),
        ("", None),
    ],
)
def test_a_data_url_holds_base64(url: str, inline: Inline | None) -> None:
    assert media.data_url(url) == inline


@pytest.mark.parametrize(
    ("data", "standard"),
    [
        ("-_-_", "+/+/"),
        ("aGk", "aGk="),
        ("aGk=", "aGk="),
        ("aG\nk=", "aGk="),
        ("", ""),
        ("a", None),
        ("a%b=", None),
        ("\N{SNOWMAN}", None),
    ],
)
def test_base64_of_either_alphabet_is_made_standard(data: str, standard: str | None) -> None:
    assert media.standard(data) == standard


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"%PDF-1.4", "application/pdf"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"RIFF....WAVEfmt ", "audio/wav"),
        (b"RIFF....AVI ....", ""),
        (b"ID3\x04", "audio/mpeg"),
        (b"hello", ""),
    ],
)
def test_the_first_bytes_say_what_nobody_said(head: bytes, mime: str) -> None:
    assert media.sniffed("", base64.b64encode(head).decode()) == mime


def test_what_somebody_said_is_believed() -> None:
    assert media.sniffed("image/jpeg", PNG) == "image/jpeg"
    assert media.sniffed("image/*", PNG) == "image/png"
    assert media.sniffed("", "a") == ""  # no base64


def test_an_address_of_inline_data_has_a_type() -> None:
    assert media.as_url("image/png", "aGk=") == "data:image/png;base64,aGk="
    assert media.as_url("", "aGk=") == "data:application/octet-stream;base64,aGk="


@pytest.mark.parametrize(
    ("name", "mime"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("flac", "audio/flac")]
)
def test_sounds_have_two_names(name: str, mime: str) -> None:
    assert media.sound_type(name) == mime
    assert media.sound_name(mime) == name


def test_a_sound_has_older_names() -> None:
    assert media.sound_name("audio/x-wav") == "wav"
    assert media.sound_name("audio/mp3") == "mp3"


@pytest.mark.parametrize(
    ("name", "mime", "found"),
    [
        ("a.pdf", "application/pdf", "a.pdf"),
        ("My report", "application/pdf", "My report.pdf"),
        ("Report 1.2", "text/plain", "Report 1.2.txt"),
        ("notes.md", "text/plain", "notes.md"),
        ("odd", "application/x-odd", "odd"),
        ("", "text/csv", "document.csv"),
        ("", "application/x-odd", "document"),
        ("", "", "document.pdf"),
    ],
)
def test_a_files_name_ends_as_files_of_its_type_do(name: str, mime: str, found: str) -> None:
    assert media.file_name(name, mime) == found


# --- sizes ----------------------------------------------------------------------------------------


def _jpeg(*segments: bytes) -> str:
    return base64.b64encode(b"\xff\xd8" + b"".join(segments)).decode()


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


FRAME = _segment(0xC2, b"\x08" + (600).to_bytes(2, "big") + (800).to_bytes(2, "big") + bytes(9))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (
            base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(10) + b"\x04\0\0\0\x02\0").decode(),
            (1024, 512),
        ),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(), None),
        (_jpeg(_segment(0xE1, bytes(5000)), _segment(0xC4, bytes(20)), FRAME), (800, 600)),
        (_jpeg(_segment(0xE1, bytes(5000))), None),
        (_jpeg(b"\xff\xe0"), None),
        (_jpeg(_segment(0xE1, b"x"), b"no marker" * 3), None),
        (base64.b64encode(b"GIF89a" + bytes(99)).decode(), None),
        ("", None),
        ("A", None),
    ],
)
def test_a_picture_says_how_large_it_is(data: str, size: tuple[int, int] | None) -> None:
    assert media.pixels(data) == size


def test_bytes_come_back_as_they_were() -> None:
    assert media.decoded(media.encoded(b"\0\xff?>")) == b"\0\xff?>"
    assert media.decoded("A") == b""
