"""Chat completions are worded as wire-formats 2 says."""

from __future__ import annotations

from tests.demo.serving import TOOL, streamed, whole


def test_chat_usage_chunk_comes_only_when_asked() -> None:
    asked = streamed("chat")
    assert asked[-1]["choices"] == []
    assert [chunk["usage"] for chunk in asked[:-1]] == [None] * (len(asked) - 1)
    silent = streamed("chat", stream_options={})
    assert not [chunk for chunk in silent if "usage" in chunk]


def test_fragments_of_a_call_name_it_once() -> None:
    chunks = streamed("chat", **TOOL["chat"])
    calls = [c for d in chunks for x in d["choices"] for c in x["delta"].get("tool_calls", ())]
    assert [call for call in calls if "id" in call] == calls[:1]
    assert "".join(c["function"]["arguments"] for c in calls) == '{"a":"demo"}'


def test_custom_tools_get_free_text() -> None:
    tool = {"type": "custom", "custom": {"name": "shell"}}
    (call,) = whole("chat", text="ls", tools=[tool])["choices"][0]["message"]["tool_calls"]
    assert call["custom"] == {"name": "shell", "input": "ls"}
    streamed_call = streamed("chat", text="ls", tools=[tool])[1]["choices"][0]["delta"]
    assert streamed_call["tool_calls"][0]["type"] == "custom"


def test_the_forced_tool_is_called() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    choice = {"type": "function", "function": {"name": "b"}}
    reply = whole("chat", tools=tools, tool_choice=choice)
    assert reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "b"


def test_json_object_mode_answers_an_object() -> None:
    reply = whole("chat", response_format={"type": "json_object"})
    assert reply["choices"][0]["message"]["content"] == "{}"


def test_stream_options_are_for_streams_only() -> None:
    assert "stream_options" in whole("chat", stream_options={})["error"]["message"]
