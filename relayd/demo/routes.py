"""Routes and credentials of the demo provider, as strict as the real ones.

Exact paths, the key where each vendor wants it. A relay in front may be tolerant; what it sends on
has to be right.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from relayd.demo import (
    audio,
    embeddings,
    followups,
    gemini,
    messages,
    pictures,
    responses,
    scores,
    storage,
)
from relayd.demo.ask import Document
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal
from relayd.demo.script import Kind
from relayd.demo.task import Work
from relayd.model import FormatName


class Request(NamedTuple):
    """One request as it came; header names in lower case, repeated headers joined by a comma."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def route(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.path.partition("?")[2], keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Job:
    """Work whose answer is a script of its own.

    Arguments:
        model: the model when the request names none; None when it has to name one.
        form: whether the body may be a multipart form.
    """

    work: Work
    model: str | None = None
    form: bool = False


Act = Literal["generate", "list", "unknown"] | Job | Callable[[Document, Name], Document]


@dataclass(frozen=True, slots=True)
class Call:
    """What a route means.

    Arguments:
        act: generate, list models, nothing, or what makes the one document that answers.
        model: the model that the path names, if it does.
        streams: whether the path asks for a stream; None when the body says so.
        kind: how a stream of this call is written.
        legacy: whether the format is the one from before chat.
        rest: what the path has after the route's own name.
    """

    format: FormatName
    act: Act
    model: str = ""
    streams: bool | None = None
    kind: Kind = "sse"
    legacy: bool = False
    rest: tuple[str, ...] = ()


def _counter(count: Callable[[Document], Document]) -> Act:
    return lambda document, name: count(document)


# Where a request may leave the model out, and which one it gets then.
_MODELS: Final = {
    "/v1/images/generations": "gpt-image-1",
    "/v1/images/edits": "gpt-image-1",
    "/v1/images/variations": "dall-e-2",
    "/v1/moderations": "omni-moderation-latest",
}
_JSON_ONLY: Final = ("/v1/images/generations", "/v1/audio/speech", *scores.WORKS)
ROUTES: Final[dict[str, Call]] = {
    "/v1/chat/completions": Call("chat", "generate"),
    "/v1/responses": Call("responses", "generate"),
    "/v1/responses/input_tokens": Call("responses", _counter(responses.count_tokens)),
    "/v1/messages": Call("messages", "generate"),
    "/v1/messages/count_tokens": Call("messages", _counter(messages.count_tokens)),
    "/v1/responses/compact": Call("responses", Job(followups.COMPACT)),
    "/v1/completions": Call("chat", "generate", legacy=True),
    "/v1/embeddings": Call("chat", embeddings.openai),
    **{
        route: Call("chat", Job(work, _MODELS.get(route), form=route not in _JSON_ONLY))
        for works in (pictures.WORKS, audio.WORKS, scores.WORKS)
        for route, work in works.items()
    },
}
# Where a path goes on after the route's name, and any method may be meant.
TREES: Final[dict[str, Call]] = {
    "/v1/responses": Call("responses", Job(followups.FOLLOW, "")),
    **{
        route: Call("chat", Job(work, "", form=route == "/v1/files"))
        for route, work in storage.TREES.items()
    },
}
VERBS: Final[dict[str, Call]] = {
    "generateContent": Call("gemini", "generate", streams=False),
    "streamGenerateContent": Call("gemini", "generate", streams=True, kind="array"),
    "countTokens": Call("gemini", _counter(gemini.count_tokens)),
    "embedContent": Call("gemini", embeddings.gemini),
    "batchEmbedContents": Call("gemini", embeddings.gemini_batch),
    "predict": Call("gemini", pictures.imagen),
}


def locate(request: Request) -> Call:
    """What the request's method and path mean; never fails: an unknown route is a call too."""
    route = request.route
    if route in ROUTES:
        call = ROUTES[route]
        return call if request.method == "POST" else Call(call.format, "unknown")
    for root, call in TREES.items():
        if route == root or route.startswith(root + "/"):
            rest = tuple(unquote(part) for part in route[len(root) :].split("/")[1:])
            return replace(call, rest=rest)
    version, _, tail = route.removeprefix("/").partition("/")
    if version in ("v1", "v1beta") and (tail == "models" or tail.startswith("models/")):
        return _models(version, tail.removeprefix("models").removeprefix("/"), request)
    if "messages" in route:
        return Call("messages", "unknown")
    return Call("gemini" if version == "v1beta" else "chat", "unknown")


def _models(version: str, tail: str, request: Request) -> Call:
    if request.method == "POST":
        model, _, verb = tail.rpartition(":")
        call = VERBS.get(verb, Call("gemini", "unknown"))
        kind: Kind = "sse" if request.query.get("alt") == "sse" else call.kind
        return replace(call, model=unquote(model), kind=kind)
    act: Act = "list" if request.method in ("GET", "HEAD") else "unknown"
    headers = request.headers
    if version == "v1beta" or "x-goog-api-key" in headers or "key" in request.query:
        return Call("gemini", act, unquote(tail))
    return Call("messages" if "anthropic-version" in headers else "chat", act, unquote(tail))


def demand_route(call: Call, request: Request) -> None:
    """Refuse a route that is none, or a method that it does not take."""
    if call.act != "unknown":
        return
    if request.route in ROUTES:
        raise Refusal(405, f"Not allowed to {request.method} on {request.route}.")
    raise Refusal(404, f"Invalid URL ({request.method} {request.route})")


_NO_KEY: Final[dict[FormatName, str]] = {
    "chat": "You didn't provide an API key. You need to provide your API key in an Authorization "
    "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    "responses": "Missing bearer authentication in header",
    "messages": "x-api-key header is required",
    "gemini": "Method doesn't allow unregistered callers (callers without established identity). "
    "Please use API Key or other form of API consumer identity to call this API.",
}
_BAD_KEY: Final[dict[FormatName, str]] = {
    "chat": "Incorrect API key provided.",
    "responses": "Incorrect API key provided.",
    "messages": "invalid x-api-key",
    "gemini": "API key not valid. Please pass a valid API key.",
}


def demand_key(call: Call, request: Request, key: str) -> None:
    """Refuse a request that does not carry the key where this format carries it."""
    given = credential(call.format, request)
    if not given:
        raise Refusal(401, _NO_KEY[call.format])
    if not hmac.compare_digest(given.encode(), key.encode()):
        raise Refusal(401, _BAD_KEY[call.format], code="invalid_api_key")


def credential(format: FormatName, request: Request) -> str:
    """What a request brings as its key, where this format brings it; "" when it has none."""
    headers = request.headers
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    if format == "messages":
        return headers.get("x-api-key") or bearer
    if format == "gemini":
        return headers.get("x-goog-api-key") or request.query.get("key", "")
    return bearer
