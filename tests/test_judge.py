"""Whole replies judged: an answer, the client's mistake, or the upstream's failure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from relayd.errors import BadReply, BadStatus
from relayd.judge import judge, retry_after
from relayd.model import FormatName
from tests.support.speech import FORMATS, SPEECHES

JSON = [(b"content-type", b"application/json")]
ERROR = b'{"error": {"message": "no", "code": 1}}'


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> FormatName:
    found: FormatName = request.param
    return found


def test_an_answer_passes_with_its_usage(name: FormatName) -> None:
    speech = SPEECHES[name]
    verdict = judge(name, "generate", 200, JSON, speech.reply)
    assert (verdict.status, verdict.outcome, verdict.error_code) == (200, "ok", "")
    assert verdict.usage is not None
    assert (verdict.usage.in_uncached, verdict.usage.out_total) == speech.usage


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_the_clients_mistake_passes(name: FormatName, status: int) -> None:
    verdict = judge(name, "generate", status, JSON, ERROR)
    assert (verdict.status, verdict.outcome) == (status, "bad_request")
    assert verdict.error_code == f"upstream_{status}"


def test_a_rate_limit_passes_and_is_the_upstreams(name: FormatName) -> None:
    verdict = judge(name, "generate", 429, JSON, ERROR)
    assert (verdict.status, verdict.outcome) == (429, "upstream_error")


@pytest.mark.parametrize("status", [401, 402, 403])
def test_trouble_with_our_credential_is_a_502(name: FormatName, status: int) -> None:
    with pytest.raises(BadStatus) as caught:
        judge(name, "generate", status, JSON, b'{"error": {"message": "key sk-abc is wrong"}}')
    assert (caught.value.status, caught.value.code) == (502, "upstream_credential")
    assert "sk-abc" not in caught.value.message


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (500, 502),
        (501, 502),
        (502, 502),
        (503, 503),
        (504, 504),
        (522, 504),
        (524, 504),
        (529, 503),
        (599, 502),
    ],
)
def test_a_failure_is_reworded(name: FormatName, status: int, told: int) -> None:
    with pytest.raises(BadStatus) as caught:
        judge(name, "generate", status, [*JSON, (b"retry-after", b"7")], b"<html>down</html>")
    assert (caught.value.status, caught.value.upstream_status) == (told, status)
    assert caught.value.retry_after == 7
    assert "<html" not in caught.value.message


@pytest.mark.parametrize("status", [300, 302, 304, 399])
def test_a_redirect_is_no_answer(name: FormatName, status: int) -> None:
    with pytest.raises(BadReply):
        judge(name, "generate", status, JSON, b"")


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", ERROR])
def test_a_200_without_an_answer_is_a_failure(name: FormatName, body: bytes) -> None:
    with pytest.raises(BadReply):
        judge(name, "generate", 200, JSON, body)


def test_a_failed_response_object_is_a_proper_answer() -> None:
    body = b'{"id":"r1","object":"response","status":"failed","error":{"code":"x","message":"no"}}'
    verdict = judge("responses", "generate", 200, JSON, body)
    assert (verdict.status, verdict.outcome) == (200, "upstream_error")


NOW = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
TIMES = {
    b"7": 7.0,
    b"0.5": 0.5,
    b"-1": 0.0,
    b"Sat, 21 Nov 2026 09:00:30 GMT": 30.0,
    b"Sat, 21 Nov 2026 08:00:00 GMT": 0.0,
    b"soon": None,
    b"": None,
}


@pytest.mark.parametrize(("written", "seconds"), TIMES.items())
def test_retry_after_is_read_in_all_its_forms(written: bytes, seconds: float | None) -> None:
    assert retry_after([(b"retry-after", written)], NOW) == seconds


def test_milliseconds_win_over_seconds() -> None:
    assert retry_after([(b"retry-after", b"9"), (b"retry-after-ms", b"1500")]) == 1.5
    assert retry_after([]) is None


@pytest.mark.parametrize("written", [b"nan", b"inf", b"1e400"])
def test_a_retry_after_that_is_no_time_is_none(written: bytes) -> None:
    assert retry_after([(b"retry-after", written)]) is None
