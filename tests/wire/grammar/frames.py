"""What all grammars share: cutting a stream into frames, strictly, and saying what is wrong.

Readers are liberal, writers are not: a frame is exactly the lines that the official clients were
measured to take, with LF (or CRLF) as the format has it, one space behind the colon, one line of
data, no byte order mark. Whatever breaks a rule raises `Broken` with the rule and the frame.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal, NoReturn

import orjson

Document = dict[str, Any]
Ending = Literal["complete", "failed", "open"]


class Broken(AssertionError):
    """Bytes that break their format's grammar."""


class Frame:
    """One event of a stream.

    Attributes:
        name: of the `event:` line; None where there is none.
        data: the JSON text.
        value: what it says; None where it is no JSON (`[DONE]`).
    """

    def __init__(self, name: str | None, data: bytes) -> None:
        self.name = name
        self.data = data
        self.value: Any = None
        if data != b"[DONE]":
            try:
                self.value = orjson.loads(data)
            except orjson.JSONDecodeError as exc:
                raise Broken(f"data is no JSON ({exc}): {data[:200]!r}") from None

    def __repr__(self) -> str:
        return f"<{self.name} {self.data[:300].decode()}>"


def broken(rule: str, what: object = "") -> NoReturn:
    """Raise: `rule` is broken by `what`."""
    raise Broken(f"{rule}: {what!r}"[:800])


def need(condition: object, rule: str, what: object = "") -> None:
    """`rule` holds, or raise with `what`."""
    if not condition:
        broken(rule, what)


def frames(data: bytes, *, named: bool, comments: bool) -> list[Frame]:
    """The frames of a stream whose lines end with LF.

    Arguments:
        named: each frame has an `event:` line; else none has.
        comments: keep-alives may be comments.
    """
    need(not data.startswith(b"\xef\xbb\xbf"), "no byte order mark", data[:10])
    need(b"\r" not in data, "lines end with LF", data[:100])
    need(not data or data.endswith(b"\n\n"), "the last frame has its blank line", data[-80:])
    found = []
    for block in data.split(b"\n\n")[:-1]:
        if comments and block.startswith(b": ") and b"\n" not in block:
            continue
        found.append(_frame(block, named=named))
    return found


def _frame(block: bytes, *, named: bool) -> Frame:
    lines = block.split(b"\n")
    need(len(lines) == (2 if named else 1), "a frame is so many lines", block[:200])
    name = None
    if named:
        need(lines[0].startswith(b"event: "), "the first line names the event", block[:200])
        name = lines[0].removeprefix(b"event: ").decode()
    need(lines[-1].startswith(b"data: "), "the last line is data behind a space", block[:200])
    return Frame(name, lines[-1].removeprefix(b"data: "))


# --- members ------------------------------------------------------------------------------------


def member(document: Document, name: str, kind: type | tuple[type, ...], where: str = "") -> Any:
    """A member that must be there, of that type: true is no number, and null is none either."""
    need(isinstance(document, dict), f"{where or 'it'} is an object", document)
    need(name in document, f"{where}.{name} is there", document)
    value = document[name]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    right = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
    need(right, f"{where}.{name} is {kinds}", document)
    return value


def said(document: Document, name: str, where: str = "") -> str:
    """A text that must be there and say something."""
    value = member(document, name, str, where)
    need(value, f"{where}.{name} is not empty", document)
    return str(value)


def count(document: Document, name: str, where: str = "usage") -> int:
    """A whole number that must be there and not be negative."""
    value = member(document, name, int, where)
    need(value >= 0, f"{where}.{name} is not negative", document)
    return int(value)


def only(document: Document, names: set[str] | frozenset[str], where: str) -> None:
    """No member has another name."""
    need(document.keys() <= names, f"{where} has only {sorted(names)}", document)


def a_base64(value: str, where: str) -> None:
    """Text that Google's clients take as base64: either alphabet, padded or not."""
    try:
        text = value.replace("-", "+").replace("_", "/")
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        broken(f"{where} is base64", value[:100])


def an_object(text: str) -> bool:
    """Whether this is the JSON text of an object."""
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
