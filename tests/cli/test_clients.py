"""`relayd clients`: settings for people, for scripts, and the page of the documentation."""

from __future__ import annotations

from pathlib import Path

import orjson
from click.testing import CliRunner, Result

from relayd.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["clients", *arguments], env=env)


def test_all_clients_are_listed() -> None:
    lines = run("list").output.splitlines()
    assert lines[0].split()[:2] == ["NAME", "CLIENT"]
    assert any(line.startswith("claude-code ") for line in lines)
    assert len(orjson.loads(run("list", "--json").output)) == len(lines) - 1


def test_the_settings_of_one_have_address_and_key_in_them() -> None:
    result = run("show", "claude-code", "--key", "sk-1", "--base", "http://127.0.0.1:8080/v1")
    assert result.exit_code == 0
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:8080\n" in result.output
    assert "export ANTHROPIC_AUTH_TOKEN=sk-1\n" in result.output
    assert 'claude -p "Hi"\n' in result.output


def test_address_and_key_may_come_from_the_environment() -> None:
    result = run("show", "codex", RELAYD_KEY="sk-2", RELAYD_BASE="https://a.test")
    assert "export RELAYD_KEY=sk-2\n" in result.output
    assert 'base_url = "https://a.test/v1"\n' in result.output


def test_fields_of_a_window_and_steps_are_shown() -> None:
    lines = run("show", "Cherry Studio", "--key", "sk-1").output.splitlines()
    assert "  API Key   sk-1" in lines
    assert any(line.startswith("  1. Open Settings") for line in lines)


def test_only_one_way_to_speak_may_be_shown() -> None:
    result = run("show", "opencode", "--format", "gemini", "--model", "m-1", "--json")
    shown = orjson.loads(result.output)
    assert [setup["format"] for setup in shown["setups"]] == ["gemini"]
    assert orjson.loads(shown["setups"][0]["files"][0]["text"])["model"] == "relayd/m-1"
    refused = run("show", "codex", "--format", "gemini")
    assert (refused.exit_code, refused.output) == (
        1,
        "relayd: Codex CLI does not speak gemini, only responses\n",
    )


def test_an_unknown_name_is_told_with_the_near_ones() -> None:
    assert run("show", "openai").output == (
        "relayd: no client 'openai': did you mean openai-python or openai-node?\n"
    )
    assert "`relayd clients list` shows all" in run("show", "\x1b[1mzzz").output
    assert "\x1b" not in run("show", "\x1b[1mzzz").output
    assert run("show", "ClaudeCode").exit_code == 0


def test_a_value_that_cannot_be_one_is_refused_without_being_repeated() -> None:
    result = run("show", "codex", "--key", "sk-1'; id")
    assert (result.exit_code, "sk-1" in result.output) == (1, False)
    assert "no address" in run("show", "codex", "--base", "relay").output


def test_the_page_of_the_documentation_is_current() -> None:
    """`make client-docs` renews it."""
    assert PAGE.read_text("utf-8") == run("docs").output


def test_an_operator_prints_the_page_with_the_own_address() -> None:
    page = run("docs", "--base", "https://ai.acme.test").output
    assert "https://ai.acme.test/v1" in page
    assert "relay.example.com" not in page
