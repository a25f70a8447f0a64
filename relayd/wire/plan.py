"""Which format an upstream is spoken to in, and what is called there.

The client's own format where the upstream has it, because bytes that pass are never wrong. There
are two reasons for another: the upstream does not have it, or the model does not take what is asked
in that format (function tools beside thinking, at some). Facts about models are `Capability`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relayd.model import FormatName, Operation
from relayd.wire.capabilities import Capability
from relayd.wire.parts import Document
from relayd.wire.paths import Target

# To which formats, the most faithful first, where the client's own is not spoken.
NEAREST: Final[Mapping[FormatName, tuple[FormatName, ...]]] = {
    "chat": ("responses", "messages", "gemini"),
    "responses": ("chat", "messages", "gemini"),
    "messages": ("responses", "chat", "gemini"),
    "gemini": ("responses", "chat", "messages"),
}
# What has no translation: it passes, or is refused.
NATIVE_ONLY: Final = frozenset({"completions", "responses/compact", "images/variations"})
TRANSLATED: Final[frozenset[Operation]] = frozenset({"generate", "count_tokens", "embed", "image"})
_VERBS: Final[Mapping[tuple[FormatName, Operation], str]] = {
    ("chat", "generate"): "chat/completions",
    ("chat", "embed"): "embeddings",
    ("responses", "generate"): "responses",
    ("responses", "count_tokens"): "responses/input_tokens",
    ("messages", "generate"): "messages",
    ("messages", "count_tokens"): "messages/count_tokens",
    ("gemini", "count_tokens"): "countTokens",
    ("gemini", "embed"): "batchEmbedContents",
}


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a request decides where it can go; read before its document is let go.

    Attributes:
        functions: it declares function tools.
        idle: whether it wants no thinking; None where it does not say.
    """

    functions: bool = False
    idle: bool | None = None


NO_TRAITS: Final = Traits()


def spoken(
    client: FormatName, offered: Sequence[FormatName], can: Capability, traits: Traits
) -> FormatName:
    """The format for one request to one upstream. `offered` are its formats, never none."""
    allowed = [name for name in offered if not can.endpoints or name in can.endpoints]
    choices = allowed or list(offered)
    demanded = can.tools_endpoint
    # What does not say is as the model is: recorded, one that thinks only when it is told to takes
    # tools in either format.
    idle = can.default_effort == "none" if traits.idle is None else traits.idle
    if demanded in choices and traits.functions and not idle:
        # One endpoint alone takes tools beside thinking.
        if client in ("chat", "responses") or client not in choices:
            return demanded
    if client in choices:
        return client
    return next(name for name in NEAREST[client] if name in choices)


def target(client: Target, to: FormatName, *, stream: bool) -> Target | None:
    """What is called at an upstream of the format `to`; None where that cannot be said there."""
    if client.format == to:
        return client
    if client.verb in NATIVE_ONLY:
        return None
    operation = client.operation
    if to == "gemini" and operation in ("generate", "image"):
        verb = "streamGenerateContent" if stream else "generateContent"
        return Target("gemini", "generate", stream=stream, verb=verb)
    verb = _VERBS.get((to, operation), "")
    return Target(to, operation, verb=verb) if verb else None


def traits_of(document: Document, client: FormatName) -> Traits:
    """The traits of a client's document, whatever it holds: nothing here is refused."""
    tools = document.get("tools")
    listed = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    # Tools with free text, and hosted ones, go anywhere; elsewhere tools have no type, or another.
    typed = client in ("chat", "responses")
    functions = any(not typed or tool.get("type") == "function" for tool in listed)
    effort = document.get("reasoning_effort")
    if client == "responses":
        reasoning = document.get("reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    return Traits(functions, effort == "none" if isinstance(effort, str) else None)
