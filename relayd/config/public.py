"""The `public:` section: what everybody may know of this relay, without a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from relayd.config.document import Place, Wrong
from relayd.config.keys import base_url
from relayd.config.values import distinct

LONGEST_NAME = 100
MOST_ADDRESSES = 20


def _name(place: Place) -> str:
    text = place.text().strip()
    if not text or len(text) > LONGEST_NAME or not text.isprintable():
        raise Wrong("is not a name")
    return text


def _addresses(place: Place) -> tuple[str, ...]:
    """The primary first, then its backups; or none."""
    if not place.items():
        return ()
    found = tuple(distinct(place, base_url, ""))
    if len(found) > MOST_ADDRESSES:
        raise Wrong(f"names more than {MOST_ADDRESSES} addresses")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicConfig:
    """What `/api/status` says of it."""

    # What the relay is called.
    name: Annotated[str, _name] = "relayd"
    # Where clients reach it from outside: the primary, then backups that they may turn to.
    base_urls: Annotated[tuple[str, ...], _addresses] = ()
