"""A request of the hub, written as a chat request.

A request that came as chat keeps its shape and all that only its host knows. Any other becomes
turns: results are messages of their own, with texts only, so their pictures are said by the user
right behind them. What depends on the model is `controls`' and `thinking`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from relayd.wire import checked, controls, envelope, ids, media
from relayd.wire.chat import details, settings
from relayd.wire.chat.tools import Tools
from relayd.wire.names import Names
from relayd.wire.neutral import Declaration, Message, Request
from relayd.wire.parts import (
    Audio,
    Document,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from relayd.wire.setting import Going, Written
from relayd.wire.turns import Turn, spoken


def encode(request: Request, going: Going) -> Written:
    """The body for a chat upstream. Raises CannotTranslate."""
    return _Encoder(request, going).written()


class _Encoder:
    """One request on its way. Owns the document."""

    def __init__(self, request: Request, going: Going) -> None:
        self._request = request
        self._going = going
        self._native = request.source == "chat"
        self._custom = self._native or going.can.custom_tools
        self._names = Names(request.all_tools(), "chat", custom=self._custom)
        self._marks = controls.Marks(request, going.can)
        self._marked = False

    def __repr__(self) -> str:
        return f"<_Encoder {self._request.source} -> chat>"

    def written(self) -> Written:
        request, going = self._request, self._going
        if not self._native:
            going.losses.of_request(request)
        document: Document = {"model": going.model, "messages": list(self._messages())}
        Tools(request, going, self._names).write(document)
        if self._native:
            settings.native(request, document)
        else:
            settings.foreign(request, going, document)
            if self._marked:
                document.setdefault("prompt_cache_key", settings.cache_key(request))
        return Written(document, self._names)

    def _messages(self) -> Iterable[Document]:
        request = self._request
        if self._native:
            for message in request.messages:
                yield self._message(message)
            return
        instructions, rest = request.opening()
        yield from self._said("system", controls.instructed(request, instructions, rest))
        for turn in spoken(request, rest, self._going.losses, self._going.rules):
            yield from self._turn(turn)

    # --- messages that came as chat -------------------------------------------------------------

    def _message(self, message: Message) -> Document:
        match message.role:
            case "tool":
                [result] = message.parts
                assert isinstance(result, ToolResult)
                document = self._result(result, [])
                if message.spoken == "function":
                    document = {"role": "function", "content": document["content"]}
            case "assistant":
                document = self._assistant(message.parts)
            case _:
                document = {"role": message.spoken, "content": self._content(message.parts)}
        named = {"name": message.name} if message.name else {}
        return checked.written(message.extra, document | named)

    # --- turns of another format ----------------------------------------------------------------

    def _turn(self, turn: Turn) -> Iterable[Document]:
        if turn.role == "assistant":
            document = self._assistant(turn.parts)
            if len(document) > 2 or document["content"] is not None:
                yield document
            return
        aside: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                yield self._result(part, aside)
        said = [part for part in turn.parts if not isinstance(part, ToolResult)]
        yield from self._said(turn.role, [*aside, *said])

    def _said(self, role: str, parts: list[Part]) -> Iterable[Document]:
        """A message of these parts. The system has words only: what it shows, the user does."""
        kept = [part for part in parts if not _is_silent(part)]
        shown = [part for part in kept if role == "system" and not isinstance(part, Text)]
        words = [part for part in kept if role != "system" or isinstance(part, Text)]
        if words:
            yield {"role": role, "content": self._content(words)}
        if shown:
            yield {"role": "user", "content": self._content(shown)}

    def _assistant(self, parts: list[Part]) -> Document:
        said: list[Part] = []
        besides: Document = {}
        for part in parts:
            match part:
                case ToolCall():
                    self._called(part, besides)
                case Reasoning():
                    self._thought(part, said, besides)
                case Refusal() if ".content[" not in part.at:
                    besides["refusal"] = besides.get("refusal", "") + part.text
                case Image() if not self._native or ".images[" in part.at:
                    self._drawn(part, besides)
                case File() | Audio() | Video() if not self._native:
                    why = "what a model made of that kind cannot be said there"
                    raise self._going.losses.refusal(part.at, why, code="unsupported_value")
                case _ if self._native or not _is_silent(part):
                    said.append(part)
        content = self._content(details.joined(said)) if said else None
        return {"role": "assistant", "content": content} | besides

    def _drawn(self, part: Image, besides: Document) -> None:
        """A picture of the model's own: only some hosts take it back."""
        if not self._native:
            why = "a picture that a model drew cannot be shown to this one"
            self._going.losses.lose("lenient", part.at, why, code="unsupported_value")
            return
        besides.setdefault("images", []).append(self._part(part))

    def _thought(self, part: Reasoning, said: list[Part], besides: Document) -> None:
        """Thinking goes back to the host whose it is, and where that had it; to no other."""
        carrier = self._going.own(part.carrier)
        if carrier is None:
            return
        field, entries = details.where(carrier)
        if field == details.CONTENT:
            said.append(part)
        elif field and part.text:
            text = "\n\n".join(part.text)
            besides[field] = f"{besides[field]}\n\n{text}" if field in besides else text
        if entries:
            besides["reasoning_details"] = besides.get("reasoning_details", []) + entries

    def _called(self, part: ToolCall, besides: Document) -> None:
        call = self._call(part)
        if "function_call" in part.extra and self._native:
            besides["function_call"] = call["function"]
        else:
            besides.setdefault("tool_calls", []).append(call)

    def _call(self, part: ToolCall) -> Document:
        name = self._names.there(part.name, part.namespace)
        document: Document = {"id": self._call_id(part.id)}
        if part.custom and self._custom:
            document |= {"type": "custom", "custom": {"name": name, "input": part.arguments}}
        else:
            arguments = part.arguments if part.arguments.strip() else "{}"
            if part.custom:
                arguments = orjson.dumps({"input": part.arguments}).decode()
            document |= {"type": "function", "function": {"name": name, "arguments": arguments}}
        beside = details.beside_call(self._going.own(part.carrier))
        if beside:
            document["extra_content"] = beside
        return checked.written(part.extra, document) if self._native else document

    def _call_id(self, call_id: str) -> str:
        return call_id if self._native else ids.call_id(call_id, "chat")

    def _result(self, part: ToolResult, aside: list[Part]) -> Document:
        """A tool message. Of another format it gets texts only; all else goes to `aside`, for the
        user to say."""
        parts = part.parts
        if not self._native:
            parts = [each for each in part.parts if isinstance(each, Text) and each.text]
            aside += [each for each in part.parts if not isinstance(each, Text)]
            if part.failed:
                self._going.losses.lose("drop", f"{part.at}.is_error")
        document: Document = {"role": "tool", "tool_call_id": self._call_id(part.id)}
        document["content"] = self._content(parts, self._mark(part))
        return document | ({"is_error": True} if part.failed and self._native else {})

    # --- parts ----------------------------------------------------------------------------------

    def _content(self, parts: list[Part], mark: Document | None = None) -> str | list[Document]:
        """A text where that says it all, else a list; `mark` is for the last part."""
        written = [self._part(part) for part in parts]
        if written and mark:
            written[-1] |= mark
        if not written:
            return ""
        alone = len(written) == 1 and written[0].keys() == {"type", "text"}
        return str(written[0]["text"]) if alone else written

    def _part(self, part: Part) -> Document:
        document = self._written_part(part) | self._mark(part)
        return checked.written(part.extra, document) if self._native else document

    def _mark(self, part: Part) -> Document:
        """The mark, where this model takes any; leaving it out costs money, not meaning."""
        if part.cache is not None and self._native:
            return dict(part.cache.native)
        mark = self._marks.of(part, part.cache)
        if mark is None:
            return {}
        self._marked = True
        long = mark.ttl in ("1h", "12h") and self._going.rules.longest_ttl == "12h"
        return {"prompt_cache_breakpoint": {"mode": "explicit"} | ({"ttl": "12h"} if long else {})}

    def _written_part(self, part: Part) -> Document:
        match part:
            case Text():
                return {"type": "text", "text": part.text}
            case Image() | File() | Audio() | Video() if not self._native:
                return self._foreign(part)
            case Image():
                detail = {"detail": part.detail} if part.detail else {}
                return {"type": "image_url", "image_url": {"url": _source(part)} | detail}
            case Audio():
                kind = media.sound_name(part.mime)
                return {"type": "input_audio", "input_audio": {"data": part.data, "format": kind}}
            case File() if "document_url" in part.extra:
                return {"type": "document_url"}
            case File() if "file" in part.extra:
                return {"type": "file"}
            case File():
                return {"type": "file", "file": _file(part)}
            case Video():
                return {"type": "video_url", "video_url": {"url": _source(part)}}
            case Refusal():
                return {"type": "refusal", "refusal": part.text}
            case Reasoning() if "thinking" in part.extra:
                return {"type": "thinking"}
            case Reasoning():
                return details.thinking_part("\n\n".join(part.text))
            case Opaque() if part.format == "chat":
                return dict(envelope.unsealed(part.document))
        why = "the chat format has no such part"
        raise self._going.losses.refusal(part.at, why, code="unsupported_value")

    def _foreign(self, part: Image | File | Audio | Video) -> Document:
        """A picture, a file or a sound of another format's request. Raises CannotTranslate for what
        is not heard, seen or read there."""
        if isinstance(part, File) and part.context:
            self._going.losses.lose("drop", f"{part.at}.context")
        if isinstance(part, File) and part.plain:
            return {"type": "text", "text": part.plain}
        why = self._unread(part)
        if why:
            raise self._going.losses.refusal(part.at, why, code="unsupported_value")
        if isinstance(part, Image):
            detail = {"detail": part.detail} if part.detail else {}
            return {"type": "image_url", "image_url": {"url": _source(part)} | detail}
        if isinstance(part, Audio):
            kind = media.sound_name(part.mime)
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": kind}}
        data = media.as_url(part.mime, part.data)
        name = media.file_name(part.name, part.mime)
        return {"type": "file", "file": {"filename": name, "file_data": data}}

    def _unread(self, part: Image | File | Audio | Video) -> str:
        """Why this cannot be sent; "" where it can."""
        medium = type(part).__name__.lower()
        if part.file_id:
            return "a file of another provider cannot be read here"
        if isinstance(part, Video) or medium not in self._going.can.inputs:
            return f"this model reads no {medium}"
        if isinstance(part, Image):
            known = not part.url or part.url.startswith(("https://", "http://"))
            return "" if known else "only https addresses are fetched there"
        if part.url:
            return "it has to be inline there"
        if isinstance(part, Audio) and media.sound_name(part.mime) not in media.SOUNDS:
            return "only wav and mp3 are heard there"
        return ""


def _is_silent(part: Part) -> bool:
    """What says nothing there: an empty text, tools, what only its own format knows."""
    if isinstance(part, Opaque):
        return part.format != "chat"
    return isinstance(part, Declaration) or (isinstance(part, Text) and not part.text)


def _source(part: Image | Video) -> str:
    return part.url or media.as_url(part.mime, part.data)


def _file(part: File) -> Document:
    if part.file_id:
        return {"file_id": part.file_id}
    name = {"filename": part.name} if part.name else {}
    return name | {"file_data": part.url or media.as_url(part.mime, part.data)}
