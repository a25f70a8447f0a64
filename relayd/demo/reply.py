"""From a request to a Script: route, key, document, answer, misbehaviour. No I/O, no clock.

What outlives a request, stored responses and files, is on the shelf that is handed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import orjson

from relayd.demo import chat, completions, followups, gemini, listing, messages, responses
from relayd.demo.answer import Reply, compose
from relayd.demo.ask import Ask, Document, parse_document, string
from relayd.demo.events import SSE, Stream, scripted
from relayd.demo.failures import Scene, refused
from relayd.demo.form import Form, is_form, parse_form
from relayd.demo.misbehave import spoil
from relayd.demo.names import Name, parse
from relayd.demo.refusal import Refusal
from relayd.demo.routes import Call, Job, Request, credential, demand_key, demand_route, locate
from relayd.demo.script import Headers, Script, document
from relayd.demo.shelf import Shelf
from relayd.demo.task import Task
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
LEGACY: Final = Words(completions.read, completions.whole, completions.stream)


class Stamp(NamedTuple):
    """What makes an answer this one: its seed, its time, whose it is, and what is kept."""

    seed: str
    moment: float
    owner: str
    shelf: Shelf


# Fields that this version of Anthropic's API refuses even at their defaults.
_REFUSED_SINCE: Final = "2026-10-21"
_SAMPLING: Final = ("temperature", "top_p", "top_k")


def reply_to(
    request: Request, key: str | None, moment: float, shelf: Shelf | None = None
) -> Script:
    """The script of the answer.

    Arguments:
        key: the credential that is demanded, or None when everybody may ask.
        moment: the time that is written into the answer, in Unix seconds.
        shelf: what is kept from one request to the next; None when this one stands alone.
    """
    kept = Shelf() if shelf is None else shelf
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
        stamp = Stamp(seed, moment, credential(call.format, request), kept)
        if isinstance(call.act, Job):
            return _worked(call, call.act, request, stamp)
        return _answered(call, request, stamp)
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


def _worked(call: Call, job: Job, request: Request, stamp: Stamp) -> Script:
    """The script of a job, spoiled as its model's name asks."""
    form = _form(job, request)
    asked = form.fields
    model = string(asked.get("model")) or job.model
    if model is None:
        raise Refusal(400, "you must provide a model parameter", param="model")
    name = parse(model or _name_of(call, form, stamp))
    headers = identity(call.format, stamp.seed)
    task = Task(
        method=request.method,
        asked=asked,
        files=form.files,
        query=request.query,
        rest=call.rest,
        name=name,
        seed=stamp.seed,
        moment=stamp.moment,
        headers=headers,
        owner=stamp.owner,
        shelf=stamp.shelf,
    )
    # A tree (its model may be "") keeps things: none of its answers is true twice.
    script = replace(job.work(task), shared=job.model != "")
    return spoil(script, name, Scene(call.format, stamp.seed, headers))


def _form(job: Job, request: Request) -> Form:
    content_type = request.headers.get("content-type", "")
    if not is_form(content_type):
        return Form(parse_document(request.body) if request.body else {}, ())
    if not job.form:
        kind = content_type.partition(";")[0]
        message = f"Unsupported content type: '{kind}'. This API method only accepts JSON."
        raise Refusal(400, message, code="unsupported_content_type")
    return parse_form(content_type, request.body)


def _name_of(call: Call, form: Form, stamp: Stamp) -> str:
    """The name that says how a stored thing misbehaves: its model, or its file's name.

    With `later` in it the first request is spared, without it all that follow are.
    """
    if call.rest:
        kept = stamp.shelf.get(stamp.owner, call.rest[0])
        what = kept.what if kept else {}
        name = string(what.get("model")) or string(what.get("filename")).rpartition(".")[0]
        return name if parse(name).has("later") else ""
    name = form.files[0].filename.rpartition(".")[0] if form.files else ""
    return "" if parse(name).has("later") else name


def _answered(call: Call, request: Request, stamp: Stamp) -> Script:
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
    headers = identity(call.format, stamp.seed)
    if call.act == "generate":
        script = _generated(call, asked, name, stamp)
    elif callable(call.act):
        script = document(200, orjson.dumps(call.act(asked, name)), headers)
    if name.has("later"):
        return script
    return spoil(script, name, Scene(call.format, stamp.seed, headers))


def _demand_version(request: Request, asked: Document) -> None:
    version = request.headers.get("anthropic-version")
    if not version:
        raise Refusal(400, "anthropic-version: header is required")
    for field in _SAMPLING if version == _REFUSED_SINCE else ():
        if field in asked:
            raise Refusal(400, f"{field}: not supported in anthropic-version {version}")


def _generated(call: Call, asked: Document, name: Name, stamp: Stamp) -> Script:
    words = LEGACY if call.legacy else FORMATS[call.format]
    ask = words.read(asked, name)
    seed = stamp.seed
    if call.format == "responses":
        ask = followups.gone_on(asked, ask, stamp.shelf, stamp.owner)
        # Whoever waits for a response in the background has it for himself.
        seed += f"{stamp.shelf.number():x}" if asked.get("background") is True else ""
    reply = compose(ask, name, seed, stamp.moment)
    headers = identity(call.format, seed)
    if call.format == "responses":
        queued = followups.keep(asked, reply, ask, stamp.shelf, stamp.owner)
        if queued is not None:
            return replace(document(200, orjson.dumps(queued), headers), shared=False)
    streams = asked.get("stream") is True if call.streams is None else call.streams
    if not streams or name.has("json-on-stream"):
        return document(200, orjson.dumps(words.whole(asked, reply)), headers)
    if call.kind == "array":
        typed = [("content-type", "application/json; charset=UTF-8"), *headers]
        return scripted(gemini.array(asked, reply), name, typed, "array")
    typed = [("content-type", SSE), ("cache-control", "no-cache"), *headers]
    return scripted(words.stream(asked, reply), name, typed)
