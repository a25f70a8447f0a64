"""Legacy completions are worded as OpenAI words them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.demo.serving import data_of, script_of


def complete(**asked: Any) -> Any:
    script = script_of("/v1/completions", {"model": "demo", "prompt": "Hi", **asked})
    return data_of(script.whole) if asked.get("stream") else orjson.loads(script.whole)


def test_the_text_is_in_the_choice() -> None:
    reply = complete()
    assert reply["object"] == "text_completion"
    assert reply["choices"][0]["text"].startswith("You said: Hi.")
    assert reply["choices"][0]["finish_reason"] == "stop"
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_stream_says_the_same_and_usage_only_when_asked() -> None:
    events = complete(stream=True)
    text = "".join(choice["text"] for event in events for choice in event["choices"])
    assert text == complete()["choices"][0]["text"]
    assert not any("usage" in event for event in events)
    assert complete(stream=True, stream_options={"include_usage": True})[-1]["usage"]


def test_every_prompt_has_its_choices() -> None:
    assert len(complete(prompt=["a", "b"], n=2)["choices"]) == 4
    assert complete(prompt=[1, 2, 3])["choices"][0]["text"].startswith("You said: tokens")
    assert complete(max_tokens=2)["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("prompt", [5, {}, [], [None]])
def test_what_is_no_prompt_is_refused(prompt: object) -> None:
    assert complete(prompt=prompt)["error"]["param"] == "prompt"
