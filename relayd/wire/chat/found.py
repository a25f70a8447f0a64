"""What a chat reply is made of while it comes: its answers, its calls, and the values in chunks.

Hosts are liberal with all of it. The functions here make of each value what the hub knows, and of
garbage nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from relayd.wire import media
from relayd.wire.alike import Plain
from relayd.wire.chat import details
from relayd.wire.chat.details import Details
from relayd.wire.events import Delta, Failure, Logprob, Reason, Rest
from relayd.wire.facts import error_text, objects, section, text
from relayd.wire.parts import (
    Audio,
    Carrier,
    Citation,
    Document,
    Extra,
    Extras,
    Image,
    Part,
    Reasoning,
    Text,
    ToolCall,
)

REASONS: Final[Mapping[str, Reason]] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "filter",
    "sensitive": "filter",
}
# Words of OpenAI's for failures that other formats have a word for.
CODES: Final = frozenset(
    {"rate_limit_exceeded", "insufficient_quota", "context_length_exceeded", "server_error"}
)
_ROLE: Final = "role"
_TEXT: Final = "content"
_CALLS: Final = "tool_calls"
_FRAGMENT: Final = frozenset({"index", "id", "type", "function"})
_FUNCTION: Final = frozenset({"name", "arguments"})
# The members that say more of what is open, by its kind, as they are written.
_KEYS: Final[Mapping[tuple[type[Part] | None, str], bytes]] = {
    (Text, _TEXT): b'"content":',
    **{(Reasoning, name): b'"%b":' % name.encode() for name in details.FIELDS},
}
LEGACY: Final = -1  # the index of `function_call`, of which there is one at most


class Call:
    """A call under way. `block` is -1 until its name is known; till then its arguments wait."""

    __slots__ = ("block", "carrier", "custom", "held", "id", "legacy", "name")

    def __init__(self, call_id: str, *, custom: bool, legacy: bool) -> None:
        self.id = call_id
        self.custom = custom
        self.legacy = legacy
        self.name = ""
        self.block = -1
        self.held: list[str] = []
        self.carrier: Carrier | None = None

    def __repr__(self) -> str:
        return f"<Call {self.name!r} block={self.block}>"

    def part(self) -> ToolCall:
        """The call as it opens."""
        part = ToolCall(self.id, self.name, custom=self.custom, carrier=self.carrier)
        if self.legacy:
            part.extra = {"function_call": Extra(True, "silent")}
        return part

    def is_another(self, call_id: str, name: str, *, counted: bool) -> bool:
        """Whether a fragment with this id and name begins another call, though its index is the
        same; `counted`: it has an index."""
        if call_id and self.id:
            return call_id != self.id
        return bool(name and self.name) and (name != self.name or not counted)


class Choice:
    """What is open in one answer."""

    __slots__ = (
        "audio",
        "block",
        "called",
        "calls",
        "cited",
        "details",
        "ends",
        "field",
        "finish",
        "index",
        "kind",
        "last",
        "logprobs",
        "own",
        "rest",
        "thought",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.kind: type[Part] | None = None  # of the open block that is no call
        self.block = -1
        self.field = details.USUAL  # where the open thinking is written
        self.details = Details()
        self.ends: Rest = {}  # what only this host says of the open thinking
        self.calls: dict[int, Call] = {}  # by index, the latest
        self.called = False
        self.last = 0
        self.cited: list[Citation] = []  # sources whose text did not come yet
        self.logprobs: list[Logprob] = []  # of tokens that are no text by themselves
        self.audio: dict[str, Any] = {}
        self.thought = False  # thinking was written in a member of its own
        self.finish = ""
        self.rest: Rest = {}
        self.own: Rest = {}  # members of the message that only this host has

    def __repr__(self) -> str:
        kind = self.kind.__name__ if self.kind else None
        return f"<Choice {self.index} open={kind} calls={list(self.calls)}>"

    @property
    def reason(self) -> Reason:
        """The reason that fits what came: hosts say `stop` where there are calls, and the
        reverse."""
        reason = REASONS.get(self.finish, "stop")
        if self.called and reason == "stop":
            return "tool_calls"
        return "stop" if reason == "tool_calls" and not self.called else reason


def plain(value: Document, choices: Mapping[int, Choice]) -> Plain | None:
    """What a chunk says that only goes on with what is open, as nearly all do; None for any
    other."""
    try:
        [each] = value["choices"]
        choice, delta = choices[each["index"]], each["delta"]
        if choice.kind is None:
            name, key = _CALLS, b'"arguments":'
            block, said = _argued(choice, delta[name])
        else:
            name = _TEXT if choice.kind is Text else choice.field
            block, said, key = choice.block, delta[name], _KEYS[choice.kind, name]
    except (KeyError, TypeError, ValueError):
        return None
    if len(delta) > 1 and any(delta[other] for other in delta.keys() - {_ROLE, name}):
        return None
    if said.__class__ is not str or not said or choice.logprobs or "error" in value:
        return None
    if each.get("finish_reason") or each.get("logprobs") or value.get("usage"):
        return None
    return Plain(Delta(block, said), key)


def _argued(choice: Choice, calls: Any) -> tuple[int, object]:
    """The block of the one call that goes on, and what it says. Raises KeyError, TypeError or
    ValueError where there is more to it."""
    [fragment] = calls
    index, function = fragment["index"], section(fragment["function"])
    call = choice.calls[index]
    known = fragment.keys() <= _FRAGMENT and function.keys() <= _FUNCTION
    named = fragment.get("id") or function.get("name") or call.custom or call.block < 0
    if named or not known or index.__class__ is not int or index != choice.last:
        raise ValueError
    return call.block, function["arguments"]


def failure(error: object) -> Failure:
    """An error of whatever shape, with the status and the word that it names."""
    holder = section(error)
    numbers = [holder.get(name) for name in ("code", "status_code", "status")]
    status = next((n for n in numbers if isinstance(n, int) and 400 <= n < 600), 502)
    code, shown = text(holder.get("code")), error_text(error) or "error"
    return Failure(shown, status, code) if code in CODES else Failure(shown, status)


def logprobs(raw: object) -> list[Logprob]:
    """The probabilities of an answer's tokens, or of a refusal's."""
    holder = section(raw)
    said = objects(holder.get("content")) or objects(holder.get("refusal"))
    return [_logprob(each, objects(each.get("top_logprobs"))) for each in said]


def _logprob(raw: Document, top: list[Document]) -> Logprob:
    value, octets = raw.get("logprob"), raw.get("bytes")
    number = float(value) if isinstance(value, int | float) else 0.0
    plain = isinstance(octets, list) and all(each.__class__ is int for each in octets)
    others = [_logprob(each, []) for each in top]
    return Logprob(text(raw.get("token")), number, octets if plain else None, others)


def citation(annotation: Document) -> Citation | None:
    """A source on the web; None for an annotation of another kind."""
    value = section(annotation.get("url_citation"))
    if not value:
        return None
    start, end = value.get("start_index"), value.get("end_index")
    return Citation(
        text(value.get("url")),
        text(value.get("title")),
        text(value.get("content")),
        start if start.__class__ is int else None,
        end if end.__class__ is int else None,
        annotation,
    )


def picture(value: Document) -> Image | None:
    """A picture, inline or by its address; None for what is neither."""
    url = text(section(value.get("image_url")).get("url"))
    inline = media.data_url(url)
    if inline is not None:
        return Image(mime=inline.mime, data=inline.data)
    return Image(url=url) if url.startswith(("https://", "http://")) else None


def sound(audio: dict[str, Any]) -> Audio:
    """Sound whose pieces came one by one, each its own base64."""
    pieces = [base64.b64decode(media.standard(piece) or "") for piece in audio.get("data", [])]
    data = base64.b64encode(b"".join(pieces)).decode()
    said: Extras = {
        name: Extra(audio[name], "silent") for name in ("id", "expires_at") if name in audio
    }
    transcript = "".join(audio.get("transcript", []))
    return Audio(mime=media.sniffed("", data), data=data, transcript=transcript, extra=said)
