"""How long a session has been silent, and on which side; and when that has been long enough.

A side that does not take what waits for it is stuck, whatever else it says. An upstream may be
silent for as long as it likes between two responses, but not in the middle of one. A session that
nobody uses, or that has simply lasted too long, ends without anybody's fault.
"""

from __future__ import annotations

from relayd.errors import ClientGone, NoAnswer, RelayError
from relayd.realtime.ending import Ending, Over
from relayd.relay.watch import Patience
from relayd.routing import RealtimeRules
from relayd.wire import websocket


class Silence:
    """Since when each side of a session is silent. Owned by its tunnel, which sets the times.

    Arguments:
        rules: how long a session may last, and be idle.
        now: the loop's clock, as is every time here.

    `active_at`: when either side spoke last; `heard_at`: when the upstream did, or could again.
    `client_stuck` and `upstream_stuck`: since when that side does not take what waits for it.
    """

    __slots__ = ("_began_at", "_rules", "active_at", "client_stuck", "heard_at", "upstream_stuck")

    def __init__(self, rules: RealtimeRules, now: float) -> None:
        self._rules = rules
        self._began_at = self.active_at = self.heard_at = now
        self.client_stuck: float | None = None
        self.upstream_stuck: float | None = None

    def __repr__(self) -> str:
        stuck = [self.client_stuck, self.upstream_stuck]
        return f"<Silence began={self._began_at:.3f} active={self.active_at:.3f} stuck={stuck}>"

    def overdue(self, now: float, patience: Patience, *, under_way: bool) -> Ending | None:
        """How the session has to end because of a silence; None where it may go on.

        Arguments:
            patience: how long each side may be silent.
            under_way: the upstream is in the middle of a response.
        """
        return self._stuck(now, patience, under_way=under_way) or self._over(now)

    def _stuck(self, now: float, patience: Patience, *, under_way: bool) -> Ending | None:
        problem: RelayError
        if self.client_stuck is not None:
            # Then the upstream is not read either, and its silence says nothing.
            if now - self.client_stuck >= patience.client:
                problem = ClientGone("The client does not read its replies.")
                return Ending("relay", websocket.REFUSED, problem)
        elif under_way and now - self.heard_at >= patience.upstream.stall:
            problem = NoAnswer("The upstream stopped sending in the middle of a response.")
            return Ending("relay", websocket.BROKEN, problem)
        stuck = self.upstream_stuck
        if stuck is not None and now - stuck >= patience.upstream.stall:
            problem = NoAnswer("The upstream does not read what it is sent.")
            return Ending("relay", websocket.BROKEN, problem)
        return None

    def _over(self, now: float) -> Ending | None:
        rules = self._rules
        if now - self._began_at >= rules.max_session:
            text = f"The session has lasted {rules.max_session:g} seconds, which is the most."
            return Ending("relay", websocket.GOING_AWAY, Over(text))
        if now - self.active_at >= rules.idle_timeout:
            text = f"Nobody has said anything for {rules.idle_timeout:g} seconds."
            return Ending("relay", websocket.GOING_AWAY, Over(text, code="idle_timeout"))
        return None
