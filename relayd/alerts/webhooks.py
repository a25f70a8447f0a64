"""Sends alerts to one webhook each, off the requests' path.

Strategy: alerts wait in a bounded list; one task sends all that wait as one message, as often as
its pace allows, so that a storm is a few messages however large it is and critical news waits for
nobody. A message that is not taken is tried again with growing rests, or when the receiver wants
it, with what came up meanwhile. Where another try would change nothing (it does not want such a
message, or sends us elsewhere), or after the last one, it is given up; what lasts longer than the
trouble with the receiver is told it then. The log hears of a webhook when it begins to fail, when
something is given up, and when it works again, not of each try. A
redirect is never followed: where an operator sends alerts, nobody else decides. Of an answer
nothing but its head is read. The address is a secret (most carry a token) and stands in no message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from relayd.alerting import Alert, Webhook
from relayd.alerts.forms import WRITERS, sorted_by_weight
from relayd.alerts.pace import Pace
from relayd.lines import say
from relayd.wire.waits import retry_after

if TYPE_CHECKING:
    from aiohttp import ClientSession

MOST_WAITING: Final = 200
RESULTS: Final = ("sent", "retried", "failed", "dropped")
LONGEST_REST: Final = 300.0  # seconds, whatever a receiver asks for
# Of the statuses that say that the message is to blame, those that mean "not now".
TRY_AGAIN: Final = frozenset({408, 425, 429})


class Pacing(NamedTuple):
    """How messages follow each other.

    Arguments:
        burst, reserved, pace: as in `Pace`.
        rests: seconds before each further try.
        timeout: seconds for one try.
        again: seconds after which a receiver that took nothing is told what still lasts.
        quiet: seconds after which the log is told again of what keeps failing.
    """

    burst: int = 6
    reserved: int = 3
    pace: float = 3.0  # with the second between two looks, critical news is out within five
    rests: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0)
    timeout: float = 10.0
    again: float = 600.0
    quiet: float = 3600.0


USUAL: Final = Pacing()


class Refused(Exception):
    """The receiver did not take a message; says why, without its address.

    Arguments:
        final: another try would change nothing.
        wait: seconds that it asks for.
    """

    def __init__(self, why: str, *, final: bool = False, wait: float | None = None) -> None:
        super().__init__(why)
        self.final = final
        self.wait = wait


class Courier:
    """Brings alerts to one webhook. `run` is its task.

    Arguments:
        webhook: where to.
        counted: called with one of RESULTS, and of how many alerts.
        standing: all that is wrong now.
        pacing: how long it rests.
    """

    def __init__(
        self,
        webhook: Webhook,
        counted: Callable[[str, int], None],
        standing: Callable[[], Iterable[Alert]],
        pacing: Pacing = USUAL,
    ) -> None:
        self.webhook = webhook
        self._counted = counted
        self._standing = standing
        self._pacing = pacing
        self._waiting: list[Alert] = []
        self._some = asyncio.Event()
        self._urgent = asyncio.Event()
        # When the log was told last that it fails, on the loop's clock; None while it works.
        self._told: float | None = None
        self._failed = 0  # alerts since it began to fail

    def __repr__(self) -> str:
        owes = " owes" if self._failed else ""
        return f"<Courier {self.webhook.name} waiting={len(self._waiting)}{owes}>"

    def take(self, alerts: Iterable[Alert]) -> None:
        """Send these soon. Too many: what matters least is dropped, and counted."""
        self._waiting += [one for one in alerts if _wants(self.webhook, one)]
        if len(self._waiting) > MOST_WAITING:
            self._counted("dropped", len(self._waiting) - MOST_WAITING)
            self._waiting = sorted_by_weight(self._waiting)[:MOST_WAITING]
        if self._waiting:
            self._some.set()
        if any(map(_is_urgent, self._waiting)):
            self._urgent.set()

    def leave(self) -> list[Alert]:
        """Stop caring for what waits: somebody else takes it."""
        left, self._waiting = self._waiting, []
        return left

    def owed(self) -> list[Alert]:
        """What was given up, or may have been, and lasts; but for what waits."""
        waiting = set(map(_subject, self._waiting))
        lasting = self._standing() if self._failed else ()
        return [one for one in lasting if _subject(one) not in waiting]

    async def run(self) -> None:
        """Send for ever what there is to send."""
        pacing = self._pacing
        pace = Pace(pacing.burst, pacing.reserved, pacing.pace, _now())
        async with _session(pacing.timeout) as session:
            while True:
                await self._news()
                await self._turn(pace)
                pace.take()
                await self._deliver(session)

    async def _news(self) -> None:
        """Wait until there is something to send: news, or what was owed for long enough."""
        while not self._some.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pacing.again if self._failed else None):
                    await self._some.wait()
            if not self._some.is_set():
                self.take(self.owed())
                if not self._some.is_set():
                    self._failed = 0  # there is nothing left that it would have to know

    async def _turn(self, pace: Pace) -> None:
        """Wait until it may send; critical news may come up meanwhile, and sooner go out."""
        while wait := pace.wait(_now(), urgent=self._urgent.is_set()):
            if self._urgent.is_set():
                await asyncio.sleep(wait)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._urgent.wait()

    async def _deliver(self, session: ClientSession) -> None:
        """Send all that waits, with what comes up while it is tried again."""
        for rest in (*self._pacing.rests, None):
            alerts = sorted_by_weight(self._waiting)
            try:
                await _post(session, self.webhook, alerts, self._pacing.timeout)
            except Refused as refused:
                if rest is None or refused.final:
                    self._give_up(alerts, refused)
                    return
                self._say(logging.WARNING, "a webhook did not take a message", refused)
                self._counted("retried", len(alerts))
                await self.rest(max(rest, min(refused.wait or 0.0, LONGEST_REST)))
            else:
                self._done(alerts, "sent")
                self._works(alerts)
                return

    async def rest(self, seconds: float) -> None:
        """Wait before another try."""
        await asyncio.sleep(seconds)

    def _give_up(self, alerts: list[Alert], refused: Refused) -> None:
        self._failed += len(alerts)
        if self._failed == len(alerts):  # the first of its kind, whatever was said of tries
            self._told = None
        self._say(logging.ERROR, "alerts were given up", refused)
        self._done(alerts, "failed")

    def _works(self, told: Iterable[Alert]) -> None:
        """It took these; what it was not told before, and lasts, it is told now."""
        if self._told is not None:
            name, failed = self.webhook.name, self._failed or None
            say(logging.INFO, "a webhook takes messages again", webhook=name, given_up=failed)
        known, owed = set(map(_subject, told)), self.owed()
        self._told, self._failed = None, 0
        self.take(one for one in owed if _subject(one) not in known)

    def _say(self, level: int, words: str, why: Refused) -> None:
        """Tell the log, unless it was told not long ago."""
        now, failed = _now(), self._failed or None
        if self._told is None or now - self._told >= self._pacing.quiet:
            self._told = now
            say(level, words, webhook=self.webhook.name, why=str(why), given_up=failed)

    def _done(self, alerts: list[Alert], result: str) -> None:
        """These need not wait any more; others came meanwhile, and of these some were dropped."""
        self._counted(result, len(alerts))
        told = set(map(id, alerts))
        self._waiting = [alert for alert in self._waiting if id(alert) not in told]
        if not self._waiting:
            self._some.clear()
        if not any(map(_is_urgent, self._waiting)):
            self._urgent.clear()


async def deliver(webhook: Webhook, alert: Alert, patience: float = USUAL.timeout) -> str:
    """Send one alert now, once. Returns why it was not taken; "" when it was."""
    async with _session(patience) as session:
        try:
            await _post(session, webhook, [alert], patience)
        except Refused as refused:
            return str(refused)
    return ""


def _session(timeout: float) -> ClientSession:
    # Here, not above: who has no webhook need not load an HTTP client.
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

    return ClientSession(
        # Messages are rare: a connection kept for the next one would be dead by then.
        connector=TCPConnector(force_close=True),
        timeout=ClientTimeout(total=timeout),
        cookie_jar=DummyCookieJar(),
    )


async def _post(
    session: ClientSession, webhook: Webhook, alerts: list[Alert], patience: float
) -> None:
    """Raises Refused, and nothing else, whose text has no address in it."""
    try:
        body = orjson.dumps(WRITERS[webhook.form](alerts, webhook))
        headers = {"Content-Type": "application/json", "User-Agent": "relayd"}
        async with session.post(
            webhook.url.reveal(), data=body, headers=headers, allow_redirects=False
        ) as reply:
            status = reply.status
            wait = retry_after(reply.raw_headers, now=datetime.now(UTC))
    except Exception as exc:
        raise Refused(_words(exc, patience)) from None  # its own text may have the address
    if not 200 <= status < 300:
        final = 300 <= status < 500 and status not in TRY_AGAIN
        elsewhere = ", which is not followed" if 300 <= status < 400 else ""
        raise Refused(f"it answered with status {status}{elsewhere}", final=final, wait=wait)


def _words(exc: Exception, patience: float) -> str:
    """What went wrong, without the address."""
    from aiohttp import ClientConnectorDNSError, ClientSSLError, ServerDisconnectedError

    if isinstance(exc, TimeoutError):
        return f"no answer within {patience:g} s"
    if isinstance(exc, ClientConnectorDNSError):
        return "its host is not known"
    if isinstance(exc, ClientSSLError):
        return "its TLS certificate is not trusted, or it does not speak TLS"
    if isinstance(exc, ServerDisconnectedError):
        return "it hung up without an answer"
    if isinstance(exc, OSError) and exc.errno:
        return f"no connection: {os.strerror(exc.errno)}"
    return type(exc).__name__


def _wants(webhook: Webhook, alert: Alert) -> bool:
    """Whether a webhook is to be told of this."""
    condition = alert.condition
    return (
        (not webhook.kinds or condition.kind in webhook.kinds)
        and (webhook.severity == "warning" or condition.severity == "critical")
        and (webhook.over or alert.state != "over")
    )


def _subject(alert: Alert) -> tuple[str, str]:
    return alert.condition.kind, alert.condition.subject


def _is_urgent(alert: Alert) -> bool:
    return alert.condition.severity == "critical" and alert.state == "raised"


def _now() -> float:
    return asyncio.get_running_loop().time()
