"""What a reply says, whatever format says it: the measure of a crossing.

Text, calls, ids, order, the stop reason and what it cost must be the same for every client. These
differences are allowed, because a format leaves no choice:

- Gemini has no count of what was written to a cache: there it is input;
- Messages has no pictures in replies: a text in their place tells of them;
- the explanation of a filter is a refusal's text where there is no other;
- thinking that a client is not shown is no difference, thinking that it is shown must be the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.fidelity.gist import Lines, arguments, medium, squeezed
from relayd.model import Usage
from relayd.wire.events import Reply
from relayd.wire.parts import Image, Media, Part, Reasoning, Refusal, Text, ToolCall

# Reasons that not every format can tell apart.
REASONS: Final = {"context_full": "length", "stop_sequence": "stop", "pause": "stop"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a reply says: the compared facts of one choice, and what it cost."""

    text: str
    thoughts: str
    calls: Lines
    media: Lines
    order: list[str]
    reason: str
    usage: tuple[int, ...]


def of_reply(reply: Reply, *, writes: bool = True, pictures: bool = True) -> Said:
    """The facts of a reply's first choice.

    Arguments:
        writes: without, what went into a cache is input.
        pictures: without, there is a text where one was.
    """
    choice = reply.choices[0] if reply.choices else None
    parts = choice.parts if choice is not None else []
    finish = choice.finish if choice is not None else None
    reason = finish.reason if finish is not None else ""
    if not pictures:
        parts = [Text(f"[picture: {p.mime}]") if isinstance(p, Image) else p for p in parts]
    kinds = [kind for part in parts if (kind := _kind(part))]
    text = "".join(part.text for part in parts if isinstance(part, Text | Refusal))
    if finish is not None and reason == "filter" and not text and finish.explanation:
        text, kinds = finish.explanation, [*kinds, "text"]
    return Said(
        text=text,
        thoughts=squeezed(t for part in parts if isinstance(part, Reasoning) for t in part.text),
        calls=[(p.id, p.name, arguments(p.arguments)) for p in parts if isinstance(p, ToolCall)],
        media=[medium(part) for part in parts if isinstance(part, Media)],
        order=[kind for n, kind in enumerate(kinds) if not n or kinds[n - 1] != kind],
        reason=REASONS.get(reason, reason),
        usage=counts(reply.usage, writes=writes),
    )


def said_differences(one: Said, other: Said, *, ordered: bool = True) -> list[str]:
    """Where they differ; an id that the first one lacks may be any, if it is the only one."""
    found = []
    for name in ("text", "media", "reason", "usage"):
        before, after = getattr(one, name), getattr(other, name)
        if before != after:
            found.append(f"{name}: {before!r:.120} became {after!r:.120}")
    if other.thoughts and one.thoughts != other.thoughts:
        found.append(f"thoughts: {one.thoughts!r:.120} became {other.thoughts!r:.120}")
    if not _same_calls(one.calls, other.calls):
        found.append(f"calls: {one.calls!r:.160} became {other.calls!r:.160}")
    if ordered and one.order != other.order:
        found.append(f"order: {one.order} became {other.order}")
    return found


def _same_calls(one: Lines, other: Lines) -> bool:
    if [call[1:] for call in one] != [call[1:] for call in other]:
        return False
    if len({call[0] for call in other}) != len(other):
        return False
    return all(not a[0] or a[0] == b[0] for a, b in zip(one, other, strict=True))


def _kind(part: Part) -> str:
    if isinstance(part, Text | Refusal):
        return "text" if part.text else ""
    return "call" if isinstance(part, ToolCall) else ""


def counts(usage: Usage | None, *, writes: bool = True) -> tuple[int, ...]:
    """What is billed; a count that nobody states is 0, and what tools read is input: only Gemini
    tells it apart."""
    if usage is None:
        return (0, 0, 0, 0, 0)
    fresh = (usage.in_uncached or 0) + (usage.tool_prompt or 0)
    written = usage.cache_write if writes else 0
    fresh += usage.cache_write - written
    rest = (usage.cache_read, written, usage.out_total, usage.reasoning)
    return (fresh, *(n or 0 for n in rest))
