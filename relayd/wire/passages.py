"""Generic pass-through: paths that relayd does not know, opened for single upstreams by prefix.

Pure. A prefix is matched by whole segments, on the path as it was sent. What could mean another
path to somebody further on (dots, doubled or encoded slashes, backslashes, control characters) is
refused where it begins with an open prefix, and is unknown elsewhere. What is left goes up as it
came, behind the upstream's own base URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from relayd.errors import BadCall
from relayd.model import UpstreamSpec
from relayd.wire.paths import Target, format_of_path, without_key

# HEAD is not among them: whether its reply has a body cannot be told from the reply.
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_ENCODED = re.compile(r"%(?![0-9a-fA-F]{2})|%(2f|5c|25|0|1|7f)", re.IGNORECASE)


class Passage(NamedTuple):
    """A prefix, and the upstream that is behind it."""

    prefix: str
    upstream: str


class Passages:
    """All prefixes that are open, the upstreams in configured order.

    Arguments:
        specs: the upstreams.
    """

    def __init__(self, specs: Iterable[UpstreamSpec]) -> None:
        self._all = [Passage(prefix, spec.name) for spec in specs for prefix in spec.passthrough]

    def __repr__(self) -> str:
        return f"Passages({', '.join(f'{prefix}->{name}' for prefix, name in self._all)})"

    def upstream(self, path: str) -> str | None:
        """The first upstream that has the path open; None where nobody does."""
        for prefix, name in self._all:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                return name
        return None

    def target(self, method: str, path: str, query: str) -> Target | None:
        """What to ask for, or None where the path is not open. It still has to be checked."""
        if self.upstream(path) is None:
            return None
        return Target(
            format_of_path(path),
            "other",
            verb="passthrough",
            rest=path,
            method=method,
            query=without_key(query),
        )


def check(target: Target) -> None:
    """Raises BadCall where a path might lead elsewhere (400), or the method cannot pass (405)."""
    check_path(target.rest)
    if target.method not in METHODS:
        message = f"The method {target.method[:20]} is not passed through."
        raise BadCall(message, status=405, code="bad_method")


def check_path(path: str) -> None:
    """Raises BadCall where a path might mean another one to whoever reads it next."""
    plain = _PLAIN.fullmatch(path) and not _ENCODED.search(path) and "//" not in path
    read = unquote(path)
    # Some cut a step at its semicolon, and read bytes that are no UTF-8 in ways of their own.
    back = any(step.partition(";")[0] in (".", "..") for step in read.split("/"))
    if not plain or back or "\ufffd" in read:
        raise BadCall("This path cannot be passed on: it is not a plain one.", code="bad_path")
