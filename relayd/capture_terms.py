"""The operator's terms for keeping what requests and replies hold (`capture`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CaptureTerms:
    """Whose requests are kept, where, and how much of them.

    Arguments:
        keys: names of clients' keys; none keeps nothing.
        directory: where the files go; of its own, because old ones are deleted.
        largest: bytes that are kept of one request's body, and of its reply.
        total: bytes of all files together.
        ttl: seconds after which a file is deleted.
    """

    keys: tuple[str, ...] = ()
    directory: Path = Path("captures")
    largest: int = 2**20
    total: int = 256 * 2**20
    ttl: float = 86400.0
