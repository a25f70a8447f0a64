"""The headers of one part of a multipart form: what it is called, and whether it is a file.

A name decides what is forwarded under which price, so it is read as strictly as the most careful
upstream would: once, without continuations, and never in a spelling that another parser could take
for another name. A field that is read here, or that upstreams bill by (`READ`), is a text, once, in
an encoding that says the same to everybody. What a file is called is only passed on, so that is
read as it comes.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final, NamedTuple
from urllib.parse import unquote

from relayd.errors import BadCall

LONGEST_NAME: Final = 256
LONGEST_FILENAME: Final = 1024
CODE: Final = "invalid_multipart"
# A parameter: `; key=token` or `; key="quoted"`, where a backslash takes the next character along.
_PARAM = re.compile(r';[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*))[ \t]*')
_ESCAPE = re.compile(r"\\(.)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
READ: Final = (
    "input_fidelity",
    "model",
    "n",
    "output_format",
    "partial_images",
    "prompt",
    "quality",
    "response_format",
    "size",
    "stream",
    "stream_format",
)
# Lists of texts that some clients write without brackets.
_LISTS: Final = frozenset(
    {
        "context_bias",
        "image",
        "images",
        "include",
        "known_speaker_names",
        "known_speaker_references",
        "timestamp_granularities",
    }
)
_NO_LETTER = re.compile(r"[\W_]+")
_CHARSET = re.compile(r"charset[ \t]*=[ \t]*[\"']?([^\s;\"']*)", re.IGNORECASE)
# Those in which ASCII is ASCII.
_SAME = re.compile(r"utf-?8|(us-)?ascii|iso-8859-\d+|windows-125\d", re.IGNORECASE)
_ENCODINGS = frozenset({"7bit", "8bit", "binary"})
_OURS: Final = ("content-disposition", "content-type", "content-transfer-encoding")


class PartHead(NamedTuple):
    """What the headers of a part say. `filename` is None for a text field."""

    name: str
    filename: str | None
    content_type: str


def read(head: bytes) -> PartHead:
    """The headers of a part, without the empty line; BadCall where they are not those of a form."""
    headers = _headers(head)
    kind, params = _disposition(headers.get("content-disposition", ""))
    name = params.get("name")
    if kind != "form-data" or name is None or "name*" in params:
        raise BadCall("A part of the form has no name.", code=CODE)
    _check_name(name)
    encoding = headers.get("content-transfer-encoding", "binary").lower()
    if encoding not in _ENCODINGS:
        raise BadCall(f"The form's part `{name}` is encoded as text.", code=CODE, param=name)
    content_type = headers.get("content-type", "")
    filename = _filename(params)
    if filename is None and not _is_text(content_type):
        filename = ""
    if filename is not None and name in READ:
        raise BadCall(f"The field `{name}` must be text.", code="invalid_type", param=name)
    charset = _CHARSET.search(content_type)
    if filename is None and charset is not None and not _SAME.fullmatch(charset[1]):
        raise BadCall(f"The field `{name}` must be UTF-8.", code="invalid_value", param=name)
    return PartHead(name, filename, content_type)


def check_repeated(head: PartHead, names: Container[str]) -> None:
    """BadCall for a text field whose name is among those before it, unless it is one of a list."""
    name = head.name
    if head.filename is None and name in names and not name.endswith("]") and name not in _LISTS:
        message = f"The form has two fields `{name}`."
        raise BadCall(message, code="invalid_value", param=name)


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode(errors="replace").split("\r\n")  # file names come in any encoding
    headers: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        key = key.lower()
        if not colon or not key or key != key.strip() or _CONTROL.search(line):
            raise BadCall("The headers of a part of the form are malformed.", code=CODE)
        if key in headers and key in _OURS:
            raise BadCall(f"A part of the form has two {key} headers.", code=CODE)
        headers[key] = value.strip()
    return headers


def _disposition(value: str) -> tuple[str, dict[str, str]]:
    """Its kind and its parameters; BadCall where one comes twice, or it is not understood whole."""
    kind = value.partition(";")[0]
    params: dict[str, str] = {}
    at = len(kind)
    while at < len(value):
        found = _PARAM.match(value, at)
        if found is None:
            if value[at:].strip(" \t;"):
                raise BadCall("The headers of a part of the form are malformed.", code=CODE)
            break
        key, quoted, token = found.groups()
        if key.lower() in params:
            raise BadCall(f"A part of the form has two parameters {key[:50]}.", code=CODE)
        params[key.lower()] = token if quoted is None else _ESCAPE.sub(r"\1", quoted)
        at = found.end()
    return kind.strip().lower(), params


def _check_name(name: str) -> None:
    """BadCall for what could be another name to another parser."""
    if not name or len(name) > LONGEST_NAME:
        raise BadCall("The name of a part of the form is empty or too long.", code=CODE)
    meant = _MEANT.get(_plain(name), name)
    if meant != name:
        raise BadCall(f"The form's field `{meant}` is misspelt.", code=CODE, param=meant)
    if name == "_charset_":
        raise BadCall("The form's fields must be UTF-8.", code="invalid_value", param=name)


def _plain(name: str) -> str:
    """What is left of a name to the least careful parser: `N[]` and `%6e` are `n`."""
    return _NO_LETTER.sub("", unquote(name).lstrip("[").partition("[")[0]).casefold()


_MEANT: Final = {_plain(name): name for name in READ}


def _filename(params: dict[str, str]) -> str | None:
    extended = params.get("filename*")
    name = params.get("filename") if extended is None else unquote(extended.rpartition("'")[2])
    if name is not None and len(name) > LONGEST_FILENAME:
        raise BadCall("The name of a file in the form is too long.", code=CODE)
    return name


def _is_text(content_type: str) -> bool:
    """Whether a part of this type, and without a file name, is a text field."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind.startswith("text/") or kind == "application/json"
