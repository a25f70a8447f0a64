"""Heads of Messages requests."""

from __future__ import annotations

import pytest

from relayd.errors import BadCall
from relayd.wire.conversation import conversation_of
from relayd.wire.head import outgoing
from relayd.wire.messages.request import read_head
from relayd.wire.paths import TAILS


def test_only_the_model_changes() -> None:
    body = b'{"input":"x","tools":[{"model":"image"}],"model":"a","stream":true}'
    head = read_head(body, TAILS["messages"])
    assert (head.model, head.stream, head.asked_usage) == ("a", True, True)
    assert b"".join(outgoing(head, "b")) == body.replace(b'"a"', b'"b"')


def test_counting_tokens_needs_no_max_tokens_and_never_streams() -> None:
    body = b'{"model":"a","stream":true}'
    assert not read_head(body, TAILS["messages/count_tokens"]).stream


def test_a_request_without_model_is_refused() -> None:
    with pytest.raises(BadCall):
        read_head(b'{"input":"x"}', TAILS["messages"])


def test_only_what_generates_belongs_to_a_conversation() -> None:
    body = b'{"model":"a","metadata":{"user_id":"u"}}'
    assert conversation_of(read_head(body, TAILS["messages"])) == b"user_id=u"
    assert conversation_of(read_head(body, TAILS["messages/count_tokens"])) == b""


def test_the_output_that_is_asked_for_is_known() -> None:
    assert read_head(b'{"model":"a","max_tokens":50}', TAILS["messages"]).max_output == 50
    assert read_head(b'{"model":"a"}', TAILS["messages"]).max_output is None
