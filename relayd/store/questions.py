"""What a store is asked, and what a report answers: records without behaviour."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.accounts import NO_CAPS, NO_LIMITS, Caps, Endpoint, Limits

# What the usage report can be grouped by. `model` is the name the client asked for, `format` the
# one it spoke, `day` the calendar day that the request counts to.
DIMENSIONS = ("model", "key", "account", "upstream", "format", "outcome", "day", "status")

# The outcome of a request that was served in full; every other outcome counts as failed in the
# report.
SERVED = "ok"

# A report over a longer time is counted in whole days (see `UsageStore.usage_days`), in seconds.
LONGEST_EXACT_REPORT = 2 * 86_400.0


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is asked for; what the fields mean is said at `relayd.accounts.Key`.

    `account` is a name; an account of that name comes about on first use.
    """

    name: str
    account: str = "default"
    expires_at: float | None = None
    models: tuple[str, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    caps: Caps = NO_CAPS
    note: str = ""
    lenient: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list of keys or accounts, oldest first.

    Arguments:
        limit: at most so many.
        after: those with a greater id.
        search: what the name, the note or (of a key) the prefix contains; letter case is ignored.
        account: only keys of this one, by name or id.
        group: only accounts of this group.
        disabled: only the disabled ones, or only the others.
    """

    limit: int = 50
    after: int = 0
    search: str = ""
    account: str | None = None
    group: str | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which lines of the audit table: `action` from its start on ("key." for all of keys),
    `subject` by whole words of it
    ("3", "laptop", "key 3 laptop"), times as [since, until)."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which requests: all that fit everything that is given. `key` and `account` are refs."""

    key: str | None = None
    account: str | None = None
    model: str | None = None
    upstream: str | None = None
    outcome: str | None = None


EVERY_CHANGE = ChangeFilter()
EVERY_REQUEST = UsageFilter()
FIRST_PAGE = Page()


@dataclass(slots=True)  # not frozen: that costs four times as much, and a report can be long
class UsageRow:
    """One line of the usage report: all requests that share `group`.

    `group` has one value per dimension asked for, in that order. Sums of tokens and other units are
    None where no request of the group reported that count (unknown is not 0). `first_byte` and
    `duration` are averages in seconds; `estimated` counts requests whose usage is an estimate,
    partial or interrupted; `cost` and `uncharged` are exact sums of pico-dollars.
    """

    group: tuple[str, ...]
    requests: int
    failed: int
    estimated: int
    in_uncached: int | None
    cache_read: int | None
    cache_write: int | None
    tool_prompt: int | None
    out_total: int | None
    reasoning: int | None
    bytes_in: int
    bytes_out: int
    first_byte: float | None
    duration: float | None
    cost: int = 0
    uncharged: int = 0
    images: int | None = None
    audio_ms: int | None = None
    characters: int | None = None
    searches: int | None = None
