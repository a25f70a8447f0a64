"""What a whole reply tells the relay, and the careful readings that every format shares.

Upstreams are liberal with types: a count may be missing, null, a float or negative, an error may
be an object, a string or a list. The readers here turn each into a plain value or None, and never
raise. None is unknown; it is never rounded to 0, because the numbers are billed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from relayd.wire import splice

LONGEST_TEXT = 300
# Above this a count is garbage, not a bill; it would not fit the store's integers either.
LARGEST_COUNT = 10**12
KEY_REFUSED = "API_KEY_INVALID"
# Keys tried in the end of a reply: each try parses what follows.
MOST_PLACES = 16


def parsed(body: bytes) -> dict[str, Any] | None:
    """The JSON object in `body`, or None; a one-element array (Gemini's errors) is unwrapped."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(value, dict):
        return value
    alone = value[0] if isinstance(value, list) and len(value) == 1 else None
    return alone if isinstance(alone, dict) else None


def section(value: object) -> dict[str, Any]:
    """`value` if it is an object, else an empty one: detail objects may be absent or null."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[dict[str, Any]]:
    """The objects of a list, whatever else is in it or in its place."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def tokens(value: object) -> int | None:
    """A token count: negatives clamp to 0; what is not a plausible number is unknown."""
    if value is None:
        return None
    if value.__class__ is int and 0 <= value <= LARGEST_COUNT:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value > LARGEST_COUNT:
        return None
    return max(int(value), 0)


def first_tokens(*values: object) -> int | None:
    """The first of `values` that is a count: hosts name the same number differently."""
    for value in values:
        count = tokens(value)
        if count is not None:
            return count
    return None


def added(*values: int | None) -> int | None:
    """The sum of the known counts, or None when none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def uncached(prompt: int | None, read: int | None, write: int | None) -> int | None:
    """Prompt tokens billed in full, where the prompt count includes the cached ones.

    Some hosts count cache writes outside the prompt: when the difference would be negative only the
    reads are taken off.
    """
    if prompt is None:
        return None
    rest = prompt - (read or 0) - (write or 0)
    return rest if rest >= 0 else max(prompt - (read or 0), 0)


def requests_made(raw: object) -> dict[str, int]:
    """Server tools used, from objects such as `{"web_search_requests": 2}`."""
    counts = (
        (key.removesuffix("_requests"), tokens(n))
        for key, n in section(raw).items()
        if key.endswith("_requests")
    )
    return {name: count for name, count in counts if count}


def error_text(error: object) -> str | None:
    """One line for an upstream's error value of whatever shape; None when there is no error."""
    if not error:
        return None
    if isinstance(error, list):
        return error_text(error[0])
    if isinstance(error, dict):
        nested = (
            error.get("message") or error.get("detail") or error.get("code") or error.get("type")
        )
        return error_text(nested) or "error"
    return " ".join(str(error).split())[:LONGEST_TEXT]


def error_details(body: bytes) -> list[dict[str, Any]]:
    """What an error says beside its message, as Google's do, whichever format they answer in."""
    error = section((parsed(body) or {}).get("error"))
    return objects(error.get("details"))


def refuses_key(body: bytes) -> bool:
    """Whether an error of status 400 says that the key is not valid, as Google does.

    The words must stand where only the upstream writes: messages repeat what clients sent.
    """
    if KEY_REFUSED.encode() not in body:
        return False
    return any(detail.get("reason") == KEY_REFUSED for detail in error_details(body))


def text(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def last_object(tail: bytes, key: str) -> dict[str, Any]:
    """The object that `key` holds, where `tail` is the end of some JSON text.

    The tail may begin anywhere, so nothing before a key is looked at. What follows a member of the
    outermost object makes an object again once its brace is put back; what follows a key inside
    closes too much (Groq repeats `usage` for each model, behind the sum). Where no key is
    outermost, the last one counts. The result is empty when there is none.
    """
    quoted = orjson.dumps(key)
    for at in islice(_places(tail, quoted), MOST_PLACES):
        try:
            return section(orjson.loads(b"{" + tail[at:]).get(key))
        except orjson.JSONDecodeError:
            continue
    return _value_at(tail, tail.rfind(quoted))


def _places(tail: bytes, word: bytes) -> Iterator[int]:
    """Where `word` stands, from the end to the start."""
    at = tail.rfind(word)
    while at >= 0:
        yield at
        at = tail.rfind(word, 0, at)


def _value_at(tail: bytes, at: int) -> dict[str, Any]:
    """The object that the key at `at` holds, whatever follows it."""
    try:
        start = splice.skip_space(tail, tail.index(b":", at) + 1) if at >= 0 else len(tail)
        return section(orjson.loads(tail[start : splice.value_end(tail, start)]))
    except (ValueError, IndexError):
        return {}
