"""What the operator's log says of upstreams: each change and each reason, but not each request.

Changes of state have a line of their own: a breaker that opens, is probed, closes; a rate limit; a
key that its provider refuses, or takes again. Failures are told by their reason when it comes up.
What may come a thousand times a second (a reason, a rate limit) is told once, then at most once a
minute with how often it came since. Each line has the id of a request that shows it: the usage log
and the client know it by the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from relayd.lines import say
from relayd.policy.changes import Change, Event

UPSTREAM_FAULTS = frozenset({"upstream_error", "broken_stream"})
QUIET = 60.0  # seconds between two lines about the same reason
MOST_REASONS = 1000
MOST_CHANGES = 100  # told of the models at one key in such a time: clients may make up names
LONGEST_NAME = 100

# What is said of a model at a key, and of a base URL.
WORDS: Final[Mapping[Event, tuple[int, str]]] = {
    "opens": (logging.WARNING, "breaker opens"),
    "probes": (logging.INFO, "breaker is half open, this request is the probe"),
    "closes": (logging.WARNING, "breaker closes"),
    "cools": (logging.WARNING, "rate limit of the provider, it is left alone for a while"),
    "refused": (logging.ERROR, "its provider refuses it"),
    "back": (logging.WARNING, "is back"),
}


class _Told(NamedTuple):
    at: float
    since: int = 0  # how often it came, and was not told


class _Changes:
    """Changes of the models at one key, in the minute that began `at`."""

    __slots__ = ("_at", "_told", "_untold")

    def __init__(self) -> None:
        self._at, self._told, self._untold = float("-inf"), 0, 0

    def take(self, now: float) -> int | None:
        """How many were not told since the last that was; None where this one is not, either."""
        if now - self._at >= QUIET:
            self._at, self._told = now, 0
        self._told += 1
        if self._told > MOST_CHANGES:
            self._untold += 1
            return None
        untold, self._untold = self._untold, 0
        return untold


class FaultLog:
    """Tells of upstreams. State: when each reason was told last, and how often it came since."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, ...], _Told] = {}
        self._changes: dict[str, _Changes] = {}  # by upstream key

    def __repr__(self) -> str:
        return f"<FaultLog {len(self._told)} reasons>"

    def note(self, upstream: str, key: str, reason: str, now: float, request: str = "") -> bool:
        """One more failure of an upstream key; returns whether it was told."""
        since = self._due(now, upstream, key, reason)
        if since is None:
            return False
        say(
            logging.WARNING,
            f"upstream key {upstream}/{key} fails: {reason}",
            request=request,
            upstream=upstream,
            key=key,
            reason=reason,
            more=since or None,
        )
        return True

    def unserved(self, rule: str, model: str, why: str, now: float, request: str = "") -> bool:
        """One more request that no upstream could serve.

        Arguments:
            rule: by which the first upstream offers the model: clients make up names, not rules.
            why: names each upstream key and its reason.
        """
        model = model[:LONGEST_NAME]
        since = self._due(now, "", rule)
        if since is None:
            return False
        words = f"no upstream serves {model}"
        say(logging.WARNING, words, request=request, model=model, why=why, more=since or None)
        return True

    def hear(self, change: Change) -> None:
        """A change of state; see `policy.changes`."""
        level, words = WORDS[change.event]
        more = None
        if change.event == "cools":
            more = self._due(change.at, "cools", change.upstream, change.key, change.model)
            if more is None:
                return
        if change.model:
            untold = self._changes_of(change).take(change.at)
            if untold is None:
                return
            more = (more or 0) + untold
        if change.event == "refused" and not change.model:
            whole = f"{change.upstream}/{change.key}"
            words = f"is taken out: {words}; `relayd upstream enable {whole}` takes it back"
        say(
            level,
            f"{_subject(change)} {words}",
            request=change.request,
            upstream=change.upstream,
            key=change.key if not change.site else None,
            model=change.model,
            site=_place(change.site),
            why=change.why,
            failures=change.failures or None,
            again_s=change.again,
            instead=_place(change.instead),
            more=more or None,
        )

    def _changes_of(self, change: Change) -> _Changes:
        name = f"{change.upstream}/{change.key}"
        if len(self._changes) >= MOST_REASONS:
            self._changes.clear()
        return self._changes.setdefault(name, _Changes())

    def _due(self, now: float, *reason: str) -> int | None:
        """How often a reason came since it was told last; None where it is not to be told now."""
        told = self._told.get(reason, _Told(float("-inf")))
        if now - told.at < QUIET:
            self._told[reason] = told._replace(since=told.since + 1)
            return None
        if len(self._told) >= MOST_REASONS:
            self._told.clear()
        self._told[reason] = _Told(now)
        return told.since


def _subject(change: Change) -> str:
    if change.site:
        return f"upstream {change.upstream}: base URL {_place(change.site)}:"
    name = f"upstream key {change.upstream}/{change.key}"
    if change.model:
        return f"{name}: model {change.model[:LONGEST_NAME]}:"
    return name


def _place(url: str) -> str:
    """A base URL as far as it may be shown: what stands before an @ may be a password."""
    if not url:
        return ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
