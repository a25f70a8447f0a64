"""Responses are worded as wire-formats 3 says."""

from __future__ import annotations

from tests.demo.serving import TOOL, streamed, whole


def test_response_events_are_numbered_and_repeat_what_they_add_up_to() -> None:
    documents = streamed("responses", "demo-reasoning", **TOOL["responses"])
    assert [d["sequence_number"] for d in documents] == list(range(len(documents)))
    kinds = [d["type"] for d in documents]
    assert kinds[-1] == "response.completed"
    deltas = [d["delta"] for d in documents if d["type"].endswith("arguments.delta")]
    (done,) = [d["arguments"] for d in documents if d["type"].endswith("arguments.done")]
    assert "".join(deltas) == done
    items = [d["item"] for d in documents if d["type"] == "response.output_item.done"]
    assert items == documents[-1]["response"]["output"]


def test_reasoning_is_sealed_only_when_asked() -> None:
    asked = whole("responses", "demo-reasoning", include=["reasoning.encrypted_content"])
    assert asked["output"][0]["encrypted_content"]
    assert "encrypted_content" not in whole("responses", "demo-reasoning")["output"][0]


def test_the_response_repeats_its_request() -> None:
    reply = whole("responses", instructions="Be kind", metadata={"a": "b"}, temperature=0.5)
    assert reply["instructions"] == "Be kind"
    assert reply["metadata"] == {"a": "b"}
    assert reply["temperature"] == 0.5
    assert reply["tool_choice"] == "auto"


def test_hosted_tools_are_never_called_and_allowed_ones_are_chosen() -> None:
    hosted = whole("responses", tools=[{"type": "web_search"}])
    assert hosted["output"][0]["type"] == "message"
    tools = [{"type": "function", "name": name} for name in "ab"]
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [tools[1]]}
    assert whole("responses", tools=tools, tool_choice=choice)["output"][0]["name"] == "b"
