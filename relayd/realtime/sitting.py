"""The books of one realtime session: a row for each response, and one for the session itself.

A session may go on for an hour, so it is not charged at its end. As long as no response is under
way one grant is open, for the one that comes next. A response that begins takes it; others that
begin beside it (the API allows that) ask for grants of their own, by the same limits. When a
response ends its usage settles its grant, and where it was the last another grant is asked for at
once: who has no money or no requests left, or whose key was taken back meanwhile, hears so, and the
session ends. What the next response may take in is guessed by the last one: a conversation only
grows. What is cut off when the session ends pays for what was heard of it.

Transcripts of what the user says are made by another model, which the session names. It must be one
that the caller may use. Each is a row of its own, at that model's price, and is paid by the grant
for the next response, in whose place another comes; while there is none, transcripts wait for it.

Nothing here waits: on the loop, to settle and to open again is one step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from relayd.errors import BrokenStream, NoUpstream, Refused, RelayError, UpstreamError
from relayd.model import Entry, Usage
from relayd.policy.lease import Lease
from relayd.policy.prices import Price
from relayd.realtime.ending import Ending, Over, shutting_down
from relayd.relay.asking import asked_of
from relayd.relay.call import Call, Client
from relayd.relay.settling import Settling
from relayd.relay.work import Work
from relayd.wire import websocket
from relayd.wire.head import Head, without_key
from relayd.wire.paths import Target
from relayd.wire.realtime import Told

LONGEST_ID = 128
MOST_PARALLEL = 100  # responses under way
MOST_WAITING = 100  # transcripts, for the end of a response
FIRST_GUESS = 1000  # tokens that a first response may take in: nobody knows yet
FAILURES = frozenset({1002, 1003, 1007, 1011, 1012, 1013, 1014})  # close codes of a broken server
QUIET = frozenset({websocket.NORMAL, websocket.GOING_AWAY, websocket.NO_CODE})


class Counted(Client, Protocol):
    """The client's side, whose bytes are counted anew for each row."""

    bytes_in: int
    bytes_out: int


class Gate(Protocol):
    """Who lets in what comes next in a session."""

    def admit(self, work: Work) -> None:
        """Let in one more response. Raises RelayError where that may not be."""

    def allow(self, work: Work, model: str) -> None:
        """Raises Refused where the caller may not use a model, or it is not sold."""

    def price(self, model: str) -> Price | None:
        """What a model costs."""


class Traffic(Protocol):
    """What went through, from the beginning of the session."""

    bytes_in: int
    bytes_out: int


@dataclass(slots=True)
class _Response:
    """A response under way: its row, and tokens of it as far as was heard."""

    work: Work
    produced: int = 0


class Sitting:
    """One session's books. Owns its rows, and ends its lease.

    Arguments:
        work: the session's request, let in.
        client: whose bytes rows count.
        lease: the upstream key that it goes to.
        settling: ends rows and leases.
        gate: lets in what comes next.
        clock: the loop's.

    `draining`: relayd wants to stop.
    """

    def __init__(
        self,
        work: Work,
        client: Counted,
        lease: Lease,
        settling: Settling,
        gate: Gate,
        clock: Callable[[], float],
    ) -> None:
        self.draining = False
        self._session = work  # whose caller, model and headers all rows share
        self._open: Work | None = work  # let in, for the next response
        self._responses: dict[str, _Response] = {}
        self._client = client
        self._first: Call = work.call
        self._lease = lease
        self._settling = settling
        self._gate = gate
        self._clock = clock
        self._rows = 1  # that were begun
        self._tokens = 0
        self._guess = FIRST_GUESS  # of what the next response takes in
        self._ears = ""  # the model that transcribes
        self._heard: list[Told] = []  # transcripts that wait to be charged
        self._counted = (0, 0)  # bytes that stand in rows
        self._upstream_id = ""
        self._closed = False
        # The whole session's: its rows are parts of it. None where nobody traces.
        self._trace, work.trace = work.trace, None

    def __repr__(self) -> str:
        return f"<Sitting {self._first.request_id} rows={self._rows} under_way={self.under_way}>"

    @property
    def under_way(self) -> int:
        """Responses that have begun and not ended."""
        return len(self._responses)

    def begin(self, upstream_id: str) -> None:
        """The upstream has let the session in; `upstream_id` is what it calls that."""
        self._upstream_id = upstream_id[:LONGEST_ID]

    # --- Owner ------------------------------------------------------------------------------------

    def told(self, told: Told, traffic: Traffic) -> Ending | None:
        """What the upstream said of a response; the ending where the session may not go on."""
        if self._closed:
            return None
        if told.step == "went on":
            response = self._response(told.id)
            if response is not None:
                response.produced += told.produced
            return None
        try:
            self._act(told, traffic)
        except RelayError as exc:
            code = websocket.REFUSED if isinstance(exc, Refused) else websocket.GOING_AWAY
            return Ending("relay", code, exc)
        return shutting_down() if self.draining and not self._responses else None

    def _act(self, told: Told, traffic: Traffic) -> None:
        """Enter it. Raises RelayError where the session may not go on."""
        if told.step == "began":
            self._begin(told.id)
        elif told.step == "ended":
            self._settle(told, traffic)
        elif told.step == "heard":
            if len(self._heard) >= MOST_WAITING:
                text = "Too many transcripts wait for the end of a response."
                raise Refused(text, status=429, code="rate_limit_exceeded")
            self._heard.append(told)
            self._charge_hearing(traffic)
        elif told.step == "too long":
            text = "The session's description is too long to be read."
            raise Refused(text, status=413, code="request_too_large")
        else:
            self._ears = told.model
            if told.model:
                self._gate.allow(self._session, told.model)

    # --- responses --------------------------------------------------------------------------------

    def _begin(self, name: str) -> None:
        """A response takes the open grant; where another has it, it needs one of its own."""
        if name in self._responses:
            return
        if len(self._responses) >= MOST_PARALLEL:
            text = f"A session may have {MOST_PARALLEL} responses at one time."
            raise Refused(text, status=429, code="rate_limit_exceeded")
        work, self._open = self._traced(self._open or self._next()), None
        # The row tells of the response, not of the silence before it.
        work.entry.started_at = self._moment()
        work.call = work.call._replace(started=self._clock())
        self._responses[name] = _Response(work)

    def _response(self, name: str) -> _Response | None:
        """That of this name; else the oldest, for who does not say which."""
        return self._responses.get(name) or next(iter(self._responses.values()), None)

    def _settle(self, told: Told, traffic: Traffic) -> None:
        response = self._responses.pop(told.id, None)
        if response is None and self._open is None:  # it goes by a name that nobody has heard
            response = self._responses.pop(next(iter(self._responses)), None)
        if response is None:
            response = _Response(self._traced(self._open or self._next()))
            self._open = None
        entry = response.work.entry
        entry.status, entry.outcome = 200, "ok"
        if told.status == "failed":
            entry.outcome, entry.error_code = "upstream_error", "upstream_failed_response"
        if told.usage is not None:
            entry.usage, entry.usage_source = told.usage, "reported"
        elif entry.outcome == "ok":
            _estimate(response)
        self._guess = entry.usage.total or self._guess
        self._enter(response.work, told.id, traffic)
        if self._responses:
            return
        if not self.draining:
            self._open = self._next()
            self._charge_hearing(traffic)

    # --- transcripts ------------------------------------------------------------------------------

    def _charge_hearing(self, traffic: Traffic) -> None:
        """A row for each transcript that waits, as far as a grant is open for it."""
        while self._heard and self._open is not None:
            told, work = self._heard.pop(0), self._open
            model = self._ears or work.entry.model_asked  # whose ears it is, nobody has said
            if told.usage is None or work.grant is None:
                continue
            self._traced(work)
            work.grant.ask = work.grant.ask._replace(price=self._gate.price(model))
            entry = work.entry
            entry.started_at, work.call = self._moment(), work.call._replace(started=self._clock())
            entry.status, entry.outcome, entry.model_asked = 200, "ok", model
            entry.usage, entry.usage_source = told.usage, "reported"
            self._open = None
            self._enter(work, told.id, traffic, model)
            self._open = self._next()

    # --- rows -------------------------------------------------------------------------------------

    def _moment(self) -> float:
        """Unix seconds, by the loop's clock."""
        return self._first.started_at + self._clock() - self._first.started

    def _next(self) -> Work:
        """Open the books for one more row. Raises RelayError where that may not be."""
        work = self._blank()
        self._gate.admit(work)
        return work

    def _blank(self) -> Work:
        """The record of one more row, not let in yet."""
        session, first, moment = self._session, self._first, self._moment()
        assert session.head is not None
        head = head_of(session.head.target, session.head.model, self._guess)
        self._rows += 1
        name = f"{first.request_id}-{self._rows}"
        entry = Entry(
            name,
            moment,
            session.entry.key_id,
            session.entry.account_id,
            operation=session.entry.operation,
            model_asked=without_key(head.model),
            format_in=session.entry.format_in,
            stream=True,
        )
        call = first._replace(request_id=name, started=self._clock(), started_at=moment)
        return Work(
            call, session.client, entry, session.caller, head=head, attempts=session.attempts
        )

    def _traced(self, work: Work) -> Work:
        """A row that is begun is a span within the session's."""
        if self._trace is not None:
            work.trace = self._trace.part(asked_of(self._lease, "chat"))
        return work

    def _enter(self, work: Work, upstream_id: str, traffic: Traffic, model: str = "") -> None:
        """Close a row. `model`: that was used, where it is not the lease's."""
        lease, entry = self._lease, work.entry
        entry.upstream, entry.upstream_key = lease.spec.name, lease.door.key.name
        entry.model_used, entry.format_out = without_key(model or lease.model), entry.format_in
        entry.upstream_request_id = upstream_id[:LONGEST_ID]
        entry.attempts = work.attempts.count if work.attempts is not None else 1
        into, out = self._counted
        self._counted = traffic.bytes_in, traffic.bytes_out
        self._client.bytes_in = traffic.bytes_in - into
        self._client.bytes_out = traffic.bytes_out - out
        self._settling.close(work, rule=lease.rule)
        self._tokens += entry.usage.total

    # --- the end ----------------------------------------------------------------------------------

    def close(self, ending: Ending, traffic: Traffic) -> Entry:
        """The session has ended: the rows of what is cut off, its own, and its lease. Returns the
        session's own row."""
        problem, self._closed = ending.problem, True
        failed = isinstance(problem, UpstreamError)
        for name, response in self._responses.items():
            entry = response.work.entry
            entry.status = 200
            entry.outcome, entry.error_code = _outcome(ending, cut=True)
            if response.produced or not failed:  # an upstream's failure costs nothing by itself
                _estimate(response)
            self._enter(response.work, name, traffic)
        self._responses.clear()
        self._charge_the_rest(traffic)
        work = self._open or self._blank()
        entry, work.call, work.failure = work.entry, self._first, problem
        work.trace = self._trace
        entry.started_at, entry.status = self._first.started_at, 101
        entry.outcome, entry.error_code = _outcome(ending, cut=False)
        if isinstance(problem, Refused):
            entry.status = problem.status
        self._enter(work, self._upstream_id, traffic)
        if failed:
            assert problem is not None
            self._settling.failed(self._lease, problem)
        else:
            self._settling.served(self._lease, self._tokens)
        return entry

    def _charge_the_rest(self, traffic: Traffic) -> None:
        """Transcripts that still wait, as long as they can be paid."""
        try:
            if self._heard and self._open is None:
                self._open = self._next()
            self._charge_hearing(traffic)
        except RelayError:  # then the rest cannot be
            self._heard.clear()


def _outcome(ending: Ending, *, cut: bool) -> tuple[str, str]:
    """What a row says of the end; `cut`: it broke this response off."""
    problem = ending.problem
    if problem is None:
        code = "" if ending.code in QUIET else f"closed_{ending.code}"
        broken = ending.by == "upstream" and ending.code in FAILURES
        if cut:
            return ("client_gone" if ending.by == "client" else BrokenStream.outcome), code
        return ("upstream_error" if broken else "ok"), code
    if isinstance(problem, UpstreamError):
        return BrokenStream.outcome, problem.code
    if isinstance(problem, Over) and cut:
        return NoUpstream.outcome, problem.code
    return problem.outcome, problem.code


def _estimate(response: _Response) -> None:
    """Nobody says what was used: what was heard, and what the prompt was taken for."""
    work = response.work
    assert work.head is not None
    work.entry.usage = Usage(in_uncached=work.head.input_estimate, out_total=response.produced)
    work.entry.usage_source = "estimated"


def head_of(target: Target, model: str, tokens: int) -> Head:
    """What is known of a response before it is made: what it may take in."""
    return Head(target, model, True, b"", input_estimate=tokens, asked=Usage())
