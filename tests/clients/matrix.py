"""The SDK matrix: every SDK against a provider of every format, in every way that people ask.

A cell is one language, one SDK (by the format that it speaks), one provider's format, one case and
whole or as a stream. Whoever speaks tells what it heard as `Told`, the same for all languages, and
one judge says what is wrong with it; he also looks at what reached the provider. The provider is
the demo, entered four times, each time with one format only, so that `demo-chat` can be reached by
chat alone, whatever the client speaks.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel

from relayd.demo.routes import Request
from relayd.model import FormatName
from tests.demo.serving import Serving
from tests.support.running import Running
from tests.support.sdk_speakers import SPEAKERS, Speaker

Case = Literal["text", "tools", "structured", "image", "error"]
Language = Literal["python", "node"]

FORMATS: Final[tuple[FormatName, ...]] = ("chat", "responses", "messages", "gemini")
CASES: Final[tuple[Case, ...]] = ("text", "tools", "structured", "image", "error")
SDKS: Final[Mapping[FormatName, str]] = {
    "chat": "openai chat",
    "responses": "openai responses",
    "messages": "anthropic",
    "gemini": "google genai",
}
# What a request's path holds at the provider.
_SPOKEN: Final[Mapping[FormatName, str]] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": "enerateContent",
}
# One red pixel.
PNG: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
RESULT: Final = "sunny"
CONFIG: Final = 'demo: "off"\nupstreams:\n'
UPSTREAM: Final = """\
  only-{name}:
    {{dialect: relay, base_url: "{url}", key: demo-key, formats: [{name}],
    models: ["demo-{name}*"]}}
"""


class City(BaseModel):
    """What structured output is parsed into."""

    name: str
    people: int


class Cell(NamedTuple):
    """One square of the table."""

    language: Language
    client: FormatName
    there: FormatName
    case: Case
    stream: bool

    @property
    def tag(self) -> str:
        """A word that stands in the question, and so finds it again at the provider."""
        return "-".join([*self[:4], "stream" if self.stream else "whole"])

    @property
    def question(self) -> str:
        return f"Grüße 😀 {self.tag}"

    @property
    def model(self) -> str:
        """Who is asked; in the case of an error one that fails: at once, or in mid-stream."""
        if self.case != "error":
            return f"demo-{self.there}"
        return f"demo-{self.there}-" + ("error-in-stream-chunks-40" if self.stream else "429")


@dataclass
class Told:
    """What a client showed its user.

    Attributes:
        usage: tokens in and out.
        calls: name and arguments of each tool call.
        again: what was said after the tool's result.
        parsed: the structured answer.
        status: of the error that was raised, 0 where it has none, -1 where it is none of the SDK's
            own, None where nothing was raised.
        trouble: what was raised, in words.
    """

    text: str = ""
    reason: str = ""
    usage: tuple[int, int] = (0, 0)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    again: str = ""
    parsed: dict[str, Any] | None = None
    status: int | None = None
    trouble: str = ""


def cells(language: Language) -> list[Cell]:
    """All squares of a language."""
    return [
        Cell(language, client, there, case, stream)
        for client in FORMATS
        for there in FORMATS
        for case in CASES
        for stream in (False, True)
    ]


class Stage(NamedTuple):
    """A relay, and the provider behind it."""

    relay: Running
    provider: Serving

    def asked(self, cell: Cell) -> list[Request]:
        """The requests of a cell that reached the provider, the oldest first."""
        tag = cell.tag.encode()
        return [request for request in self.provider.provider.seen if tag in request.body]


@contextmanager
def stage(folder: Path, start: Callable[..., Running] | None = None) -> Iterator[Stage]:
    """Both running; `start` starts the relay where somebody else stops it."""
    provider = Serving(asyncio.new_event_loop, key="demo-key")
    try:
        lines = [UPSTREAM.format(name=name, url=provider.url) for name in FORMATS]
        config = CONFIG + "".join(lines)
        relay = start(config) if start else Running(folder, config)
        try:
            yield Stage(relay, provider)
        finally:
            if start is None:
                relay.stop()
    finally:
        provider.stop()


def connect(relay: Running) -> dict[FormatName, Any]:
    """One client of each Python SDK: to make one costs more than to ask with it."""
    return {name: SPEAKERS[name].connect(relay.url, relay.key) for name in FORMATS}


def speak(client: Any, cell: Cell) -> Told:
    """Play one cell with its Python SDK."""
    tools = 1 if cell.case == "tools" else 0
    speaker = SPEAKERS[cell.client](client, cell.model, tools=tools)
    if cell.case == "image":
        speaker.show(cell.question, PNG)
    else:
        speaker.say(cell.question)
    try:
        if cell.case == "structured":
            return Told(parsed=speaker.shaped(City, stream=cell.stream).model_dump())
        return _conversed(speaker, stream=cell.stream)
    except speaker.errors as error:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        return Told(status=status if isinstance(status, int) else 0, trouble=str(error))


def _conversed(speaker: Speaker, *, stream: bool) -> Told:
    heard = speaker.ask(stream=stream)
    told = Told(heard.text, heard.reason, heard.usage)
    told.calls = [(call.name, call.arguments) for call in heard.calls]
    if heard.calls:
        speaker.results(heard.calls, RESULT)
        told.again = speaker.ask(stream=stream).text
    return told


def judge(cell: Cell, told: Told, asked: list[Request]) -> str:
    """What is wrong, in a few words; "" for nothing."""
    if not asked:
        return told.trouble or "nothing reached the provider"
    if any(_SPOKEN[cell.there] not in request.path for request in asked):
        return f"the provider was asked at {asked[-1].path}"
    if cell.case != "error" and told.status is not None:
        return f"raised {told.status} {told.trouble}"
    return _JUDGES[cell.case](cell, told, asked)


def _text(cell: Cell, told: Told, asked: list[Request]) -> str:
    if not told.text.startswith(f"You said: {cell.question}.") or not told.text.endswith("👋"):
        return f"said {told.text!r}"
    if told.reason != "stop" or min(told.usage) < 1:
        return f"ended with {told.reason}, {told.usage[0]} tokens in and {told.usage[1]} out"
    return ""


def _tools(cell: Cell, told: Told, asked: list[Request]) -> str:
    if told.reason != "calls" or [name for name, _ in told.calls] != ["weather"]:
        return f"ended with {told.reason}, calls {told.calls}"
    if not isinstance(told.calls[0][1].get("city"), str):
        return f"called with {told.calls[0][1]}"
    return "" if f"answered: {RESULT}" in told.again else f"said of the result: {told.again!r}"


def _structured(cell: Cell, told: Told, asked: list[Request]) -> str:
    try:
        City.model_validate(told.parsed, strict=True)
    except ValueError:
        return f"parsed {told.parsed!r}"
    return ""


def _image(cell: Cell, told: Told, asked: list[Request]) -> str:
    body = asked[-1].body.translate(_URL_SAFE)  # as Google writes it: both ways are understood
    arrived = b64encode(PNG).translate(_URL_SAFE) in body
    return _text(cell, told, asked) if arrived else "the picture did not arrive"


def _error(cell: Cell, told: Told, asked: list[Request]) -> str:
    if told.status is None:
        return f"raised nothing, said {told.text[:60]!r}"
    if not told.trouble or told.status < 0 or (told.status != 429 and not cell.stream):
        return f"raised {told.status} {told.trouble!r}"
    return ""


_JUDGES: Final[Mapping[Case, Callable[[Cell, Told, list[Request]], str]]] = {
    "text": _text,
    "tools": _tools,
    "structured": _structured,
    "image": _image,
    "error": _error,
}
