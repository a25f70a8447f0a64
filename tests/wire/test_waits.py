"""Waits: every form in which an upstream says when to come back, and what is no time at all."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.waits import LONGEST_WAIT, retry_after

NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
WAITS = {
    b"7": 7.0,
    b" 0.5 ": 0.5,
    b"-1": 0.0,
    b"0": 0.0,
    b"34s": 34.0,
    b"1.5s": 1.5,
    b".5s": 0.5,
    b"6m0s": 360.0,
    b"1h2m3.5s": 3723.5,
    b"12ms": 0.012,
    b"1d": 86400.0,
    b"250us": 0.00025,
    b"1795251605": 5.0,
    b"1795251605250": 5.25,
    b"1795251000": 0.0,
    b"2026-11-21T09:01:00Z": 60.0,
    b"2026-11-21T10:01:00+01:00": 60.0,
    b"2026-11-21T09:01:00": 60.0,
    b"2026-11-21T08:59:00Z": 0.0,
    b"Sat, 21 Nov 2026 09:00:30 GMT": 30.0,
    b"Sat, 21 Nov 2026 09:00:30 -0000": 30.0,
    b"Sat, 21 Nov 2026 08:00:00 GMT": 0.0,
}
GARBAGE = [
    b"",
    b"soon",
    b"nan",
    b"inf",
    b"1e400",
    b"604801",
    b"9e9",
    b"8d",
    b"5 apples",
    b"6m0",
    b"s",
    b"2027-11-21T09:01:00Z",
    b"2026-13-45T99:00:00Z",
    b"Sat, 99 Nov 2026 09:00:30 GMT",
    b"\xff\xb2",
]


def in_body(delay: object) -> bytes:
    kind = "type.googleapis.com/google.rpc."
    details = [{"@type": kind + "ErrorInfo"}, {"@type": kind + "RetryInfo", "retryDelay": delay}]
    return orjson.dumps({"error": {"code": 429, "details": details}})


@pytest.mark.parametrize(("written", "seconds"), WAITS.items())
def test_a_time_is_read_in_all_its_forms_wherever_it_stands(written: bytes, seconds: float) -> None:
    for name in (b"retry-after", b"Retry-After", b"x-ratelimit-reset-requests", b"ratelimit-reset"):
        assert retry_after([(name, written)], b"", NOW) == pytest.approx(seconds)
    assert retry_after([], in_body(written.decode()), NOW) == pytest.approx(seconds)


@pytest.mark.parametrize("written", GARBAGE)
def test_what_is_no_time_or_no_advice_is_none(written: bytes) -> None:
    for name in (b"retry-after", b"retry-after-ms", b"x-ratelimit-reset-tokens"):
        wait = retry_after([(name, written)], b"", NOW)
        assert wait is None or name == b"retry-after-ms"
    assert retry_after([], in_body(written.decode("latin-1")), NOW) is None


@given(st.integers(0, 7 * 86400 * 1000))
def test_every_form_means_the_time_that_was_written(millis: int) -> None:
    seconds = millis / 1000
    moment = NOW + timedelta(seconds=seconds)
    minutes, rest = divmod(millis, 60_000)
    for written in (
        f"{seconds:f}",
        f"{seconds:f}s",
        f"{millis}ms",
        f"{minutes // 60}h{minutes % 60}m{rest / 1000:f}s",
        moment.isoformat(),
        moment.isoformat().replace("+00:00", "Z"),
        f"{moment.timestamp():f}",
        f"{round(moment.timestamp() * 1000)}",
    ):
        wait = retry_after([(b"retry-after", written.encode())], b"", NOW)
        assert wait == pytest.approx(seconds, abs=0.002), written
    date = email.utils.format_datetime(moment, usegmt=True).encode()
    assert retry_after([(b"retry-after", date)], b"", NOW) == pytest.approx(seconds, abs=1)
    assert retry_after([(b"retry-after-ms", b"%d" % millis)]) == pytest.approx(seconds)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_that_comes_raises_and_a_wait_is_bounded(value: bytes, body: bytes) -> None:
    for name in (b"retry-after", b"retry-after-ms", b"x-ratelimit-reset"):
        wait = retry_after([(name, value)], body, NOW)
        assert wait is None or 0 <= wait <= LONGEST_WAIT


def test_a_moment_is_no_advice_where_nobody_knows_the_time() -> None:
    for written in (b"Sat, 21 Nov 2026 09:00:30 GMT", b"2026-11-21T09:01:00Z", b"1795251605"):
        assert retry_after([(b"retry-after", written)]) is None


def test_the_more_explicit_place_is_believed() -> None:
    body = in_body("3s")
    reset = (b"x-ratelimit-reset-requests", b"4s")
    after, millis = (b"retry-after", b"2"), (b"retry-after-ms", b"1500")
    assert retry_after([reset, after, millis], body) == 1.5
    assert retry_after([reset, after], body) == 2
    assert retry_after([reset], body) == 3
    assert retry_after([reset]) == 4
    assert retry_after([]) is None


def test_garbage_in_one_place_leaves_the_next_to_tell() -> None:
    headers = [(b"retry-after-ms", b"x"), (b"retry-after", b"9e9"), (b"ratelimit-reset", b"4")]
    assert retry_after(headers, in_body("3s")) == 3
    assert retry_after(headers, in_body("soon")) == 4


@pytest.mark.parametrize(
    ("remaining", "reset"),
    [
        (b"x-ratelimit-remaining%b", b"x-ratelimit-reset%b"),
        (b"ratelimit-remaining%b", b"ratelimit-reset%b"),
        (b"anthropic-ratelimit%b-remaining", b"anthropic-ratelimit%b-reset"),
    ],
)
def test_of_the_exhausted_limits_the_longest_wait_counts(remaining: bytes, reset: bytes) -> None:
    limits = {b"-requests": (b"0", b"6m0s"), b"-tokens": (b"0", b"12ms"), b"-input": (b"1", b"1h")}
    headers = []
    for limit, (left, again) in limits.items():
        headers += [(remaining % limit, left), (reset % limit, again)]
    assert retry_after(headers) == 360
    # Of a limit whose rest nobody tells, the reset counts alone.
    assert retry_after([*headers, (reset % b"-output", b"7m")]) == 420
    assert retry_after([*headers, (reset % b"-output", b"soon")]) == 360
    assert retry_after(headers[2:4] + headers[4:]) == 0.012
    assert retry_after(headers[4:]) is None
    assert retry_after([(remaining % b"-x", b"many"), (reset % b"-x", b"1s")]) is None


@pytest.mark.parametrize(
    "body",
    [
        b"[" + in_body("2s") + b"]",
        in_body({"seconds": 2, "nanos": 0}),
        in_body({"seconds": "2"}),
        in_body("2s").replace(b'"code":429', b'"code":"x"'),
    ],
)
def test_googles_wait_is_found_in_arrays_and_written_out(body: bytes) -> None:
    assert retry_after([], body) == 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"details":[{"retryDelay":{}}]}}',
        b'{"error":{"details":{"retryDelay":"2s"}}}',
        b'{"error":"retryDelay"}',
        b'{"error":["retryDelay",{"retryDelay":3}]}',
        b'["retryDelay"',
        b'"retryDelay"',
    ],
)
def test_a_body_of_another_shape_tells_nothing(body: bytes) -> None:
    assert retry_after([], body) is None
