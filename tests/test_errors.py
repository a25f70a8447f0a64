"""The error family: whose fault it is, is a type; a status and a code come with it."""

from __future__ import annotations

import pytest

from relayd import errors

TABLE = [
    (errors.Refused, "client", 401, "refused", False),
    (errors.BadCall, "client", 400, "bad_request", False),
    (errors.NotHere, "client", 400, "bad_request", False),
    (errors.NoUpstream, "relay", 503, "no_upstream", False),
    (errors.ConnectFailed, "upstream", 502, "upstream_error", True),
    (errors.NoAnswer, "upstream", 504, "upstream_error", True),
    (errors.BadReply, "upstream", 502, "upstream_error", True),
    (errors.BrokenStream, "upstream", 502, "broken_stream", False),
    (errors.ClientGone, "client", 499, "client_gone", False),
    (errors.RelayError, "relay", 500, "relay_error", False),
]


@pytest.mark.parametrize(("kind", "blame", "status", "outcome", "retryable"), TABLE)
def test_each_class_says_who_is_to_blame(
    kind: type[errors.RelayError], blame: str, status: int, outcome: str, retryable: bool
) -> None:
    error = kind("why")
    assert (error.blame, error.status, error.outcome) == (blame, status, outcome)
    assert error.retryable is retryable
    assert error.code
    assert repr(error) == f"{kind.__name__}({status} {error.code}: why)"


def test_what_is_given_wins_over_the_class() -> None:
    error = errors.Refused("why", status=404, code="c", param="p", retry_after=3)
    assert (error.status, error.code, error.param, error.retry_after) == (404, "c", "p", 3)


def test_a_bad_status_remembers_what_the_upstream_said() -> None:
    error = errors.BadStatus("why", upstream_status=529, status=503)
    assert (error.upstream_status, error.status, error.retryable) == (529, 503, True)
