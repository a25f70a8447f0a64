"""From a request to a Script: route, key, document, answer, misbehaviour. No I/O, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from relayd.demo import chat, gemini, listing, messages, responses
from relayd.demo.answer import Reply, compose
from relayd.demo.ask import Ask, Document, parse_document, string
from relayd.demo.events import SSE, Stream, scripted
from relayd.demo.failures import Scene, refused
from relayd.demo.misbehave import spoil
from relayd.demo.names import Name, parse
from relayd.demo.refusal import Refusal
from relayd.demo.routes import Call, Request, demand_key, demand_route, locate
from relayd.demo.script import Headers, Script, document
from relayd.model import FormatName


class Words(NamedTuple):
    """How one format generates."""

    read: Callable[[Document, Name], Ask]
    whole: Callable[[Document, Reply], Document]
    stream: Callable[[Document, Reply], Stream]


FORMATS: Final[dict[FormatName, Words]] = {
    "chat": Words(chat.read, chat.whole, chat.stream),
    "responses": Words(responses.read, responses.whole, responses.stream),
    "messages": Words(messages.read, messages.whole, messages.stream),
    "gemini": Words(gemini.read, gemini.whole, gemini.stream),
}
# Fields that this version of Anthropic's API refuses even at their defaults.
_REFUSED_SINCE: Final = "2026-10-21"
_SAMPLING: Final = ("temperature", "top_p", "top_k")


def reply_to(request: Request, key: str | None, moment: float) -> Script:
    """The script of the answer.

    Arguments:
        key: the credential that is demanded, or None when everybody may ask.
        moment: the time that is written into the answer, in Unix seconds.
    """
    call = locate(request)
    digest = hashlib.blake2b(request.path.encode() + request.body, digest_size=12)
    seed = digest.hexdigest()
    try:
        demand_route(call, request)
        if key is not None:
            demand_key(call, request, key)
        if call.act == "list":
            body = orjson.dumps(_listed(call, request))
            return document(200, body, identity(call.format, seed))
        return _answered(call, request, seed, moment)
    except Refusal as refusal:
        whole_array = call.kind == "array" and call.streams is True
        return refused(Scene(call.format, seed, identity(call.format, seed)), refusal, whole_array)


def identity(format: FormatName, seed: str) -> Headers:
    """The headers by which a vendor identifies a reply."""
    if format == "messages":
        return [("request-id", f"req_{seed}"), ("anthropic-organization-id", "demo")]
    if format == "gemini":
        return [("x-gemini-service-tier", "standard"), ("server-timing", "gfet4t7; dur=5")]
    return [
        ("x-request-id", f"req_{seed}"),
        ("openai-version", "2020-10-01"),
        ("openai-processing-ms", "5"),
    ]


def _listed(call: Call, request: Request) -> Document:
    if call.model:
        return listing.model(call.format, call.model)
    return listing.models(call.format, request.query)


def _answered(call: Call, request: Request, seed: str, moment: float) -> Script:
    asked = parse_document(request.body)
    if call.format == "messages":
        _demand_version(request, asked)
    model = call.model or string(asked.get("model"))
    if not model:
        field = (
            "model: Field required"
            if call.format == "messages"
            else "you must provide a model parameter"
        )
        raise Refusal(400, field, param="model")
    name = parse(model.removeprefix("models/"))
    headers = identity(call.format, seed)
    if call.act == "generate":
        script = _generated(call, asked, name, (seed, moment))
    elif callable(call.act):
        script = document(200, orjson.dumps(call.act(asked, name)), headers)
    return spoil(script, name, Scene(call.format, seed, headers))


def _demand_version(request: Request, asked: Document) -> None:
    version = request.headers.get("anthropic-version")
    if not version:
        raise Refusal(400, "anthropic-version: header is required")
    for field in _SAMPLING if version == _REFUSED_SINCE else ():
        if field in asked:
            raise Refusal(400, f"{field}: not supported in anthropic-version {version}")


def _generated(call: Call, asked: Document, name: Name, stamp: tuple[str, float]) -> Script:
    words = FORMATS[call.format]
    reply = compose(words.read(asked, name), name, *stamp)
    headers = identity(call.format, stamp[0])
    streams = asked.get("stream") is True if call.streams is None else call.streams
    if not streams or name.has("json-on-stream"):
        return document(200, orjson.dumps(words.whole(asked, reply)), headers)
    if call.kind == "array":
        typed = [("content-type", "application/json; charset=UTF-8"), *headers]
        return scripted(gemini.array(asked, reply), name, typed, "array")
    typed = [("content-type", SSE), ("cache-control", "no-cache"), *headers]
    return scripted(words.stream(asked, reply), name, typed)
