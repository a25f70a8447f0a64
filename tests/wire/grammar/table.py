"""The checkers of the four formats by name."""

from __future__ import annotations

from typing import Final, Protocol

from relayd.model import FormatName
from tests.wire.grammar import chat, gemini, messages, responses
from tests.wire.grammar.frames import Document, Ending


class Checks(Protocol):
    """Checks a reply of one format, of a client that asked to see usage and thinking."""

    def __call__(self, data: bytes, *, arguments: bool = True) -> Ending: ...


class ChecksWhole(Protocol):
    """Checks a whole reply of one format."""

    def __call__(self, document: Document, *, arguments: bool = True) -> None: ...


def _gemini(data: bytes, *, arguments: bool = True) -> Ending:
    return gemini.stream(data)


def _gemini_whole(document: Document, *, arguments: bool = True) -> None:
    gemini.whole(document)


STREAMS: Final[dict[FormatName, Checks]] = {
    "chat": chat.stream,
    "responses": responses.stream,
    "messages": messages.stream,
    "gemini": _gemini,
}
WHOLES: Final[dict[FormatName, ChecksWhole]] = {
    "chat": chat.whole,
    "responses": responses.whole,
    "messages": messages.whole,
    "gemini": _gemini_whole,
}
