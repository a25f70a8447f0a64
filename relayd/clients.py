"""How to point a client at relayd: settings kept as data, with the address and the key filled in.

Strategy: one file (`data/clients.yaml`) says of every client which variables, files and fields it
wants; whoever shows them (the command line, the page of the documentation, the console) reads the
same records. Only {base}, {key} and {model} are replaced, so a text may hold any other braces. What
is filled in ends up inside shell lines, JSON, TOML and programs, where a quote would change what is
said: so a value with such a character is refused rather than escaped in six languages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

import yaml

from relayd.model import FormatName

Kind = Literal["terminal", "library", "app", "editor"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

# What stands where no address and no key is known.
SOME_BASE: Final = "https://relay.example.com"
SOME_KEY: Final = "sk-relayd-YOUR-KEY"

_PLACE: Final = re.compile(r"\{(base|key|model)\}")
_PLAIN: Final = re.compile(r"[\w.~:/@+=,-]{1,256}", re.ASCII)
_VERSION: Final = re.compile(r"/(v1|v1beta|api/v1)$")


@dataclass(frozen=True, slots=True)
class File:
    """A file that a client reads; `~` is the home folder, a bare name any folder."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to set a client up.

    Attributes:
        format: the format that it speaks then.
        title: which way it is, "" where there is one only.
        env: variables of the environment.
        files: what to write where.
        fields: what its window asks for, label to value.
        steps: what to do beside that, one sentence each.
        run: a command that tries it; several lines are one command.
    """

    format: FormatName
    title: str = ""
    env: Mapping[str, str] | None = None
    files: tuple[File, ...] = ()
    fields: Mapping[str, str] | None = None
    steps: tuple[str, ...] = ()
    run: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """A program or library that people point at relayd.

    Attributes:
        name: short, for the command line.
        install: how to get it, "" where its own site says it.
        proven: the version that was run against relayd, "" where none was.
        model: one to begin with.
        notes: what one has to know, one sentence or two each.
    """

    name: str
    title: str
    kind: Kind
    model: str
    setups: tuple[Setup, ...]
    install: str = ""
    proven: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where relayd is, and with which key and model it is asked.

    Arguments:
        base: its address without a version; one that ends with /v1 is shortened.
        model: "" is each client's own.

    Raises:
        ValueError: a value that cannot be one, or that would break out of its quotes.
    """

    base: str = SOME_BASE
    key: str = SOME_KEY
    model: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", _base(self.base))
        for what, value in (("key", self.key), ("model", self.model or "any")):
            if not _PLAIN.fullmatch(value):
                raise ValueError(f"that is no {what}: letters, digits and . _ - : / @ + = , ~ only")

    def __repr__(self) -> str:
        return f"Place({self.base}, model={self.model!r})"


@cache
def shipped() -> Mapping[str, Client]:
    """All clients by name, in the order of the file."""
    return read(files("relayd").joinpath("data", "clients.yaml").read_text("utf-8"))


def read(text: str) -> Mapping[str, Client]:
    """The clients of a file of this kind. Raises ValueError or TypeError where it is none."""
    return {name: _client(name, entry) for name, entry in yaml.safe_load(text).items()}


def filled(client: Client, place: Place) -> Client:
    """The client with address, key and model in place."""
    values = {"base": place.base, "key": place.key, "model": place.model or client.model}

    def fill(text: str) -> str:
        return _PLACE.sub(lambda found: values[found[1]], text)

    setups = tuple(_mapped(setup, fill) for setup in client.setups)
    return replace(client, model=values["model"], setups=setups)


def document(client: Client) -> dict[str, Any]:
    """The client for programs: what is empty is left out."""
    told = _told(asdict(client))
    return told | {"setups": [_told(asdict(setup)) for setup in client.setups]}


def _client(name: str, entry: dict[str, Any]) -> Client:
    setups = tuple(_setup(**setup) for setup in entry.pop("setups"))
    client = Client(name, setups=setups, notes=tuple(entry.pop("notes", ())), **entry)
    if client.kind not in KINDS or not setups:
        raise ValueError(f"{name}: of kind {client.kind}, with {len(setups)} setups")
    return client


def _setup(**entry: Any) -> Setup:
    if entry["format"] not in get_args(FormatName):
        raise ValueError(f"{entry['format']} is no format")
    written = tuple(File(**one) for one in entry.pop("files", ()))
    return Setup(files=written, steps=tuple(entry.pop("steps", ())), **entry)


def _mapped(setup: Setup, fill: Callable[[str], str]) -> Setup:
    return replace(
        setup,
        env={name: fill(value) for name, value in (setup.env or {}).items()},
        files=tuple(File(one.path, fill(one.text)) for one in setup.files),
        fields={label: fill(value) for label, value in (setup.fields or {}).items()},
        steps=tuple(map(fill, setup.steps)),
        run=fill(setup.run),
    )


def _base(given: str) -> str:
    base = given.strip().rstrip("/")
    base = _VERSION.sub("", base).rstrip("/")
    try:
        parts = urlsplit(base)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    bracketless = re.sub(r"//\[[0-9a-fA-F:.]+\]", "//host", base)
    if not whole or "@" in base or not _PLAIN.fullmatch(bracketless):
        raise ValueError("that is no address such as https://relay.example.com")
    return base


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
