"""What an upstream's refusal of a translated request is in the client's words, and what it means.

The upstream speaks of fields that the client never wrote, so its words are told, and nothing of its
own beside them: a code that clients know, the status, the first line.
"""

from __future__ import annotations

from collections.abc import Mapping

from relayd.errors import BadCall, RelayError
from relayd.model import FormatName
from relayd.wire.facts import error_text, parsed

LONGEST_SAID = 300  # characters of an upstream's own words in an error that is worded anew
# How providers say that they cannot read the state that a client sent back.
_UNREADABLE = (b"invalid_encrypted_content", b"thought signature", b"thought_signature")
_UNSIGNED = (b"signature", b"thinking")  # both of them: Anthropic has no code for it
_CODES: Mapping[int, str] = {
    401: "invalid_api_key",
    404: "not_found",
    408: "request_timeout",
    413: "request_too_large",
    429: "rate_limit_exceeded",
}
_TOO_LONG = (
    "context_length_exceeded",
    "context length",
    "context window",
    "prompt is too long",
    "exceeds the maximum number of tokens",
)
# Clients of Anthropic's know it by these words alone: its errors have no codes.
_TOO_LONG_SAID = "prompt is too long"


def refusal(status: int, body: bytes, client: FormatName) -> RelayError:
    """An upstream's refusal of a request that was translated: its first line, and a code that
    clients know. Which field it means is not told, for it has other names there."""
    value = parsed(body) or {}
    said = error_text(value.get("error") or value) or f"The upstream refused it with {status}."
    line = said.strip().partition("\n")[0][:LONGEST_SAID]
    code = _CODES.get(status, "invalid_request")
    if any(words in f"{line} {body[:LONGEST_SAID]!r}".lower() for words in _TOO_LONG):
        code = "context_length_exceeded"
        if client == "messages" and _TOO_LONG_SAID not in line.lower():
            line = f"{_TOO_LONG_SAID}: {line}"
    return BadCall(line, status=status, code=code)


def unreadable(status: int, body: bytes) -> bool:
    """Whether an upstream says that it cannot read the state that came with a request."""
    if status != 400:
        return False
    said = body.lower()
    return any(words in said for words in _UNREADABLE) or all(words in said for words in _UNSIGNED)
