"""Usage of the image endpoints: to and from the normal form.

The counts include the cached ones, and all output is pictures unless the details say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from relayd.model import Usage
from relayd.wire import consumed
from relayd.wire.parts import Document

_COUNTS = tuple(field.name for field in fields(Usage) if field.name != "server_tools")


def usage_of(value: object) -> Usage | None:
    """The normal form of a `usage` object; None when it counts nothing."""
    usage = consumed.usage_of(value)
    if usage is not None and usage.out_image is None:
        usage.out_image = usage.out_total
    return usage


def usage_document(usage: Usage) -> Document:
    """The `usage` object of a reply."""
    into = (usage.in_uncached or 0) + (usage.cache_read or 0) + usage.cache_write
    into += usage.tool_prompt or 0
    out, seen = usage.out_total or 0, min(usage.in_image or 0, into)
    drawn = out if usage.out_image is None else min(usage.out_image, out)
    return {
        "input_tokens": into,
        "input_tokens_details": {"text_tokens": into - seen, "image_tokens": seen},
        "output_tokens": out,
        "output_tokens_details": {"text_tokens": out - drawn, "image_tokens": drawn},
        "total_tokens": into + out,
    }


def added_up(usages: Iterable[Usage | None]) -> Usage | None:
    """The sum of several; None where nobody counted."""
    total: Usage | None = None
    for usage in usages:
        if usage is not None:
            total = replace(usage) if total is None else _both(total, usage)
    return total


def _both(one: Usage, other: Usage) -> Usage:
    counts: dict[str, Any] = {}
    for name in _COUNTS:
        values = [v for v in (getattr(one, name), getattr(other, name)) if v is not None]
        counts[name] = sum(values) if values else None
    return replace(one, **counts)
