"""The limits of one key or account."""

from __future__ import annotations

import pytest

from relayd.accounts import NO_LIMITS, Limits
from relayd.errors import Refused
from relayd.policy.allowances import Allowance


def refusal(allowance: Allowance, tokens: int, now: float) -> Refused:
    with pytest.raises(Refused) as caught:
        allowance.check(tokens, now)
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    return caught.value


def test_without_limits_all_is_let_through() -> None:
    allowance = Allowance("this key", NO_LIMITS)
    for _ in range(100):
        allowance.check(10**9, 0.0)
        allowance.take(10**9, 0.0)
    allowance.end(5, 0.0)
    assert allowance.in_flight == 99
    assert allowance.standing(0.0) == (None, None)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(rpm=2), "this key may make 2 requests a minute"),
        (Limits(tpm=200), "this key may use 200 tokens a minute; this request needs about 100"),
        (Limits(concurrency=2), "this key may have 2 requests at one time"),
    ],
)
def test_a_refusal_says_which_limit_and_when_again(limits: Limits, said: str) -> None:
    allowance = Allowance("this key", limits)
    for _ in range(2):
        allowance.check(100, 0.0)
        allowance.take(100, 0.0)
    refused = refusal(allowance, 100, 10.0)
    wait = 1.0 if limits.concurrency else 20.0
    assert refused.message == f"Rate limit reached: {said}. Try again in {wait:g} s."
    assert refused.retry_after == pytest.approx(wait)
    assert allowance.in_flight == 2
    if limits.concurrency:
        allowance.end(0, 10.0)
    allowance.check(100, 10.0 + wait)


def test_one_request_is_said_in_the_singular() -> None:
    allowance = Allowance("this key", Limits(concurrency=1))
    allowance.take(1, 0.0)
    assert "may have 1 request at one time" in refusal(allowance, 1, 0.0).message


def test_the_truth_about_tokens_corrects_the_bucket() -> None:
    allowance = Allowance("this key", Limits(tpm=600))
    allowance.take(600, 0.0)
    allowance.end(-500, 0.0)
    allowance.check(500, 0.0)
    allowance.take(500, 0.0)
    allowance.end(+100, 0.0)
    assert refusal(allowance, 1, 0.0).retry_after == pytest.approx(10.1)


def test_new_limits_keep_what_did_not_change() -> None:
    allowance = Allowance("this key", Limits(rpm=10, tpm=100))
    requests, tokens = allowance.requests, allowance.tokens
    allowance.take(100, 0.0)
    allowance.adopt(Limits(rpm=10, tpm=200, concurrency=1))
    assert allowance.requests is requests
    assert allowance.tokens is not tokens
    assert allowance.in_flight == 1
    allowance.adopt(Limits(rpm=20, tpm=None))
    assert allowance.requests is not requests
    assert allowance.tokens is None


def test_it_shows_its_state() -> None:
    allowance = Allowance("this key", Limits(rpm=60))
    allowance.take(1, 5.0)
    assert repr(allowance) == (
        "Allowance(this key: 1 in flight, TokenBucket(60/min, full at 6.000), None)"
    )
