"""The head of a request, and what is said of its reply: the few facts that others need.

`read_object` refuses what no format accepts, in words for the client. The parsed dict lives only
until the request is routed: what has to change in the body is decided at once and kept as byte
spans (`Edit`), so that a 500 kB prompt is parsed once, is never written again, and does not stay
in memory as a tree of objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from relayd.errors import BadCall
from relayd.model import Usage
from relayd.wire import splice
from relayd.wire.multipart import Form, Raw
from relayd.wire.paths import Target
from relayd.wire.plan import Traits
from relayd.wire.splice import Edit

LONGEST_MODEL = 256
LARGE_BODY = 2**20
MOST_BRACKETS = 500_000
MOST_COUNTED = 2**31
_KEY = re.compile(r"\b(sk|rat)-[A-Za-z0-9_-]{16,}")


@dataclass(slots=True)
class Head:
    """What is known of a request before an upstream is chosen.

    `edits` are the changes that pass-through needs beside the model's name; `asked_usage`
    is False where the relay asks for usage and must hide it from the client. `request` is the
    parsed body, for those who decide whether to look closer (see wire/conversation.py); they drop
    it before anybody waits. `max_output` is the most tokens that one of its `choices` may have;
    None where the request does not say. `asked` is what it will be billed by beside tokens, for
    pictures, audio and rankings. `form` is set where the body is a multipart form, `raw` where it
    is passed on unread: `body` is empty then.
    """

    target: Target
    model: str
    stream: bool
    body: bytes
    edits: tuple[Edit, ...] = ()
    asked_usage: bool = True
    input_estimate: int = 0
    request: dict[str, Any] = field(default_factory=dict, repr=False)
    max_output: int | None = None
    choices: int = 1
    traits: Traits | None = None
    sealed: bool = False
    asked: Usage | None = None
    form: Form | None = None
    raw: Raw | None = None


class ReplyFacts(NamedTuple):
    """What a whole reply body says about itself."""

    usage: Usage | None
    error: str | None
    is_json: bool
    response_id: str


class ErrorReply(NamedTuple):
    """An error worded for a client; the content type is always application/json."""

    status: int
    body: bytes


NOT_JSON = ReplyFacts(None, None, False, "")


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; BadCall when there is none."""
    if not body:
        raise BadCall("The request body is empty; a JSON object was expected.", code="invalid_json")
    if not may_be_parsed(body):
        message = "The request body holds too many arrays and objects."
        raise BadCall(message, status=413, code="request_too_large")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadCall(
            f"The request body is not valid JSON: {error.msg}.", code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        raise BadCall("The request body must be a JSON object.", code="invalid_json")
    return value


def may_be_parsed(body: bytes) -> bool:
    """Whether a body is small, or at least holds few arrays and objects: parsing makes an object of
    each, on the event loop, and a few megabytes of them would stop everyone."""
    return len(body) <= LARGE_BODY or body.count(b"[") + body.count(b"{") <= MOST_BRACKETS


def checked_model(value: object) -> str:
    """`value` as a model name; BadCall when it is missing or could not be one."""
    if value is None:
        message = "The request has no model: the field `model` is required."
        raise BadCall(message, code="missing_required_parameter", param="model")
    if not isinstance(value, str):
        raise BadCall("The field `model` must be a string.", code="invalid_type", param="model")
    if not value or len(value) > LONGEST_MODEL or not value.isprintable():
        raise BadCall("The field `model` is not a model name.", code="invalid_value", param="model")
    return value


def without_key(model: str) -> str:
    """A model's name as it may be written down: who swaps two fields of a form asks for a model by
    the name of a key."""
    return _KEY.sub(r"\1-***", model) if "sk-" in model or "rat-" in model else model


def checked_stream(value: object) -> bool:
    """`value` as the `stream` flag, null being false; BadCall for any other type."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadCall("The field `stream` must be a boolean.", code="invalid_type", param="stream")


def model_edits(body: bytes) -> tuple[Edit, ...]:
    """One edit for each top-level `model`: a duplicate would smuggle another name past us."""
    return tuple([Edit(start, end) for start, end in splice.model_spans(body)])


def largest_count(value: dict[str, Any], *names: str) -> int | None:
    """The largest of the counts that stand under these names; None where there is no sane one:
    what to do with the others is for the upstream to judge."""
    counts = (value.get(name) for name in names)
    sane = [
        int(count)
        for count in counts
        if isinstance(count, int | float) and 1 <= count <= MOST_COUNTED and count is not True
    ]
    return max(sane, default=None)


def read_text_head(body: bytes, target: Target, limit: str) -> Head:
    """The head of a request that is one JSON object with `model` and `stream`; BadCall when the
    body is no such thing.

    Arguments:
        limit: the member that bounds the output.
    """
    value = read_object(body)
    model = checked_model(value.get("model"))
    stream = target.operation == "generate" and checked_stream(value.get("stream"))
    size = estimated_input(body)
    head = Head(target, model, stream, body, input_estimate=size, request=value)
    head.max_output = largest_count(value, limit)
    return head


def estimated_input(body: bytes) -> int:
    """Roughly how many tokens a prompt of this size has."""
    return len(body) // 4


def outgoing(head: Head, model: str) -> list[bytes | memoryview]:
    """The body for an upstream's own name of the model; the same object if nothing changes.

    Where the name stands is only looked up when it has to change, or could stand there twice.
    """
    edits = head.edits
    if head.target.model is None and (model != head.model or not splice.names_once(head.body)):
        edits += model_edits(head.body)
    return splice.apply(head.body, edits, model) if edits else [head.body]
