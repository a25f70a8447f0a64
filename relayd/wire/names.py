"""Tool names that an upstream takes, and the way back.

A name that is valid passes untouched; one that is not becomes one that is, within one request
without collisions, and the reply's calls get the client's name again. A tool in a namespace is
`namespace__name` where there are no namespaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from relayd.model import FormatName
from relayd.wire import ids
from relayd.wire.neutral import Custom, Tool

_FITS: Final[dict[FormatName, re.Pattern[str]]] = {
    "chat": re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "responses": re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    "messages": re.compile(r"[a-zA-Z0-9_-]{1,128}"),
    "gemini": re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}"),
}
_WRONG = re.compile(r"[^a-zA-Z0-9_-]")
_KEPT: Final = 48


class Original(NamedTuple):
    """A tool as the client knows it. `wrapped`: it takes free text, and was declared as a function
    with one string, `input`."""

    name: str
    namespace: str = ""
    wrapped: bool = False


class Names:
    """The tools of one request under the names that its upstream gets. Owns both tables.

    Arguments:
        tools: all that are declared, in order.
        to: the upstream's format.
        custom: whether it has tools that take free text.
    """

    __slots__ = ("_back", "_there", "_to")

    def __init__(self, tools: Iterable[Tool], to: FormatName, *, custom: bool = False) -> None:
        self._to = to
        self._there: dict[tuple[str, str], str] = {}
        self._back: dict[str, Original] = {}
        for tool in tools:
            group = tool.namespace.name if tool.namespace is not None else ""
            wrapped = isinstance(tool, Custom) and not custom
            name = self.there(tool.name, group)
            self._back[name] = Original(tool.name, group, wrapped)

    def __repr__(self) -> str:
        changed = {k: v.name for k, v in self._back.items() if k != v.name}
        return f"<Names to={self._to} {len(self._back)} tools, changed: {changed}>"

    @property
    def plain(self) -> bool:
        """Whether every tool goes under its own name, as itself: nothing has to be changed back."""
        return all(original == (name, "", False) for name, original in self._back.items())

    def there(self, name: str, namespace: str = "") -> str:
        """What the upstream calls it; a tool that is not declared any more gets a name as well."""
        known = self._there.get((namespace, name))
        if known is None:
            known = self._there[namespace, name] = self._fitting(name, namespace)
            self._back.setdefault(known, Original(name, namespace))
        return known

    def back(self, name: str) -> Original:
        """What the client calls it; a name that the model made up stays as it is."""
        return self._back.get(name) or Original(name)

    def _fitting(self, name: str, namespace: str) -> str:
        full = f"{namespace}__{name}" if namespace else name
        if _FITS[self._to].fullmatch(full) and full not in self._back:
            return full
        stem = _WRONG.sub("_", full)[:_KEPT]
        stem = stem if stem[:1].isalpha() else "_" + stem
        return f"{stem}_{ids.digest(namespace + chr(0) + name)[:8]}"
