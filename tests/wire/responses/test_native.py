"""A request that stays in its format."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.wire import envelope
from relayd.wire.losses import CannotTranslate
from relayd.wire.neutral import Message
from relayd.wire.parts import Carrier, Video
from relayd.wire.paths import Target
from relayd.wire.responses.decode import decode
from relayd.wire.responses.encode import encode
from tests.wire.ways import going, request

TO = replace(going("responses"), native=True, model="m")
TARGET = Target("responses", "generate", verb="responses")
ITEMS: list[dict[str, Any]] = [
    {"type": "additional_tools", "role": "developer"}
    | {"tools": [{"type": "custom", "name": "exec"}]},
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "s"}]},
    {"type": "message", "role": "user", "content": []},
    {"type": "message", "role": "user"}
    | {
        "content": [
            {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_image", "image_url": "https://a/b.png", "detail": "low"},
            {"type": "input_file", "file_id": "f", "new": 1},
            {"type": "input_smell", "smell": 1},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ]
    },
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "s"}]}
    | {"content": [{"type": "reasoning_text", "text": "r"}], "encrypted_content": "gAAA"},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    | {
        "content": [
            {"type": "output_text", "text": "a", "annotations": []},
            {"type": "refusal", "refusal": "n"},
        ]
    },
    {"type": "message", "id": "msg_2", "role": "assistant", "phase": "commentary"}
    | {"content": [{"type": "output_text", "text": "b"}]},
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{ }"}
    | {"namespace": "n"},
    {"type": "custom_tool_call", "call_id": "c2", "name": "exec", "input": "ls"},
    {"type": "image_generation_call", "id": "ig_1", "result": "AAAA", "status": "completed"},
    {"type": "tool_search_call", "id": "t1", "arguments": {}},
    {"type": "tool_search_output", "id": "t2", "execution": "server"}
    | {"tools": [{"type": "custom", "name": "found"}]},
    {"type": "function_call_output", "call_id": "c1", "output": []},
    {"type": "custom_tool_call_output", "id": "o2", "call_id": "c2"}
    | {"output": [{"type": "input_text", "text": "out"}]},
    {"type": "item_reference", "id": "msg_9"},
]
DOCUMENT: dict[str, Any] = {
    "model": "m",
    "instructions": "Be short.",
    "input": ITEMS,
    "tools": [{"type": "web_search"}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_logprobs": 1,
    "max_output_tokens": 10,
    "text": {"format": {"type": "json_object"}, "verbosity": "low", "tone": "dry"},
    "reasoning": {"effort": "low", "summary": "auto", "mode": "pro"},
    "safety_identifier": "new",
    "user": "old",
    "metadata": {"a": "b"},
    "service_tier": "default",
    "store": True,
    "stream": True,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"ttl": "30m"},
    "previous_response_id": "resp_0",
    "include": ["reasoning.encrypted_content"],
    "background": False,
}


def again(document: dict[str, Any]) -> dict[str, Any]:
    written = encode(decode(document, TARGET), TO).document
    result: dict[str, Any] = orjson.loads(orjson.dumps(written))
    return result


def test_everything_is_written_as_it_came() -> None:
    assert again(DOCUMENT) == DOCUMENT


def test_little_stays_little() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    assert again({"model": "m", "input": "Hi"}) == {"model": "m", "input": [item]}


def test_a_reasoning_item_without_content_goes_without_id() -> None:
    """wire-formats, trap 55: where nothing is stored, its id points to nothing."""
    empty = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed = empty | {"encrypted_content": "gAAA"}
    text = [{"type": "output_text", "text": "x"}]
    said = {"type": "message", "id": "msg_1", "role": "assistant", "content": text}
    document = {"model": "m", "input": [empty, sealed, said], "store": False}
    assert again(document)["input"] == [{"type": "reasoning", "summary": []}, sealed, said]
    assert again(document | {"store": True})["input"] == [empty, sealed, said]


def test_an_item_without_a_type_is_the_providers_to_judge() -> None:
    document = {"model": "m", "input": [{}, {"a": {}}], "store": False}
    assert again(document) == document


def test_what_is_sealed_for_another_provider_is_left_out() -> None:
    """wire-formats, trap 56."""

    def item(carrier: Carrier) -> dict[str, Any]:
        summary = [{"type": "summary_text", "text": "s"}]
        sealed = envelope.wrap(carrier, carrier.scope)
        return {"type": "reasoning", "summary": summary, "encrypted_content": sealed}

    ours = Carrier("openai-encrypted", "gAAA", "acc1")
    theirs = [replace(ours, scope="acc2"), Carrier("anthropic-signature", "sig", "acc1")]
    document = {"model": "m", "input": [item(each) for each in (ours, *theirs)]}
    assert [each["encrypted_content"] for each in again(document)["input"]] == ["gAAA"]


def test_what_the_format_does_not_have_is_refused() -> None:
    video = Video("video/mp4", "AA==", at="input[0].content[0]")
    with pytest.raises(CannotTranslate):
        encode(request("responses", Message("user", [video])), TO)


def test_no_envelope_goes_natively_where_nobody_reads_it() -> None:
    sealed = envelope.wrap(Carrier("anthropic-signature", "s", "other"), "other")
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    part = {"type": "input_text", "text": "x"}
    odd = {"type": "input_smell"}
    said = {"type": "message", "role": "user"}
    items = [call, said | {"content": [part, odd]}, {"type": "hologram"}]
    marked = [
        call | {"signature": sealed},
        said | {"content": [part | {"signature": sealed}, odd | {"signature": sealed}]},
        {"type": "hologram", "signature": sealed},
    ]
    decoded = decode({"model": "m", "input": marked}, TARGET)
    assert encode(decoded, TO).document["input"] == items


def test_a_bare_text_stays_one() -> None:
    """wire-formats, trap 151: the provider's cache knows the beginning by its bytes."""
    items = [
        {"type": "message", "role": "user", "content": "a"},
        {"type": "message", "role": "assistant", "content": "b"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    assert encode(decode({"model": "m", "input": items}, TARGET), TO).document["input"] == items
