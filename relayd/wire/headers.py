"""Which headers travel on pass-through: few of the client's go up, few of the upstream's come down.

Both ways are lists of what may pass, so that no credential, cookie, hop-by-hop header or account
name of the operator slips through for being new. The client's names come as it wrote them, the
upstream's in lower case. What the relay itself sends (host, length, content type, its own request
ids) is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relayd.model import FormatName

Pairs = list[tuple[bytes, bytes]]

DEFAULT_ANTHROPIC_VERSION = b"2023-06-01"

_COMMON = frozenset({b"accept", b"idempotency-key"})
_OPENAI = _COMMON | {b"openai-beta"}
_ANTHROPIC = _COMMON | {b"anthropic-version"}
_GOOGLE = _COMMON | {b"x-goog-api-client", b"x-server-timeout"}
UPWARDS: Mapping[FormatName, frozenset[bytes]] = {
    "chat": _OPENAI,
    "responses": _OPENAI,
    "messages": _ANTHROPIC,
    "gemini": _GOOGLE,
}
_SDK = b"x-stainless-"
_UNREAD = (
    _OPENAI
    | _ANTHROPIC
    | _GOOGLE
    | {
        b"accept-language",
        b"anthropic-beta",
        b"content-disposition",
        b"content-language",
        b"content-type",
        b"if-match",
        b"range",
    }
)
_UNREAD_STARTS = (_SDK, b"x-goog-upload-")
_BETA = b"anthropic-beta"

DOWNWARDS = frozenset(
    {
        b"openai-processing-ms",
        b"openai-version",
        b"retry-after",
        b"retry-after-ms",
        b"x-gemini-service-tier",
        b"x-should-retry",
    }
)
_OF_CONTENT = frozenset(
    {
        b"accept-ranges",
        b"content-disposition",
        b"content-range",
        b"content-type",
        b"etag",
        b"last-modified",
    }
)
# What an upstream sends is never a page of ours, though it comes from our origin.
_NO_PAGE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
)
_TO_ALL = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})
_RATES = (b"x-ratelimit-", b"anthropic-ratelimit-")


def for_upstream(
    headers: Iterable[tuple[bytes, bytes]], format_name: FormatName, *, translated: bool = False
) -> Pairs:
    """The client's headers that a call in this format takes along; Anthropic's version is added.

    Where the client spoke another format, its headers speak of that: betas, versions, its SDK.
    """
    if translated:
        return _translated(headers, format_name)
    allowed = UPWARDS[format_name]
    kept = [
        (lower, value)
        for name, value in headers
        if (lower := name.lower()) in allowed or lower.startswith(_SDK)
    ]
    return _for_anthropic(headers, kept) if format_name == "messages" else kept


def unread(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """The client's headers of a request that is passed on unread: those that tell of its body, or
    of what is wanted of a file, and those of any format."""
    pairs = [(name.lower(), value) for name, value in headers]
    return [p for p in pairs if p[0] in _UNREAD or p[0].startswith(_UNREAD_STARTS)]


def for_client(
    headers: Iterable[tuple[bytes, bytes]],
    *,
    stream: bool = False,
    translated: bool = False,
) -> Pairs:
    """The upstream's headers that its reply keeps; a stream's content type is the observer's.

    Of a translated reply only those are kept that clients of all formats understand.
    """
    if translated:
        return [pair for pair in headers if pair[0] in _TO_ALL]
    kept = [pair for pair in headers if pair[0] in DOWNWARDS or pair[0].startswith(_RATES)]
    if not stream:
        content = [pair for pair in headers if pair[0] in _OF_CONTENT]
        kinds = [value for name, value in content if name == b"content-type"]
        kept += content
        if len(kinds) != 1 or not kinds[0].lower().startswith(b"application/json"):
            kept += _NO_PAGE
    return kept


def upstream_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The upstream's own id of this call, in whichever header it has one; "" when it has none."""
    for name, value in headers:
        if name in (b"x-request-id", b"request-id"):
            return value.decode("latin-1")
    return ""


def _translated(headers: Iterable[tuple[bytes, bytes]], format_name: FormatName) -> Pairs:
    kept = [(lower, value) for name, value in headers if (lower := name.lower()) in _COMMON]
    if format_name == "messages":
        kept.append((b"anthropic-version", DEFAULT_ANTHROPIC_VERSION))
    return kept


def _for_anthropic(headers: Iterable[tuple[bytes, bytes]], kept: Pairs) -> Pairs:
    # The beta header may repeat; one comma list says the same, and proxies keep it whole.
    betas = [value for name, value in headers if value and name.lower() == _BETA]
    if betas:
        kept.append((_BETA, b",".join(betas)))
    if not any(name == b"anthropic-version" for name, _ in kept):
        kept.append((b"anthropic-version", DEFAULT_ANTHROPIC_VERSION))
    return kept
