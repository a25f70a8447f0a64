"""`relayd check`: what it prints of a good configuration, and how it ends on a bad one."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from relayd.cli.main import main

GOOD = """
database: /data/relayd.db
upstreams:
  first: {dialect: ollama, models: [a, b, c, d, e]}
  second:
    dialect: openai
    base_urls: ["https://one/v1", "https://two/v1"]
    keys: [sk-1, sk-2, ""]
    tier: 2
    weight: 3
    models: ["x-*"]
  third: {dialect: openai, key: "", models: [y]}
routing: {strategy: fastest, models: {"x-*": {hedge: on}}}
"""


def check(folder: Path, text: str) -> Result:
    (folder / "config.yaml").write_text(text)
    return CliRunner().invoke(main, ["check", "--config", str(folder / "config.yaml")])


def test_check_shows_what_a_configuration_comes_to(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD)

    assert result.exit_code == 0
    assert result.output.splitlines()[1:] == [
        "  listen    127.0.0.1:8080",
        "  database  /data/relayd.db",
        "  strategy  fastest, 1 rule for single models",
        "  prices    none: every model is free",
        "  timezone  UTC",
        "  upstream  first   http://localhost:11434/v1  no key  a, b, c, d, 1 more",
        "  upstream  second  https://one/v1, https://two/v1  2 keys, tier 2, weight 3  x-*",
        "  left out, because their key is empty: second/3, third",
    ]
    assert "sk-" not in result.output


def test_check_lists_every_problem_and_fails(tmp_path: Path) -> None:
    result = check(tmp_path, GOOD.replace("weight: 3", "weight: 0").replace('"x-*": {', "z: {"))

    assert result.exit_code == 1
    assert "line 10: upstreams.second.weight: must be between 1 and 1000000" in result.output
    assert "line 13: routing.models.z: no upstream offers such a model" in result.output
