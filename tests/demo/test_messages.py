"""Messages are worded as wire-formats 4 says."""

from __future__ import annotations

from tests.demo.serving import TOOL, generate, script_of, streamed, whole


def test_anthropic_demands_its_version_and_heeds_it() -> None:
    path, document, _ = generate("messages", "demo", stream=False, temperature=1)
    assert script_of(path, document).status == 400
    assert script_of(path, document, anthropic_version="2023-06-01").status == 200
    assert script_of(path, document, anthropic_version="2026-10-21").status == 400
    del document["max_tokens"]
    assert b"max_tokens" in script_of(path, document, anthropic_version="2023-06-01").whole


def test_thinking_may_be_signed_and_not_shown() -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    for block in (
        whole("messages", thinking=thinking)["content"][0],
        whole("messages", thinking={"type": "adaptive"})["content"][0],
    ):
        assert block["signature"]
    assert whole("messages", thinking=thinking)["content"][0]["thinking"] == ""
    assert "thinking_delta" not in str(streamed("messages", thinking=thinking))
    assert whole("messages", thinking={"type": "disabled"})["content"][0]["type"] == "text"


def test_blocks_are_numbered_and_never_interleaved() -> None:
    events = streamed("messages", "demo-reasoning", **TOOL["messages"])
    assert [e["index"] for e in events if e["type"] == "content_block_start"] == [0, 1]
    indexes = [e["index"] for e in events if "index" in e]
    assert indexes == sorted(indexes)
    parts = [e["delta"].get("partial_json", "") for e in events if "index" in e and "delta" in e]
    assert "".join(parts) == '{"a":"demo"}'


def test_server_tools_are_never_called() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search"}
    assert whole("messages", tools=[tool])["content"][0]["type"] == "text"
