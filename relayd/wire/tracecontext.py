"""W3C Trace Context: the trace that a request comes with, read from its headers; ours, in headers.

What a client sends is used whole or not at all. A `traceparent` that is malformed, there twice, or
of ids that are all zero begins no trace of the client's, and its `tracestate` is then not looked
at; one of a version that is not known yet is read as far as this one goes. A `tracestate` that is
longer than 512 characters, has more than 32 members, or breaks the grammar, is left out. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

SAMPLED: Final = 1
RANDOM: Final = 2
LONGEST_STATE: Final = 512  # characters of all tracestate headers together
MOST_MEMBERS: Final = 32

_PARENT: Final = re.compile(
    rb"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*", re.DOTALL
)
_MEMBER: Final = re.compile(
    r"([a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}|[a-z][a-z0-9_*/-]{0,255})"
    r"=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_LONGEST_PARENT: Final = 512


class Parent(NamedTuple):
    """The span that a request belongs to, as its client says. `state`: what tracing systems on the
    way want to be passed on, names and values."""

    trace_id: int
    span_id: int
    flags: int
    state: tuple[tuple[str, str], ...] = ()

    @property
    def sampled(self) -> bool:
        """Whether the client records it."""
        return bool(self.flags & SAMPLED)


def read(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """What a request comes with, or None."""
    parents: list[bytes] = []
    states: list[bytes] = []
    for name, value in headers:
        # By its length first: nearly all headers are told apart by that.
        if len(name) == 11 and name.lower() == b"traceparent":
            parents.append(value)
        elif len(name) == 10 and name.lower() == b"tracestate":
            states.append(value)
    if len(parents) != 1 or len(parents[0]) > _LONGEST_PARENT:
        return None
    found = _PARENT.fullmatch(parents[0])
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), int(flags, 16) & (SAMPLED | RANDOM))
    if not (parent.trace_id and parent.span_id):
        return None
    return parent._replace(state=_state(states)) if states else parent


def written(parent: Parent) -> list[tuple[bytes, bytes]]:
    """The headers that make a span the parent of what is asked with them."""
    said = b"00-%032x-%016x-%02x" % (parent.trace_id, parent.span_id, parent.flags)
    headers = [(b"traceparent", said)]
    if parent.state:
        members = ",".join(f"{name}={value}" for name, value in parent.state)
        headers.append((b"tracestate", members.encode("ascii")))
    return headers


def _state(headers: list[bytes]) -> tuple[tuple[str, str], ...]:
    """The members of all tracestate headers together; none where something is wrong with them."""
    if sum(map(len, headers)) + len(headers) - 1 > LONGEST_STATE:
        return ()
    members: dict[str, str] = {}
    for member in b",".join(headers).decode("latin-1").split(","):
        text = member.strip(" \t")
        if not text:
            continue
        found = _MEMBER.fullmatch(text)
        if found is None or found[1] in members:
            return ()
        members[found[1]] = found[2]
    return tuple(members.items()) if len(members) <= MOST_MEMBERS else ()
