"""One provider's sealed state, carried through a client that speaks another provider's format.

Strategy: nothing is kept on our side. What the upstream wants back (a signature, a ciphertext) is
put into an envelope, and that into the field of the client's format that its clients send back
unread. On the next request the envelope is opened: an upstream that can read the state gets it as
it was, any other does not get it at all. An envelope says in plain text what it is and whose, so
that no ciphertext of one provider is ever sent to another:

    rly1~<kind>.<scope>.<base64url of {"p": payload, "i": id, "c": call id}>

It is no secret and proves nothing: a client may change it, and then its provider refuses it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from typing import Any, Final, get_args

import orjson

from relayd.model import FormatName
from relayd.wire.neutral import Message
from relayd.wire.parts import Carrier, CarrierKind, Extras, Image, Part, Reasoning, ToolCall

# The last character is rare in JSON, so that bodies without an envelope are told in no time.
PREFIX: Final = "rly1~"
LONGEST: Final = 4 * 1024 * 1024  # characters; a reasoning item may be long
# Of thinking that its provider does not want back: clients return it with an envelope all the same,
# so that it is told from thinking of their own format's, and goes to nobody.
UNSEALED: Final = Carrier("chat-details", "", "-")
_KINDS: Final[dict[str, CarrierKind]] = {kind: kind for kind in get_args(CarrierKind)}
_SCOPE = re.compile(r"[A-Za-z0-9_-]{0,64}")
# Google's clients check that a signature is base64: the envelope is wrapped once more for them.
_WRAPPED: Final = base64.b64encode(PREFIX.encode())[:6].decode()
_THOUGHTS: Final = ("thinking", "reasoning")  # in the types of what is thought
_PREFIX_BYTES: Final = PREFIX.encode()
_WRAPPED_BYTES: Final = _WRAPPED.encode()


def wrap(carrier: Carrier, scope: str) -> str:
    """The envelope of `carrier`; the same carrier makes the same bytes, always.

    Arguments:
        scope: of the account that made it. One that came in an envelope keeps its own.
    """
    content = {"p": carrier.payload}
    if carrier.id:
        content["i"] = carrier.id
    if carrier.call_id:
        content["c"] = carrier.call_id
    inner = base64.urlsafe_b64encode(orjson.dumps(content)).rstrip(b"=").decode()
    return f"{PREFIX}{carrier.kind}.{carrier.scope or scope}.{inner}"


def unwrap(text: str) -> Carrier | None:
    """What is in an envelope; None where `text` is none, or a broken one."""
    if text.startswith(_WRAPPED):
        text = _decoded(text).decode("ascii", "replace")
    if not text.startswith(PREFIX) or len(text) > LONGEST:
        return None
    kind, scope, inner = ([*text.removeprefix(PREFIX).split(".", 2), "", ""])[:3]
    if kind not in _KINDS or not _SCOPE.fullmatch(scope):
        return None
    try:
        content = orjson.loads(_decoded(inner))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("p"), str):
        return None
    said = {key: value for key, value in content.items() if isinstance(value, str)}
    return Carrier(_KINDS[kind], said["p"], scope, said.get("i", ""), said.get("c", ""))


def wrap_base64(carrier: Carrier, scope: str) -> str:
    """The envelope as base64, for a field that must be that."""
    return base64.b64encode(wrap(carrier, scope).encode()).decode()


def is_envelope(text: str) -> bool:
    """Whether this is ours, whole or broken: it must not go to any provider."""
    return text.startswith((PREFIX, _WRAPPED))


def unsealed(value: Any) -> Any:
    """`value` without its envelopes, wherever clients have put them: what no decoder reads goes to
    the client's own format as it is, and whose they are nobody has asked there.

    A thought goes with its envelope: providers refuse one that lacks its state. Recursive: `value`
    must be shallow.
    """
    if isinstance(value, dict):
        return {name: unsealed(each) for name, each in value.items() if not _is_sealed(each)}
    if isinstance(value, list):
        return [unsealed(each) for each in value if not (_is_sealed(each) or _is_thought(each))]
    return value


def without(extra: Extras) -> Extras:
    """`extra` without envelopes."""
    return {
        name: each._replace(value=unsealed(each.value))
        for name, each in extra.items()
        if not _is_sealed(each.value)
    }


def _is_sealed(value: object) -> bool:
    return isinstance(value, str) and is_envelope(value)


def _is_thought(value: object) -> bool:
    """Whether an entry of a list is a thought with an envelope, in any format's words."""
    if not isinstance(value, dict) or not any(map(_is_sealed, value.values())):
        return False
    kind = str(value.get("type"))
    return any(word in kind for word in _THOUGHTS)


def bound(messages: list[Message]) -> None:
    """Put each carrier that came in a block of its own, but stands on a call, onto that call.

    Calls have no field for a signature in most formats, so writers put its envelope right before
    the call; decoders ask here for it to be put back. Pictures of the model's are bound by the id
    of their item. The block goes, also where its call is gone.
    """
    holders: dict[str, Part] = {}
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                holders.setdefault(part.id, part)
            elif isinstance(part, Image) and part.item is not None:
                holders.setdefault(part.item.id, part)
    for message in messages:
        message.parts = [part for part in message.parts if not _is_bound(part, holders)]


def _is_bound(part: Part, holders: dict[str, Part]) -> bool:
    carrier = part.carrier
    if not isinstance(part, Reasoning) or carrier is None or not carrier.call_id:
        return False
    holder = holders.get(carrier.call_id)
    if holder is not None and holder.carrier is None:
        holder.carrier = replace(carrier, call_id="")
    return not any(part.text)


def may_hold(body: bytes, format_name: FormatName) -> bool:
    """Whether a client's body may hold envelopes: then it cannot go up as it is."""
    # Every request is asked: `find` takes half the time of `in`, one rare byte a hundredth of it.
    if format_name == "gemini":
        return body.find(_WRAPPED_BYTES) >= 0
    return body.find(b"~") >= 0 and body.find(_PREFIX_BYTES) >= 0


def _decoded(text: str) -> bytes:
    either = text.replace("+", "-").replace("/", "_")
    try:
        return base64.urlsafe_b64decode(either + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
