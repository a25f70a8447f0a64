"""The seed pages themselves: which requests they print, which paths and statuses they name.

The pages are text that was copied from web sites: headings run into code, a closing quote is
missing here and there. So commands are not parsed by a shell's rules: a curl command is its
address, its headers, its form fields, and the JSON object that follows `-d '`, found by its braces.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from benchmarks.seeds.printed import Seed

# The pages lie beside the checkout, where there are any.
PAGES: Final = Path(__file__).parents[3] / "shared" / "seeds"

_CURL: Final = re.compile(r"^curl\s", re.MULTILINE)
_ADDRESS: Final = re.compile(r"""(?:"(https?://[^"]+)"|'(https?://[^']+)'|(https?://\S+))""")
_HEADER: Final = re.compile(r"""(?:-H|--header)\s+(?:"([^"]+)"|'([^']+)')""")
_FORM: Final = re.compile(r"""-F\s+(?:"([^"]+)"|'([^']+)')""")
_BODY: Final = re.compile(r"(?:-d|--data)\s+'(?=\{)")
_METHOD: Final = re.compile(r"-X\s+([A-Z]+)")
_SECRET: Final = re.compile(r"<authcode>|sk-your-api-key|\$?YOUR_API_KEY")
_NAMED: Final = re.compile(r"\b(GET|POST)\s*(/(?:v1|v1beta|api)/[a-z0-9/_]*[a-z])")
_STATUS: Final = re.compile(r"(?<![\d.\w-])(4\d\d|500|5xx)(?!\d|\.\d)")


class Command(NamedTuple):
    """A curl command, as far as it is a request; the key in its headers is `<key>`."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    form: dict[str, str] | None


def pages() -> dict[str, str]:
    """The pages' texts, by the number that their files' names begin with."""
    return {file.name[:3]: file.read_text() for file in sorted(PAGES.glob("*.txt"))}


def commands(page: str) -> list[Command]:
    """The curl commands of a page, in its order."""
    starts = [match.start() for match in _CURL.finditer(page)]
    return [_command(page[a:b]) for a, b in zip(starts, [*starts[1:], len(page)], strict=True)]


def _command(text: str) -> Command:
    body, head = None, text
    if found := _BODY.search(text):
        body = orjson.loads(_object(text[found.end() :]))
        head = text[: found.start()]
    address = _ADDRESS.search(head)
    assert address is not None, f"a curl command without an address: {text[:80]!r}"
    path = (address[1] or address[2] or address[3]).partition("//")[2].partition("/")[2]
    pairs = [(a or b).partition(": ") for a, b in _HEADER.findall(head)]
    fields = [(a or b).partition("=") for a, b in _FORM.findall(head)]
    method = _METHOD.search(head)
    posts = body is not None or fields
    return Command(
        method[1] if method else "POST" if posts else "GET",
        f"/{path}",
        {name: _SECRET.sub("<key>", value) for name, _, value in pairs},
        body,
        {name: value for name, _, value in fields} or None,
    )


def _object(text: str) -> str:
    """The JSON object that the text begins with, up to its closing brace."""
    depth, quoted, escaped = 0, False, False
    for at, char in enumerate(text):
        if escaped or char == "\\":
            escaped = not escaped
        elif char == '"':
            quoted = not quoted
        elif not quoted:
            depth += (char == "{") - (char == "}")
            if not depth:
                return text[: at + 1]
    raise ValueError(f"an object without an end: {text[:80]!r}")


def command_of(seed: Seed) -> Command:
    """A restated request as the curl command that it comes from."""
    body = None if seed.body is None else dict(seed.body)
    form = None if seed.form is None else dict(seed.form)
    return Command(seed.method, seed.path, dict(seed.headers), body, form)


def named_routes(page: str) -> set[tuple[str, str]]:
    """Methods and paths that a page names in its text and tables."""
    return {(method, path) for method, path in _NAMED.findall(page)}


def statuses(page: str) -> set[str]:
    """The error statuses that a page tells about."""
    return set(_STATUS.findall(page))
