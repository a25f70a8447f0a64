"""Heads of Responses requests."""

from __future__ import annotations

import pytest

from relayd.errors import BadCall
from relayd.wire.conversation import conversation_of
from relayd.wire.head import outgoing
from relayd.wire.paths import TAILS
from relayd.wire.responses.request import read_head


def test_only_the_model_changes() -> None:
    body = b'{"input":"x","tools":[{"model":"image"}],"model":"a","stream":true}'
    head = read_head(body, TAILS["responses"])
    assert (head.model, head.stream, head.asked_usage) == ("a", True, True)
    assert b"".join(outgoing(head, "b")) == body.replace(b'"a"', b'"b"')


def test_counting_input_tokens_never_streams() -> None:
    body = b'{"model":"a","stream":true}'
    assert not read_head(body, TAILS["responses/input_tokens"]).stream


def test_a_request_without_model_is_refused() -> None:
    with pytest.raises(BadCall):
        read_head(b'{"input":"x"}', TAILS["responses"])


def test_only_what_generates_belongs_to_a_conversation() -> None:
    body = b'{"model":"a","prompt_cache_key":"k","conversation":"c"}'
    head = read_head(body, TAILS["responses"])
    assert conversation_of(head) == b"prompt_cache_key=k"
    assert conversation_of(read_head(body, TAILS["responses/input_tokens"])) == b""


def test_the_output_that_is_asked_for_is_known() -> None:
    target = TAILS["responses"]
    assert read_head(b'{"model":"a","max_output_tokens":50}', target).max_output == 50
    assert read_head(b'{"model":"a"}', target).max_output is None
