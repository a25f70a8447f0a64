"""Heads of chat requests, and the injected `include_usage`."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BadCall
from relayd.wire.chat.request import read_head
from relayd.wire.conversation import conversation_of
from relayd.wire.head import outgoing
from relayd.wire.paths import TAILS

CHAT = TAILS["chat/completions"]


def sent(body: bytes, model: str = "up") -> bytes:
    return b"".join(outgoing(read_head(body, CHAT), model))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"model":"a","stream":true}',
            b'{"stream_options":{"include_usage":true},"model":"up","stream":true}',
        ),
        (
            b' { "stream" : true, "model" : "a"}\n',
            b' {"stream_options":{"include_usage":true}, "stream" : true, "model" : "up"}\n',
        ),
        (
            b'{"model":"a","stream":true,"stream_options":null}',
            b'{"model":"up","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"stream_options":{},"model":"a","stream":true}',
            b'{"stream_options":{"include_usage":true},"model":"up","stream":true}',
        ),
        (
            b'{"stream_options":{ },"model":"a","stream":true}',
            b'{"stream_options":{"include_usage":true },"model":"up","stream":true}',
        ),
        (
            b'{"stream_options":{"x":1},"model":"a","stream":true}',
            b'{"stream_options":{"include_usage":true,"x":1},"model":"up","stream":true}',
        ),
        (
            b'{"stream_options":{"x":1,"include_usage":false},"model":"a","stream":true}',
            b'{"stream_options":{"x":1,"include_usage":true},"model":"up","stream":true}',
        ),
    ],
)
def test_usage_is_asked_for_when_the_client_did_not(body: bytes, expected: bytes) -> None:
    assert sent(body) == expected
    assert not read_head(body, CHAT).asked_usage


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","stream":true,"stream_options":{"include_usage":true}}',
        b'{"model":"a","stream":false}',
        b'{"model":"a"}',
        # Not for us to judge: the upstream says what is wrong with it.
        b'{"model":"a","stream":true,"stream_options":3}',
    ],
)
def test_nothing_else_is_ever_injected(body: bytes) -> None:
    head = read_head(body, CHAT)
    assert head.asked_usage
    assert outgoing(head, "a")[0] is body
    assert sent(body) == body.replace(b'"a"', b'"up"')


def test_every_other_byte_is_kept() -> None:
    """Floats, large integers, unknown and duplicate keys and their order pass as written."""
    body = b'{"zz":1.0,"n":18446744073709551616,"model":"a","zz":1e2,"t":"\\u00e9\xc3\xa9"}'
    assert sent(body) == body.replace(b'"a"', b'"up"')


def test_an_embedding_is_no_stream() -> None:
    head = read_head(b'{"model":"a","input":"x","stream":true}', TAILS["embeddings"])
    assert (head.model, head.stream, head.asked_usage) == ("a", False, True)


@pytest.mark.parametrize("body", [b"[]", b'{"stream":true}', b'{"model":"a","stream":1}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadCall):
        read_head(body, CHAT)


def test_the_input_is_estimated_by_its_size() -> None:
    body = orjson.dumps({"model": "a", "messages": ["x" * 400]})
    assert read_head(body, CHAT).input_estimate == len(body) // 4


def test_only_what_generates_belongs_to_a_conversation() -> None:
    body = b'{"model":"a","messages":[{"role":"user","content":"x"}]}'
    assert conversation_of(read_head(body, CHAT)).startswith(b"opening=")
    assert conversation_of(read_head(body, TAILS["embeddings"])) == b""
    named = read_head(b'{"model":"a","stream":true,"session_id":"s"}', CHAT)
    assert conversation_of(named) == b"session_id=s"


@pytest.mark.parametrize(
    ("fields", "most", "choices"),
    [
        (b"", None, 1),
        (b',"max_tokens":50', 50, 1),
        (b',"max_tokens":50,"max_completion_tokens":70,"n":3', 70, 3),
        (b',"max_tokens":5.0,"n":2,"best_of":4', 5, 4),
        (b',"max_tokens":"50","n":"2"', None, 1),
        (b',"max_tokens":true,"n":-1', None, 1),
        (b',"max_tokens":99999999999999999999,"n":null', None, 1),
        (b',"max_tokens":0.5,"n":0', None, 1),
        (b',"prompt":["a","b"],"n":2', None, 4),
        (b',"prompt":[1,2,3]', None, 1),
        (b',"prompt":[]', None, 1),
        (b',"prompt":"a"', None, 1),
    ],
)
def test_the_output_that_is_asked_for_is_known(
    fields: bytes, most: int | None, choices: int
) -> None:
    head = read_head(b'{"model":"a"' + fields + b"}", CHAT)
    assert (head.max_output, head.choices) == (most, choices)


def test_an_embedding_has_no_output() -> None:
    head = read_head(b'{"model":"a","max_tokens":5,"n":3}', TAILS["embeddings"])
    assert (head.max_output, head.choices) == (None, 1)


def test_requests_for_pictures_and_sound_are_read_by_their_own_rules() -> None:
    body = b'{"model":"draws","prompt":"a lighthouse","n":3}'
    head = read_head(body, TAILS["images/generations"])
    assert (head.model, head.choices, head.stream) == ("draws", 3, False)
