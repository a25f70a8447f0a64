"""A request of the hub, written as a Messages request.

A request that came in this format is written as it was. For all others the shape is Anthropic's:
instructions in a field of their own, user and assistant in alternation with a tool's results at the
head of the user's turn, a limit that has to be there, and one control for thinking. What the model
takes is asked of `controls` and `thinking`; `content` writes the blocks, `tools` the tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from relayd.wire import checked, controls, schemas
from relayd.wire.messages.content import Content
from relayd.wire.messages.tools import Tools
from relayd.wire.names import Names
from relayd.wire.neutral import Request, Thinking
from relayd.wire.parts import Document, Extras, Part, Reasoning, Text, ToolCall
from relayd.wire.setting import Going, Written
from relayd.wire.thinking import SILENT, Control, thought
from relayd.wire.turns import Turn, spoken

# The version of the API that still takes temperature and its like.
SAMPLING_VERSION: Final = "2023-06-01"
# What the user says where the model has the first word: there the first message is the user's.
BEGUN: Final = "(The conversation begins.)"
_DRAWN: Final = ("temperature", "top_p", "top_k")
_TIERS: Final = {"auto": "auto", "standard": "standard_only"}
_KINDS: Final[Mapping[str, str]] = {
    "on": "enabled",
    "adaptive": "adaptive",
    "off": "disabled",
    "between_tools": "between_tools",
}
_SHOWN: Final = {"summary": "summarized", "raw": "summarized", "none": "omitted"}
# What a request for a count of tokens may say.
_COUNTED: Final = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "cache_control",
        "context_management",
        "mcp_servers",
        "speed",
    }
)


def encode(request: Request, going: Going) -> Written:
    """The body for a Messages upstream. Raises CannotTranslate."""
    encoder = _Encoder(request, going)
    return encoder.native() if request.source == "messages" else encoder.translated()


def encode_count(request: Request, going: Going) -> Written:
    """The body of a request for a count. Raises CannotTranslate."""
    written = encode(request, going)
    kept = {name: value for name, value in written.document.items() if name in _COUNTED}
    return written._replace(document=kept)


class _Encoder:
    """One request on its way."""

    def __init__(self, request: Request, going: Going) -> None:
        self._request = request
        self._going = going
        native = request.source == "messages"
        self._names = Names(request.all_tools(), "messages")
        self._content = Content(request, going, self._names, native=native)
        self._tools = Tools(request, going, self._names, self._content)

    # --- natively -------------------------------------------------------------------------------

    def native(self) -> Written:
        """The request as it came."""
        request, content = self._request, self._content
        messages = [
            checked.written(m.extra, {"role": m.spoken, "content": content.native(m.parts)})
            for m in request.messages
        ]
        said = {
            "model": self._going.model,
            "max_tokens": request.output.limit,
            "system": content.native(request.instructions) or None,
            "messages": messages,
            "tools": self._tools.native() or None,
            "tool_choice": self._tools.native_choice(),
            "thinking": _native_thinking(request.thinking),
            **{name: getattr(request.sampling, name) for name in _DRAWN},
            "stop_sequences": request.output.stop or None,
            "metadata": {"user_id": request.user} if request.user else None,
            "service_tier": _TIERS.get(request.tier, request.tier) or None,
            "stream": request.stream or None,
            **content.mark(request, request.caching.mark),
        }
        document = {name: value for name, value in said.items() if value is not None}
        self._native_shape(document)
        _merged(request.extra, document)
        return Written(document, self._names, version=_version(document))

    def _native_shape(self, document: Document) -> None:
        effort, shape = self._request.thinking.effort, self._request.output.shape
        config: Document = {"effort": effort} if effort is not None else {}
        if shape is not None:
            form = {"type": "json_schema", "schema": shape.schema}
            if "output_format" in shape.extra:
                document["output_format"] = form
            else:
                config["format"] = form
        if config:
            document["output_config"] = config

    # --- for others -----------------------------------------------------------------------------

    def translated(self) -> Written:
        """What the request means."""
        request, going = self._request, self._going
        going.losses.of_request(request)
        if request.caching.named:
            going.losses.lose("refuse", request.param("caching.named"))
        controls.modalities(request, going)
        controls.verbosity(request, going)
        document: Document = {"model": going.model, "max_tokens": controls.limit(request, going)}
        self._history(document)
        shaped_by = self._tools.write(document)
        self._think(document, forced=bool(shaped_by))
        sampling = controls.sampled(request, going)
        said = {
            **{name: getattr(sampling, name) for name in _DRAWN},
            "stop_sequences": controls.stops(request, going) or None,
            "metadata": {"user_id": request.user} if request.user else None,
            "service_tier": _TIERS.get(request.tier),
            "stream": request.stream or None,
        }
        document |= {name: value for name, value in said.items() if value is not None}
        return Written(document, self._names, shaped_by, _version(document))

    def _think(self, document: Document, *, forced: bool) -> None:
        """Thinking and the form of the answer: two sections that share one member."""
        request, going = self._request, self._going
        control = thought(request, going, forced=forced)
        if control.form == "enabled" and self._lost_thinking():
            # Where thinking is on, a turn that calls tools has to begin with it.
            going.losses.lose("drop", request.param("thinking"))
            control = SILENT
        thinking = _thinking(control, asks=going.can.shows_thinking)
        if thinking is not None:
            document["thinking"] = thinking
        config: Document = {"effort": control.effort} if control.effort is not None else {}
        shape = request.output.shape
        if shape is not None and shape.schema is not None and not forced:
            at = request.param("shape")
            schema = schemas.for_anthropic(shape.schema, "", going.losses, at, strict=True)
            config["format"] = {"type": "json_schema", "schema": schema}
        if config:
            document["output_config"] = config

    def _lost_thinking(self) -> bool:
        """Whether the history calls tools, and nothing of what was thought is left in it."""
        parts = list(self._request.parts())
        kept = any(isinstance(p, Reasoning) and self._going.own(p.carrier) for p in parts)
        return not kept and any(isinstance(part, ToolCall) for part in parts)

    # --- the history ----------------------------------------------------------------------------

    def _history(self, document: Document) -> None:
        request, going = self._request, self._going
        instructions, rest = request.opening()
        system = self._content.blocks(instructions, "system")
        if request.output.shape is not None and request.output.shape.schema is None:
            going.losses.lose("drop", request.param("shape"))  # nobody sees to it
            if not any("json" in block["text"].lower() for block in system):
                system.append({"type": "text", "text": controls.JSON_ONLY})
        turns = spoken(request, rest, going.losses, going.rules, prefill=going.can.prefill)
        messages = self._messages(turns)
        if not messages:
            # Somebody has to say something: it is what the instructions say.
            messages, system = [{"role": "user", "content": system}], []
        if system:
            document["system"] = system
        document["messages"] = messages

    def _messages(self, turns: list[Turn]) -> list[Document]:
        messages: list[Document] = []
        for place, turn in enumerate(turns):
            role: str = turn.role
            if role == "system" and not self._may_stand(turns, place):
                role, blocks = "user", self._tagged(turn.parts)
            else:
                blocks = self._content.blocks(turn.parts, role)
            if blocks and messages and messages[-1]["role"] == role:
                messages[-1]["content"] += blocks
            elif blocks:
                messages.append({"role": role, "content": blocks})
        if messages and messages[0]["role"] == "assistant":
            messages.insert(0, {"role": "user", "content": [{"type": "text", "text": BEGUN}]})
        if messages and messages[-1]["role"] == "assistant":
            _stripped(messages)
        return messages

    def _may_stand(self, turns: list[Turn], place: int) -> bool:
        """Whether a system message can stand here: behind the user and before the model, and of
        text alone."""
        if not self._going.can.mid_system or not place or turns[place - 1].role != "user":
            return False
        last = place + 1 == len(turns)
        texts = all(isinstance(part, Text) for part in turns[place].parts)
        return texts and (last or turns[place + 1].role == "assistant")

    def _tagged(self, parts: list[Part]) -> list[Document]:
        """A system message as words of the user's that say what they are."""
        tag = self._going.rules.system_tag
        said = "\n\n".join(p.text for p in parts if isinstance(p, Text) and p.text.strip())
        others = [part for part in parts if not isinstance(part, Text)]
        texts = [{"type": "text", "text": f"<{tag}>\n{said}\n</{tag}>"}] if said else []
        return texts + self._content.blocks(others, "user")


def _stripped(messages: list[Document]) -> None:
    """Space at the very end is refused, where the model is to go on with its own words."""
    block = messages[-1]["content"][-1]
    if block["type"] == "text":
        block["text"] = block["text"].rstrip()


def _version(document: Document) -> str:
    return SAMPLING_VERSION if any(name in document for name in _DRAWN) else ""


def _merged(extra: Extras, document: Document) -> None:
    """What only this format says, sections member by member."""
    for name, (value, _) in extra.items():
        if isinstance(value, dict) and isinstance(document.get(name), dict):
            document[name] = value | document[name]
        else:
            document.setdefault(name, value)


def _thinking(control: Control, *, asks: bool) -> Document | None:
    """The control for thinking; with `asks` the model shows none unless it is asked to."""
    if control.form is None:
        return None
    document: Document = {"type": control.form}
    if control.budget is not None:
        document["budget_tokens"] = control.budget
    if control.show is not None and control.thinks and (asks or control.show == "none"):
        document["display"] = _SHOWN[control.show]
    return document


def _native_thinking(thinking: Thinking) -> Document | None:
    if thinking.mode is None:
        return None
    said: dict[str, Any] = {
        "type": _KINDS[thinking.mode],
        "budget_tokens": thinking.budget,
        "display": _SHOWN[thinking.show] if thinking.show is not None else None,
    }
    document = {name: value for name, value in said.items() if value is not None}
    return checked.written(thinking.extra, document)
