"""`relayd prices`, and what `relayd check` says of prices."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from relayd.cli.prices import LARGEST_MAP, prices_group, summary, unpriced_models
from relayd.config.config import Config, load

CONFIG = """
prices:
  gpt-*: {input: 2.5, output: 10, request: 0.01, tiers: [{above: 200k, input: 5}]}
  m-large: {input: 1, output: 2}
upstreams:
  one: {dialect: ollama, models: [gpt-5, gpt-5-*, o3, o*, x-1, x-2, x-3, x-4]}
  two: {dialect: ollama, models: {large: m-large}}
"""
MAP = {
    "sample_spec": {},
    "gpt-5": {"input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05},
    "vendor/m": {
        "litellm_provider": "vendor",
        "input_cost_per_token": 1e-06,
        "search_cost": {},
    },
    "dall\x1be": {"output_cost_per_image": 0.04},
    "flux": {"output_cost_per_image": 0.03},
}


def run(*args: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(prices_group, args, input=stdin)


def with_config(folder: Path, *args: str, text: str = CONFIG) -> Result:
    (folder / "config.yaml").write_text(text)
    return run(*args, "--config", str(folder / "config.yaml"))


def imported(folder: Path, *args: str, models: Any = MAP) -> Result:
    (folder / "map.json").write_bytes(orjson.dumps(models))
    return run("import", str(folder / "map.json"), *args)


def loaded(folder: Path, text: str) -> Config:
    (folder / "config.yaml").write_text(text)
    return load(folder / "config.yaml", {})


def test_what_is_not_counted_in_tokens_is_shown_by_its_unit(tmp_path: Path) -> None:
    text = "prices: {p: {image: 0.04, characters: 15}, a: {minute: 0.006}}"
    shown = with_config(tmp_path, "show", "p", text=text)
    assert shown.output.splitlines()[-3:] == [
        "and 0.04 dollars for each picture",
        "",
        "and 15.00 dollars for a million characters",
    ]
    assert (
        "and 0.006 dollars for each minute of audio"
        in with_config(tmp_path, "show", "a", text=text).output
    )
    assert "image 0.04, characters 15.00" in with_config(tmp_path, "list", text=text).output
    document = orjson.loads(with_config(tmp_path, "show", "p", "--json", text=text).output)
    assert (document["price"]["image"], document["price"]["characters"]) == ("0.04", "15.00")


def test_show_says_which_line_counts_and_every_rate(tmp_path: Path) -> None:
    result = with_config(tmp_path, "show", "gpt-5")

    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "gpt-5 goes by the line 'gpt-*'."
    assert lines[2].split("  ")[0] == "dollars for a million tokens"
    assert lines[2].endswith("above 200,000")
    table = {line.rsplit(None, 2)[0]: line.split()[-2:] for line in lines[3:13]}
    assert table["input"] == ["2.50", "5.00"]
    assert table["cache write 1h"] == ["2.50", "5.00"]
    assert table["output"] == table["reasoning"] == ["10.00", "10.00"]
    assert lines[-1] == "and 0.01 dollars for each request"


def test_show_prints_exact_decimals_as_json(tmp_path: Path) -> None:
    document = orjson.loads(with_config(tmp_path, "show", "gpt-5", "--json").output)

    assert document["line"] == "gpt-*"
    assert document["price"]["input"] == "2.50"
    assert document["price"]["request"] == "0.01"
    assert document["price"]["tiers"][0]["above"] == 200_000
    assert document["price"]["tiers"][0]["input"] == "5.00"


@pytest.mark.parametrize(("unpriced", "fate"), [("free", "free"), ("refuse", "refused")])
def test_show_says_what_becomes_of_a_model_without_a_price(
    tmp_path: Path, unpriced: str, fate: str
) -> None:
    text = f"unpriced: {unpriced}\n"

    assert (
        with_config(tmp_path, "show", "x", text=text).output == f"x has no price: it is {fate}.\n"
    )
    document = orjson.loads(with_config(tmp_path, "show", "x", "--json", text=text).output)
    assert document == {"model": "x", "line": None, "price": None, "unpriced": unpriced}
    assert f"every model is {fate}" in with_config(tmp_path, "list", text=text).stderr


def test_list_shows_every_line(tmp_path: Path) -> None:
    rows = [line.split() for line in with_config(tmp_path, "list").output.splitlines()[1:]]

    assert rows == [
        ["gpt-*", "2.50", "10.00", "2.50", "2.50", "2.50", "0.01", "200,000"],
        ["m-large", "1.00", "2.00", "1.00", "1.00", "1.00", "-", "-"],
    ]
    document = orjson.loads(with_config(tmp_path, "list", "--json").output)
    assert list(document) == ["gpt-*", "m-large"]
    assert document["m-large"]["output"] == "2.00"


def test_import_writes_a_price_list_and_says_what_was_left_out(tmp_path: Path) -> None:
    output = tmp_path / "prices.json"

    result = imported(tmp_path, "--output", str(output))

    assert result.exit_code == 0
    assert output.read_text() == (
        '{\n  "gpt-5": {"input":1.25,"output":10},\n  "vendor/m": {"input":1,"output":0}\n}\n'
    )
    assert output.stat().st_mode & 0o777 == 0o644
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "2 models taken over, 2 left out.",
        "  left out: 1 is not the name of a model, such as dall\ufffde",
        "  left out: 1 is priced by output_cost_per_image, such as flux",
        "  not used: search_cost, of 1 models",
        f"Written: name it in the configuration as `prices_file: {output}`.",
    ]
    assert [line.pattern for line in loaded(tmp_path, "prices_file: prices.json").prices] == [
        "gpt-5",
        "vendor/m",
    ]


def test_import_to_stdout_prints_the_list_alone(tmp_path: Path) -> None:
    result = run("import", "-", "--provider", "vendor", stdin=orjson.dumps(MAP))

    assert orjson.loads(result.stdout) == {"m": {"input": 1, "output": 0}}
    assert "--output" not in result.stderr, "whoever sends it on knows where to"


def test_import_writes_over_a_file_only_when_told(tmp_path: Path) -> None:
    output = tmp_path / "prices.json"
    output.write_text("mine")
    output.chmod(0o640)

    refused = imported(tmp_path, "--output", str(output))
    assert refused.exit_code == 1
    assert f"relayd: {output} is there already: give --replace to write over it" in refused.stderr
    assert output.read_text() == "mine"

    assert imported(tmp_path, "--output", str(output), "--replace").exit_code == 0
    assert "gpt-5" in output.read_text()
    assert output.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.json", "prices.json"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "map.json is not a price map"),
        ({}, "map.json holds no such model"),
        ({"m": {}}, "map.json holds no price that can be used; nothing is written"),
    ],
)
def test_import_of_nothing_fails_and_writes_nothing(
    tmp_path: Path, models: Any, message: str
) -> None:
    result = imported(tmp_path, "--output", str(tmp_path / "out"), models=models)

    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_import_bounds_what_it_reads_and_reports(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b" " * (LARGEST_MAP + 1))
    result = run("import", str(tmp_path / "big"))
    assert result.exit_code == 1
    assert "big is over 32 MiB" in result.stderr

    odd = {f"m{n}": {f"cost_{n}": 1} for n in range(20)}
    unread = {"m": {"input_cost_per_token": 1e-6, **{f"cost_{n}": 1 for n in range(20)}}}
    lines = imported(tmp_path, models={**odd, **unread}).stderr.splitlines()
    assert len(lines) == 13
    assert lines[6] == "  left out: 15 for other reasons"
    assert lines[12] == "  not used: 15 other fields"


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = imported(tmp_path, "--output", str(tmp_path / "none" / "prices.json"))

    assert result.exit_code == 1
    assert "cannot be written: No such file or directory" in result.stderr


def test_problems_of_the_configuration_are_said(tmp_path: Path) -> None:
    result = with_config(tmp_path, "list", text="prices: {m: {input: x, output: 0}}")

    assert result.exit_code == 1
    assert "config.yaml has problems:\nline 1: prices.m.input: 'x' is not a price" in result.stderr


def test_without_a_configuration_there_is_nothing_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)

    result = run("list")

    assert result.exit_code == 2
    assert "no configuration found: give --config PATH" in result.stderr


def test_models_without_a_price_are_named(tmp_path: Path) -> None:
    config = loaded(tmp_path, CONFIG)

    assert unpriced_models(config) == ["o3", "o*", "x-1", "x-2", "x-3", "x-4"]
    assert summary(config) == (
        "2 lines; free, because no line is theirs: o3, o*, x-1, x-2, x-3, 1 more"
    )
    every = loaded(tmp_path, CONFIG.replace("m-large:", '"*":') + "unpriced: refuse\n")
    assert summary(every) == "2 lines, for every model offered"
    assert summary(loaded(tmp_path, "unpriced: refuse")) == "none: every model is refused"


def test_import_to_a_terminal_says_how_to_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(orjson.dumps(MAP))
    terminal, inner = pty.openpty()
    command = [sys.executable, "-m", "relayd", "prices", "import", str(path)]
    result = subprocess.run(command, stdout=inner, stderr=subprocess.PIPE, timeout=30, check=True)
    os.close(inner)
    os.close(terminal)
    assert b"Nothing is written: `--output prices.json`" in result.stderr
