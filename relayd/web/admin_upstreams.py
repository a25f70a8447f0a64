"""Upstreams in the admin API: how every door is doing, and the three things done to them.

A door is named by a path (`openai`, `openai/2`, `openai%2F2`), its key also by the query or by a
JSON body; two keys that differ are refused, because nobody can mean both.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from relayd.errors import BadCall, Refused
from relayd.lines import say
from relayd.policy.reports import DoorReport, ProbeResult
from relayd.web.admin_desk import Ask, Desk, Document

Switch = Callable[[str, str | None, float], None]


class Chosen(NamedTuple):
    """Which doors a request is about: those of an upstream, or one."""

    upstream: str
    key: str | None

    def __str__(self) -> str:
        return self.upstream if self.key is None else f"{self.upstream}/{self.key}"


async def shown(desk: Desk, ask: Ask) -> Document:
    """All doors, those of one upstream, or one."""
    if not ask.names and _key_asked(ask) is None:
        return _show(desk, None)
    return _show(desk, _found(desk, ask))


async def enabled(desk: Desk, ask: Ask) -> Document:
    """Take doors back into use."""
    return _switched(desk, ask, "enable", desk.upstreams.enable)


async def disabled(desk: Desk, ask: Ask) -> Document:
    """Take doors out of use."""
    return _switched(desk, ask, "disable", desk.upstreams.disable)


async def probed(desk: Desk, ask: Ask) -> Document:
    """Ask one upstream, or one of its keys."""
    chosen = _found(desk, ask)
    _note("probe", chosen, ask)
    return _results([await desk.prober.probe(*chosen)])


async def all_probed(desk: Desk, ask: Ask) -> Document:
    """Ask every upstream at once; a key alone names nothing."""
    if _key_asked(ask) is not None:
        return await probed(desk, ask)
    names = dict.fromkeys(r.upstream for r in desk.upstreams.report(desk.clock()))
    return _results(await asyncio.gather(*(desk.prober.probe(name, None) for name in names)))


def _switched(desk: Desk, ask: Ask, verb: str, act: Switch) -> Document:
    chosen = _found(desk, ask)
    _note(verb, chosen, ask)
    act(*chosen, desk.clock())  # nothing was awaited since it was found: it is known
    return _show(desk, chosen)


def _note(verb: str, chosen: Chosen, ask: Ask) -> None:
    words = f"admin: {verb} {chosen}"
    say(logging.INFO, words, request=ask.request, by=ask.actor, address=ask.peer or "unknown")


def _found(desk: Desk, ask: Ask) -> Chosen:
    """The doors that a name and a key stand for; Refused (404), with the nearest name."""
    known: dict[str, Chosen] = {}
    for report in desk.upstreams.report(desk.clock()):
        known[report.name] = Chosen(report.upstream, report.key)
        known[report.upstream] = Chosen(report.upstream, None)
    key, name = _key_asked(ask), ask.names.get("upstream", "")
    asked = name if key is None else f"{name}/{key}"
    if asked in known:
        return known[asked]
    raise Refused(_unknown(asked, known), status=404, code="unknown_upstream")


def _key_asked(ask: Ask) -> str | None:
    """The key that path, query or body name, None for none of them."""
    sources = (ask.names.get("key"), ask.query.get("key"), ask.body.get("key"))
    keys = dict.fromkeys(str(key) for key in sources if key is not None)
    if len(keys) > 1:
        raise BadCall("Name one key, not several.", param="key")
    return next(iter(keys), None)


def _show(desk: Desk, chosen: Chosen | None) -> Document:
    reports = desk.upstreams.report(desk.clock())
    return {"upstreams": [r.as_json() for r in reports if chosen is None or _is_of(r, chosen)]}


def _unknown(asked: str, known: dict[str, Chosen]) -> str:
    upstream, _, key = asked.partition("/")
    keys = [chosen.key for chosen in known.values() if chosen.upstream == upstream and chosen.key]
    if keys:
        return f"The upstream `{upstream}` has no key `{key[:200]}`; it has: {', '.join(keys)}."
    message = f"There is no upstream `{asked[:200]}`"
    near = difflib.get_close_matches(asked[:200], known, n=1)
    return f"{message}; did you mean `{near[0]}`?" if near else f"{message}."


def _is_of(report: DoorReport, chosen: Chosen) -> bool:
    return report.upstream == chosen.upstream and chosen.key in (None, report.key)


def _results(found: Sequence[Sequence[ProbeResult]]) -> Document:
    return {"results": [result.as_json() for results in found for result in results]}
