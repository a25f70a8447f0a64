"""What a client must get for a recorded reply: its very bytes, and the few meant deviations.

Each deviation is worked out from the recording alone and has a reason in words, which the report
prints: a usage chunk that the client did not ask for, a recording that is not a whole stream, a
status that is the upstream's own failure.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.fidelity.events import Event, events, parsed
from benchmarks.fidelity.recording import Recorded

HIDDEN = "the client did not ask for usage: the chunk that has nothing else is hidden"
UNCLOSED = "the recording's last event lacks its blank line: the relay adds it"
INCOMPLETE = "the recording is not a whole stream: the relay ends it with an error event"
REWORDED = "the status is the upstream's own failure: reworded"
EMBEDDED = "a 200 whose body is an error: reworded"

CREDENTIAL_STATUSES = (401, 402, 403)
RESPONSES_ENDS = ("response.completed", "response.incomplete", "response.failed")


class Expected(NamedTuple):
    """The bytes to expect; `reasons` tells how they differ from the recording, if they do.

    `open_end` says that an error event of the relay's own follows, `failed` that the stream itself
    ends in an error (its usage is partial), `reworded` that the whole reply is in relayd's words.
    """

    body: bytes
    reasons: tuple[str, ...] = ()
    open_end: bool = False
    failed: bool = False
    reworded: bool = False


def expected(recorded: Recorded) -> Expected:
    """What has to reach the client."""
    if recorded.status >= 500 or recorded.status in CREDENTIAL_STATUSES:
        return Expected(b"", (f"{REWORDED} ({recorded.status})",), reworded=True)
    if not recorded.stream or recorded.status >= 300:
        return _expected_whole(recorded)
    if recorded.body.lstrip()[:1] == b"[":
        return Expected(recorded.body)
    return _expected_stream(recorded, events(recorded.body))


def _expected_whole(recorded: Recorded) -> Expected:
    body = parsed(recorded.body) or {}
    failed = recorded.status < 300 and body.get("error") and body.get("object") != "response"
    return Expected(b"", (EMBEDDED,), reworded=True) if failed else Expected(recorded.body)


def _expected_stream(recorded: Recorded, found: list[Event]) -> Expected:
    body, reasons = recorded.body, []
    if recorded.format == "chat" and not recorded.asked_usage:
        kept = [event.raw for event in found if not is_usage_alone(event)]
        if len(kept) < len(found):
            body, reasons = b"".join(kept), [HIDDEN]
    if found and found[-1].data and not found[-1].raw.endswith((b"\n\n", b"\n\r\n", b"\r\r")):
        body += b"\n" if body.endswith((b"\n", b"\r")) else b"\n\n"
        reasons.append(UNCLOSED)
    failed = any(_is_error(event) for event in found)
    open_end = not failed and not is_complete(recorded.format, found)
    if open_end:
        reasons.append(INCOMPLETE)
    return Expected(body, tuple(reasons), open_end=open_end, failed=failed)


def _is_error(event: Event) -> bool:
    value = event.value or {}
    return bool(value.get("error")) or value.get("type") == "response.failed"


def is_usage_alone(event: Event) -> bool:
    """Whether it is the chunk that OpenAI adds for `include_usage`."""
    value = event.value or {}
    return bool(value.get("usage")) and not value.get("choices")


def is_complete(name: str, found: list[Event]) -> bool:
    """Whether the stream came to its end."""
    values = [event.value for event in found if event.value is not None]
    if name == "chat":
        done = any(event.data.strip() == b"[DONE]" for event in found)
        return done or any(c.get("finish_reason") for v in values for c in v.get("choices") or ())
    if name == "messages":
        return any(value.get("type") == "message_stop" for value in values)
    if name == "responses":
        return any(value.get("type") in RESPONSES_ENDS for value in values)
    return any(
        bool((value.get("promptFeedback") or {}).get("blockReason"))
        or any(c.get("finishReason") for c in value.get("candidates") or ())
        for value in values
    )


def request_problem(recorded: Recorded, sent: bytes) -> str | None:
    """What is wrong with the body that the relay sent upstream; None when it is as it must be."""
    if sent == recorded.request:
        return None
    before, after = parsed(recorded.request) or {}, parsed(sent) or {}
    if recorded.format == "chat" and recorded.stream and not recorded.asked_usage:
        wanted = {**(before.get("stream_options") or {}), "include_usage": True}
        if after == {**before, "stream_options": wanted}:
            return None
        return "more than `include_usage` was changed in the request"
    if recorded.format == "gemini" and _has_system_role(before):
        return None if not _has_system_role(after) else "the system role was not hoisted"
    return "the request did not reach the upstream byte for byte"


def _has_system_role(body: dict[str, object]) -> bool:
    contents = body.get("contents")
    return isinstance(contents, list) and any(
        isinstance(one, dict) and one.get("role") == "system" for one in contents
    )


def starts_alike(one: bytes, other: bytes) -> int:
    """How many bytes two bodies have in common at their start."""
    same = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(same) if a != b), min(len(one), len(other)))
