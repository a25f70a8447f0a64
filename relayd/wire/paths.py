"""From a method and a path to what is asked for: one table of tails, and the tolerances before it.

Clients are configured with a base URL and add their own idea of the rest, so the version segment
comes once, twice or not at all, and prefixes such as `/api` or `/openai` come along. All of these
are dropped, then the tail is looked up. Gemini's model and verb are in the path: the verb follows
the last colon, and the model may contain slashes and colons of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from relayd.model import FormatName, Operation


class Target(NamedTuple):
    """A request for a model: its format, what is to be done, and what the path alone tells.

    `form`: the body may be a multipart form, with files in it. `rest`: what follows the verb in the
    path, where that matters; then `method` and `query` travel, too. `defaults`: what a JSON body
    leaves out is filled in, by the operator's defaults of that name (`wire.defaults`).
    """

    format: FormatName
    operation: Operation
    model: str | None = None
    stream: bool | None = None
    sse: bool = True
    verb: str = ""
    form: bool = False
    rest: str = ""
    method: str = "POST"
    query: str = ""
    defaults: str = ""


class Listing(NamedTuple):
    """A request for the list of models, or for one of them."""

    model: str | None
    gemini_path: bool


class Session(NamedTuple):
    """A request for a realtime session, over a WebSocket.

    `verb`: what the session is of; only `realtime` is served.
    """

    verb: str


TAILS: dict[str, Target] = {
    "chat/completions": Target("chat", "generate", verb="chat/completions"),
    "chat": Target("chat", "generate", verb="chat/completions", defaults="chat"),
    "completions": Target("chat", "generate", verb="completions"),
    "embeddings": Target("chat", "embed", verb="embeddings"),
    "responses": Target("responses", "generate", verb="responses"),
    "responses/compact": Target("responses", "generate", verb="responses/compact"),
    "responses/input_tokens": Target("responses", "count_tokens", verb="responses/input_tokens"),
    "messages": Target("messages", "generate", verb="messages"),
    "messages/count_tokens": Target("messages", "count_tokens", verb="messages/count_tokens"),
    "images/generations": Target("chat", "image", verb="images/generations", defaults="image"),
    "images/edits": Target("chat", "image", verb="images/edits", form=True, defaults="image"),
    "images/variations": Target(
        "chat", "image", verb="images/variations", form=True, defaults="image"
    ),
    "audio/speech": Target("chat", "speech", verb="audio/speech"),
    "audio/transcriptions": Target("chat", "transcribe", verb="audio/transcriptions", form=True),
    "audio/translations": Target("chat", "transcribe", verb="audio/translations", form=True),
    "moderations": Target("chat", "moderate", verb="moderations", defaults="moderation"),
    "rerank": Target("chat", "rerank", verb="rerank"),
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
_RESPONSE_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
# What can be asked of a response that is there: method, and what follows its id.
_FOLLOW_UPS = {("GET", ""), ("DELETE", ""), ("POST", "cancel"), ("GET", "input_items")}
_IN_QUERIES = "!$&'()*+,;=:@/?%"
_NOTE = "(or other models)"
_GEMINI_ROOTS = ("models", "tunedModels", "publishers", "projects")


def locate(method: str, raw_path: str, query: str) -> Target | Listing | Session | None:
    """What a request line asks for, or None where relayd has no such route."""
    segments, gemini_path = _split(raw_path)
    tail = "/".join(segments)
    if method == "POST":
        found = TAILS.get(tail) or _gemini(segments, tail, query)
        if found is not None:
            return found
    if method == "GET" and tail in ("realtime", "responses"):
        return Session(tail)
    if segments[:1] == ["responses"]:
        return _follow_up(method, segments[1:], query)
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


def is_gemini_path(raw_path: str) -> bool:
    """Whether Google's API has something at this path, so that its clients may ask for it."""
    segments, gemini_path = _split(raw_path)
    # Files go up at /upload/v1beta/files.
    uploads = segments[:1] == ["upload"] and _split("/".join(segments[1:]))[1]
    return gemini_path or uploads or (segments or [""])[0] in _GEMINI_ROOTS


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


def _follow_up(method: str, segments: list[str], query: str) -> Target | None:
    if not 1 <= len(segments) <= 2 or not _RESPONSE_ID.fullmatch(segments[0]):
        return None
    if (method, "".join(segments[1:])) not in _FOLLOW_UPS:
        return None
    stream = method == "GET" and len(segments) == 1 and _flag(query, "stream")
    return Target(
        "responses",
        "follow_up",
        stream=stream,
        verb="responses",
        rest="/".join(segments),
        method=method,
        query=without_key(query),
    )


def _flag(query: str, name: str) -> bool:
    said = [value for key, value in parse_qsl(query) if key == name]
    return bool(said) and said[-1].lower() in ("true", "1")


def without_key(query: str) -> str:
    """A query for an upstream: without the client's key, and fit for a request line."""
    kept = [pair for pair in query.split("&") if unquote(pair.partition("=")[0]).strip() != "key"]
    return quote("&".join(kept), safe=_IN_QUERIES)


def _bare_model(name: str) -> str:
    """The model id alone: `models/` comes doubled, or behind a publisher's or project's path.

    A note of the documentation that an address was copied from is none of it.
    """
    name = name.removesuffix(_NOTE).rstrip()
    return "" if name == "models" else f"/{name}".rpartition("/models/")[2].removeprefix("/")
