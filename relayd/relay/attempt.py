"""One attempt: one upstream key asked once for one request, until it is known how that went.

An attempt opens a connection (or takes an idle one), sends, and waits for the exchange to end; a
whole reply is judged before anybody else sees it. `run` returns what went wrong, or None: the relay
then finishes the reply, or asks somebody else. Another attempt may run beside it (`race`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

from relayd.errors import BadCall, BadReply, RelayError
from relayd.policy.keys import Caller
from relayd.policy.lease import Lease
from relayd.relay.call import Call, Client
from relayd.relay.chorus import Chorus
from relayd.relay.crossing import Answer, Crossing, crossing_of, unstreamed
from relayd.relay.drawing import drawing_of
from relayd.relay.forward import Exchange
from relayd.relay.heads import Heads
from relayd.relay.judge import Verdict, first_event_error, judge
from relayd.relay.race import Race
from relayd.relay.sending import Post, Sending
from relayd.relay.sides import RawHeaders
from relayd.relay.translation import Translation, Translator
from relayd.relay.watch import Watch
from relayd.tracing import AttemptSpan
from relayd.upstream.connection import Connection, StaleConnection
from relayd.upstream.provider import Outlet, Provider
from relayd.wire import reply_head
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.passthrough import EVENT_STREAM
from relayd.wire.pipe import Pipe
from relayd.wire.refused import unreadable
from relayd.wire.transcode import may_be_read

STALE_WINDOW = 1.0  # seconds after sending in which a closed connection is taken for a stale one


class Asked(NamedTuple):
    """What is asked of every upstream that is tried for one request."""

    call: Call
    head: Head
    client: Client
    limits: RawHeaders  # how those of the caller stand
    caller: Caller | None
    translator: Translator
    translation: Translation | None = None  # where some upstream may speak another format


class Place(NamedTuple):
    """Where an attempt goes: a lease, with the connections of the moment when it was taken. A
    reload may take the upstream away at any time after that."""

    lease: Lease
    provider: Provider

    def leave(self, now: float) -> None:
        self.lease.leave(now)


class _Unreadable(RelayError):
    """The upstream refused the request for state in it that it cannot read: it is asked once more
    without, at once, and nobody is to blame."""


class _Refused(RelayError):
    """A stream ended as no answer before any of it went out: it is told as a whole reply."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("The upstream's answer is none.")
        self.answer = answer


class Attempt:
    """One upstream asked once. Owned by the request's task.

    Arguments:
        asked: the request.
        place: at the upstream; whoever made the attempt ends its lease.
        watch: the timer for the lease's timeouts.
        race: shared with the attempt that runs beside it, if there is one.
    """

    __slots__ = (
        "_asked",
        "_chorus",
        "_fetching",
        "_head",
        "_made_headers",
        "_race",
        "_watch",
        "asked_at",
        "crossing",
        "exchange",
        "failed",
        "heads",
        "lease",
        "observer",
        "problem",
        "provider",
        "repeats",
        "span",
        "spoken",
        "verdict",
    )

    def __init__(
        self,
        asked: Asked,
        place: Place,
        watch: Watch,
        race: Race[Attempt] | None = None,
    ) -> None:
        self._asked = asked
        self._race = race
        self._watch = watch
        self.lease, self.provider = place
        self._head = head = asked.head
        self.spoken = asked.call.format
        self.crossing: Crossing | None = None
        self.observer: Pipe | None = None
        if asked.translation is not None:
            way = drawing_of(asked.translation, self.lease)
            self.crossing = way or crossing_of(asked.translation, self.lease)
        if self.crossing is not None:
            self.spoken = self.crossing.spoken
        elif head.stream:
            self.observer = FORMATS[self.spoken].sniffer(head)
        self._begin_anew()
        self.verdict: Verdict | None = None
        self.problem: RelayError | None = None  # of a reply whose client had left
        self.failed = False  # it has ended in a failure that is told already; who comes next?
        # On the fine clock: when the request had been written, as if nothing had been fetched.
        self.asked_at = self._fetching = 0.0
        self._chorus: Chorus | None = None
        self.span: AttemptSpan | None = None  # where the request is traced
        self.repeats = 0  # asked again at once, without the state that the upstream could not read
        self._made_headers: RawHeaders | None = None  # those of a reply that was made anew
        self.heads = Heads(asked.limits, self.crossing)

    def __repr__(self) -> str:
        return f"<Attempt {self.lease!r} {self.exchange!r}>"

    @property
    def request(self) -> str:
        """The request's id."""
        return self.lease.request

    @property
    def status(self) -> int:
        """The reply's status, as the operator wants it to be taken."""
        return self._taken_for(self.exchange.status)

    def _taken_for(self, status: int) -> int:
        remapped = self.lease.spec.edits.statuses
        return dict(remapped).get(status, status) if remapped else status

    @property
    def is_preparing(self) -> bool:
        """Whether the upstream has not been asked because we have no words for it yet."""
        return self.crossing is not None and not self.crossing.is_written

    async def run(self) -> RelayError | None:
        """Ask, and wait until the reply has ended. Returns what went wrong, if anything did."""
        outlet = self.provider.outlet(self.lease.door.key.name, self.lease.site)
        try:
            while True:
                translation = self._asked.translation
                if translation is not None and not await self._prepare(translation):
                    return None
                request = self._request(outlet)
                connection = outlet.client.reuse(request.pieces, self.exchange, request.upload)
                # Connecting is not our own work, nor is what was fetched before.
                self.asked_at = self.asked_at or monotonic() - self._fetching
                if connection is None:
                    connection = await self._connect(outlet, request)
                self.exchange.attach(connection)
                self._begin_chorus(outlet, request.pieces)
                del request  # it may be a copy of a large body, and the reply takes its time
                problem = await self.exchange.done
                if problem is not None and self._is_stale(problem):
                    self._begin_anew()
                    self.exchange.attach(await self._connect(outlet, self._request(outlet)))
                    problem = await self.exchange.done
                if isinstance(problem, _Refused):
                    self.claim(problem.answer.verdict.status)
                    self._take(problem.answer)
                    return None
                if problem is None and not self.exchange.started:
                    problem = self._judge(await self._others())
                if not isinstance(problem, _Unreadable):
                    return problem
                self.repeats += 1
        except RelayError as exc:  # no connection came about, or the upstream has no words for it
            return exc
        finally:
            if self._chorus is not None:
                self._chorus.abort()

    def _begin_chorus(self, outlet: Outlet, request: list[bytes | memoryview]) -> None:
        """Ask the same as often as it takes, where one reply is not all of it."""
        crossing, lease = self.crossing, self.lease
        if crossing is not None and crossing.copies > 1:
            open_ = partial(outlet.client.open, request, connect_timeout=lease.timeouts.connect)
            times, largest = crossing.copies - 1, crossing.largest_reply
            self._chorus = Chorus(times, open_, self._watch, largest)
            self._chorus.start(lease.door.key.limits)

    async def _others(self) -> Sequence[Exchange]:
        """The replies of the chorus; none where the first says enough. Raises RelayError."""
        said_no = self._chorus is None or self.exchange.status >= 400
        return () if said_no or self._chorus is None else await self._chorus.replies()

    async def _prepare(self, translation: Translation) -> bool:
        """Say the request anew: in the upstream's format, or without what is sealed for others.
        False where nobody needs to be asked. Raises BadCall where there are no words for it."""
        if self.crossing is not None:
            return await self._write(self.crossing)
        if self._head.sealed:
            self._head = head = translation.opened(self.lease)
            self.observer = FORMATS[self.spoken].sniffer(head) if head.stream else None
            self._begin_anew()
        return True

    async def _write(self, crossing: Crossing) -> bool:
        """Put the request into the upstream's format; False where it is answered here."""
        if crossing.estimates:
            self._take(crossing.estimate())
            self.claim(200)  # nobody has yet: who loses a race before it asks is cancelled
            return False
        began = monotonic()
        await crossing.fetch()
        self._fetching += monotonic() - began
        crossing.write()
        self.observer = crossing.pipe()
        self._begin_anew()
        return True

    def _begin_anew(self) -> None:
        largest = None if self.crossing is None else self.crossing.largest_reply
        target = self._asked.call.target
        assert target is not None
        opaque = reply_head.opaque_to(target.operation) if self.crossing is None else None
        self.exchange = Exchange(
            self._asked.client,
            self.observer,
            self,
            self._watch,
            largest=largest,
            opaque=opaque,
        )

    async def heard(self, done: asyncio.Future[RelayError | None], seconds: float) -> None:
        """Wait for the end of a reply that nobody reads any more, at most for so long; `problem`
        is what is wrong with it."""
        with contextlib.suppress(TimeoutError):  # then what came until now counts
            async with asyncio.timeout(seconds):
                problem = await done
                is_held = problem is None and not self.exchange.started
                self.problem = self._judge() if is_held else problem

    def first_byte(self) -> float | None:
        """Seconds from asking to the first byte, None where none came."""
        exchange = self.exchange
        return None if exchange.first_byte_at is None else exchange.first_byte_at - exchange.sent_at

    # --- Owner ----------------------------------------------------------------------------------

    def connected(self) -> None:
        # However long the reply takes: whoever waits for the base URL to be well need not.
        self.lease.connected(self._watch.loop.time())

    def claim(self, status: int) -> bool:
        return self._race is None or self._race.claim(self, self.status)

    def stream_headers(self, headers: RawHeaders) -> RawHeaders:
        observer = self.observer if self.exchange.mode != "overflow" else None
        return self.heads.of_stream(headers, observer)

    def first_error(self, data: bytes) -> RelayError | None:
        answer = None if self.crossing is None else self.crossing.refused()
        if answer is not None:
            return _Refused(answer)
        now = self._asked.call.started_at
        return first_event_error(self.spoken, data, self.exchange.headers, now=now)

    def whole_headers(self) -> RawHeaders:
        """The client's headers of a whole reply."""
        return self.heads.of_whole(self.exchange.headers, self._made_headers)

    # --- asking ---------------------------------------------------------------------------------

    def _request(self, outlet: Outlet) -> Sending:
        """The request as the upstream shall get it."""
        extra = [] if self.span is None else self.span.headers
        post = Post(self._asked.call, self.lease, outlet, extra)
        if self.crossing is not None:
            return post.translated(self.crossing)
        return post.passed(self._head, self.exchange.moved)

    async def _connect(self, outlet: Outlet, request: Sending) -> Connection:
        lease, exchange = self.lease, self.exchange
        within = lease.timeouts.connect
        connection = await outlet.client.open(request.pieces, exchange, within, request.upload)
        lease.connected(self._watch.loop.time())
        return connection

    def _is_stale(self, problem: RelayError) -> bool:
        """Whether the request met a connection that its server had closed.

        Only when it shows at once: an upstream that worked on the request and then gave up would do
        the work, and bill it, twice.
        """
        exchange = self.exchange
        if not isinstance(problem, StaleConnection) or exchange.first_byte_at is not None:
            return False
        return self._watch.loop.time() - exchange.sent_at < STALE_WINDOW

    def _judge(self, others: Sequence[Exchange] = ()) -> RelayError | None:
        """A reply that was held back: an answer, the client's mistake, or a failure. `others`: what
        came beside it, where it is not all of the reply."""
        try:
            self.verdict, body = self._judged(self.exchange)
            if self.crossing is not None:
                if unreadable(self.status, body) and self.crossing.forget():
                    raise _Unreadable("The upstream cannot read the state in the request.")
                said = [(self.verdict, body), *map(self._judged, others)]
                self._take(self.crossing.answers(said))
            elif self._asked.head.stream and self.verdict.outcome == "ok":
                self._stream_whole(self.verdict, body)
        except RelayError as exc:
            self.verdict = None
            return exc
        return self.verdict.retry

    def _judged(self, exchange: Exchange) -> tuple[Verdict, bytes]:
        """What a whole reply is, and its body. Raises RelayError where the upstream failed."""
        call, crossing = self._asked.call, self.crossing
        assert call.target is not None
        body = exchange.kept.body
        if crossing is not None and not may_be_read(body):
            raise BadReply("The upstream's reply holds too many values to be translated.")
        operation = call.target.operation if crossing is None else crossing.operation
        status, headers = self._taken_for(exchange.status), exchange.headers
        now = call.started_at
        return judge(self.spoken, operation, status, headers, body, now=now), body

    def _take(self, answer: Answer) -> None:
        """This is the reply, instead of what came."""
        self.verdict, body, self._made_headers = answer
        self.exchange.kept.body = body

    def _stream_whole(self, verdict: Verdict, body: bytes) -> None:
        """The client asked for a stream and the upstream does not stream: the one place where a
        reply is taken apart and put together again in its own format. Else it passes as it is."""
        asked = self._asked
        if asked.head.asked is not None:  # pictures, audio
            streamed = FORMATS[self.spoken].streamed
            events = streamed and streamed(asked.head, body, int(asked.call.started_at))
            if events is not None:
                self._take(Answer(verdict, events, [*EVENT_STREAM]))
            return
        translation = asked.translator.of(asked.call, asked.head, asked.caller)
        with contextlib.suppress(BadCall, BadReply):
            self._take(unstreamed(translation, self.lease).answer(verdict, body))
