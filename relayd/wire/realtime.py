"""The Realtime API as far as a relay has to read it: the request, and of the events what is billed.

A session is one WebSocket connection; what is billed is each response that the model makes in it,
and each transcript of what its user said, which is another model's work. `read` takes the few facts
out of an event's text: a response began, it ended with this usage, so much of it was heard.
Everything else is none of the relay's business, and most texts are told from those by a search for
a word, without parsing them.

The key may stand in a subprotocol, because browsers can set no header. It goes no further, and
neither does what names an organisation: upstream it is the operator who calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode

import orjson

from relayd.errors import RelayError
from relayd.model import Usage
from relayd.wire.facts import error_text, last_object, parsed, section, text, tokens
from relayd.wire.head import LONGEST_MODEL, checked_model

PROTOCOL: Final = "realtime"
KEY_PROTOCOL: Final = "openai-insecure-api-key."
# Subprotocols that say who calls, or for whom.
_OURS: Final = (KEY_PROTOCOL, "openai-organization.", "openai-project.")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_KEYS: Final = frozenset({"key", "api-key", "api_key"})
MOST_PROTOCOLS: Final = 16
MOST_SECONDS: Final = 86_400  # of one piece of speech

BYTES_PER_TOKEN: Final = 4
# Speech is 20 tokens a second; in base64 a second of it has 64,000 bytes.
AUDIO_BYTES_PER_TOKEN: Final = 3200
_TOLD: Final = b'"response.'
_AUDIO: Final = "audio.delta"
_TYPE: Final = re.compile(rb'"type" *: *"([a-z_.]{1,100})"')
_HARMLESS: Final = ("response.", "conversation.", "input_audio_buffer.", "rate_limits.")
_HEARING: Final = b"transcription"
_RESPONSE: Final = re.compile(rb'"response_id" *: *"([A-Za-z0-9_-]{1,128})"')
_NEAR: Final = 300  # bytes in which the type of an event is looked for where it is not parsed

_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"
_SESSIONS: Final = frozenset(
    {
        "session.created",
        "session.updated",
        "transcription_session.created",
        "transcription_session.updated",
    }
)

Step = Literal["began", "ended", "went on", "hears by", "heard", "too long"]


@dataclass(slots=True)
class Told:
    """What an event says of a response, or of the ears of the session.

    Arguments:
        id: of the response; of the item that was heard.
        status: of a response that ended: completed, cancelled, incomplete or failed.
        usage: likewise, and of what was heard; None where the event has none.
        error: why it failed, in the upstream's words.
        produced: tokens that a piece of it probably has.
        model: by which the session hears: it transcribes what the user says. "" is none.
    """

    step: Step
    id: str = ""
    status: str = ""
    usage: Usage | None = None
    error: str = ""
    produced: int = 0
    model: str = ""


# --- the request ----------------------------------------------------------------------------------


def asked_model(query: str) -> str:
    """The model that a request names; BadCall where it names none."""
    return checked_model(dict(parse_qsl(query)).get("model"))


def upstream_query(query: str, model: str) -> str:
    """The query for an upstream: its own name of the model, no key, and the rest as it came."""
    pairs = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name not in _KEYS and name != "model"]
    # Bytes that are no UTF-8 came as lone surrogates, and go on as the bytes that they were.
    return urlencode([("model", model), *kept], errors="surrogateescape")


def protocols(lines: Iterable[str]) -> list[str]:
    """The subprotocols that a client offers, what is none left out; of absurdly many, the first."""
    found = [each.strip() for line in lines for each in line.split(",")]
    return [each for each in found if _TOKEN.fullmatch(each)][:MOST_PROTOCOLS]


def key_in(offered: Iterable[str]) -> str:
    """The key among the subprotocols, or "" when there is none."""
    keys = (each.removeprefix(KEY_PROTOCOL) for each in offered if each.startswith(KEY_PROTOCOL))
    return next(keys, "")


def for_upstream(offered: Iterable[str]) -> list[str]:
    """The subprotocols to offer to an upstream."""
    return [each for each in offered if not each.startswith(_OURS)]


def agreed(offered: Iterable[str], chosen: str) -> str:
    """The subprotocol for the client, where the upstream chose `chosen`: one that it offered, for
    browsers hang up when they are answered none."""
    passed = for_upstream(offered)
    if chosen in passed:
        return chosen
    return PROTOCOL if PROTOCOL in passed else next(iter(passed), "")


# --- the events -----------------------------------------------------------------------------------


def read(event: bytes, start: bytes = b"") -> Told | None:
    """What an event says of a response; None for all that it is not about.

    Arguments:
        event: its text; of one that was too long to keep, the end.
        start: the first bytes of that one.
    """
    near = start or event
    found = _TYPE.search(near, 0, _NEAR)
    kind = found[1].decode() if found is not None else ""
    if kind.startswith("response.") and kind.endswith(_AUDIO):  # most of all bytes are these
        return Told("went on", _named(near), produced=len(event) // AUDIO_BYTES_PER_TOKEN)
    if start:
        return _of_parts(kind, event)
    if event.find(_TOLD) < 0 and event.find(_HEARING) < 0:
        return None
    return _of(parsed(event) or {})


def _of(value: dict[str, Any]) -> Told | None:
    kind, response = text(value.get("type")), section(value.get("response"))
    if kind == "response.created":
        return Told("began", text(response.get("id")))
    if kind == "response.done":
        return _ended(response)
    if kind.startswith("response.") and kind.endswith(".delta"):
        produced = -(-len(text(value.get("delta"))) // BYTES_PER_TOKEN)
        return Told("went on", text(value.get("response_id")), produced=produced)
    return _of_ears(kind, value)


def _named(near: bytes) -> str:
    """Which response the start of an event names, "" where it does not, or not soon enough."""
    found = _RESPONSE.search(near, 0, _NEAR)
    return found[1].decode() if found is not None else ""


def _ended(response: dict[str, Any]) -> Told:
    details = section(response.get("status_details"))
    usage, status = usage_of(response.get("usage")), text(response.get("status"))
    error = error_text(details.get("error")) or ""
    return Told("ended", text(response.get("id")), status, usage, error)


def _of_parts(kind: str, end: bytes) -> Told | None:
    """What an event says that was too long to keep, by its type and its end: of a response the
    usage. What a session may do could stand in it, where it is not plainly another's."""
    if kind == "response.done":
        return Told("ended", status="completed", usage=usage_of(last_object(end, "usage")))
    return None if kind.startswith(_HARMLESS) else Told("too long")


def _of_ears(kind: str, value: dict[str, Any]) -> Told | None:
    """What an event says of transcripts: which model makes them, or what one used."""
    session = section(value.get("session"))
    if kind in _SESSIONS:
        ears = section(section(session.get("audio")).get("input")).get("transcription")
        ears = ears or session.get("input_audio_transcription")
        return Told("hears by", model=text(section(ears).get("model"))[:LONGEST_MODEL])
    if kind != _TRANSCRIBED:
        return None
    raw = section(value.get("usage"))
    usage = usage_of(raw)
    seconds = raw.get("seconds")
    if usage is None and isinstance(seconds, int | float) and 0 <= seconds <= MOST_SECONDS:
        usage = Usage(audio_ms=round(seconds * 1000))
    return Told("heard", text(value.get("item_id")), usage=usage)


def usage_of(value: object) -> Usage | None:
    """The normal form of a response's usage; None when it counts nothing.

    What was cached is billed as such, also where it is audio or a picture, so that counts among
    these only with what was not.
    """
    raw = section(value)
    prompt, output = tokens(raw.get("input_tokens")), tokens(raw.get("output_tokens"))
    total = tokens(raw.get("total_tokens"))
    if prompt is None and output is None and total is None:
        return None
    into, out = section(raw.get("input_token_details")), section(raw.get("output_token_details"))
    read_back = tokens(into.get("cached_tokens"))
    cached = section(into.get("cached_tokens_details"))
    return Usage(
        in_uncached=None if prompt is None else max(prompt - (read_back or 0), 0),
        cache_read=read_back,
        out_total=output,
        in_audio=_fresh("audio_tokens", into, cached),
        in_image=_fresh("image_tokens", into, cached),
        out_audio=tokens(out.get("audio_tokens")),
        total_reported=total,
    )


def _fresh(name: str, into: dict[str, Any], cached: dict[str, Any]) -> int | None:
    count = tokens(into.get(name))
    return None if count is None else max(count - (tokens(cached.get(name)) or 0), 0)


def error_event(exc: RelayError, event_id: str) -> bytes:
    """`exc` as an event of the API's."""
    usual = "server_error" if exc.status >= 500 else "invalid_request_error"
    error = {
        "type": "rate_limit_error" if exc.status == 429 else usual,
        "code": exc.code,
        "message": exc.message,
        "param": exc.param,
        "event_id": None,
    }
    return orjson.dumps({"type": "error", "event_id": event_id, "error": error})
