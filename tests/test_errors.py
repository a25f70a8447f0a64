"""The error family: whose fault it is, is a type; a status and a code come with it."""

from __future__ import annotations

import pytest

from relayd import errors

TABLE = [
    (errors.Refused, 401, "refused"),
    (errors.BadCall, 400, "bad_request"),
    (errors.NotHere, 400, "bad_request"),
    (errors.NoUpstream, 503, "no_upstream"),
    (errors.ConnectFailed, 502, "upstream_error"),
    (errors.NoAnswer, 504, "upstream_error"),
    (errors.BadReply, 502, "upstream_error"),
    (errors.BrokenStream, 502, "broken_stream"),
    (errors.ClientGone, 499, "client_gone"),
    (errors.RelayError, 500, "relay_error"),
]


@pytest.mark.parametrize(("kind", "status", "outcome"), TABLE)
def test_each_class_has_its_status_and_outcome(
    kind: type[errors.RelayError], status: int, outcome: str
) -> None:
    error = kind("why")
    assert (error.status, error.outcome) == (status, outcome)
    assert error.code
    assert repr(error) == f"{kind.__name__}({status} {error.code}: why)"


def test_what_is_given_wins_over_the_class() -> None:
    error = errors.Refused("why", status=404, code="c", param="p", retry_after=3)
    assert (error.status, error.code, error.param, error.retry_after) == (404, "c", "p", 3)


def test_a_bad_status_remembers_what_the_upstream_said() -> None:
    error = errors.BadStatus("why", upstream_status=529, status=503)
    assert (error.upstream_status, error.status) == (529, 503)
