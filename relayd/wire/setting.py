"""What a translation must know beside the documents: where it goes, and what for.

`Going` is one request on its way to one upstream, `Coming` is the way back. They are made once for
each attempt, because the next upstream may have another format, another name for the model, and
another account that can read the carriers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final, Literal, NamedTuple

from relayd.model import FormatName
from relayd.wire.capabilities import Capability
from relayd.wire.losses import Losses
from relayd.wire.names import Names
from relayd.wire.neutral import Effort, Request
from relayd.wire.parts import Carrier, Document

# A scope that nothing was sealed for: an upstream that could not read what it was sent is asked
# once more, without any of it.
NOBODYS: Final = "-"

# The carrier that was seen on a tool call, for clients that do not send it back.
Remembered = Callable[[str], Carrier | None]


def nothing_remembered(call_id: str) -> Carrier | None:
    """Nobody keeps carriers."""
    return None


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator decides about translations (`translation:` in the configuration).

    Attributes:
        wrap_custom: tools with free text become functions where there are none.
        map_search: a hosted web search becomes the upstream's own.
        orphan_results: a tool's result without its call becomes the user's text.
        append_user_turn: where the model refuses a history that ends on its own turn.
        show_reasoning: to Chat clients, which cannot ask for it.
        system_tag: what later system messages are wrapped in where they cannot stand.
        budgets: the thinking budget that an effort is, where a model knows budgets only.
        longest_ttl: cache marks become at most this: "30m" or "12h" at OpenAI.
        citations: whether they are told.
    """

    wrap_custom: bool = True
    map_search: bool = False
    orphan_results: bool = False
    append_user_turn: bool = False
    show_reasoning: bool = True
    system_tag: str = "system-reminder"
    budgets: Mapping[Effort, int] = field(
        default_factory=lambda: {
            "minimal": 1024,
            "low": 2048,
            "medium": 8192,
            "high": 16_384,
            "xhigh": 32_768,
            "max": 32_768,
        }
    )
    longest_ttl: str = "30m"
    citations: bool = True


USUAL = Rules()


@dataclass(frozen=True, slots=True)
class Fetching:
    """How pictures that a client only names by their URL are fetched, for upstreams that do not
    fetch any.

    Attributes:
        largest: bytes of all pictures of one request.
        most: pictures of one request.
        timeout: seconds for one picture, redirects included.
        redirects: how many are followed.
    """

    largest: int = 20 * 2**20
    most: int = 20
    timeout: float = 10.0
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class Translating:
    """What an operator decides about translation as a whole; `Rules` are for those who write.

    Attributes:
        enabled: whether a request may go to an upstream that does not speak the client's format.
        lenient: what has no equivalent is left out, rather than the request refused, as far as that
            can be answered for; a key, a group or an upstream may say otherwise.
        lenient_clients: patterns of User-Agents, lower case, for which that is so where none of
            those says anything: they declare what no other provider has.
        largest_reply: bytes of a whole reply that is translated.
        remote_images: None fetches none.
        model_in_replies: the name that the client asked for, or the one that the upstream tells.
    """

    enabled: bool = True
    lenient: bool = False
    lenient_clients: tuple[str, ...] = ("codex*", "claude-cli*", "claude-code*", "geminicli*")
    largest_reply: int = 64 * 2**20
    remote_images: Fetching | None = None
    model_in_replies: Literal["asked", "upstream"] = "asked"
    rules: Rules = USUAL

    def is_lenient(self, user_agent: str, *said: bool | None) -> bool:
        """Whether one request is treated leniently.

        Arguments:
            said: by the key, its group and the upstream, in this order; None says nothing.
        """
        for word in said:
            if word is not None:
                return word
        name = user_agent.lower()
        return self.lenient or any(fnmatchcase(name, each) for each in self.lenient_clients)


@dataclass(frozen=True, slots=True)
class Going:
    """A request on its way to one upstream.

    Attributes:
        format: the upstream's.
        model: the upstream's name of it.
        can: what that model takes.
        scope: of the account, for carriers (`Carrier.scope`).
        native: the client's format is the upstream's: carriers without a scope are its own.
    """

    format: FormatName
    model: str
    can: Capability
    losses: Losses
    scope: str = ""
    native: bool = False
    rules: Rules = USUAL
    remembered: Remembered = nothing_remembered

    def own(self, carrier: Carrier | None) -> Carrier | None:
        """`carrier` where this upstream can read it; None else: the whole block is then dropped."""
        if carrier is None or _FAMILY.get(carrier.kind) != self.format or self.scope == NOBODYS:
            return None
        # Without a scope it came natively, in the format that this upstream speaks, or from before.
        return carrier if carrier.scope in ("", self.scope) else None


_FAMILY: Mapping[str, FormatName] = {
    "anthropic-signature": "messages",
    "anthropic-redacted": "messages",
    "gemini-signature": "gemini",
    "openai-encrypted": "responses",
    "chat-details": "chat",
}


class Written(NamedTuple):
    """A request in the upstream's format.

    Attributes:
        document: the body; the Gemini model and verb are in the path, which is not its business.
        names: of the tools, for the way back.
        shaped_by: the tool whose arguments are the answer, where the model knows no schemas; "".
        version: the value of `anthropic-version` that this body needs; "" is any.
    """

    document: Document
    names: Names
    shaped_by: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Coming:
    """A reply on its way to one client.

    Attributes:
        request: what was asked: formats repeat it, and it says what the client wants to see.
        model: what the reply calls the model.
        request_id: what minted ids are made of.
        moment: Unix seconds, for formats that tell when.
        scope: of the account that answers, for envelopes.
        names, shaped_by: as the request was written.
        array: Gemini's JSON array rather than events.
        input_estimate: tokens, for formats that must tell before anybody knows.
        sealed: the upstream's carriers go into envelopes; False where both speak one format.
        remember: keeps a carrier for clients that do not send it back.
    """

    request: Request
    model: str
    request_id: str
    moment: int
    scope: str = ""
    names: Names | None = None
    shaped_by: str = ""
    array: bool = False
    input_estimate: int = 0
    sealed: bool = True
    rules: Rules = USUAL
    remember: Callable[[str, Carrier], None] | None = None
