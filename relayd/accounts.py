"""The nouns of who calls and what they may: groups, accounts, keys, limits, credits.

Plain data, nothing of relayd imported. Money is whole pico-dollars (`relayd.money`), durations are
seconds, moments Unix seconds. A group comes from the configuration, accounts and keys from the
store; a key can only narrow what its account's group allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Endpoint = Literal["chat", "embeddings", "images", "audio", "realtime", "passthrough"]
ENDPOINTS: tuple[Endpoint, ...] = (
    "chat",
    "embeddings",
    "images",
    "audio",
    "realtime",
    "passthrough",
)

# What happens to the bill of a reply whose client left before its end: an estimate of what was
# produced; wait for the upstream's own count; or nothing.
Leaving = Literal["estimate", "drain", "free"]

UNIT = 1_000_000  # a multiplier of 1: multipliers are whole millionths


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at a time; None is no limit.

    Arguments:
        rpm: requests a minute.
        tpm: tokens a minute, of both sides.
        concurrency: requests in flight.
        burst: seconds whose worth of requests or tokens may come at once after a quiet time.
    """

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    burst: float = 60.0


@dataclass(frozen=True, slots=True)
class Caps:
    """How much may be spent, in pico-dollars, in a calendar day, a month, or ever; None: no cap."""

    day: int | None = None
    month: int | None = None
    ever: int | None = None


NO_LIMITS = Limits()
NO_CAPS = Caps()


@dataclass(frozen=True, slots=True)
class Group:
    """What accounts of one kind may do and what they pay. Its limits and caps count per account.

    Arguments:
        models: names and wildcards.
        multiplier: of prices, in millionths.
        balance: whether a balance is needed: `on`, `off`, or `auto`: from an account's first
            credit on.
        strict: a balance or cap is never overdrawn: the most that a request can cost is reserved.
        reserve_cap: otherwise at most so much is reserved for one request, in pico-dollars.
        leaving: who pays when a client leaves early.
        drain: seconds to wait for the true usage, with `drain`.
        lenient: whether a translation leaves out what the other format cannot say, rather than
            refuse it; None is as the configuration has it for all.
        hide_endpoints: an endpoint that is not allowed does not exist, rather than being forbidden.
    """

    name: str
    models: tuple[str, ...] = ("*",)
    endpoints: tuple[Endpoint, ...] = ENDPOINTS
    limits: Limits = NO_LIMITS
    caps: Caps = NO_CAPS
    multiplier: int = UNIT
    balance: Literal["auto", "on", "off"] = "auto"
    strict: bool = False
    reserve_cap: int | None = 250_000_000_000
    leaving: Leaving = "estimate"
    drain: float = 30.0
    lenient: bool | None = None
    hide_endpoints: bool = False


DEFAULT_GROUP = Group("default")


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays. `group` names a group of the configuration."""

    id: int
    name: str
    disabled: bool = False
    group: str = "default"
    note: str = ""
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Key:
    """A client's credential. The secret itself is never kept: only its SHA-256.

    Arguments:
        models, endpoints: what it is narrowed to; empty is all that the group has.
        addresses: networks (CIDR) it may be used from; empty is everywhere.
        old_digest: of the secret before the last rotation, valid until `old_until`.
        lenient: as a group's; None is as the group has it.
    """

    id: int
    name: str
    account: Account
    digest: bytes
    prefix: str
    created_at: float
    disabled: bool = False
    expires_at: float | None = None
    models: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    caps: Caps = NO_CAPS
    note: str = ""
    old_digest: bytes | None = None
    old_until: float = 0.0
    lenient: bool | None = None


@dataclass(frozen=True, slots=True)
class Credit:
    """One line of the append-only table of credits. `amount` is negative for what is taken back."""

    id: int
    account_id: int
    amount: int
    kind: Literal["grant", "adjustment"]
    reason: str
    actor: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the audit table: who changed what, from what to what (JSON objects)."""

    id: int
    at: float
    actor: str
    action: str
    subject: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class AdminToken:
    """A named way into the admin API; only its SHA-256 is kept."""

    id: int
    name: str
    digest: bytes
    prefix: str
    created_at: float
    disabled: bool = False
