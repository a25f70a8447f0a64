"""What one key or account may do at a time: requests and tokens a minute, requests in flight.

An allowance is asked first and taken from afterwards, so that whoever needs several can ask all of
them before any is touched. It stays the same object while limits change over a reload: what is in
flight is counted on, and a bucket whose rate did not change keeps its level.
"""

from __future__ import annotations

from relayd.accounts import NO_LIMITS, Limits
from relayd.errors import Limit, Refused
from relayd.policy.buckets import Level, TokenBucket

FOR_A_PLACE = 1.0  # seconds; when another request ends, nobody knows


class Allowance:
    """The limits of one key or account. Owns its buckets and the count of requests in flight.

    Arguments:
        whose: for messages: "this API key".
        limits: what holds at first.
    """

    __slots__ = ("in_flight", "limits", "requests", "tokens", "whose")

    def __init__(self, whose: str, limits: Limits) -> None:
        self.whose = whose
        self.in_flight = 0
        self.limits = NO_LIMITS
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None
        self.adopt(limits)

    def __repr__(self) -> str:
        return (
            f"Allowance({self.whose}: {self.in_flight} in flight, {self.requests}, {self.tokens})"
        )

    def adopt(self, limits: Limits) -> None:
        """Go by these limits from now on."""
        old, self.limits = self.limits, limits
        if (limits.rpm, limits.burst) != (old.rpm, old.burst):
            self.requests = _bucket(limits.rpm, limits.burst)
        if (limits.tpm, limits.burst) != (old.tpm, old.burst):
            self.tokens = _bucket(limits.tpm, limits.burst)

    def check(self, tokens: int, now: float) -> None:
        """Raises Refused (429), saying which limit and when again, if a request does not fit."""
        most = self.limits.concurrency
        if most is not None and self.in_flight >= most:
            what = f"{_counted(most, 'request')} at one time"
            raise _too_many("concurrency", f"{self.whose} may have {what}", FOR_A_PLACE)
        if self.requests is not None and not self.requests.fits(1, now):
            what = f"{_counted(self.requests.per_minute, 'request')} a minute"
            wait = self.requests.wait(1, now)
            raise _too_many("requests", f"{self.whose} may make {what}", wait)
        if self.tokens is not None and not self.tokens.fits(tokens, now):
            what = f"{_counted(self.tokens.per_minute, 'token')} a minute"
            asked = f"; this request needs about {tokens}"
            wait = self.tokens.wait(tokens, now)
            raise _too_many("tokens", f"{self.whose} may use {what}{asked}", wait)

    def take(self, tokens: int, now: float) -> None:
        """A request begins."""
        self.in_flight += 1
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def end(self, delta: int, now: float) -> None:
        """A request ended, with `delta` more tokens than were taken."""
        self.in_flight -= 1
        if delta and self.tokens is not None:
            self.tokens.adjust(delta, now)

    def give_back(self, now: float) -> None:
        """The request that ended is as if it had never been made."""
        if self.requests is not None:
            self.requests.adjust(-1, now)

    def standing(self, now: float) -> tuple[Level | None, Level | None]:
        """How requests and tokens stand."""
        requests, tokens = self.requests, self.tokens
        return (
            requests.standing(now) if requests is not None else None,
            tokens.standing(now) if tokens is not None else None,
        )


def _bucket(per_minute: int | None, burst: float) -> TokenBucket | None:
    return None if per_minute is None else TokenBucket(per_minute, burst)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _too_many(limit: Limit, what: str, wait: float) -> Refused:
    refused = Refused(
        f"Rate limit reached: {what}. Try again in {wait:.3g} s.",
        status=429,
        code="rate_limit_exceeded",
        retry_after=wait,
    )
    refused.limit = limit
    return refused
