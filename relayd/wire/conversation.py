"""The name of the conversation that a request belongs to, for keeping it with one upstream key.

Strategy: the more surely something names one conversation, the earlier it is looked at. A session
header is best, then a field of the body that exists for this purpose. Where a client names
nothing, the opening does: the instructions and the first message of the user stay at the head of
every later turn, so their digest is the same in all of them, and they are also what a prompt cache
begins with. Only the opening is read, and of each text only the beginning, so a long prompt costs
no more than a short one. Names are bytes of bounded length, with their origin in front:
`prompt_cache_key=abc`, `opening=` and a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Any

from relayd.model import FormatName
from relayd.wire.head import Head

LONGEST_NAME = 512  # bytes; a longer one is hashed
LONGEST_ID = 512
OPENING = b"opening="
READ_TEXT = 4096  # characters of each text of the opening
READ_ALL = 16384  # characters of all of them
READ_TURNS = 32  # the user's first message stands among so many, or there is no opening
READ_PARTS = 16  # of each message
READ_TAIL = 1024  # of an image and its like: their ends differ, their beginnings do not
DEEPEST_PART = 4

# What clients send, the surest first. Ours lets any client take part.
SESSION_HEADERS = (
    b"x-relayd-session",
    b"x-session-affinity",
    b"x-session-id",
    b"x-claude-code-session-id",
    b"session-id",
    b"session_id",
    b"thread-id",
    b"thread_id",
    b"conversation-id",
    b"conversation_id",
    b"x-conversation-id",
    b"x-thread-id",
)
_RANKS = {name: rank for rank, name in enumerate(SESSION_HEADERS)}

_KEYS = ("prompt_cache_key", "conversation", "conversation_id", "session_id", "thread_id")
# Google's caches belong to one account: whatever uses one belongs together, and there.
_GEMINI_KEYS = ("cachedContent", "cached_content")
# In `metadata`: who the user is tells nothing, except in Messages, which has no other field.
_NOTES = ("conversation_id", "session_id", "thread_id")
_MESSAGES_NOTES = (*_NOTES, "user_id")
_INSTRUCTING = ("system", "developer")
# Marks that move from turn to turn through the same messages.
_MOVING = ("cache_control", "prompt_cache_breakpoint")


def from_headers(raw_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The conversation that a client names in its headers, or b"".

    Arguments:
        raw_headers: names, in upper or lower case, and values.
    """
    best, said = len(SESSION_HEADERS), b""
    rank_of = _RANKS.get
    for name, value in raw_headers:
        rank = rank_of(name.lower(), best)
        if rank < best and value.strip():
            best, said = rank, value.strip()
    return _bounded(SESSION_HEADERS[best], said) if said else b""


def conversation_of(head: Head) -> bytes:
    """The conversation that a request's body tells of, or b"": only what generates belongs to
    one."""
    if head.target.operation != "generate":
        return b""
    return _OF_FORMAT[head.target.format](head.request)


def of_chat(value: dict[str, Any]) -> bytes:
    """The conversation of a chat request, or b"" where nothing tells."""
    return _named(value, _KEYS, _NOTES) or _opening("", value.get("messages"))


def of_responses(value: dict[str, Any]) -> bytes:
    """That of a Responses request.

    One that goes on from an earlier reply holds no opening: its input is the middle.
    """
    named = _named(value, _KEYS, _NOTES)
    if named or value.get("previous_response_id"):
        return named
    return _opening(value.get("instructions"), value.get("input"))


def of_messages(value: dict[str, Any]) -> bytes:
    """That of a Messages request."""
    return _named(value, _KEYS, _MESSAGES_NOTES) or _opening(
        value.get("system"), value.get("messages")
    )


def of_gemini(value: dict[str, Any]) -> bytes:
    """That of a Gemini request."""
    instruction = value.get("systemInstruction") or value.get("system_instruction")
    return _named(value, _GEMINI_KEYS, ()) or _opening(instruction, value.get("contents"))


_OF_FORMAT: Mapping[FormatName, Callable[[dict[str, Any]], bytes]] = {
    "chat": of_chat,
    "responses": of_responses,
    "messages": of_messages,
    "gemini": of_gemini,
}


def _named(value: dict[str, Any], keys: tuple[str, ...], notes: tuple[str, ...]) -> bytes:
    """The first of `keys` in the body, or of `notes` in its metadata, that names a conversation."""
    for key in keys:
        if key in value:
            said = _id_of(value[key])
            if said:
                return _bounded(key.encode(), said.encode())
    metadata = value.get("metadata")
    return _named(metadata, notes, ()) if notes and isinstance(metadata, dict) else b""


def _id_of(value: object) -> str:
    """An id, which may be wrapped into an object."""
    if isinstance(value, dict):
        value = value.get("id")
    return value.strip() if isinstance(value, str) else ""


def _bounded(origin: bytes, said: bytes) -> bytes:
    if len(said) > LONGEST_NAME:
        said = blake2b(said, digest_size=16).digest()
    return origin + b"=" + said


def _opening(instructions: object, turns: object) -> bytes:
    """The digest of the instructions and of the user's first message; b"" without such a one."""
    before = _texts(instructions) if instructions else []
    for turn in turns[:READ_TURNS] if isinstance(turns, list) else (turns,):
        role = _role(turn)
        if role == "user":
            # The user's words first, because long instructions are cut off.
            texts = "\0".join(["user", *_texts(turn), "system", *before])[:READ_ALL]
            return OPENING + blake2b(texts.encode(), digest_size=16).digest()
        if role in _INSTRUCTING:
            before += _texts(turn)
    return b""


def _role(turn: object) -> object:
    """Whose turn it is. Bare text is the user's, and so are Google's turns that do not say."""
    if isinstance(turn, dict):
        return turn.get("role") or ("user" if "parts" in turn else "")
    return "user" if isinstance(turn, str) else ""


def _texts(turn: object) -> list[str]:
    """The beginnings of the texts in a turn, or in what stands in its place."""
    content = turn.get("content") or turn.get("parts") or turn if isinstance(turn, dict) else turn
    if isinstance(content, str):
        return [content[:READ_TEXT]]
    texts: list[str] = []
    for part in content[:READ_PARTS] if isinstance(content, list) else (content,):
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            texts.append(text[:READ_TEXT])
        else:
            texts += islice(_marks(part, DEEPEST_PART), READ_PARTS)
    return texts


def _marks(value: object, depth: int) -> Iterator[str]:
    """What tells a part without text, such as an image, from others of its kind."""
    if isinstance(value, str):
        yield f"{len(value)} {value[-READ_TAIL:]}"
    elif isinstance(value, dict) and depth:
        for key, inner in value.items():
            if key not in _MOVING:
                yield from _marks(inner, depth - 1)
