"""Ids: derived, never drawn, so that the same request is translated to the same bytes each time.

A foreign id that an upstream would refuse becomes a digest of itself, in calls and in results
alike, without anybody keeping a table. What relayd names itself is made of the request's id.
"""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256
from typing import Final

from relayd.model import FormatName

# What each format takes as the id of a tool call (wire-formats 8.4); Gemini takes anything.
_FITS: Final[dict[FormatName, re.Pattern[str]]] = {
    "chat": re.compile(r"[\x21-\x7e]{1,64}"),
    "responses": re.compile(r"[\x21-\x7e]{1,64}"),
    "messages": re.compile(r"[a-zA-Z0-9_-]{1,256}"),
    "gemini": re.compile(r".{1,512}", re.DOTALL),
}


def call_id(original: str, to: FormatName) -> str:
    """`original` where the format takes it, else a digest of it that every format takes."""
    return original if _FITS[to].fullmatch(original) else "call_" + digest(original)


def item_id(prefix: str, original: str) -> str:
    """The id of a Responses item that belongs to something that has another: `fc_`, `rs_`."""
    return prefix + sha256(original.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def minted(prefix: str, request_id: str, number: int = 0) -> str:
    """A new id within one reply: `chatcmpl-`, `resp_`, `msg_`, `call_`."""
    return prefix + sha256(f"{request_id} {number}".encode()).hexdigest()[:24]


def digest(text: str) -> str:
    """24 letters and digits that stand for `text`."""
    return b32encode(sha256(text.encode("utf-8", "surrogatepass")).digest())[:24].decode().lower()
