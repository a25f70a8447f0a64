"""Sends alerts to one webhook each, off the requests' path.

Strategy: alerts wait in a bounded list; one task sends all that wait as one message, then rests for
`PACE`, so that a storm is a few messages however large it is. A message that is not taken is tried
again with growing rests, with what came up meanwhile; after the last try it is given up, and the
log says so. A redirect is never followed: where an operator sends alerts, nobody else decides. The
address is a secret (most carry a token) and stands in no message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from relayd.alerting import Alert, Webhook
from relayd.alerts.forms import WRITERS

if TYPE_CHECKING:
    from aiohttp import ClientSession

log = logging.getLogger("relayd")

MOST_WAITING: Final = 200
PACE: Final = 10.0  # seconds between two messages
TIMEOUT: Final = 10.0
RESTS: Final = (1.0, 5.0, 30.0, 120.0)  # seconds before each further try


class Pacing(NamedTuple):
    """Seconds: the rest after each message, before each further try, and for one try."""

    pace: float = PACE
    rests: tuple[float, ...] = RESTS
    timeout: float = TIMEOUT


USUAL: Final = Pacing()


class Refused(Exception):
    """The receiver did not take a message; says why, without its address."""


class Courier:
    """Brings alerts to one webhook. `run` is its task.

    Arguments:
        webhook: where to.
        counted: called with `sent`, `failed` or `dropped`, and of how many alerts.
        pacing: how long it rests.
    """

    def __init__(
        self, webhook: Webhook, counted: Callable[[str, int], None], pacing: Pacing = USUAL
    ) -> None:
        self.webhook = webhook
        self._counted = counted
        self._pacing = pacing
        self._waiting: deque[Alert] = deque()
        self._some = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Courier {self.webhook.name} waiting={len(self._waiting)}>"

    def take(self, alerts: Iterable[Alert]) -> None:
        """Send these soon. Too many: the oldest are dropped, and counted."""
        wanted = self.webhook.kinds
        self._waiting.extend(a for a in alerts if not wanted or a.condition.kind in wanted)
        if len(self._waiting) > MOST_WAITING:
            too_many = len(self._waiting) - MOST_WAITING
            self._counted("dropped", too_many)
            for _ in range(too_many):
                self._waiting.popleft()
        if self._waiting:
            self._some.set()

    async def run(self) -> None:
        """Send for ever what there is to send."""
        async with _session(self._pacing.timeout) as session:
            while True:
                await self._some.wait()
                await self._deliver(session)
                await asyncio.sleep(self._pacing.pace)

    async def _deliver(self, session: ClientSession) -> None:
        """Send all that waits, with what comes up while it is tried again."""
        for rest in (*self._pacing.rests, None):
            alerts = list(self._waiting)
            try:
                await _post(session, self.webhook, alerts)
            except (Refused, OSError, TimeoutError) as exc:
                if rest is None:
                    self._give_up(alerts, exc)
                    return
                await asyncio.sleep(rest)
            else:
                self._done(alerts, "sent")
                return

    def _give_up(self, alerts: list[Alert], exc: Exception) -> None:
        name, number = self.webhook.name, len(alerts)
        log.error("alerts: the webhook %s took none of %d alerts: %s", name, number, _why(exc))
        self._done(alerts, "failed")

    def _done(self, alerts: list[Alert], result: str) -> None:
        """These need not wait any more; others came meanwhile, and of these some were dropped."""
        self._counted(result, len(alerts))
        told = set(map(id, alerts))
        self._waiting = deque(alert for alert in self._waiting if id(alert) not in told)
        if not self._waiting:
            self._some.clear()


async def deliver(webhook: Webhook, alert: Alert, patience: float = TIMEOUT) -> str:
    """Send one alert now, once. Returns why it was not taken; "" when it was."""
    async with _session(patience) as session:
        try:
            await _post(session, webhook, [alert])
        except (Refused, OSError, TimeoutError) as exc:
            return _why(exc)
    return ""


def _session(timeout: float) -> ClientSession:
    # Here, not above: who has no webhook need not load an HTTP client.
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar

    return ClientSession(timeout=ClientTimeout(total=timeout), cookie_jar=DummyCookieJar())


async def _post(session: ClientSession, webhook: Webhook, alerts: list[Alert]) -> None:
    from aiohttp import ClientError

    body = orjson.dumps(WRITERS[webhook.form](alerts, webhook.chat))
    headers = {"Content-Type": "application/json", "User-Agent": "relayd"}
    try:
        async with session.post(
            webhook.url.reveal(), data=body, headers=headers, allow_redirects=False
        ) as reply:
            if not 200 <= reply.status < 300:
                raise Refused(f"it answered with status {reply.status}")
    except ClientError as exc:
        raise Refused(type(exc).__name__) from None  # its text may have the address


def _why(exc: Exception) -> str:
    return str(exc) if isinstance(exc, Refused) else type(exc).__name__
