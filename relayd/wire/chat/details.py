"""Thinking in chat: where hosts write it, and the state that they want back with it.

Hosts write thinking as `reasoning_content`, as `reasoning`, or as parts of the content; some add
`reasoning_details`, entries with signatures and ciphertexts, or the text itself. Where it stood and
the details are one carrier of ours. So thinking that went through a client of another format comes
back to its host in that host's own words, and no other host ever sees it.

Towards chat clients another provider's carrier is such a list as well: entries with the text that
it belongs to, and one with the envelope behind them, which names the call or tells the place in the
text that it follows.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from itertools import groupby
from typing import Final, NamedTuple

import orjson

from relayd.wire import envelope
from relayd.wire.facts import objects, parsed, section, text
from relayd.wire.parts import Carrier, Document, Part, Reasoning, Text

USUAL: Final = "reasoning_content"
FIELDS: Final = (USUAL, "reasoning")
CONTENT: Final = "content"  # as parts of it
NOWHERE: Final = ""  # in the details alone
MOST_ENTRIES: Final = 10_000
_GROWING: Final = ("text", "summary")
_BEHIND: Final = "text_"
_PLACE: Final = re.compile(rf"{_BEHIND}(\d{{1,9}})")


class Where(NamedTuple):
    """Where a host wrote its thinking, and what it added."""

    field: str
    details: list[Document]


# --- carriers of chat hosts ---------------------------------------------------------------------


def carrier(field: str, details: list[Document]) -> Carrier:
    """The carrier of thinking that stood in `field`."""
    said: Document = {"in": field}
    if details:
        said["details"] = details
    return Carrier("chat-details", dumped(said))


def where(found: Carrier | None) -> Where:
    """What `carrier` was made of; the usual place where it says nothing, or nothing valid."""
    said = payload(found)
    field = said.get("in")
    known = field in (*FIELDS, CONTENT, NOWHERE)
    return Where(text(field) if known else USUAL, objects(said.get("details")))


def of_call(extra_content: object) -> Carrier | None:
    """The carrier of what hosts put beside a call (Google's signature)."""
    if not isinstance(extra_content, dict) or not extra_content:
        return None
    return Carrier("chat-details", dumped({"extra_content": extra_content}))


def beside_call(found: Carrier | None) -> Document:
    """What stood beside a call."""
    return section(payload(found).get("extra_content"))


def payload(found: Carrier | None) -> Document:
    """The content of a chat host's carrier; nothing for any other."""
    if found is None or found.kind != "chat-details":
        return {}
    return section(parsed(found.payload.encode()))


def dumped(value: object) -> str:
    """JSON text; "" for what is nested deeper than can be written."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return ""


# --- details of a stream ------------------------------------------------------------------------


class Details:
    """The details of one block of thinking. Owns the pieces of their texts until all came."""

    __slots__ = ("_entries", "_pieces")

    def __init__(self) -> None:
        self._entries: list[Document] = []
        self._pieces: list[dict[str, list[str]]] = []

    def __repr__(self) -> str:
        return f"<Details {len(self._entries)} entries>"

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, entries: list[Document]) -> None:
        """More of them: what goes on with the last entry has its index and its type."""
        for entry in entries:
            if self._entries and _goes_on(self._entries[-1], entry):
                self._lay(entry)
                continue
            if len(self._entries) >= MOST_ENTRIES:
                raise OverflowError("The upstream's reply has too many reasoning details.")
            self._entries.append({k: v for k, v in entry.items() if k not in _GROWING})
            self._pieces.append({k: [text(entry[k])] for k in _GROWING if entry.get(k)})

    def _lay(self, entry: Document) -> None:
        for name, value in entry.items():
            if name in _GROWING:
                self._pieces[-1].setdefault(name, []).append(text(value))
            elif value is not None:
                self._entries[-1][name] = value

    def whole(self) -> list[Document]:
        """The entries, their texts in one piece."""
        return [
            entry | {name: "".join(said) for name, said in pieces.items()}
            for entry, pieces in zip(self._entries, self._pieces, strict=True)
        ]


def _goes_on(last: Document, entry: Document) -> bool:
    same = all(last.get(name) == entry.get(name) for name in ("index", "type"))
    ids = {text(each.get("id")) for each in (last, entry)} - {""}
    return same and len(ids) < 2 and not entry.get("data")


def said_in(entries: list[Document]) -> str:
    """The text in them, for hosts that write it nowhere else."""
    return "".join(text(entry.get("text")) or text(entry.get("summary")) for entry in entries)


# --- other providers' carriers, at chat clients -------------------------------------------------


def told(paragraphs: list[str], sealed: str, after: str, *, raw: bool) -> list[Document]:
    """The entries that carry an envelope.

    Arguments:
        sealed: the envelope.
        after: the id of the call behind which the thinking stood, or `behind_text`; "" for before
            all else.
    """
    kind, name = ("reasoning.text", "text") if raw else ("reasoning.summary", "summary")
    said: list[Document] = [{"type": kind, name: each} for each in paragraphs]
    behind = {"id": after} if after else {}
    return [*said, {"type": "reasoning.encrypted", **behind, "data": sealed}]


def behind_text(length: int) -> str:
    """The words for thinking that stood behind so many characters of the text, before all calls;
    "" for thinking that stood before it."""
    return f"{_BEHIND}{length}" if length else ""


class Returned(NamedTuple):
    """What came back: the call or the text that it stood behind, and the thinking."""

    after: str
    part: Part

    @property
    def place(self) -> int:
        """How many characters of the text it stood behind."""
        found = _PLACE.fullmatch(self.after)
        return int(found[1]) if found else 0


def interleaved(said: list[Part], thoughts: list[Returned]) -> list[Part]:
    """What was said with what was thought, each thought where it stood: chat has one text for all
    that a model says, so it is cut there."""
    waiting = deque(sorted(thoughts, key=lambda each: each.place))
    found: list[Part] = []
    while waiting and not waiting[0].place:
        found.append(waiting.popleft().part)
    length = 0
    for part in said:
        if not isinstance(part, Text):
            found.append(part)
            continue
        begun, whole = 0, part.text
        while waiting and waiting[0].place < length + len(whole):
            cut = waiting[0].place - length
            if cut > begun:
                found.append(replace(part, text=whole[begun:cut], cache=None))
            found.append(waiting.popleft().part)
            begun = cut
        found.append(replace(part, text=whole[begun:]) if begun else part)
        length += len(whole)
    return found + [each.part for each in waiting]


def joined(said: list[Part]) -> list[Part]:
    """The same with every text that was cut in one piece again."""
    found: list[Part] = []
    for _, group in groupby(said, key=lambda part: (type(part), part.at or id(part))):
        pieces = list(group)
        texts = [part.text for part in pieces if isinstance(part, Text)]
        last = pieces[-1]
        if len(texts) > 1 and isinstance(last, Text):
            pieces = [replace(last, text="".join(texts))]
        found += pieces
    return found


def returned(entries: list[Document], at: str) -> list[Returned] | None:
    """The thinking in the envelopes of `entries`; None where these are a host's own.

    A broken envelope is dropped with its text.
    """
    if not any(envelope.is_envelope(_sealed(entry)) for entry in entries):
        return None
    found: list[Returned] = []
    said: list[str] = []
    raw = False
    for entry in entries:
        sealed = _sealed(entry)
        if not sealed:
            said.append(said_in([entry]))
            raw = entry.get("type") == "reasoning.text"
            continue
        opened = envelope.unwrap(sealed)
        if opened is not None:
            part = Reasoning(said, raw=raw, carrier=opened, at=at)
            found.append(Returned(text(entry.get("id")), part))
        said, raw = [], False
    return found


def _sealed(entry: Document) -> str:
    return text(entry.get("data")) or text(entry.get("signature"))


# --- writing it where it stood ------------------------------------------------------------------


def in_field(field: str, said: str) -> Document:
    """A member with thinking; none where a host has it in the details alone."""
    if field == CONTENT:
        return {CONTENT: [thinking_part(said)]}
    return {field: said} if field else {}


def thinking_part(said: str) -> Document:
    """A part of the content, as Mistral writes thinking."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": said}]}
