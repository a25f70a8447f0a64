"""What every endpoint of the admin API works with: the desk, the question, the route.

An endpoint is a plain function of a desk and a question; the table of `web.admin` says under which
method and path it is found, and the document `data/openapi.yaml` which query and body it takes, so
that whatever reaches an endpoint is well-formed already. A question that cannot be answered is
raised as one of the error family, or as a refusal of the store, which `refusal` words.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote

from relayd.accounts import Group
from relayd.errors import BadCall, Refused, RelayError
from relayd.policy.reports import DoorReport, ProbeResult
from relayd.store import base, refusals
from relayd.store.questions import Page

LIMIT = 50  # rows of a page, where the query does not say
Document = dict[str, object]
T = TypeVar("T")

# What the store refuses is the asker's matter; the rest is ours.
BY_REFUSAL: tuple[tuple[type[refusals.StoreError], int, str], ...] = (
    (refusals.NotFound, 404, "not_found"),
    (refusals.Ambiguous, 409, "ambiguous"),
    (refusals.NameTaken, 409, "name_taken"),
    (refusals.StoreUnavailable, 503, "store_unavailable"),
)


class Upstreams(Protocol):
    """What is looked at and switched; `policy.pools.Pools` is one."""

    def report(self, now: float) -> Sequence[DoorReport]:
        """How every door is doing, in configured order."""

    def enable(self, upstream: str, key: str | None, now: float) -> None:
        """Take all or one of its keys back into use, whatever took them out; KeyError: unknown."""

    def disable(self, upstream: str, key: str | None, now: float) -> None:
        """Take all or one of its keys out of use until `enable`; KeyError: unknown."""


class Prober(Protocol):
    """Who asks upstreams whether they are well."""

    async def probe(self, upstream: str, key: str | None) -> list[ProbeResult]:
        """Ask with all or one of its keys, within a bounded time; KeyError: unknown."""


async def _nothing() -> None:
    """Nobody wants to hear of changes."""


@dataclass(frozen=True, slots=True)
class Bureau:
    """What the endpoints about money and keys work with.

    Arguments:
        store: of keys, accounts, credits, usage.
        groups: the configured ones, asked for each time: a reload replaces them.
        changed: awaited after every change, before the answer goes out: the daemon looks at the
            store again, so that a new key works once its secret has been read.
        wall: Unix seconds.
        patience: seconds that a report or a search may take; then it is given up, with 503.
    """

    store: base.Store
    groups: Callable[[], Mapping[str, Group]]
    changed: Callable[[], Awaitable[None]] = _nothing
    wall: Callable[[], float] = time.time
    patience: float = 20.0

    async def soon(self, work: Awaitable[T]) -> T:
        """What a report or a search comes to; RelayError (503) if that takes too long."""
        try:
            async with asyncio.timeout(self.patience):
                return await work
        except TimeoutError:
            message = f"This took over {self.patience:g} seconds: ask for a shorter time or less."
            raise RelayError(message, status=503, code="too_slow") from None


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything an endpoint may need. `bureau` is missing where only upstreams are looked at."""

    upstreams: Upstreams
    prober: Prober
    clock: Callable[[], float]
    maybe_bureau: Bureau | None = None

    @property
    def bureau(self) -> Bureau:
        """The bureau; Refused (404) where there is none."""
        if self.maybe_bureau is None:
            raise Refused("This relayd keeps no accounts.", status=404, code="not_found")
        return self.maybe_bureau


class Ask(NamedTuple):
    """One question, checked against the document.

    Arguments:
        names: the parameters in the path.
        query: those of the query, in the types of the document.
        body: a JSON object, empty where none was sent or none is taken.
        actor: whose token it bore.
        peer: the address it came from.
        request: its id, for the log.
    """

    names: dict[str, str]
    query: dict[str, Any]
    body: dict[str, Any]
    actor: str
    peer: str = ""
    request: str = ""


Endpoint = Callable[[Desk, Ask], Awaitable[Document]]


class Route(NamedTuple):
    """One line of the table: what is asked for how, who answers, and with which status."""

    method: str
    path: str
    endpoint: Endpoint
    status: int = 200


class WrongMethod(BadCall):
    """There is something at this path, but not for this method."""

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(
            f"{method[:20]} is not for this; there is: {allowed}.", status=405, code="bad_method"
        )
        self.allowed = allowed


class Table:
    """Finds routes. Literal parts of a path win over parameters; a parameter is one part."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes
        self._parted = sorted(
            ((route.path.split("/"), route) for route in routes),
            key=lambda pair: [part.startswith("{") for part in pair[0]],
        )

    def __repr__(self) -> str:
        return f"<Table of {len(self.routes)} routes>"

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and the path's parameters; Refused (404) or WrongMethod."""
        asked = [unquote(part) for part in path.split("/")]
        reading = "GET" if method == "HEAD" else method
        allowed: dict[str, None] = {}
        for parts, route in self._parted:
            names = _matched(parts, asked)
            if names is None:
                continue
            if route.method == reading:
                return route, names
            methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
            allowed.update(dict.fromkeys(methods))
        if not allowed:
            raise Refused(f"There is nothing at {path[:200] or '/'}.", status=404, code="not_found")
        raise WrongMethod(method, ", ".join(allowed))


def _matched(parts: Sequence[str], asked: Sequence[str]) -> dict[str, str] | None:
    """The values of the parameters if the path fits."""
    if len(parts) != len(asked):
        return None
    names: dict[str, str] = {}
    for part, one in zip(parts, asked, strict=True):
        if part.startswith("{") and one:
            names[part[1:-1]] = one
        elif part != one:
            return None
    return names


def refusal(exc: refusals.StoreError) -> RelayError:
    """A refusal of the store as one of the error family, in the store's own words."""
    for kind, status, code in BY_REFUSAL:
        if isinstance(exc, kind):
            return (RelayError if status >= 500 else Refused)(str(exc), status=status, code=code)
    return BadCall(str(exc))


def limit_of(ask: Ask) -> int:
    """How many rows a query asks for."""
    return int(ask.query.get("limit", LIMIT))


def asked_page(ask: Ask) -> Page:
    """The part of a list that a query asks for, and one row more, to see whether it goes on."""
    query = ask.query
    return Page(
        limit_of(ask) + 1,
        after=query.get("after", 0),
        search=query.get("search", ""),
        account=query.get("account"),
        group=query.get("group"),
        disabled=query.get("disabled"),
    )


def page(rows: Sequence[Document], limit: int, field: str = "id") -> Document:
    """A page of a list that was asked for one row more than `limit`.

    `next` is what `after` has to be for the page that follows, null on the last one.
    """
    shown = list(rows[:limit])
    return {"data": shown, "next": shown[-1][field] if len(rows) > limit else None}
