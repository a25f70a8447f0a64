"""Sending a restated request to a relay as the printed command would, and reading all the answer.

One connection each, a bound on every wait and on every body. A form's file is a small picture.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import orjson

from benchmarks.seeds.printed import Seed
from relayd.demo.pixels import png

PATIENCE: Final = 60.0
LARGEST: Final = 64 * 1024 * 1024
BOUNDARY: Final = "------------------------relayd-seeds"
PICTURE: Final = png(256, 256, "2f7d5b")
# What curl sends besides; some relays turn away who says nothing about himself.
AGENT: Final = {"User-Agent": "curl/8.5.0", "Accept": "*/*"}


class NoAnswer(Exception):
    """There was no whole answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]


def play(seed: Seed, path: str, base: str, key: str) -> Answer:
    """Send one request and read its answer.

    Arguments:
        path: one of the seed's paths.
        base: address of the relay, up to where the printed paths begin.
        key: what stands for `<key>`; "" when nothing shall.
    Raises: NoAnswer.
    """
    headers = {name: value.replace("<key>", key) for name, value in seed.headers.items()}
    body = None
    if seed.body is not None:
        body = orjson.dumps(dict(seed.body))
    elif seed.form is not None:
        body = form_bytes(seed.form)
        headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
    begun = time.monotonic()
    try:
        status, got, read = _exchange(seed.method, base, path, {**AGENT, **headers}, body)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from None
    if len(read) > LARGEST:
        raise NoAnswer(f"the answer is larger than {LARGEST} bytes")
    return Answer(status, got, read, time.monotonic() - begun)


def _exchange(
    method: str, base: str, path: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=PATIENCE)
    try:
        target = parts.path.rstrip("/") + quote(path, safe="/:?=&%")
        connection.request(method, target, body=body, headers=dict(headers))
        reply = connection.getresponse()
        got = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, got, reply.read(LARGEST + 1)
    finally:
        connection.close()


def form_bytes(form: Mapping[str, str]) -> bytes:
    """The form as curl writes it; `@input.png` is a file, whatever its name."""
    parts = []
    for name, value in form.items():
        line = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        if value.startswith("@"):
            file = f'{line}; filename="{value[1:]}"\r\nContent-Type: image/png\r\n\r\n'
            parts.append(file.encode() + PICTURE + b"\r\n")
        else:
            parts.append(f"{line}\r\n\r\n{value}\r\n".encode())
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
