"""`relayd group list`: the groups of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from tests.support.commands import relayd

TWO = """
upstreams: {x: {dialect: openai, key: "${NOT_SET_HERE}", models: [a]}}
groups:
  team:
    models: [gpt-*, claude-*]
    endpoints: [chat]
    rpm: 600
    concurrency: 20
    spend: {month: 500}
    multiplier: 0.85
    balance: "off"
    strict: true
    reserve_cap: 2.50
    on_disconnect: drain
    drain: 20s
"""


def listed(folder: Path, text: str, *words: str) -> Result:
    (folder / "config.yaml").write_text(text)
    words = ("group", "list", "--config", str(folder / "config.yaml"), *words)
    return CliRunner().invoke(relayd, words)


def test_groups_are_listed_with_what_they_may_and_pay(tmp_path: Path) -> None:
    result = listed(tmp_path, TWO)
    assert result.exit_code == 0, result.output
    _, default, team = result.stdout.splitlines()
    assert default.split() == "default all all none x 1 auto no estimate".split()
    said = "gpt-*, claude-*  chat       600 rpm, 20 at once, $500/month"
    assert said in team and team.endswith("x 0.85  off      yes     drain 20 s")


def test_scripts_read_json(tmp_path: Path) -> None:
    groups: list[dict[str, Any]] = orjson.loads(listed(tmp_path, TWO, "--json").stdout)
    assert [group["name"] for group in groups] == ["default", "team"]
    team = groups[1]
    assert (team["rpm"], team["spend"]["month"], team["reserve_cap"]) == (600, "500.00", "2.50")
    assert (team["multiplier"], team["on_disconnect"], team["drain"]) == ("0.85", "drain", 20.0)


def test_there_is_always_a_default(tmp_path: Path) -> None:
    assert "default" in listed(tmp_path, "listen: 127.0.0.1:8080\n").stdout


@pytest.mark.parametrize("bad", ["groups: {team: {rpm: many}}\n", "groups: 7\n"])
def test_what_is_wrong_with_groups_is_said(tmp_path: Path, bad: str) -> None:
    result = listed(tmp_path, bad)
    assert result.exit_code == 1 and "config.yaml has problems:\nline 1: groups" in result.stderr


def test_groups_want_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)
    result = CliRunner().invoke(relayd, ["group", "list"])
    assert result.exit_code == 2 and "give --config PATH" in result.stderr
