"""Byte spans inside a JSON text, so that one value is edited without writing the rest again.

Strategy: the text has already been accepted by orjson, so the scanner may trust it and only has
to know where things end. Strings and brackets are skipped by one possessive regular expression,
at C speed and in linear time. The usual question, where is the top-level `"model"`, rarely needs
the scanner: a quote inside a JSON string is always escaped, so `"model"` between `{` or `,` and
`:` is a key, and when it is the only one with a string value, it is the top-level one that orjson
saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson


def _nested(levels: int) -> bytes:
    """A pattern that runs over everything up to a bracket it cannot match within `levels`."""
    inner = rb'[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+"'
    within = inner
    for _ in range(levels):
        within = inner + rb"|[{\[](?:" + within + rb")*+[}\]]"
    return rb"(?:" + within + rb")*+"


_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]++")
_TO_BRACKET = re.compile(_nested(4) + rb"[{}\[\]]", re.DOTALL)
# What follows the key where the value is a string: that string.
_STRING_VALUE = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+(" + _STRING.pattern + rb")", re.DOTALL)
_QUOTE, _OPEN, _CLOSE = ord('"'), b"{[", b"}]"
# Every letter of "model" is U+006x: a key that hides behind escapes must contain this.
_ESCAPED_LETTER = rb"\u006"


class Edit(NamedTuple):
    """Replace `body[start:end]` by `text` or, where that is None, by the string prefix + model."""

    start: int
    end: int
    text: bytes | None = None
    prefix: str = ""


class Span(NamedTuple):
    """`body[start:end]` is one JSON value."""

    start: int
    end: int


class Member(NamedTuple):
    """One member of an object: its key, where the key starts, where its value is."""

    key: str
    key_start: int
    start: int
    end: int


def skip_space(body: bytes, at: int) -> int:
    """The first position from `at` that is not white space."""
    return _end(_SPACE, body, at)


def value_end(body: bytes, start: int) -> int:
    """Where the JSON value that starts at `start` ends."""
    first = body[start]
    if first == _QUOTE:
        return _end(_STRING, body, start)
    if first not in _OPEN:
        return _end(_SCALAR, body, start)
    depth, at = 1, start + 1
    while depth:
        at = _end(_TO_BRACKET, body, at)
        depth += 1 if body[at - 1] in _OPEN else -1
    return at


def members(body: bytes, start: int) -> Iterator[Member]:
    """The members of the object that starts at `start`, duplicates included."""
    at = skip_space(body, start + 1)
    while body[at] == _QUOTE:
        key_end = _end(_STRING, body, at)
        value = skip_space(body, skip_space(body, key_end) + 1)
        end = value_end(body, value)
        yield Member(orjson.loads(body[at:key_end]), at, value, end)
        at = _next(body, end)


def elements(body: bytes, start: int) -> Iterator[Span]:
    """The elements of the array that starts at `start`."""
    at = skip_space(body, start + 1)
    while body[at] not in _CLOSE:
        end = value_end(body, at)
        yield Span(at, end)
        at = _next(body, end)


def values(body: bytes, start: int, *keys: str) -> list[Span]:
    """The values of every member of the object at `start` whose key is one of `keys`."""
    return [Span(m.start, m.end) for m in members(body, start) if m.key in keys]


def object_start(body: bytes) -> int:
    """Where the top-level object starts."""
    return skip_space(body, 0)


def names_once(body: bytes) -> bool:
    """Whether `"model"` stands in `body` once and hides in no escape: then no key is doubled."""
    return body.count(b'"model"') == 1 and _ESCAPED_LETTER not in body


def model_spans(body: bytes) -> list[Span]:
    """The values of every top-level `model` key, escaped spellings included."""
    spans = _string_valued_models(body)
    if len(spans) == 1 and _ESCAPED_LETTER not in body:
        return spans
    return values(body, object_start(body), "model")


def apply(body: bytes, edits: Sequence[Edit], model: str) -> list[bytes | memoryview]:
    """The pieces of the edited body: views of `body` around the new texts, or `[body]` itself."""
    pieces: list[bytes | memoryview] = []
    view, done = memoryview(body), 0
    for edit in sorted(edits):
        text = orjson.dumps(edit.prefix + model) if edit.text is None else edit.text
        if body[edit.start : edit.end] == text:
            continue
        pieces += [view[done : edit.start], text]
        done = edit.end
    return [*pieces, view[done:]] if pieces else [body]


def _string_valued_models(body: bytes) -> list[Span]:
    spans = []
    at = body.find(b'"model"')
    while at >= 0:
        found = _STRING_VALUE.match(body, at + 7)
        if found and _is_key(body, at):
            spans.append(Span(*found.span(1)))
        at = body.find(b'"model"', at + 7)
    return spans


def _is_key(body: bytes, at: int) -> bool:
    while body[at - 1] in b" \t\r\n":
        at -= 1
    return body[at - 1] in b"{,"


def _next(body: bytes, end: int) -> int:
    """From the end of one member or element to the start of the next, or to the closing bracket."""
    at = skip_space(body, end)
    return skip_space(body, at + 1) if body[at] == ord(",") else at


def _end(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = pattern.match(body, at)
    if found is None:
        raise ValueError("the scanner was given bytes that are not JSON")
    return found.end()
