"""A request of the hub, written as a Responses request.

A request that stays in its format keeps its items. From another format the turns become items: what
the model said one by one, results before everything else of the user. Nothing is kept at the
provider (`store`), so what it thought comes back sealed, and ids are made for nothing: it knows
only those that it gave out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from relayd.wire import controls, ids, media
from relayd.wire.names import Names
from relayd.wire.neutral import Declaration, Request
from relayd.wire.parts import (
    Cache,
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
)
from relayd.wire.responses import contents, settings
from relayd.wire.responses.declared import Declared
from relayd.wire.responses.decode import LOGPROBS
from relayd.wire.responses.native import native
from relayd.wire.setting import Going, Written
from relayd.wire.thinking import thought
from relayd.wire.turns import Turn, spoken

SEALED: Final = "reasoning.encrypted_content"
LONGEST_USER: Final = 64
_TIERS: Final = frozenset({"auto", "standard", "flex", "priority"})
_PLAIN: Final = frozenset({"type", "text"})
_COUNTED: Final[tuple[str, ...]] = (
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "truncation",
    "conversation",
    "previous_response_id",
)


def encode(request: Request, going: Going) -> Written:
    """The body for a Responses upstream. Raises CannotTranslate."""
    if request.source == "responses":
        return native(request, going)
    return _Encoder(request, going).written()


def encode_count(request: Request, going: Going) -> Written:
    """The body of a request that asks how many tokens the input has. Raises CannotTranslate."""
    written = encode(request, going)
    document: Document = {n: written.document[n] for n in _COUNTED if n in written.document}
    return written._replace(document=document)


def count_reply(document: Document) -> int | None:
    """The count in a reply; None where it has none."""
    count = document.get("input_tokens")
    return count if isinstance(count, int) and count >= 0 else None


def count_document(tokens: int) -> Document:
    """The reply to a request for a count."""
    return {"object": "response.input_tokens", "input_tokens": tokens}


class _Encoder:
    """One request on its way. Owns the document."""

    def __init__(self, request: Request, going: Going) -> None:
        self._request = request
        self._going = going
        self._custom = going.can.custom_tools
        self._names = Names(request.all_tools(), "responses", custom=self._custom)
        self._marks = controls.Marks(request, going.can)
        self._calls = request.calls()
        self._marked = False

    def written(self) -> Written:
        request, going = self._request, self._going
        going.losses.of_request(request)
        document: Document = {"model": going.model}
        self._history(document)
        self._controls(document)
        self._caching(document)
        return Written(document, self._names)

    # --- history --------------------------------------------------------------------------------

    def _history(self, document: Document) -> None:
        """Instructions and input. Instructions that have a mark are input, because only parts have
        marks; those of a request that has nothing else, because input must not be empty; and those
        that may speak of JSON, because who asks for any has to say so in the input."""
        request, going = self._request, self._going
        parts, rest = request.opening()
        parts = controls.instructed(request, parts, rest)
        shape = request.output.shape
        json = shape is not None and shape.kind == "json"
        said = [each for part in parts for each in self._content(part)]
        marked = going.can.cache_marks and any(part.cache is not None for part in parts)
        items = [
            item
            for turn in spoken(request, rest, going.losses, going.rules)
            for item in self._turn(turn)
        ]
        texts = [each["text"] for each in said if each["type"] == "input_text"]
        if said and (not items or marked or json or len(texts) < len(said)):
            items.insert(0, {"role": "system", "content": said})
        elif said:
            document["instructions"] = "\n\n".join(texts)
        document["input"] = items

    def _turn(self, turn: Turn) -> Iterable[Document]:
        if turn.role == "assistant":
            for part in turn.parts:
                yield from self._spoken(part)
            return
        said: list[Document] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                yield self._result(part)
            else:
                said += self._content(part)
        if said:
            yield {"role": turn.role, "content": said}

    def _spoken(self, part: Part) -> Iterable[Document]:
        """What the model said; what another model thought is not told this one."""
        match part:
            case Text() | Refusal():
                if part.text:
                    yield {"role": "assistant", "content": part.text}
            case ToolCall():
                yield self._call(part)
            case Reasoning():
                carrier = self._going.own(part.carrier)
                if carrier is not None:
                    summary = Reasoning([each for each in part.text if each])
                    name = {"id": carrier.id} if carrier.id else {}
                    yield name | contents.thinking([summary], carrier)
            case Image() if part.data:
                drawn = ids.item_id("ig_", part.data)
                yield {"type": "image_generation_call", "id": drawn} | {
                    "status": "completed",
                    "result": part.data,
                }
            case Declaration() | Opaque():
                return
            case _:
                why = "what a model made of that kind cannot be said there"
                raise self._going.losses.refusal(part.at, why, code="unsupported_value")

    def _call(self, part: ToolCall) -> Document:
        call = {"call_id": ids.call_id(part.id, "responses")}
        call["name"] = self._names.there(part.name, part.namespace)
        if part.custom and self._custom:
            return {"type": "custom_tool_call", **call, "input": part.arguments}
        said = part.arguments if part.arguments.strip() else "{}"
        if part.custom:
            said = orjson.dumps({"input": part.arguments}).decode()
        return {"type": "function_call", **call, "arguments": said}

    def _result(self, part: ToolResult) -> Document:
        call = self._calls.get(part.id)
        custom = self._custom and (part.custom or (call is not None and call.custom))
        if part.failed and part.structured is None:  # where it is, the object says that it failed
            self._going.losses.lose("drop", f"{part.at}.is_error")
        output: Any = [each for inside in part.parts for each in self._content(inside)]
        mark = self._mark(part)
        if mark and output:
            output[-1] |= mark
        if len(output) < 2 and all(each.keys() == _PLAIN for each in output):
            output = "".join(each["text"] for each in output)
        return {
            "type": "custom_tool_call_output" if custom else "function_call_output",
            "call_id": ids.call_id(part.id, "responses"),
            "output": output,
        }

    # --- contents -------------------------------------------------------------------------------

    def _content(self, part: Part) -> list[Document]:
        """A part of what the user or the system says; none for one that says nothing."""
        losses = self._going.losses
        if isinstance(part, Declaration | Opaque | Reasoning):
            return []
        if isinstance(part, File) and part.context:
            losses.lose("drop", f"{part.at}.context")
        said = part
        if isinstance(part, File) and part.plain:
            said = Text(part.plain)
        elif isinstance(part, Refusal):
            said = Text(part.text)
        elif isinstance(part, Image | File):
            self._check(part)
        if isinstance(said, Text) and not said.text:
            return []
        document = contents.content(said, "user", self._going)
        if isinstance(said, Image):
            document.setdefault("detail", "auto")
        elif isinstance(said, File) and said.data:
            document["filename"] = media.file_name(said.name, said.mime)
        return [document | self._mark(part)]

    def _check(self, part: Image | File) -> None:
        """Refuse what this provider cannot read."""
        losses, medium = self._going.losses, "image" if isinstance(part, Image) else "file"
        why = ""
        if part.file_id:
            why = "a file of another provider cannot be read here"
        elif medium not in self._going.can.inputs:
            why = f"this model reads no {medium}"
        elif part.url and not part.url.startswith(("https://", "http://")):
            why = "only https addresses are fetched there"
        if why:
            raise losses.refusal(part.at, why, code="unsupported_value")

    def _mark(self, part: Part) -> Document:
        """The cache mark of a part, where the model takes it."""
        mark = self._marks.of(part, part.cache)
        if mark is None:
            return {}
        self._marked = True
        return {"prompt_cache_breakpoint": {"mode": "explicit"} | self._lifetime(mark)}

    def _lifetime(self, mark: Cache) -> Document:
        """Longer ones cost more: only as long as the operator has it."""
        long = mark.ttl in ("1h", "12h") and self._going.rules.longest_ttl == "12h"
        return {"ttl": "12h"} if long else {}

    # --- controls ---------------------------------------------------------------------------------

    def _controls(self, document: Document) -> None:
        request, going = self._request, self._going
        controls.stops(request, going)
        controls.modalities(request, going)
        sampling = controls.sampled(request, going)
        control = thought(request, going)
        include = []
        if going.can.thinking and control.form != "disabled":
            include.append(SEALED)
        if sampling.logprobs:
            include.append(LOGPROBS)
        declared = Declared(request, going, self._names)
        style = request.thinking.style or "auto"
        said: dict[str, Any] = {
            "tools": declared.tools() or None,
            "tool_choice": declared.choice(),
            "parallel_tool_calls": False if controls.one_call_at_a_time(request) else None,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_logprobs": sampling.top_logprobs,
            "max_output_tokens": controls.limit(request, going),
            "text": declared.text() or None,
            "reasoning": _present(
                effort=control.effort, summary=style if control.show in ("summary", "raw") else None
            ),
            "include": include or None,
            "metadata": request.metadata,
            "service_tier": settings.tier(request) if request.tier in _TIERS else None,
            "stream": request.stream or None,
        }
        if request.user:
            # Longer ones are refused; the same user has the same digest always.
            fits = len(request.user) <= LONGEST_USER
            said["safety_identifier"] = request.user if fits else ids.digest(request.user)
        document |= {name: value for name, value in said.items() if value is not None}
        document["store"] = False

    def _caching(self, document: Document) -> None:
        """Marks want a key: requests with the same one find each other's caches."""
        caching = self._request.caching
        if caching.options is not None and self._request.source == "chat":
            document["prompt_cache_options"] = caching.options
        if caching.key:
            document["prompt_cache_key"] = caching.key
        elif self._marked:
            opening = "\n".join(p.text for p in self._request.opening()[0] if isinstance(p, Text))
            key = ids.digest(f"{self._request.user}\0{opening}")
            document["prompt_cache_key"] = key


def _present(**said: Any) -> Document | None:
    return {name: value for name, value in said.items() if value is not None} or None
