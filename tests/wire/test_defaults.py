"""What a body leaves out is filled in, and nothing else of it changes."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BadCall
from relayd.wire.defaults import Defaults

SOME = Defaults({"chat": {"model": "m", "max_tokens": 9, "temperature": 1}, "image": {}})


@pytest.mark.parametrize(
    ("body", "filled"),
    [
        (b"{}", b'{"model":"m","max_tokens":9,"temperature":1}'),
        (b' { "a" : 1.0 }', b' {"model":"m","max_tokens":9,"temperature":1, "a" : 1.0 }'),
        (
            b'{"model":"x","max_tokens":null,"z":[1]}',
            b'{"temperature":1,"model":"x","max_tokens":9,"z":[1]}',
        ),
        (
            b'{"model":null,"max_completion_tokens":3,"temperature":0}',
            b'{"model":"m","max_completion_tokens":3,"temperature":0}',
        ),
    ],
)
def test_a_missing_field_is_written_into_the_body(body: bytes, filled: bytes) -> None:
    assert SOME.filled(body, "chat") == filled
    orjson.loads(filled)


def test_what_is_complete_stays_the_same_object() -> None:
    body = b'{"model":"x","max_tokens":1,"temperature":0.5}'

    assert SOME.filled(body, "chat") is body
    assert SOME.filled(body, "image") is body
    assert SOME.filled(b"no JSON", "unheard-of") == b"no JSON"


def test_a_form_is_given_the_model_alone() -> None:
    assert SOME.model("chat") == "m"
    assert SOME.model("image") is None and SOME.model("") is None


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(BadCall):
        SOME.filled(b"[]", "chat")


def test_a_set_of_defaults_names_its_endpoints() -> None:
    assert repr(SOME) == "Defaults(chat, image)"
