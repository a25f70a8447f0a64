"""Multipart forms as clients write them, byte by byte."""

from __future__ import annotations

from typing import NamedTuple

BOUNDARY = "a-boundary-of-tests"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
HEADERS = {"Content-Type": CONTENT_TYPE}


class Part(NamedTuple):
    """One part: a text field, or a file where it has a file name."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = ""


def form(*parts: Part) -> bytes:
    """The body of a form."""
    return b"".join(map(_part, parts)) + f"--{BOUNDARY}--\r\n".encode()


def model(name: str) -> Part:
    """The field that names the model."""
    return Part("model", name.encode())


def audio(content: bytes) -> Part:
    """A file to transcribe."""
    return Part("file", content, "speech.mp3", "audio/mpeg")


def _part(part: Part) -> bytes:
    lines = [f"--{BOUNDARY}", f'Content-Disposition: form-data; name="{part.name}"']
    if part.filename is not None:
        lines[1] += f'; filename="{part.filename}"'
    if part.content_type:
        lines.append(f"Content-Type: {part.content_type}")
    return "\r\n".join([*lines, "", ""]).encode() + part.content + b"\r\n"
