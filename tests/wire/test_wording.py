"""Errors as OpenAI's clients know them."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BadCall, BadStatus, NoUpstream, Refused, RelayError, UpstreamError
from relayd.model import FormatName
from relayd.wire import wording
from relayd.wire.formats import FORMATS


@pytest.mark.parametrize(
    ("exc", "status", "kind", "code"),
    [
        (BadCall("m", param="p"), 400, "invalid_request_error", "invalid_request"),
        (Refused("m"), 401, "invalid_request_error", "invalid_api_key"),
        (Refused("m", status=402, code="insufficient_quota"), 402, "insufficient_quota", None),
        (Refused("m", status=429, code="insufficient_quota"), 429, "insufficient_quota", None),
        (BadCall("m", code="moderation_blocked"), 400, "image_generation_user_error", None),
        (Refused("m", status=404, code="model_not_found"), 404, "invalid_request_error", None),
        (Refused("m", status=429, code="rate_limit_exceeded"), 429, "rate_limit_error", None),
        (NoUpstream("m"), 503, "service_unavailable_error", None),
        (UpstreamError("m"), 502, "server_error", None),
        (BadStatus("m", upstream_status=529), 503, "service_unavailable_error", None),
        (RelayError("m", status=529), 503, "service_unavailable_error", None),
        (BadStatus("m", upstream_status=500), 502, "server_error", None),
    ],
)
def test_an_error_has_its_type_and_the_request_id(
    exc: RelayError, status: int, kind: str, code: str | None
) -> None:
    worded = wording.error(exc, "req-1")
    assert worded.status == status
    expected = {"message": "m", "type": kind, "param": exc.param, "code": code or exc.code}
    assert orjson.loads(worded.body) == {"error": expected, "request_id": "req-1"}


@pytest.mark.parametrize("name", ["chat", "responses"])
def test_both_of_openais_formats_use_them(name: FormatName) -> None:
    told = FORMATS[name].error(NoUpstream("m"), "req-1")

    assert told == wording.error(NoUpstream("m"), "req-1")
