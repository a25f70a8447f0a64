"""What the demo provider says: texts, tool calls and token counts, before any format words them.

Everything derives from the request, so that the same request is answered the same way for ever. A
text comes as pieces, which are the content chunks of a stream; joined they are the whole answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import orjson

from relayd.demo import gemini_pictures
from relayd.demo.ask import Ask, Tool, tokens_of
from relayd.demo.names import Name
from relayd.demo.schema import satisfy

Finish = Literal["stop", "length", "tools", "stop_text", "blocked"]

MOST_CHUNKS: Final = 1_000_000
MOST_BYTES: Final = 64 * 1024 * 1024
MOST_CHOICES: Final = 8
LONGEST_QUOTE: Final = 200
# Not ASCII only: a stream that is split inside a character has to have one.
ABOUT: Final = "This is relayd's demo provider… it only echoes what it hears. 👋"
_WORDS: Final = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+")
# The content of `chunks-N`: few distinct words, so that their events are built once and shared.
_FILLING: Final = ("The ", "quick ", "brown ", "fox ", "jumps ", "over ", "lazy ", "dogs. ")


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; `arguments` is JSON text, or the free text of a tool that takes text."""

    id: str
    tool: Tool
    arguments: str

    @property
    def input(self) -> Any:
        """The arguments as a document."""
        return orjson.loads(self.arguments) if self.tool.schema is not None else self.arguments


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice: thinking, then text or calls, a picture, and why it ended.

    Arguments:
        picture: the pixels of the picture, across and down.
        query: what was searched in the web, if anything was.
    """

    reasoning: str
    pieces: tuple[str, ...]
    calls: tuple[Call, ...]
    finish: Finish
    stop_text: str | None = None
    picture: tuple[int, int] | None = None
    query: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the call consumed; `output` includes the reasoning and the pictures, `prompt` the
    cached part.
    """

    prompt: int
    cached: int
    output: int
    reasoning: int
    picture: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.output


@dataclass(frozen=True, slots=True)
class Reply:
    """Everything that a format needs to word the reply.

    Arguments:
        seed: hexadecimal digits that identify the request; ids are made of it.
        moment: seconds since the epoch, for `created`.
        tokens: None when the model is told to report no usage.
    """

    model: str
    seed: str
    moment: float
    choices: tuple[Answer, ...]
    tokens: Tokens | None

    @property
    def first(self) -> Answer:
        return self.choices[0]


def compose(ask: Ask, name: Name, seed: str, moment: float) -> Reply:
    """Decide what to say."""
    number = min(max(ask.choices, 1), MOST_CHOICES)
    choices = tuple(_choice(ask, name, seed, index) for index in range(number))
    tokens = None if name.has("no-usage") else _tokens(ask, name, choices)
    return Reply(name.model, seed, moment, choices, tokens)


def _tokens(ask: Ask, name: Name, choices: tuple[Answer, ...]) -> Tokens:
    reasoning = sum(tokens_of(len(choice.reasoning.encode())) for choice in choices)
    picture = sum(gemini_pictures.tokens(choice.picture) for choice in choices if choice.picture)
    output = max(1, reasoning + picture + sum(_spoken(choice) for choice in choices))
    cached = (ask.prompt_tokens * 3 + 3) // 4 if name.cached else 0
    return Tokens(ask.prompt_tokens, cached, output, reasoning, picture)


def _spoken(choice: Answer) -> int:
    size = len(choice.text.encode()) + sum(len(call.arguments.encode()) for call in choice.calls)
    return tokens_of(size)


def _choice(ask: Ask, name: Name, seed: str, index: int) -> Answer:
    thinks = ask.reasoning or name.reasons
    reasoning = f"The user said: {_quote(ask.text)} I shall answer with an echo." if thinks else ""
    if ask.tools and ask.result is None:
        tools = ask.tools if name.has("tools") and ask.parallel else ask.tools[:1]
        calls = tuple(_call(tool, ask, f"{seed}{index}{place}") for place, tool in enumerate(tools))
        return Answer(reasoning, (), calls, "tools")
    if pieces := _filling(name):
        return Answer(reasoning, pieces, (), "stop")
    if ask.picture and name.has("blocked"):
        return Answer(reasoning, (), (), "blocked")
    pieces = () if ask.mute else tuple(_WORDS.findall(_text(ask, index)))
    query = ask.text if ask.searches else ""
    return replace(_limited(ask, reasoning, pieces), picture=ask.picture, query=query)


def _call(tool: Tool, ask: Ask, id: str) -> Call:
    if tool.schema is None:
        return Call(id, tool, ask.text or "demo")
    arguments = satisfy({"type": "object", **tool.schema})
    return Call(id, tool, orjson.dumps(arguments if isinstance(arguments, dict) else {}).decode())


def _filling(name: Name) -> tuple[str, ...]:
    """The text that the name's knobs ask, whatever the request's limits; without knobs none."""
    if name.has("huge-event"):
        return ("h" * int(name.number("huge-event", 4, 64) * 1024 * 1024),)
    if not (name.has("chunks") or name.has("size")):
        return ()
    if not name.has("size"):
        number = int(max(1, name.number("chunks", 100, MOST_CHUNKS)))
        return tuple(_FILLING[i % len(_FILLING)] for i in range(number))
    size = int(max(1, name.number("size", 1000, MOST_BYTES)))
    number = int(
        max(1, min(name.number("chunks", size // max(24, size // 200), MOST_CHUNKS), size))
    )
    each, more = divmod(size, number)
    line = "relayd "
    short, long = (line * (each // 7 + 1))[:each], (line * (each // 7 + 1))[: each + 1]
    return (long,) * more + (short,) * (number - more)


def _text(ask: Ask, index: int) -> str:
    if ask.schema is not None:
        return orjson.dumps(satisfy(ask.schema)).decode()
    said = f"The tool answered: {_quote(ask.result)}" if ask.result is not None else ""
    said = said or (f"You said: {_quote(ask.text)}" if ask.text else "You said nothing.")
    return f"{said} {ABOUT}" + (f" (choice {index + 1})" if index else "")


def _quote(text: str) -> str:
    """The text on one line, shortened, and ended like a sentence."""
    flat = " ".join(text[: LONGEST_QUOTE * 2].split())
    if len(flat) > LONGEST_QUOTE:
        return flat[:LONGEST_QUOTE] + "…"
    return flat if flat.endswith((".", "!", "?", "…")) else flat + "."


def _limited(ask: Ask, reasoning: str, pieces: tuple[str, ...]) -> Answer:
    """Cut what is said at the first stop text, then at the token limit."""
    finish: Finish = "stop"
    stop_text = None
    if ask.stops:
        text = "".join(pieces)
        found = [(text.find(stop), stop) for stop in ask.stops if stop and stop in text]
        if found:
            place, stop_text = min(found)
            pieces, finish = _shortened(pieces, len(text[:place].encode())), "stop_text"
    if ask.max_tokens is not None:
        room = max(ask.max_tokens, 1) * 4
        thought = len(reasoning.encode())
        # Counted as the usage counts them: each part's tokens are rounded up by themselves.
        left = room - tokens_of(thought) * 4
        if sum(len(piece.encode()) for piece in pieces) > left:
            reasoning = "".join(_shortened((reasoning,), room))
            pieces, finish, stop_text = _shortened(pieces, max(left, 0)), "length", None
    return Answer(reasoning, pieces, (), finish, stop_text)


def _shortened(pieces: tuple[str, ...], size: int) -> tuple[str, ...]:
    """The pieces within so many bytes, never ending inside a character."""
    kept = []
    for piece in pieces:
        coded = piece.encode()
        kept.append(coded[:size].decode(errors="ignore"))
        size -= len(coded)
        if size <= 0:
            break
    return tuple(piece for piece in kept if piece)
