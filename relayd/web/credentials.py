"""Where clients put their key. All places are accepted; the first that is not empty wins.

wire-formats 1.2: the OpenAI and, since 2026, the Anthropic SDKs send `Authorization: Bearer`; older
Anthropic clients `x-api-key`, Gemini's `x-goog-api-key` or `?key=`, Azure-style ones `api-key`.
An address is written down in more places than a header is (proxies, browsers), so a key in it
counts only where Gemini's clients have no other way.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from multidict import CIMultiDictProxy

from relayd.wire.paths import is_gemini_path

KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")


def credential(headers: CIMultiDictProxy[str], path: str, query: str) -> str:
    """The client's key, or "" when it sent none."""
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return value.strip()
    for name in KEY_HEADERS:
        value = headers.get(name, "").strip()
        if value:
            return value
    if "key=" in query and is_gemini_path(path):
        return parse_qs(query).get("key", [""])[0].strip()
    return ""
