"""How a request ends for its client: the last bytes of a reply, an error in its format, a goodbye.

Each function enters into the work what the ledger shall say, and returns the last act, which the
relay performs after the books are closed. None of them waits.
"""

from __future__ import annotations

import math

from relayd.errors import BrokenStream, ClientGone, NoUpstream, RelayError, UpstreamError
from relayd.model import Usage
from relayd.policy.attempts import Attempts
from relayd.relay.attempt import Attempt
from relayd.relay.judge import Verdict
from relayd.relay.sides import RawHeaders
from relayd.relay.work import Last, Work
from relayd.wire import units
from relayd.wire.formats import FORMATS
from relayd.wire.passthrough import BYTES_PER_TOKEN
from relayd.wire.pipe import Pipe


def finish(work: Work, attempt: Attempt, problem: RelayError | None) -> Last:
    """End a request whose last attempt has ended. Raises the problem where nothing went out yet."""
    if not attempt.exchange.started:
        if attempt.verdict is None:
            assert problem is not None
            raise problem
        work.failure = problem
        return _finish_whole(work, attempt)
    if attempt.exchange.mode == "overflow":
        return _finish_overflow(work, attempt, problem)
    return _finish_stream(work, attempt, problem)


def _finish_whole(work: Work, attempt: Attempt) -> Last:
    """A reply that was held back and judged: it goes out in one piece."""
    client, verdict = work.client, attempt.verdict
    assert verdict is not None
    body = attempt.exchange.kept.body
    headers = attempt.whole_headers()
    entry = work.entry
    entry.status, entry.outcome = verdict.status, verdict.outcome
    entry.error_code = verdict.error_code
    _note_verdict(work, verdict, len(body))
    work.response_id = verdict.response_id
    return Last(lambda: client.send(verdict.status, headers, body), len(body))


def _finish_overflow(work: Work, attempt: Attempt, problem: RelayError | None) -> Last:
    """A reply too large to hold: it went out as it came."""
    call, client = work.call, work.client
    work.entry.status = attempt.exchange.status
    if problem is not None:
        _note_failure(work, problem, started=True)
        if work.entry.operation == "speech":  # half of it can be heard; half a document is none
            note_usage(work, None, complete=False)
        return Last(client.abort)
    usage = FORMATS[call.format].tail_usage(attempt.exchange.kept.body)
    work.entry.outcome = "ok"
    note_usage(work, usage, complete=True, produced=attempt.exchange.seen // BYTES_PER_TOKEN)
    return Last(client.end)


def _finish_stream(work: Work, attempt: Attempt, problem: RelayError | None) -> Last:
    """An event stream: all of it went out; what is missing is its proper end."""
    client, observer, entry = work.client, attempt.observer, work.entry
    assert observer is not None
    entry.status = attempt.exchange.status
    rest = observer.finish()
    if observer.complete and observer.failed is None:
        entry.outcome = "ok"  # even if the connection broke after the terminal event
        work.response_id = observer.response_id
    elif observer.failed is not None and problem is None:
        entry.outcome, entry.error_code = "upstream_error", "upstream_stream_error"
        work.failure = BrokenStream(observer.failed)
    else:
        broken = problem or BrokenStream("The upstream's stream ended before it was complete.")
        _note_failure(work, broken, started=True)
        rest += observer.error_event(broken, work.call.request_id)
    # As one that fails before the first byte: the upstream's failure costs nothing.
    if isinstance(problem, ClientGone) or not _is_empty(attempt):
        note_usage(work, observer.usage, complete=entry.outcome == "ok")
    return Last(lambda: client.end(rest), len(rest))


def fail(work: Work, exc: RelayError) -> Last:
    """Word a failure for the client, if it can still be told."""
    call, client, entry = work.call, work.client, work.entry
    started = work.exchange is not None and work.exchange.started
    _note_failure(work, exc, started=started)
    if isinstance(exc, ClientGone) or started:
        entry.status = entry.status or exc.status
        return Last(client.abort)
    reply = FORMATS[call.format].error(exc, call.request_id)
    entry.status = reply.status
    headers = error_headers(exc)
    if work.attempts is not None and work.attempts.count > 1:
        headers += way_headers(work.attempts)
    headers += work.limits
    return Last(lambda: client.send(reply.status, headers, reply.body), len(reply.body))


def leave(work: Work) -> Last:
    """Cancelled: the client hung up, or we stop.

    A client that hung up after the terminal event had been served; before it, it had not.
    """
    attempt, observer, exchange, entry = work.attempt, work.observer, work.exchange, work.entry
    served = is_whole(observer)
    if attempt is not None and exchange is not None:
        exchange.leave(served=served)
        # A failed attempt costs nothing, nor does one that we break off before anything came of it.
        if exchange.sent and not attempt.failed and (work.client.gone or not _is_empty(attempt)):
            _note_cut(work, attempt)
    if served:
        entry.outcome, entry.status = "ok", exchange.status if exchange is not None else 200
        return Last(_nothing if work.client.gone else work.client.end)
    if not work.client.gone:
        return _break_off(work)
    _note_failure(work, ClientGone("The client left."), started=False)
    entry.status = ClientGone.default_status
    return Last(_nothing)


def unheard(work: Work, attempt: Attempt) -> None:
    """The client left early, and the reply was heard to its end for its usage, or as far as was
    waited for: it was not served, whatever came."""
    exchange, verdict = attempt.exchange, attempt.verdict
    exchange.leave(served=False)  # no more than that was waited for
    _note_failure(work, ClientGone("The client left."), started=False)
    work.entry.status = ClientGone.default_status
    if verdict is not None:
        _note_verdict(work, verdict, len(exchange.kept.body))
    elif attempt.problem is None or not _is_empty(attempt):
        _note_cut(work, attempt)


def is_whole(observer: Pipe | None) -> bool:
    """Whether a stream is complete: who has it was served."""
    return observer is not None and observer.complete and observer.failed is None


def _is_empty(attempt: Attempt) -> bool:
    """Whether no answer came at all, though a keep-alive may have opened the client's stream."""
    exchange, observer = attempt.exchange, attempt.observer
    if not exchange.started:
        return True
    if exchange.mode != "stream" or observer is None:
        return False
    return not (observer.opened or observer.usage is not None or observer.estimate_output())


def _break_off(work: Work) -> Last:
    """We stop, and the client is still there: it hears so, in its own format."""
    exc = NoUpstream("relayd is shutting down.", code="shutting_down", retry_after=5)
    if work.exchange is None or work.exchange.mode != "stream" or work.observer is None:
        return fail(work, exc)
    _note_failure(work, exc, started=True)
    work.entry.status = work.exchange.status
    rest = work.observer.finish() + work.observer.error_event(exc, work.call.request_id)
    return Last(lambda: work.client.end(rest), len(rest))


def note_usage(work: Work, usage: Usage | None, *, complete: bool, produced: int = 0) -> None:
    """Enter what was consumed. `produced`: output tokens to assume when nobody reports any; what
    generates no text has none."""
    entry, head, observer = work.entry, work.head, work.observer
    if entry.operation in ("count_tokens", "other") or head is None:
        return
    if head.asked is not None:  # pictures, audio, rankings
        begun = work.exchange is not None and work.exchange.started
        begun = begun or (complete and entry.outcome in ("ok", ClientGone.outcome))
        entry.usage, entry.usage_source = units.used(head, usage, complete=complete, begun=begun)
        return
    if usage is not None and complete:
        entry.usage, entry.usage_source = usage, "reported"
        return
    if observer is not None and observer.seen:
        produced = observer.estimate_output()
    elif entry.operation != "generate":
        produced = 0  # a vector of numbers, however long
    if usage is not None:
        # The stream was cut: the input side is known, the output side at least what was seen.
        entry.usage, entry.usage_source = usage, "partial"
        usage.out_total = max(usage.out_total or 0, produced)
    else:
        entry.usage = Usage(in_uncached=head.input_estimate, out_total=produced)
        entry.usage_source = "estimated"


def _note_verdict(work: Work, verdict: Verdict, size: int) -> None:
    """Enter what a whole reply consumed; one that is no answer has consumed nothing."""
    head = work.head
    if verdict.heard is not None and head is not None and head.asked is not None:
        head.asked.audio_ms = verdict.heard
    if verdict.outcome == "ok" or verdict.usage is not None:
        produced = size // BYTES_PER_TOKEN if verdict.produced is None else verdict.produced
        note_usage(work, verdict.usage, complete=True, produced=produced)


def _note_cut(work: Work, attempt: Attempt) -> None:
    """Enter what a reply consumed of which nobody knows whether it is all."""
    exchange, observer = attempt.exchange, attempt.observer
    if exchange.mode == "overflow":  # most of it went out, and maybe the usage with it
        usage = FORMATS[work.call.format].tail_usage(exchange.kept.body)
        produced = exchange.seen // BYTES_PER_TOKEN
        note_usage(work, usage, complete=usage is not None, produced=produced)
    else:
        note_usage(work, observer.usage if observer else None, complete=is_whole(observer))


def _note_failure(work: Work, exc: RelayError, *, started: bool) -> None:
    entry = work.entry
    entry.error_code = exc.code
    entry.outcome = exc.outcome
    work.failure = exc
    if started and isinstance(exc, UpstreamError):
        entry.outcome = BrokenStream.outcome


def _nothing() -> None:
    """There is nobody to send anything to."""


# Of a request whose client has left.
NO_MORE = Last(_nothing)


def way_headers(attempts: Attempts) -> RawHeaders:
    """What a reply says of the way to it: after how many attempts, and which model answered."""
    headers: RawHeaders = []
    if attempts.count > 1:
        headers.append((b"x-relayd-attempts", b"%d" % attempts.count))
    if attempts.fell_back:
        headers.append((b"x-relayd-model", attempts.route.asked.encode("utf-8", "replace")))
    return headers


def error_headers(exc: RelayError) -> RawHeaders:
    """Headers that an error adds: when to try again, and whether that can help."""
    headers: RawHeaders = [(b"content-type", b"application/json")]
    if exc.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(exc.retry_after))))
    if exc.code == "upstream_credential":
        headers.append((b"x-should-retry", b"false"))
    return headers
