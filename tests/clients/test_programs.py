"""What `make programs` is made of, without running a program: recipes, the provider, the tables."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from benchmarks.clients import install, report, table
from benchmarks.clients.provider import Agent, Task, find_tool, format_of
from benchmarks.clients.recipes import recipes
from benchmarks.clients.report import Ended
from relayd import clients
from relayd.demo.routes import Request
from relayd.demo.script import Send
from relayd.model import FormatName
from tests.clients.matrix import FORMATS, Case, Cell, Told, cells, judge
from tests.demo.serving import generate

TASK = "word-1"


def test_every_proven_client_has_a_recipe_and_every_recipe_its_settings() -> None:
    known = clients.shipped()
    proven = {client.name for client in known.values() if client.proven}
    assert recipes().keys() - {"curl"} == proven
    assert all(known[name].setups[0].run for name in recipes())


@pytest.mark.parametrize("name", [name for name, one in recipes().items() if not one.sdks])
def test_the_version_that_is_called_proven_is_the_one_that_is_installed(name: str) -> None:
    recipe, proven = recipes()[name], clients.shipped()[name].proven
    versions = {*recipe.npm.values(), *(one.rpartition("==")[2] for one in recipe.pip)}
    assert proven in versions


def test_the_sdks_that_are_called_proven_are_those_of_the_lock() -> None:
    root = Path(__file__).parents[2]
    node = orjson.loads((root / "tests/clients/node/package.json").read_bytes())["dependencies"]
    lock = (root / ".ci/requirements-dev.txt").read_text()
    packages = {"openai": "openai", "anthropic": "@anthropic-ai/sdk", "google": "@google/genai"}
    pins = {"openai": "openai", "anthropic": "anthropic", "google": "google-genai"}
    for name, package in packages.items():
        assert clients.shipped()[f"{name}-node"].proven == node[package]
        assert f"\n{pins[name]}=={clients.shipped()[f'{name}-python'].proven} " in f"\n{lock}"


def asked(format: FormatName, text: str) -> Request:
    tools: dict[FormatName, object] = {
        "chat": [{"type": "function", "function": {"name": name}} for name in ("a", "Read")],
        "responses": [{"type": "function", "name": name} for name in ("a", "Read")],
        "messages": [{"name": name, "input_schema": {}} for name in ("a", "Read")],
        "gemini": [{"functionDeclarations": [{"name": name} for name in ("a", "Read")]}],
    }
    path, body, headers = generate(format, "m", stream=False, text=text, tools=tools[format])
    return Request("POST", path, headers, orjson.dumps(body))


@pytest.mark.parametrize("format", FORMATS)
def test_the_provider_calls_the_tool_of_a_task_until_it_hears_the_secret(
    format: FormatName,
) -> None:
    agent = Agent()
    task = agent.tasks[TASK] = Task(TASK, "secret-9", "Read", {"file": "/n"})

    def said(text: str) -> bytes:
        steps = agent.answer(asked(format, text)).steps
        return b"".join(step.data for step in steps if isinstance(step, Send)).replace(b"\\", b"")

    first = said(f"go on, {TASK}")
    assert b"Read" in first
    assert b'"file":"/n"' in first
    last = said(f"{TASK} said: secret-9")
    assert b"You said: secret-9" in last
    assert (task.called, [format_of(path) for path in task.asked]) == (1, [format, format])
    assert b'"a"' in said("somebody else")  # the first tool, as always
    assert len(task.asked) == 2


def test_a_folder_without_its_stamp_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAYD_CLIENTS", str(tmp_path))
    made: list[Path] = []

    def make(folder: Path) -> None:
        folder.mkdir()
        made.append(folder)

    for recipe in (b"1", b"1", b"2"):
        assert install._kept("x", recipe, make) == tmp_path / "x"
    assert len(made) == 2
    with pytest.raises(install.Absent, match="make clients"):
        install._npm("y", {"package.json": b"{}"}, "ci", fetch=False)


def test_a_table_counts_and_lists_what_failed() -> None:
    assert (table.verdict([""]), table.verdict(["", ""])) == ("ok", "ok 2")
    assert table.verdict(["", "broken"]) == "FAILED 1/2"
    assert table.drawn(["a", "bb"], [["ccc", ""]]) == [
        "| a   | bb |",
        "| --- | -- |",
        "| ccc |    |",
    ]
    assert table.failures({"one": "", "two": "broken"}) == ["two: broken"]


def test_the_matrix_has_every_square_once() -> None:
    assert len(set(cells("python"))) == 4 * 4 * 5 * 2


@pytest.mark.parametrize(
    ("case", "told", "problem"),
    [
        ("text", Told("You said: something else"), "said"),
        ("text", Told(status=500, trouble="Oh"), "raised 500 Oh"),
        ("tools", Told(reason="stop"), "ended with stop"),
        ("tools", Told(reason="calls", calls=[("weather", {})]), "called with"),
        ("structured", Told(parsed={"name": 1}), "parsed"),
        ("error", Told("Hi"), "raised nothing"),
        ("error", Told(status=-1, trouble="crash"), "raised -1"),
        ("error", Told(status=500, trouble="Oh"), "raised 500"),
    ],
)
def test_the_judge_sees_what_is_wrong(case: Case, told: Told, problem: str) -> None:
    cell = Cell("python", "chat", "chat", case, False)
    request = Request("POST", "/v1/chat/completions", {}, b"{}")
    assert problem in judge(cell, told, [request])
    assert "asked at" in judge(cell, told, [request._replace(path="/v1/messages")])
    assert judge(cell, Told(), []) == "nothing reached the provider"


def test_runs_are_remembered_by_client_until_they_are_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAYD_CLIENTS", str(tmp_path))
    [first, *_] = report.runs("codex")
    report.remember({first: Ended("broken", 1.0)})
    report.remember(dict.fromkeys(report.runs("llm"), Ended("", 2.0)))
    report.remember({first: Ended("", 1.0)})
    kept = orjson.loads((tmp_path / "results.json").read_bytes())
    assert [run[0] for run, _ in kept] == ["codex", *["llm"] * 16]
    assert [problem for _, (problem, _) in kept] == [""] * 17


def test_a_row_of_the_report_is_a_client_in_one_setup() -> None:
    ended = {run: Ended("", 1.0) for run in report.runs("claude-code")}
    ended[next(report.runs("claude-code"))] = Ended("broken", 1.0)
    told = report.lines(ended, {"codex": "npm is not here"})
    rows = [line for line in told if line.startswith("| Claude Code")]
    assert [line.count("ok ok") for line in rows] == [3, 4, 4, 4]
    assert "32 runs, 2 failed, 32 seconds of programs." in told
    assert "- codex: npm is not here" in told


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"name": "look_up"}', ("look_up", False)),
        (b'{"type":"custom","name":"look_up"}', ("look_up", True)),
        (b'{"function":{"name":"functions__look_up"}}', ("functions__look_up", False)),
        (b'{"name":"look_up_all"}', None),
    ],
)
def test_a_tool_is_found_however_it_is_declared(
    body: bytes, found: tuple[str, bool] | None
) -> None:
    assert find_tool("look_up", body) == found
