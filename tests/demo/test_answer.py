"""What is said is limited as the request asks."""

from __future__ import annotations

import pytest

from relayd.demo.answer import compose
from relayd.demo.ask import Ask
from relayd.demo.names import parse
from tests.demo.serving import whole


def test_an_answer_is_cut_at_the_first_stop_text() -> None:
    ask = Ask("Hi", 1, stops=("provider", "demo"))
    answer = compose(ask, parse("demo"), "0", 0).first
    assert answer.text == "You said: Hi. This is relayd's "
    assert (answer.finish, answer.stop_text) == ("stop_text", "demo")


def test_a_cut_never_splits_a_character() -> None:
    for limit in range(1, 12):
        ask = Ask("ééé ööö 👋👋", 1, max_tokens=limit)
        answer = compose(ask, parse("demo"), "0", 0).first
        assert answer.finish == "length"
        assert len(answer.text.encode()) <= limit * 4


@pytest.mark.parametrize("limit", [1, 3, 10, 1000])
def test_the_token_limit_is_kept(limit: int) -> None:
    for model in ("demo", "demo-reasoning"):
        reply = whole("chat", model, max_completion_tokens=limit)
        assert reply["usage"]["completion_tokens"] <= limit
        cut = reply["choices"][0]["finish_reason"] == "length"
        assert cut == (limit < 1000)
