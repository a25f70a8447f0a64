"""What a chat reply says of one thing: a call, a picture, a source, the usage.

Streams and whole replies are made of the same documents, so that they cannot drift. `Told` counts
what one answer has told so far, because chat counts calls, pictures and details for each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from relayd.model import Usage
from relayd.wire import envelope, media
from relayd.wire.chat import details
from relayd.wire.chat.found import REASONS as READ
from relayd.wire.events import Choice, Finish, Logprob, Reason
from relayd.wire.parts import (
    Audio,
    Carrier,
    Citation,
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.setting import Coming

REASONS: Final[dict[Reason, str]] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context_full": "length",
    "tool_calls": "tool_calls",
    "filter": "content_filter",
    "pause": "stop",
}
AUDIO_LIFE: Final = 3600  # seconds; clients want to know till when an id of sound can be used


class Told:
    """What one answer has told so far.

    Attributes:
        index: the answer's.
        length: characters of its text, for the places of sources.
        opened: its role was told.
        thought: some of its thinking was told.
        refused: a refusal was told in words.
        finished: its finish reason was told.
        after: the id of the latest call.
    """

    __slots__ = (
        "_calls",
        "_entries",
        "_images",
        "_noted",
        "after",
        "finished",
        "index",
        "length",
        "opened",
        "refused",
        "thought",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.length = 0
        self.opened = False
        self.thought = False
        self.refused = False
        self.finished = False
        self.after = ""
        self._calls = self._entries = self._images = self._noted = 0

    def __repr__(self) -> str:
        return f"<Told {self.index} calls={self._calls} finished={self.finished}>"

    @property
    def place(self) -> str:
        """What thinking that comes next stands behind."""
        return self.after or details.behind_text(self.length)

    def call(self, call_id: str) -> int:
        """The index of the next call."""
        self.after = call_id
        self._calls += 1
        return self._calls - 1

    def image(self, part: Image) -> Document:
        """The next picture, as the hosts that draw write it."""
        self._images += 1
        url = part.url or media.as_url(part.mime, part.data)
        return {"type": "image_url", "image_url": {"url": url}, "index": self._images - 1}

    def noted(self, annotations: list[Document]) -> list[Document]:
        """The next sources of a stream: those behind the first have a place, or helpers fail."""
        first, self._noted = self._noted, self._noted + len(annotations)
        if not first:
            return annotations
        return [{"index": first + place} | each for place, each in enumerate(annotations)]

    def carried(
        self,
        carrier: Carrier | None,
        coming: Coming,
        said: list[str],
        *,
        after: str,
        raw: bool = False,
    ) -> list[Document]:
        """The reasoning details that bring a carrier back: the host's own, or an envelope.

        Arguments:
            said: the paragraphs that it belongs to.
            after: the id of the call that it stands on, or its `place`.
        """
        if carrier is None:
            return []
        if not coming.sealed:
            entries = details.where(carrier).details
            return [entry | {"index": entry.get("index", self._next())} for entry in entries]
        if said and not shown(coming):
            return []
        sealed = envelope.wrap(carrier, coming.scope)
        entries = details.told(said, sealed, after, raw=raw)
        return [entry | {"index": self._next()} for entry in entries]

    def _next(self) -> int:
        self._entries += 1
        return self._entries - 1


def shown(coming: Coming) -> bool:
    """Whether the client sees the thinking: as the operator has it, unless it does not want to."""
    return coming.rules.show_reasoning and coming.request.thinking.show != "none"


# --- parts --------------------------------------------------------------------------------------


def call(part: ToolCall, said: str) -> Document:
    """A call with its arguments."""
    kind = "custom" if part.custom else "function"
    text = "input" if part.custom else "arguments"
    return {"id": part.id, "type": kind, kind: {"name": part.name, text: said}}


def is_older(part: ToolCall, index: int, coming: Coming) -> bool:
    """Whether a call is told in the older way, as `function_call`: to who declared `functions`,
    which has one call only, and where a host of the client's own format did so."""
    if not coming.sealed:
        return "function_call" in part.extra
    return index == 0 and coming.request.param("tools") == "functions"


def opened(part: ToolCall, index: int, coming: Coming) -> Document:
    """What a stream says of a call first."""
    if is_older(part, index, coming):
        return {"function_call": {"name": part.name, "arguments": ""}}
    return {"tool_calls": [{"index": index} | call(part, "") | beside(part, part.carrier, coming)]}


def more(part: ToolCall, index: int, coming: Coming, said: str) -> Document:
    """What a stream says of a call then: more of its arguments."""
    if is_older(part, index, coming):
        return {"function_call": {"arguments": said}}
    kind, text = ("custom", "input") if part.custom else ("function", "arguments")
    return {"tool_calls": [{"index": index, kind: {text: said}}]}


def beside(part: ToolCall, carrier: Carrier | None, coming: Coming) -> Document:
    """What stands beside a call for its provider, where clients of Google's look for it."""
    if carrier is None:
        return {}
    if not coming.sealed:
        own = details.beside_call(carrier)
        return {"extra_content": own} if own else {}
    sealed = envelope.wrap(replace(carrier, call_id=part.id), coming.scope)
    return {"extra_content": {"google": {"thought_signature": sealed}}}


def bound(part: ToolCall, carrier: Carrier | None) -> Carrier | None:
    """The carrier of a call, with the call's id in it."""
    return None if carrier is None else replace(carrier, call_id=part.id)


def arguments(part: ToolCall) -> str:
    """What a call says; one without arguments has an empty object."""
    return part.arguments if part.custom or part.arguments.strip() else "{}"


def audio(part: Audio, head: Document) -> Document:
    """A spoken answer. `head` is the reply's: hosts of other formats keep no sound to refer to."""
    own = {name: extra.value for name, extra in part.extra.items()}
    usual = {"id": f"audio_{head['id']}", "expires_at": head["created"] + AUDIO_LIFE}
    return usual | own | {"data": part.data, "transcript": part.transcript}


def sources(cited: list[Citation], start: int, length: int, coming: Coming) -> list[Document]:
    """The sources on the web of a text that is `length` characters long and begins at `start` of
    the answer's. Others have no place in chat."""
    if not coming.rules.citations:
        return []
    if not coming.sealed:
        return [each.native for each in cited]
    return [_annotation(each, start, length) for each in cited if each.url]


def _annotation(cited: Citation, start: int, length: int) -> Document:
    first = 0 if cited.start is None else cited.start
    last = length if cited.end is None else cited.end
    place = {"start_index": start + first, "end_index": start + last}
    return {
        "type": "url_citation",
        "url_citation": {"url": cited.url, "title": cited.title or cited.url, **place},
    }


# --- ends ---------------------------------------------------------------------------------------


def reason(finish: Finish, coming: Coming) -> str:
    """The finish reason; in the upstream's own word where that is one of chat's, and was true."""
    if not coming.sealed and READ.get(finish.native) == finish.reason:
        return finish.native
    if finish.reason == "tool_calls" and coming.request.param("tools") == "functions":
        return "function_call"
    return REASONS[finish.reason]


def explained(finish: Finish, *, refused: bool) -> str:
    """The words of a refusal that come with the end only; "" where there are none, or were."""
    return finish.explanation if finish.reason == "filter" and not refused else ""


def logprobs(said: list[Logprob] | None, name: str) -> Document | None:
    """The probabilities of the tokens of `name`: content or refusal."""
    if not said:
        return None
    return {"content": None, "refusal": None} | {name: [_logprob(each) for each in said]}


def _logprob(each: Logprob) -> dict[str, Any]:
    top = [_logprob(other) for other in each.top]
    return {"token": each.token, "logprob": each.logprob, "bytes": each.bytes, "top_logprobs": top}


def usage_document(usage: Usage) -> Document:
    """The `usage` object: the prompt includes what the cache gave and took."""
    output = usage.out_total or 0
    into = {"cached_tokens": usage.cache_read or 0, "cache_write_tokens": usage.cache_write}
    thought = min(usage.reasoning or 0, output)  # a part of it, whatever the upstream counted
    out = {"reasoning_tokens": thought, "audio_tokens": usage.out_audio or 0}
    return {
        "prompt_tokens": usage.total - output,
        "completion_tokens": output,
        "total_tokens": usage.total,
        "prompt_tokens_details": into | {"audio_tokens": usage.in_audio or 0},
        "completion_tokens_details": out,
    }


# --- whole answers ------------------------------------------------------------------------------


def choice(index: int, said: Choice, coming: Coming, head: Document) -> Document:
    """One answer of a whole reply; `head` is the reply's beginning."""
    finish = said.finish or Finish("stop")
    rest = {} if coming.sealed else dict(finish.rest)
    own = rest.pop("message", {})
    message = _Message(coming, head)
    for each in own.get("annotations", []):
        message.more("annotations", each)
    for part in said.parts:
        message.add(part)
    document = message.written(finish)
    name = "content" if document["refusal"] is None else "refusal"
    return rest | {
        "index": index,
        "message": own | document,
        "logprobs": logprobs(said.logprobs, name),
        "finish_reason": reason(finish, coming),
    }


class _Message:
    """A message under construction."""

    def __init__(self, coming: Coming, head: Document) -> None:
        self._coming = coming
        self._head = head
        self._told = Told(0)
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._lists: dict[str, list[Document]] = {}
        self._others: Document = {}
        self._thinking: list[Reasoning] = []

    def add(self, part: Part) -> None:
        """The next part of the answer."""
        match part:
            case Text():
                self._text(part)
            case Refusal():
                self._refusals.append(part.text)
            case Reasoning():
                self._thinking.append(part)
                self._carried(part.carrier, part.text, raw=part.raw)
            case ToolCall():
                self._call(part)
            case Image():
                self.more("images", self._told.image(part))
                self._carried(part.carrier, [])
            case Audio():
                self._others["audio"] = audio(part, self._head)

    def written(self, finish: Finish) -> Document:
        """The message."""
        explanation = explained(finish, refused=bool(self._refusals))
        refusal = "".join(self._refusals) or explanation
        document: Document = {
            "role": "assistant",
            "content": "".join(self._texts) if self._texts else None,
            "refusal": refusal or None,
        }
        if shown(self._coming):
            self._think(document)
        return document | self._others | self._lists

    def _text(self, part: Text) -> None:
        self._texts.append(part.text)
        start, length = self._told.length, len(part.text)
        self._carried(part.carrier, [])
        self._told.length += length
        for each in sources(part.citations, start, length, self._coming):
            self.more("annotations", each)

    def _call(self, part: ToolCall) -> None:
        index, said = self._told.call(part.id), arguments(part)
        if is_older(part, index, self._coming):
            self._others["function_call"] = {"name": part.name, "arguments": said}
            return
        self.more("tool_calls", call(part, said) | beside(part, part.carrier, self._coming))
        self._carried(bound(part, part.carrier), [])

    def _think(self, document: Document) -> None:
        """The thinking, in the member that its host has for it, or in the usual one."""
        parts: list[Document] = []
        for part in self._thinking:
            field = details.USUAL if self._coming.sealed else details.where(part.carrier).field
            said = "\n\n".join(part.text)
            if field == details.CONTENT:
                own = part.item.extra if part.item is not None else {}
                parts.append(details.thinking_part(said) | {k: v.value for k, v in own.items()})
            elif said and field:
                between = "\n\n" if self._coming.sealed and field in document else ""
                document[field] = document.get(field, "") + between + said
        if parts:
            text = document["content"]
            document["content"] = parts + ([{"type": "text", "text": text}] if text else [])

    def _carried(self, carrier: Carrier | None, said: list[str], *, raw: bool = False) -> None:
        after = self._told.place
        for entry in self._told.carried(carrier, self._coming, said, after=after, raw=raw):
            self.more("reasoning_details", entry)

    def more(self, name: str, entry: Document) -> None:
        """The next entry of a list."""
        self._lists.setdefault(name, []).append(entry)
