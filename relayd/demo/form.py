"""Multipart forms, read strictly: RFC 7578 as clients write it, the body already in memory.

Written apart from the relay's own reader on purpose: what the relay sends on is judged by another
pair of eyes. Names without quotes, a missing last boundary, a part without a name: each is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from relayd.demo.ask import Document
from relayd.demo.refusal import Refusal

MOST_PARTS: Final = 128
LARGEST_FIELD: Final = 1024 * 1024
_BOUNDARY: Final = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_PARAMETER: Final = re.compile(r';\s*(filename\*?|name)=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.I)


class Upload(NamedTuple):
    """One file of a form."""

    field: str
    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    """A form: its text fields by name, the last one of a name, and its files in order."""

    fields: Document
    files: tuple[Upload, ...]


def is_form(content_type: str) -> bool:
    """Whether a body of this content type is a multipart form."""
    return content_type.lower().startswith("multipart/form-data")


def parse_form(content_type: str, body: bytes) -> Form:
    """The form of a body, or a Refusal."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise Refusal(400, "Could not parse multipart form: no boundary in the content type.")
    boundary = re.escape((found[1] or found[2]).encode("latin-1"))
    delimiter = re.compile(rb"\r\n--" + boundary + rb"(?=--|[ \t]*\r\n)")
    first, *rest = delimiter.split(b"\r\n" + body, MOST_PARTS + 2)
    if first.strip() or not rest or not rest[-1].startswith(b"--"):
        raise Refusal(400, "Could not parse multipart form: it has no end.")
    fields: Document = {}
    files: list[Upload] = []
    for part in rest[:-1]:
        upload, is_file = _part(part)
        if is_file:
            files.append(upload)
        else:
            _add(fields, upload)
    return Form(fields, tuple(files))


def _part(part: bytes) -> tuple[Upload, bool]:
    head, blank, data = part.partition(b"\r\n\r\n")
    lines = dict(_header(line) for line in head.split(b"\r\n") if line.strip())
    named = _PARAMETER.finditer(lines.get("content-disposition", ""))
    names = {found[1].lower(): found[2] or found[3] or "" for found in named}
    if not blank or "name" not in names:
        raise Refusal(400, "Could not parse multipart form: a part has no name.")
    filename = names.get("filename", names.get("filename*", ""))
    content_type = lines.get("content-type", "application/octet-stream")
    is_file = bool(names.keys() & {"filename", "filename*"})
    return Upload(names["name"], filename, content_type, data), is_file


def _header(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("utf-8", "replace").partition(":")
    return name.strip().lower(), value.strip()


def _add(fields: Document, part: Upload) -> None:
    """Remember a text field; `name[]` collects a list, as the SDKs write lists."""
    if len(part.data) > LARGEST_FIELD:
        raise Refusal(413, f"The field '{part.field}' is too large.", param=part.field)
    value = part.data.decode("utf-8", "replace")
    if part.field.endswith("[]"):
        fields.setdefault(part.field.removesuffix("[]"), []).append(value)
    else:
        fields[part.field] = value
