"""The dashboards: as the table says, complete, and every query of every panel finds something."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml

from grafana import build
from relayd.metrics.catalogue import CATALOGUE
from tests.support.raw_client import request_bytes
from tests.support.running import Running

if TYPE_CHECKING:
    from tests.grafana.conftest import Prometheus

GRAFANA = Path(build.__file__).parent
RULES = GRAFANA / "prometheus"
# In the catalogue for other readers than the dashboards: shown there by other means.
NOT_DRAWN: frozenset[str] = frozenset()


def queries() -> Iterator[tuple[str, str, bool]]:
    """Panel, expression, and whether it may find nothing, of all dashboards."""
    table = yaml.safe_load(build.TABLE.read_text())
    for uid, dashboard in table.items():
        for panels in dashboard["rows"].values():
            for panel in panels:
                for query in panel["queries"]:
                    where = f"{uid}: {panel['title']}"
                    yield where, build.expression(query["expr"]), query.get("quiet", False)


ALL = list(queries())


def test_the_dashboards_are_what_the_table_says() -> None:
    written = {path.stem: orjson.loads(path.read_bytes()) for path in build.FOLDER.iterdir()}
    assert written == build.dashboards(), "run `python grafana/build.py`"


def test_every_metric_is_drawn_somewhere() -> None:
    drawn = " ".join(expr for _, expr, _ in ALL)
    missing = {f.name for f in CATALOGUE if not re.search(rf"\b{f.name}", drawn)}
    assert missing == NOT_DRAWN


@pytest.mark.parametrize("uid", build.dashboards())
def test_panels_do_not_overlap_and_fill_their_rows(uid: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    panels = build.dashboards()[uid]["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    for panel in panels:
        place = panel["gridPos"]
        for y in range(place["y"], place["y"] + place["h"]):
            for x in range(place["x"], place["x"] + place["w"]):
                assert x < build.COLUMNS and (x, y) not in taken, panel["title"]
                taken[x, y] = panel["title"]
    height = 1 + max(y for _, y in taken)
    assert len(taken) == height * build.COLUMNS


def test_the_metrics_of_a_query_are_those_of_the_instances_that_are_chosen() -> None:
    short = 'sum(rate(relayd_a_total[$rate])) / relayd_b{kind=~"x|y"}'
    chosen = build.INSTANCE
    assert build.expression(short) == (
        f"sum(rate(relayd_a_total{{{chosen}}}[$__rate_interval]))"
        f' / relayd_b{{{chosen}, kind=~"x|y"}}'
    )


def test_provisioning_points_at_what_is_there() -> None:
    provided = yaml.safe_load((GRAFANA / "provisioning/dashboards/relayd.yaml").read_text())
    [source] = provided["providers"]
    assert source["options"]["path"].endswith("/relayd") and source["type"] == "file"
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())
    assert [one["type"] for one in sources["datasources"]] == ["prometheus"]


# --- with a real Prometheus -----------------------------------------------------------------------


def run(*words: str | Path, stdin: bytes = b"") -> str:
    """What a program says; it must succeed."""
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_the_rules_are_good_and_do_what_their_tests_say(tool: Callable[[str], str]) -> None:
    assert "SUCCESS" in run(tool("promtool"), "check", "rules", RULES / "rules.yml")
    assert "SUCCESS" in run(tool("promtool"), "test", "rules", RULES / "rules_test.yml")


def test_promtool_finds_no_fault_with_the_metrics(
    relay: Running, tool: Callable[[str], str]
) -> None:
    with relay.connect() as client:
        client.send(request_bytes("/metrics", method="GET"))
        text = client.reply().body
    assert run(tool("promtool"), "check", "metrics", stdin=text) == ""


def test_every_panel_finds_data(prometheus: Prometheus) -> None:
    empty = [
        f"{where}: {expr}"
        for where, expr, quiet in ALL
        if not (quiet or has_data(prometheus.ask(filled_in(expr))))
    ]
    assert empty == []


def test_every_rule_is_evaluated_without_error(prometheus: Prometheus) -> None:
    groups = prometheus.get("rules")["groups"]
    problems = {rule["name"]: rule.get("lastError") for group in groups for rule in group["rules"]}
    assert len(problems) >= 16 and not any(problems.values()), problems


def filled_in(expr: str) -> str:
    """A query as Grafana sends it."""
    return (
        expr.replace("$__rate_interval", "1m").replace("$__range", "5m").replace("$instance", ".*")
    )


def has_data(found: list[Any]) -> bool:
    """Whether any line of the answer is a number."""
    return any(not math.isnan(float(one["value"][1])) for one in found)
