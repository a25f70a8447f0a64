"""The walker under the configuration: YAML nodes with a path, a line and a place to complain to.

Strategy: the text is composed into nodes, never constructed into objects, because a node knows its
line and a dict does not. A `Place` is a node with its path; a reader is a function that takes a
place and returns a value, or raises `Wrong`. `Place.take` turns `Wrong` into a problem on the list
and goes on, so one run reports every problem of the file.

Bounds: the file is at most 1 MiB, nesting is at most 16 deep, and anchors, aliases and tags are
refused: the small language that is left cannot be made to blow up. Messages quote what stands in
the file, never what a variable or a secret file put in its place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import orjson
import yaml

T = TypeVar("T")

MAX_FILE = 1024 * 1024
MAX_DEPTH = 16

GLIMPSE = 8  # characters
_NULL = "tag:yaml.org,2002:null"
_KINDS = {
    _NULL: "nothing",
    "tag:yaml.org,2002:str": "text",
    "tag:yaml.org,2002:bool": "yes or no",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:map": "a section",
    "tag:yaml.org,2002:seq": "a list",
}
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_VARIABLE = re.compile(r"\$(?P<literal>\$)?\{(?P<inside>[^}\n]*)(?P<closed>\})?")
_NAME = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-.*)?")


class Problem(NamedTuple):
    """One thing that is wrong in a configuration file: where, and what.

    `path` is dotted from the root and empty for the file itself; `line` counts from 1, and is 0
    where no line is to blame.
    """

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class ConfigProblems(Exception):
    """A configuration cannot be used; `problems` lists all that is wrong with it, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        super().__init__("\n".join(map(str, self.problems)))


class Wrong(Exception):
    """One value cannot be taken. The message says why, and shows no secret."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a file is read with: its folder, the environment, and the list that problems go to."""

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the file with its dotted path."""

    node: Any = field(repr=False)
    path: str
    line: int
    source: Source

    def complain(self, message: str) -> None:
        """Put a problem with this place on the list."""
        self.source.problems.append(Problem(self.path, self.line, message))

    def take(self, reader: Callable[[Place], T]) -> T | None:
        """What `reader` makes of this place; None, and a problem on the list, when it is wrong."""
        try:
            return reader(self)
        except Wrong as wrong:
            self.complain(str(wrong))
            return None

    @property
    def written(self) -> str:
        """The text of a single value as it stands in the file, for messages."""
        return str(self.node.value)

    def text(self) -> str:
        """A single value as text, with `${VARIABLES}` put in. Whatever YAML makes of it: the
        readers of numbers and switches parse the text themselves."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise Wrong(f"expected a single value, found {self._kind}")
        if self.node.tag == _NULL:
            raise Wrong("has no value: give one, or leave the line out")
        return interpolate(self.written, self.source.environ)

    def plain(self) -> Any:
        """Whatever stands here, in the terms of JSON. Numbers keep their digits, so that nothing
        is lost on the way; a number that only YAML knows is refused. A text that a variable is
        part of stays a text."""
        if self.is_section:
            return {name: member.take(Place.plain) for name, member in self.members().items()}
        if self.is_list:
            return [item.take(Place.plain) for item in self.items()]
        if self.node.tag == _NULL:
            return None
        text, kind = self.written, _KINDS.get(self.node.tag)
        if kind == "yes or no":
            return text.lower() in ("true", "yes", "on")
        if self.node.style is None and _JSON_NUMBER.fullmatch(text):
            return orjson.Fragment(text)
        if kind == "a number":
            raise Wrong(f"{text!r} is not a number that JSON knows; a text goes in quotes")
        return self.text()

    def members(self) -> dict[str, Place]:
        """The members of a section, in file order; a second one of the same name is a problem."""
        if self.is_nothing:
            return {}
        if not isinstance(self.node, yaml.MappingNode):
            raise Wrong(f"expected a section of `name: value` lines, found {self._kind}")
        members: dict[str, Place] = {}
        for key, value in self.node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else "?"
            member = self._child(value, f".{name}", key)
            if not isinstance(key, yaml.ScalarNode):
                member.complain("a name must be plain text")
            elif name in members:
                member.complain(f"stands here twice (first on line {members[name].line})")
            else:
                members[name] = member
        return members

    def items(self) -> list[Place]:
        """The items of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise Wrong(f"expected a list, found {self._kind}")
        nodes = enumerate(self.node.value)
        return [self._child(node, f"[{index}]", node) for index, node in nodes]

    def names(self) -> frozenset[str]:
        """The names written in a section, right or wrong; none where no section stands."""
        pairs = self.node.value if self.is_section else []
        return frozenset(str(key.value) for key, _ in pairs)

    @property
    def is_list(self) -> bool:
        """Whether a list stands here."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def is_section(self) -> bool:
        """Whether a section stands here."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_nothing(self) -> bool:
        """Whether nothing stands here, or `null`. `limits:` with every line under it commented out
        is an empty section, not an error."""
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag == _NULL

    @property
    def _kind(self) -> str:
        return _KINDS.get(self.node.tag, "something else")

    def _child(self, node: Any, step: str, at: Any) -> Place:
        path = (self.path + step).removeprefix(".")
        return Place(node, path, at.start_mark.line + 1, self.source)


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Put the environment in: `${NAME}`, `${NAME:-default}` as in a shell; `$${` is a literal `${`.

    Raises `Wrong` naming every variable that is missing or misspelt.
    """
    faults: list[str] = []

    def value(match: re.Match[str]) -> str:
        if match["literal"]:
            return match[0][1:]
        found = match["closed"] and _NAME.fullmatch(match["inside"])
        if not found:
            faults.append(f"{glimpse(match[0])} is not ${{NAME}} or ${{NAME:-default}}")
            return ""
        name, default = found["name"], found["default"]
        if default is not None:
            return environ.get(name) or str(default[2:])
        if name not in environ:
            faults.append(f"the environment variable {name} is not set")
        return environ.get(name, "")

    result = _VARIABLE.sub(value, text)
    if faults:
        raise Wrong("; ".join(faults))
    return result


def glimpse(text: str) -> str:
    """The start of what is written, by which it can be found; the whole may be a secret."""
    return text if len(text) <= GLIMPSE else f"{text[:GLIMPSE]}…"


def unknown(name: str, known: Iterable[str]) -> str:
    """The message for a name that is not known here, with the nearest one that is."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
    return f"unknown name; {hint}"


def read_text(path: Path) -> str:
    """The text of a configuration file; raises `ConfigProblems` when it cannot be had."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        _refuse(f"{path} cannot be read: {error.strerror}")
    if len(data) > MAX_FILE:
        _refuse(f"{path} is over 1 MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse("is not UTF-8 text", data.count(b"\n", 0, error.start) + 1)


def root(text: str, source: Source) -> Place:
    """The whole file as one place; raises `ConfigProblems` when it is not YAML of our kind."""
    try:
        node = _compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _refuse(f"is not YAML: {error.problem or error.context}", mark.line + 1 if mark else 0)
    except yaml.reader.ReaderError as error:
        _refuse(f"holds a character that YAML refuses (code {error.character:#x})")
    return Place(node or yaml.ScalarNode(_NULL, ""), "", 1, source)


def _refuse(message: str, line: int = 0) -> NoReturn:
    raise ConfigProblems([Problem("", line, message)]) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's composer without what can make a small file large."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise _fault("anchors and aliases are not used here", event)
        if getattr(event, "tag", None) is not None:
            raise _fault("tags are not used here", event)
        if self.depth == MAX_DEPTH:
            raise _fault("is nested too deep", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _fault(message: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, message, event.start_mark)


def _compose(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()
