"""Readers of single values and whole records, for every section of the configuration.

Strategy: a reader takes a `Place` and returns a value, or raises `Wrong` with a sentence for the
operator. The record is the schema: a field `stall: Annotated[float, seconds()] = 120.0` says its
type, its reader and its default in one line, and `record` reads the section from that. A field
read by a `Hidden` reader, such as `secret`, has a twin in the file, `<name>_file`, that names a
file holding the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

from relayd.config.document import Place, Wrong, glimpse, unknown
from relayd.model import Secret

T = TypeVar("T")
Name = TypeVar("Name", bound=str)
Reader = Callable[[Place], Any]

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(B|[kK]i?B|[MG]i?B)?")
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?|\.\d{1,15}")
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>\d+)")
_VISIBLE = re.compile(r"[\x21-\x7e]*")
_UNEXPANDED = re.compile(r"\$(?:[A-Za-z_]\w*|\{[^}]*\})")
_MAX_SECRET = 64 * 1024
SHORTEST_TOKEN = 16  # characters


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. An empty host means every address of the machine; port 0, any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether programs of this machine alone can connect."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return False


def seconds(least: float = 0.001, most: float = 7 * 86400.0) -> Callable[[Place], float]:
    """A reader of durations, in seconds: `10s`, `5m`, `500ms`, `1h`, or a plain number."""

    def read(place: Place) -> float:
        match = _DURATION.fullmatch(place.text())
        if not match:
            raise Wrong(f"{place.written!r} is not a duration such as 500ms, 10s, 5m or 1h")
        value = float(match[1]) * _SECONDS[match[2]]
        return _within(value, least, most, "seconds")

    return read


def size(least: int = 1, most: int = 4 * 2**30) -> Callable[[Place], int]:
    """A reader of sizes, in bytes: `64MiB`, `500kB`, or a plain number of bytes."""

    def read(place: Place) -> int:
        match = _SIZE.fullmatch(place.text().replace("_", ""))
        if not match:
            raise Wrong(f"{place.written!r} is not a size such as 65536, 500kB or 64MiB")
        value = int(float(match[1]) * _BYTES[(match[2] or "B").upper()])
        return _within(value, least, most, "bytes")

    return read


def whole(least: int, most: int) -> Callable[[Place], int]:
    """A reader of whole numbers."""

    def read(place: Place) -> int:
        text = place.text().replace("_", "")
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
            raise Wrong(f"{place.written!r} is not a whole number")
        return _within(int(text), least, most, "")

    return read


def number(least: float, most: float) -> Callable[[Place], float]:
    """A reader of decimal numbers, without an exponent."""

    def read(place: Place) -> float:
        text = place.text()
        if not _NUMBER.fullmatch(text.removeprefix("-")):
            raise Wrong(f"{place.written!r} is not a number such as 2 or 0.5")
        return _within(float(text), least, most, "")

    return read


def _within(value: T, least: Any, most: Any, unit: str) -> T:
    if not least <= value <= most:
        raise Wrong(f"must be between {_plain(least)} and {_plain(most)} {unit}".rstrip())
    return value


def _plain(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def switch(place: Place) -> bool:
    """`true` or `false`, and the other words YAML has for them."""
    value = _SWITCH.get(place.text().lower())
    if value is None:
        raise Wrong(f"{place.written!r} is not true or false")
    return value


def choice(*names: str) -> Callable[[Place], str]:
    """A reader of one of a few words."""

    def read(place: Place) -> str:
        text = place.text()
        if text not in names:
            raise Wrong(f"{place.written!r} is not one of {', '.join(names)}")
        return text

    return read


def address(place: Place) -> Address:
    """`127.0.0.1:8080`, `localhost:8080`, `[::1]:8080`, or `:8080` for every address."""
    match = _ADDRESS.fullmatch(place.text())
    if not match:
        raise Wrong(f"{place.written!r} is not an address such as 127.0.0.1:8080 or '[::1]:8080'")
    port = int(match["port"][:6])
    if port > 65535:
        raise Wrong("the port must be between 0 and 65535")
    return Address(match["six"] or match["host"] or "", port)


def addresses(place: Place) -> tuple[Address, ...]:
    """One address, or a list of different ones."""
    if not place.is_list:
        return (address(place),)
    found: list[Address] = []
    for item in place.items():
        one = item.take(address)
        if one in found:
            item.complain("stands here twice")
        elif one is not None:
            found.append(one)
    if not place.items():
        raise Wrong("needs at least one address")
    return tuple(found)


def file_path(place: Place) -> Path:
    """A path; a relative one counts from the folder of the config file."""
    text = place.text()
    if not text or "\0" in text:
        raise Wrong("is not a path")
    return place.source.folder / Path(text).expanduser()


def folder(place: Place) -> Path:
    """A folder that is there."""
    path = file_path(place)
    if not path.is_dir():
        raise Wrong("is not a folder")
    return path


@dataclass(frozen=True, slots=True)
class Hidden:
    """A reader of a value that no message may repeat: the line holds it, or names a file that does.

    Arguments:
        parse: makes the value out of the text, or raises `Wrong` without quoting it.
    """

    parse: Callable[[str], Any]

    def __call__(self, place: Place) -> Any:
        """Read the line itself."""
        return self.parse(place.text())

    def from_file(self, place: Place) -> Any:
        """Read the file that is named. An empty name (`${VARIABLE:-}`) is an empty value."""
        if not place.text():
            return self.parse("")
        path = file_path(place)
        named = glimpse(place.written)  # it may be the secret itself, in the wrong line
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_SECRET + 1)
        except OSError as error:
            raise Wrong(f"the file {named} cannot be read: {error.strerror}") from None
        if len(data) > _MAX_SECRET:
            raise Wrong(f"the file {named} is too large to be a secret")
        return self.parse(data.decode("latin-1"))


def _secret(text: str) -> Secret:
    """Outer white space is what editors, `echo` and pasting leave; inside, it is a mistake."""
    text = text.strip()
    if not _VISIBLE.fullmatch(text):
        raise Wrong("holds a character that cannot stand in a header (a space? a line end?)")
    if _UNEXPANDED.fullmatch(text):
        raise Wrong("is the name of a variable, not its value: write ${NAME}, in braces")
    return Secret(text)


def _token(text: str) -> Secret:
    """What a door opens to: what can be guessed is none. An empty one opens nothing."""
    found = _secret(text)
    if found and len(found.reveal()) < SHORTEST_TOKEN:
        raise Wrong(
            f"can be guessed: give at least {SHORTEST_TOKEN} characters (`openssl rand -hex 24`)"
        )
    return found


# A value that must not be printed, and that can stand in a header.
secret = Hidden(_secret)
# One that we make up ourselves, and that opens something here.
token = Hidden(_token)


def web_address(text: str, example: str) -> str:
    """An http or https address, without the white space around it. Raises Wrong, which names the
    example and never what was written: addresses hold tokens."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise Wrong(f"is not an address such as {example}")
    return text


@cache
def readers_of(record_type: type[Any]) -> Mapping[str, Reader]:
    """The readers of a record's annotated fields, by the name that stands in the file.

    To find them takes longer than to read a section: it is done once a type, not once a reload.
    """
    readers: dict[str, Reader] = {}
    for name, hint in get_type_hints(record_type, include_extras=True).items():
        if hasattr(hint, "__metadata__"):
            readers[name] = hint.__metadata__[0]
    return readers


def record(
    record_type: type[T], readers: Mapping[str, Reader] | None = None
) -> Callable[[Place], T]:
    """A reader of a section into `record_type`; what the section leaves out keeps its default.

    Arguments:
        record_type: a dataclass whose fields all have defaults.
        readers: by field name, where the fields themselves carry no annotation.
    """
    kind: Any = record_type
    known = readers_of(kind) if readers is None else readers

    def read(place: Place) -> T:
        return record_type(**fields(place, known))

    return read


def fields(place: Place, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """The values of a section, by field; wrong ones are on the list of problems and absent here."""
    twins = _twins(readers)
    readers = {**readers, **twins}
    values: dict[str, Any] = {}
    written: dict[str, Place] = {}
    for name, member in place.members().items():
        reader = readers.get(name)
        if reader is None:
            member.complain(unknown(name, readers))
            continue
        field = name.removesuffix("_file") if name in twins else name
        if field in written:
            member.complain(f"{field} is given twice: keep {field} or {field}_file")
        written[field] = member
        value = member.take(reader)
        if value is not None:
            values[field] = value
    return values


def _twins(readers: Mapping[str, Reader]) -> dict[str, Reader]:
    hidden = {name: one for name, one in readers.items() if isinstance(one, Hidden)}
    return {f"{name}_file": reader.from_file for name, reader in hidden.items()}


def distinct(place: Place, reader: Callable[[Place], str], empty: str) -> dict[str, Place]:
    """The items of a list, each with its place: one that stands there twice is a problem.

    Raises Wrong, saying `empty`, for a list without items.
    """
    found: dict[str, Place] = {}
    items = place.items()
    for item in items:
        text = item.take(reader)
        if text in found:
            item.complain("stands here twice")
        elif text:
            found[text] = item
    if not items:
        raise Wrong(empty)
    return found


def is_one_of(names: Iterable[Name]) -> Callable[[Place], Name]:
    """A reader of a name out of many: the nearest one is proposed for a misspelt one."""
    known = tuple(names)

    def read(place: Place) -> Name:
        text = place.text()
        if text not in known:
            raise Wrong(f"{place.written!r} is an {unknown(text, known)}")
        return known[known.index(text)]

    return read
