"""How a request and its attempts end in the books: what a key learns, what the row says.

Whatever happened, `close` is called once for a request, and `end` once for each attempt that came
to nothing: the lease ends, the journal has its row, the metrics count it, the operator's log hears
of what is worth hearing. Nothing here waits.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from relayd.errors import ClientGone, NoUpstream, Refused, RelayError, UpstreamError
from relayd.faults import FaultLog
from relayd.model import Entry
from relayd.policy.lease import Lease
from relayd.policy.pools import Pools
from relayd.relay.attempt import Attempt
from relayd.relay.followups import FollowUps
from relayd.relay.hedge import lesson
from relayd.relay.lobby import Lobby
from relayd.relay.till import Till
from relayd.relay.work import Meter, Work
from relayd.wire.head import without_key


class Settling:
    """Ends requests and attempts.

    Arguments:
        pools: remember where conversations went well.
        lobby: hears when a place becomes free.
        till: charges, and keeps the rows.
        meter: counts.
        followups: note what upstreams keep.
        tell: says a line about an ended request, with the name of its key.
        clock: the loop's.
    """

    def __init__(
        self,
        pools: Pools,
        lobby: Lobby,
        till: Till,
        meter: Meter,
        *,
        followups: FollowUps,
        tell: Callable[[Entry, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._pools = pools
        self._lobby = lobby
        self._till = till
        self._meter = meter
        self._followups = followups
        self._tell = tell
        self._clock = clock
        self._faults = FaultLog()
        pools.on_change = self._faults.hear

    def __repr__(self) -> str:
        return f"<Settling {self._till!r}>"

    def note(self, entry: Entry) -> None:
        """Count what is not even a request, and keep its row."""
        self._till.note(entry, self._clock())
        self._meter.settle(entry, "")
        self._tell(entry, "")

    def end(self, attempt: Attempt, problem: RelayError) -> None:
        """An attempt came to nothing: its key learns, the operator hears."""
        lease, now = attempt.lease, self._clock()
        if attempt.span is not None:
            attempt.span.end(attempt.exchange.status, problem)
        if not lease.ended:
            if attempt.exchange.sent and not isinstance(problem, UpstreamError):
                self._meter.attempt(lease.spec.name, lease.door.key.name, problem.code)
            self.failed(lease, problem, lesson(attempt, problem, now))

    def failed(self, lease: Lease, problem: RelayError, learned: RelayError | None = None) -> None:
        """What a lease was taken for came to nothing. `learned`: what that teaches its key, where
        it is not the problem itself."""
        door, now = lease.door, self._clock()
        if isinstance(problem, UpstreamError):
            self._meter.attempt(door.spec.name, door.key.name, problem.code)
            self._faults.note(door.spec.name, door.key.name, problem.code, now, lease.request)
        lease.fail(learned or problem, now)
        if self._lobby.waiting:
            self._lobby.stir()

    def served(self, lease: Lease, tokens: int) -> None:
        """A session went well that a lease was taken for; how soon it began says nothing."""
        lease.succeed(self._clock(), None, tokens)
        self._meter.attempt(lease.spec.name, lease.door.key.name, "ok")
        if self._lobby.waiting:
            self._lobby.stir()

    def close(self, work: Work, to_come: int = 0, rule: str = "") -> None:
        """End the request in the books, once. `to_come`: bytes that its last act will send;
        `rule`: the model rule that it matched, where no attempt knows it."""
        entry, call, attempt = work.entry, work.call, work.attempt
        now = self._clock()
        entry.duration = now - call.started
        entry.bytes_in = work.client.bytes_in
        entry.bytes_out = work.client.bytes_out + to_come
        if attempt is not None:
            rule = attempt.lease.rule
            self._settle_attempt(work, attempt, now)
            if attempt.span is not None:
                attempt.span.end(attempt.exchange.status, work.failure)
        elif not rule:
            rule = _rule_of(work)
        self._followups.settle(work)
        self._till.close(work, now)
        self._followups.close(work)
        self._meter.settle(entry, rule, work.waited)
        key = work.caller.key.name if work.caller is not None else ""
        self._tell(entry, key)
        if work.trace is not None:
            work.trace.end(entry, key)
        if isinstance(work.failure, Refused) and work.failure.limit:
            self._meter.limited(work.failure.limit)
        if isinstance(work.failure, NoUpstream) and work.failure.detail:
            self._tell_unserved(work, work.failure.detail, now)

    def _tell_unserved(self, work: Work, why: str, now: float) -> None:
        entry, rule = work.entry, _rule_of(work)
        self._faults.unserved(
            rule or entry.model_asked, entry.model_asked, why, now, entry.request_id
        )

    def count_overhead(self, work: Work) -> None:
        """The last bytes have gone out: count what all of it took in relayd itself."""
        seconds = work.overhead(monotonic())
        if seconds is not None:
            self._meter.overhead(work.entry.format_in, seconds)

    def _settle_attempt(self, work: Work, attempt: Attempt, now: float) -> None:
        entry, lease, exchange = work.entry, attempt.lease, attempt.exchange
        if attempt.crossing is not None:
            dropped = attempt.crossing.dropped
            self._meter.translated(work.call.format, attempt.spoken, entry.outcome, dropped)
            if attempt.crossing.estimates:  # nobody was asked
                lease.leave(now)
                return
        if exchange.first_byte_at is not None:
            entry.first_byte = exchange.first_byte_at - work.call.started
        entry.upstream, entry.upstream_key = lease.spec.name, lease.door.key.name
        entry.model_used, entry.format_out = without_key(lease.model), attempt.spoken
        entry.upstream_request_id = attempt.heads.upstream_id
        if work.attempts is not None:
            entry.attempts = work.attempts.count + attempt.repeats
        failure = work.failure
        if isinstance(failure, UpstreamError):
            self.end(attempt, failure)
        elif isinstance(failure, ClientGone) or entry.outcome not in (
            "ok",
            "bad_request",
        ):
            if exchange.sent and not lease.ended:
                self._meter.attempt(lease.spec.name, lease.door.key.name, entry.outcome)
            lease.leave(now)
        else:
            self._succeed(work, attempt, now)
        if self._lobby.waiting:
            self._lobby.stir()

    def _succeed(self, work: Work, attempt: Attempt, now: float) -> None:
        entry, lease = work.entry, attempt.lease
        matter = not lease.door.unlimited and entry.usage_source == "reported"
        lease.succeed(now, attempt.first_byte(), entry.usage.total if matter else None)
        self._meter.attempt(lease.spec.name, lease.door.key.name, "ok")
        attempts = work.attempts
        if attempts is not None and attempts.fell_back:
            self._meter.fallback(lease.spec.name)
        if attempts is None or not attempts.route.pool.has_choice:
            return
        self._pools.remember(attempts.route, lease, attempts.wanted, now)


def _rule_of(work: Work) -> str:
    """The model rule of a request that nobody was asked for; "" where it matched none."""
    return work.attempts.route.pool.members[0].rule.pattern if work.attempts is not None else ""
