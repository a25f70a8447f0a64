"""What the operator's log says of failing upstreams: each reason, but not each request.

The usage log has every failure; this is for whoever reads the daemon's output. A reason is told
when it comes up, then at most once a minute with how often it came since.
"""

from __future__ import annotations

import logging

log = logging.getLogger("relayd")

UPSTREAM_FAULTS = frozenset({"upstream_error", "broken_stream"})
QUIET = 60.0  # seconds between two lines about the same reason
MOST_REASONS = 1000


class FaultLog:
    """Tells upstream failures. State: when each reason was told last, and how often since."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def note(self, upstream: str, reason: str, now: float) -> bool:
        """One more failure of an upstream; returns whether it was told."""
        return self._tell((upstream, reason), f"upstream {upstream} fails: {reason}", now)

    def unserved(self, model: str, why: str, now: float) -> bool:
        """One more request that no upstream could serve; `why` names each and its reason."""
        return self._tell(("", model), f"no upstream serves {model}: {why}", now)

    def _tell(self, key: tuple[str, str], line: str, now: float) -> bool:
        told_at, since = self._told.get(key, (float("-inf"), 0))
        if now - told_at < QUIET:
            self._told[key] = (told_at, since + 1)
            return False
        if len(self._told) >= MOST_REASONS:
            self._told.clear()
        self._told[key] = (now, 0)
        more = f" ({since} more since it was told last)" if since else ""
        log.warning("%s%s", line, more)
        return True
