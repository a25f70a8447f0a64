"""From a method and a path to what is asked for: one table of tails, and the tolerances before it.

Clients are configured with a base URL and add their own idea of the rest, so the version segment
comes once, twice or not at all, and prefixes such as `/api` or `/openai` come along. All of these
are dropped, then the tail is looked up. Gemini's model and verb are in the path: the verb follows
the last colon, and the model may contain slashes and colons of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from relayd.model import FormatName, Operation


class Target(NamedTuple):
    """A request for a model: its format, what is to be done, and what the path alone tells."""

    format: FormatName
    operation: Operation
    model: str | None = None
    stream: bool | None = None
    sse: bool = True
    verb: str = ""


class Listing(NamedTuple):
    """A request for the list of models, or for one of them."""

    model: str | None
    gemini_path: bool


TAILS: dict[str, Target] = {
    "chat/completions": Target("chat", "generate", verb="chat/completions"),
    "completions": Target("chat", "generate", verb="completions"),
    "embeddings": Target("chat", "embed", verb="embeddings"),
    "responses": Target("responses", "generate", verb="responses"),
    "responses/compact": Target("responses", "generate", verb="responses/compact"),
    "responses/input_tokens": Target("responses", "count_tokens", verb="responses/input_tokens"),
    "messages": Target("messages", "generate", verb="messages"),
    "messages/count_tokens": Target("messages", "count_tokens", verb="messages/count_tokens"),
}

VERBS: dict[str, Operation] = {
    "generateContent": "generate",
    "streamGenerateContent": "generate",
    "countTokens": "count_tokens",
    "embedContent": "embed",
    "batchEmbedContents": "embed",
}

_GEMINI_VERSION = re.compile(r"v\d+(alpha|beta)\d*")
_PREFIX = re.compile(r"api|openai|v1|v\d+(alpha|beta)\d*")
_GEMINI_ROOTS = ("models", "tunedModels", "publishers", "projects")


def locate(method: str, raw_path: str, query: str) -> Target | Listing | None:
    """What a request line asks for, or None where relayd has no such route."""
    segments, gemini_path = _split(raw_path)
    tail = "/".join(segments)
    if method == "POST":
        return TAILS.get(tail) or _gemini(segments, tail, query)
    names_verb = tail.rpartition(":")[2] in VERBS  # a POST's path: as a GET it names no model
    if method in ("GET", "HEAD") and segments[:1] == ["models"] and not names_verb:
        return Listing(_bare_model(tail) or None, gemini_path)
    return None


def format_of_path(raw_path: str) -> FormatName:
    """The format whose clients most likely sent this path, for wording errors of unknown routes."""
    segments, gemini_path = _split(raw_path)
    if "messages" in segments:
        return "messages"
    if "responses" in segments:
        return "responses"
    if gemini_path or (segments[:1] == ["models"] and ":" in segments[-1]):
        return "gemini"
    return "chat"


def _split(raw_path: str) -> tuple[list[str], bool]:
    """The segments after every prefix, and whether one of those was a version only Gemini has."""
    segments = [segment for segment in unquote(raw_path).split("/") if segment]
    gemini_path, first = False, 0
    for segment in segments:
        if not _PREFIX.fullmatch(segment):
            break
        # Google's own OpenAI-compatible root is /v1beta/openai: there the version proves nothing.
        gemini_path = segment != "openai" and (
            gemini_path or bool(_GEMINI_VERSION.fullmatch(segment))
        )
        first += 1
    return segments[first:], gemini_path


def _gemini(segments: list[str], tail: str, query: str) -> Target | None:
    name, colon, verb = tail.rpartition(":")
    operation = VERBS.get(verb)
    if not colon or operation is None or segments[0] not in _GEMINI_ROOTS:
        return None
    stream = verb == "streamGenerateContent"
    sse = not stream or ("alt", "sse") in parse_qsl(query.replace("$alt", "alt"))
    return Target("gemini", operation, _bare_model(name), stream, sse, verb)


def _bare_model(name: str) -> str:
    """The model id alone: `models/` comes doubled, or behind a publisher's or project's path."""
    return "" if name == "models" else f"/{name}".rpartition("/models/")[2].removeprefix("/")
