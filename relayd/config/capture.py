"""The `capture:` section: whose requests and replies are kept for finding errors, and for how long.

Nothing is kept unless a key is named; there is no word for all of them, on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping

from relayd.capture_terms import CaptureTerms
from relayd.config.document import Place, Wrong
from relayd.config.values import Reader, distinct, fields, file_path, seconds, size


def capture(place: Place) -> CaptureTerms:
    """Read the section."""
    return CaptureTerms(**fields(place, READERS))


def _keys(place: Place) -> tuple[str, ...]:
    if not place.is_list:
        return (_key(place),)
    return tuple(distinct(place, _key, "")) if place.items() else ()


def _key(place: Place) -> str:
    text = place.text()
    if "*" in text:
        raise Wrong("is a pattern: name each key whose prompts may be kept")
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise Wrong("is not the name of a key")
    return text


READERS: Mapping[str, Reader] = {
    "keys": _keys,
    "directory": file_path,
    "largest": size(1024, 64 * 2**20),
    "total": size(2**20, 2**40),
    "ttl": seconds(60, 365 * 86400.0),
}
