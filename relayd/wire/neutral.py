"""The hub: what a request says, in words that every format has.

Four decoders write these records and four encoders read them; no decoder knows an encoder. So a
record holds the meaning, not a format's way of writing it: one text and a list of one text are the
same, `developer` is `system`. `parts` says what becomes of the rest.

Order is kept, ids are kept, nothing is merged or split here: a message is what the client sent as
one message (for Responses, whose items are finer, one turn; each part knows its `Item`). Making of
it the turns that a provider wants is `turns`' work, on the way out. Parts are also what replies are
made of (`events`), so that a turn of the history and a reply cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from relayd.model import FormatName
from relayd.wire.parts import Cache, Document, Extras, Part, ToolCall, ToolResult

Role = Literal["system", "user", "assistant", "tool"]


# --- messages -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Message:
    """One message of the history.

    Attributes:
        role: who speaks; results stand in `tool` messages, or among a user's parts where the format
            has them there.
        spoken: the role's own word in the format of origin (`developer`, `model`, `function`).
        name: of the speaker.
    """

    role: Role
    parts: list[Part]
    at: str = ""
    spoken: str = ""
    name: str = ""
    extra: Extras = field(default_factory=dict)


# --- tools --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Namespace:
    """A group of tools (Responses). Neighbours with the very same record are one group."""

    name: str
    description: str | None = None
    extra: Extras = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Tool:
    """What all tools have."""

    at: str = ""
    name: str
    description: str | None = None
    cache: Cache | None = None
    namespace: Namespace | None = None
    extra: Extras = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Function(Tool):
    """A tool that takes a JSON object.

    Attributes:
        schema: JSON Schema in its usual spelling, whatever the client's was; None takes nothing.
        strict: whether the arguments must fit; None where the client does not say, which is not the
            same for every format (the Responses API then takes it for true).
    """

    schema: Document | None = None
    strict: bool | None = None


@dataclass(slots=True, kw_only=True)
class Custom(Tool):
    """A tool that takes free text. `syntax` and `grammar` restrict it; "" takes any text."""

    syntax: str = ""
    grammar: str = ""


@dataclass(slots=True, kw_only=True)
class Hosted(Tool):
    """A tool that the provider runs. `kind` is a word of ours where all have such a tool
    (`web_search`), else the format's own type."""

    format: FormatName
    kind: str
    document: Document


@dataclass(slots=True)
class ToolChoice:
    """Which tools may, and whether one must be called.

    Attributes:
        mode: none, auto, or required (at least one).
        names: only these; empty is all. One name and `required` is a forced call.
        listed: they were written as a list of allowed tools, not as the one to call.
        hosted: a choice among hosted tools, as it was written.
    """

    mode: Literal["none", "auto", "required"]
    names: tuple[str, ...] = ()
    listed: bool = False
    hosted: Document | None = None
    extra: Extras = field(default_factory=dict)

    @property
    def forced(self) -> str:
        """The one tool that must be called, or ""."""
        alone = self.mode == "required" and len(self.names) == 1 and not self.listed
        return self.names[0] if alone else ""


@dataclass(slots=True)
class Declaration(Part):
    """Tools that are declared in the middle of the history (Responses' `additional_tools`,
    Anthropic's `tool_addition`). Others declare them with all the rest: `Request.all_tools`."""

    tools: list[Tool]


# --- controls -----------------------------------------------------------------------------------

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


@dataclass(slots=True)
class Thinking:
    """How much the model shall think, and how much of that the client wants to see.

    Attributes:
        mode: None where the client does not say; `adaptive` leaves it to the model;
            `between_tools` only there.
        effort: None where the client does not say.
        budget: tokens; -1 is as many as the model likes (Gemini).
        show: None is as usual for the client's format; `none` hides it.
        style: of the summary, in OpenAI's words (auto, concise, detailed).
    """

    mode: Literal["off", "on", "adaptive", "between_tools"] | None = None
    effort: Effort | None = None
    budget: int | None = None
    show: Literal["none", "summary", "raw"] | None = None
    style: str = ""
    extra: Extras = field(default_factory=dict)


@dataclass(slots=True)
class Shape:
    """What form the answer shall have: any JSON object, or one that fits a schema."""

    kind: Literal["json", "schema"]
    name: str = ""
    description: str = ""
    schema: Document | None = None
    strict: bool | None = None
    extra: Extras = field(default_factory=dict)


@dataclass(slots=True)
class Sampling:
    """How the next token is drawn; None is the provider's default. `logit_bias` is by token id."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    n: int | None = None


@dataclass(slots=True)
class Picture:
    """What a client of the image endpoints asks for.

    Attributes:
        count: of pictures; each is drawn by itself.
        edits: those that came with the request are to be changed.
        width, height: in pixels; 0 leaves the size to the model.
    """

    count: int = 1
    edits: bool = False
    width: int = 0
    height: int = 0


@dataclass(slots=True)
class Output:
    """What the answer may be.

    Attributes:
        limit: tokens, thinking included; 0 only warms a cache.
        stop: texts that end it.
        modalities: lower case: text, image, audio, video; empty is the usual.
        audio: voice and format of a spoken answer, as Chat writes them.
        image: aspect ratio and size of a drawn one, as Gemini writes them.
        picture: the answer is a picture, and nothing else.
    """

    limit: int | None = None
    stop: list[str] = field(default_factory=list)
    shape: Shape | None = None
    verbosity: str = ""
    modalities: list[str] = field(default_factory=list)
    audio: Document | None = None
    image: Document | None = None
    picture: Picture | None = None


@dataclass(slots=True)
class Caching:
    """What a request says of prompt caches as a whole; the marks are on parts and tools.

    Attributes:
        mark: the whole prompt is worth caching (Anthropic's top-level `cache_control`).
        key: groups requests with the same beginning (OpenAI).
        options: OpenAI's `prompt_cache_options`.
        named: a cache that was made before (Gemini's `cachedContent`).
    """

    mark: Cache | None = None
    key: str = ""
    options: Document | None = None
    named: str = ""


# --- the request --------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Request:
    """One request for an answer, or for a count of its tokens.

    Attributes:
        source: the format that it came in.
        instructions: of the field that a format has for them. Where there is none they are the
            system messages at the head of `messages`; `opening` tells both.
        tool_choice: None where the client does not say.
        parallel: several calls at once; None where the client does not say.
        tier: auto, standard, flex or priority where the client's word means one of these, else its
            own word; "" where it says none.
        show_usage: whether a stream tells it (only Chat can say no).
        places: by the name of a field here, where the client wrote it: `n` ->
            `generationConfig.candidateCount`. See `param`.
        extra: members of the body that have no place here, by their paths from its root
            (`generationConfig.mediaResolution`).
    """

    source: FormatName
    model: str
    messages: list[Message]
    instructions: list[Part] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    sampling: Sampling = field(default_factory=Sampling)
    output: Output = field(default_factory=Output)
    thinking: Thinking = field(default_factory=Thinking)
    caching: Caching = field(default_factory=Caching)
    user: str = ""
    metadata: dict[str, str] | None = None
    tier: str = ""
    store: bool | None = None
    stream: bool = False
    show_usage: bool = True
    places: dict[str, str] = field(default_factory=dict)
    extra: Extras = field(default_factory=dict)

    def param(self, name: str) -> str:
        """Where the client wrote the field that is called `name` here."""
        return self.places.get(name, name)

    def parts(self) -> Iterator[Part]:
        """All parts in order, those inside of results behind the result."""
        yield from self.instructions
        for message in self.messages:
            for part in message.parts:
                yield part
                if isinstance(part, ToolResult):
                    yield from part.parts

    def all_tools(self) -> list[Tool]:
        """The tools, and those that the history declares, each name once."""
        found = {id(tool): tool for tool in self.tools}
        names = {(_group(tool), tool.name) for tool in self.tools}
        for part in self.parts():
            for tool in part.tools if isinstance(part, Declaration) else ():
                if (_group(tool), tool.name) not in names:
                    names.add((_group(tool), tool.name))
                    found[id(tool)] = tool
        return list(found.values())

    def opening(self) -> tuple[list[Part], list[Message]]:
        """The instructions with the system messages at the head, and the messages behind those."""
        parts, at = list(self.instructions), 0
        while at < len(self.messages) and self.messages[at].role == "system":
            parts += [p for p in self.messages[at].parts if not isinstance(p, Declaration)]
            at += 1
        return parts, self.messages[at:]

    def calls(self) -> dict[str, ToolCall]:
        """The tool calls of the history by their ids: results often do not say which tool."""
        return {part.id: part for part in self.parts() if isinstance(part, ToolCall) and part.id}


def _group(tool: Tool) -> str:
    return tool.namespace.name if tool.namespace is not None else ""
