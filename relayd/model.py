"""The nouns that every floor shares: usage, upstreams, ledger entries.

Plain data, nothing of relayd imported. Durations are seconds, sizes bytes, moments Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

FormatName = Literal["chat", "responses", "messages", "gemini"]
Operation = Literal[
    "generate",
    "count_tokens",
    "embed",
    "image",
    "speech",
    "transcribe",
    "moderate",
    "rerank",
    "follow_up",
    "realtime",
    "other",
]
HoldingState = Literal["settled", "owed", "gone"]
UsageSource = Literal["reported", "partial", "estimated", "interrupted", "none"]


class Secret:
    """A value that must not be printed; `reveal()` is the one way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret(empty)"

    __str__ = __repr__


NO_SECRET = Secret("")


@dataclass(slots=True)
class Usage:
    """What one upstream call consumed, in tokens; None is unknown, never 0.

    The normal form of wire-formats 7: `in_uncached` is what is billed at the full input rate,
    `out_total` includes `reasoning`; the audio, image and video counts are subsets of their side.
    What is billed by something else than tokens has units of its own: `images` that were made,
    `audio_ms` of audio that was listened to, `characters` that were spoken, `searches` of a rerank.
    """

    in_uncached: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    cache_write_30m: int | None = None
    cache_write_12h: int | None = None
    cache_write_other: int | None = None
    out_total: int | None = None
    reasoning: int | None = None
    in_audio: int | None = None
    in_image: int | None = None
    in_video: int | None = None
    out_audio: int | None = None
    out_image: int | None = None
    tool_prompt: int | None = None
    total_reported: int | None = None
    images: int | None = None
    audio_ms: int | None = None
    characters: int | None = None
    searches: int | None = None
    server_tools: dict[str, int] = field(default_factory=dict)

    @property
    def cache_write(self) -> int:
        """Tokens written to a cache, whatever their time to live."""
        return (
            (self.cache_write_5m or 0)
            + (self.cache_write_1h or 0)
            + (self.cache_write_30m or 0)
            + (self.cache_write_12h or 0)
            + (self.cache_write_other or 0)
        )

    @property
    def total(self) -> int:
        """All tokens, derived from the parts rather than taken from the reported total."""
        return (
            (self.in_uncached or 0)
            + (self.cache_read or 0)
            + self.cache_write
            + (self.tool_prompt or 0)
            + (self.out_total or 0)
        )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that one upstream is given."""

    connect: float = 10.0
    first_byte: float = 300.0
    stall: float = 120.0
    total: float = 3600.0


@dataclass(frozen=True, slots=True)
class ModelRule:
    """Which public model names an upstream offers, and what it calls them.

    Arguments:
        pattern: a name or a wildcard (`gpt-*`).
        target: the upstream's name, or None for the same.
        timeouts: those of this model, where they differ from the upstream's.
        cost: what it costs here, in dollars per million tokens, for `cheapest`; None is unknown.
    """

    pattern: str
    target: str | None = None
    timeouts: Timeouts | None = None
    cost: float | None = None

    @property
    def is_wildcard(self) -> bool:
        return "*" in self.pattern


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a provider lets one key do at most; None is no limit."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class UpstreamKey:
    """One of an upstream's credentials. `name` tells it from its sisters: "1", "2", or chosen."""

    name: str
    secret: Secret
    weight: int = 1
    limits: KeyLimits = KeyLimits()


@dataclass(frozen=True, slots=True)
class Proxy:
    """What stands between us and an upstream."""

    scheme: Literal["http", "socks5"]
    host: str
    port: int
    username: str = ""
    password: Secret = NO_SECRET

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Edits:
    """What is changed on the way to an upstream and back, beside the headers that are set.

    Arguments:
        remove_headers: names, lower case, that are not sent even if a client or we would.
        set_params: dotted path into the body and JSON text: the value whatever the client sends.
        default_params: the same, where the client sends none.
        remove_params: dotted paths.
        statuses: what a reply's status is taken for.
    """

    remove_headers: tuple[str, ...] = ()
    set_params: tuple[tuple[str, bytes], ...] = ()
    default_params: tuple[tuple[str, bytes], ...] = ()
    remove_params: tuple[str, ...] = ()
    statuses: tuple[tuple[int, int], ...] = ()

    @property
    def of_params(self) -> bool:
        """Whether bodies are changed at all."""
        return bool(self.set_params or self.default_params or self.remove_params)


@dataclass(frozen=True, slots=True)
class ProbeRules:
    """How an upstream is probed: every `interval` seconds each of its keys that is not well.

    `model` is asked one token; None asks for the model list, which costs nothing.
    """

    interval: float = 30.0
    model: str | None = None


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """One provider account, as configured.

    `base_urls`: the primary first, then backups. `tier`: smaller ones are asked first. `weight`
    is its share in its tier; the keys divide it among themselves by their own weights. `translate`:
    clients of other formats than its own may be sent to it; `lenient`: what it cannot be told is
    then left out rather than refused, None being as for all; `shared_state`: its keys are of one
    account and can read what its models sealed for each other. `capabilities`: what its models
    take, by pattern, where it is not as usual (`wire.capabilities`). `passthrough`: prefixes of
    paths that are passed on to it as they are.
    """

    name: str
    dialect: str
    base_urls: tuple[str, ...]
    keys: tuple[UpstreamKey, ...]
    models: tuple[ModelRule, ...]
    formats: tuple[FormatName, ...]
    weight: int = 1
    tier: int = 1
    timeouts: Timeouts = Timeouts()
    max_connections: int = 1000
    idle_timeout: float = 50.0
    ca_file: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)  # they may hold secrets
    proxy: Proxy | None = None
    edits: Edits = field(default=Edits(), repr=False)
    probe: ProbeRules | None = None
    translate: bool = True
    lenient: bool | None = None
    shared_state: bool = False
    capabilities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)
    passthrough: tuple[str, ...] = ()


class Holding(NamedTuple):
    """Who holds a response that an upstream keeps for its client.

    Arguments:
        digest: of the account and the response's id, in hex.
        account: whose it is.
        upstream, key: where it is, by their names.
        site: which of the upstream's base URLs, as a short digest of it.
        model: what that upstream calls the model.
        name: the model's public name.
        at: when it was made, in Unix seconds.
        state: `settled`; `owed` where it was not paid for yet; `gone` where it was deleted.
        id: of the response, while it is owed: somebody has to ask for it.
        key_id: of our key that made it.
        reserved: pico-dollars that are set aside while it is owed.
        paid: pico-dollars that were paid for it until now.
        least: pico-dollars that it costs in any case, however it ends.
    """

    digest: str
    account: int
    upstream: str
    key: str
    site: str
    model: str
    name: str
    at: float
    state: HoldingState = "settled"
    id: str = ""
    key_id: int = 0
    reserved: int = 0
    paid: int = 0
    least: int = 0


@dataclass(slots=True)
class Entry:
    """One row of the usage log: one request, however it ended."""

    request_id: str
    started_at: float
    key_id: int | None = None
    account_id: int | None = None
    operation: str = ""
    model_asked: str = ""
    model_used: str = ""
    upstream: str = ""
    format_in: str = ""
    format_out: str = ""
    stream: bool = False
    status: int = 0
    outcome: str = ""
    error_code: str = ""
    upstream_request_id: str = ""
    usage: Usage = field(default_factory=Usage)
    usage_source: UsageSource = "none"
    bytes_in: int = 0
    bytes_out: int = 0
    first_byte: float | None = None
    duration: float = 0.0
    attempts: int = 0
    upstream_key: str = ""
    # What the account paid, in pico-dollars; `uncharged` is what it used beyond that because a
    # strict balance had no more. `day` is the calendar day, as 20261121, that it counts to.
    cost: int = 0
    uncharged: int = 0
    day: int = 0
    # What became of a response that the upstream keeps, where the request made, settled or deleted
    # one. It is stored with the row, in a table of its own.
    holding: Holding | None = None
