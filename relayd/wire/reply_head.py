"""What the head of an upstream's reply tells of its body, and what its first byte does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from relayd.model import Operation

Pairs = Sequence[tuple[bytes, bytes]]
Judgement = Callable[[int, Pairs], bool]


def length(headers: Pairs) -> int | None:
    """Bytes of the body, where the head says so."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


def promises_stream(status: int, headers: Pairs) -> bool:
    """Whether an event stream is to follow."""
    return status == 200 and b"event-stream" in _kind(headers)


def is_opaque(status: int, headers: Pairs) -> bool:
    """Whether an answer is to follow that says nothing to us: sound, a picture, a file. What has no
    type, is text or JSON may be an answer, or a failure that calls itself one."""
    kind = _kind(headers)
    says = not kind or kind.startswith(b"text/") or b"json" in kind or b"html" in kind
    return 200 <= status < 300 and not says


def is_answer(status: int, headers: Pairs) -> bool:
    """Whether an answer is to follow, whatever it says."""
    return 200 <= status < 300


def first_of(data: bytes) -> bytes:
    """The first byte that says something: the content type may be wrong in both directions, so this
    decides what is a stream (wire-formats 1.3)."""
    return data.lstrip(b" \t\r\n\xef\xbb\xbf")[:1]


def _kind(headers: Pairs) -> bytes:
    return next((value.strip().lower() for name, value in headers if name == b"content-type"), b"")


_OPAQUE: Final[Mapping[Operation, Judgement]] = {
    "image": is_opaque,
    "speech": is_opaque,
    "transcribe": is_opaque,
    "follow_up": is_opaque,
    "other": is_answer,
}


def opaque_to(operation: Operation) -> Judgement | None:
    """What tells, by status and headers, whether a reply passes unread; None where none does."""
    return _OPAQUE.get(operation)
