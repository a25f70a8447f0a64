"""What a store knows of the responses that upstreams keep for clients."""

from __future__ import annotations

from typing import Protocol

from relayd.model import Holding


class HoldingStore(Protocol):
    """Which upstream key holds which response; written by `add_entries`, with the rows."""

    async def holdings(self, since: float, limit: int) -> list[Holding]:
        """The newest made after `since`, oldest first."""

    async def prune_holdings(self, before: float, most: int) -> int:
        """Delete those made by `before`, and the oldest beyond `most`; returns how many."""
