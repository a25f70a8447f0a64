"""`python grafana/build.py`: write dashboards/*.json from the table in panels.yaml.

Grafana's JSON says the same thing thirty times; the table says it once. What is written is what the
repository holds: a test compares, and runs every query on a real Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import yaml

HERE = Path(__file__).parent
TABLE = HERE / "panels.yaml"
FOLDER = HERE / "dashboards"
COLUMNS = 24
USUAL_WIDTH = 12
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 8, "state-timeline": 8}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
METRIC = re.compile(r"\b((?:relayd|process)_\w+)(\{)?")
INSTANCE = 'instance=~"$instance"'

Node = dict[str, Any]


def dashboards() -> dict[str, Node]:
    """All of them as Grafana wants them, by the names of their files."""
    table = yaml.safe_load(TABLE.read_text())
    return {uid: _document(uid, dashboard) for uid, dashboard in table.items()}


def expression(short: str) -> str:
    """A query in full: every metric of the chosen instance, Grafana's intervals."""
    full = METRIC.sub(lambda m: f"{m[1]}{{{INSTANCE}" + (", " if m[2] else "}"), short)
    return full.replace("[$rate]", "[$__rate_interval]").replace("[$range]", "[$__range]")


def _document(uid: str, dashboard: Node) -> Node:
    return {
        "uid": uid,
        "title": dashboard["title"],
        "tags": ["relayd"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "title": "relayd",
                "tags": ["relayd"],
                "keepTime": True,
                "includeVars": True,
            }
        ],
        "templating": {"list": _variables()},
        "panels": list(_placed(dashboard)),
    }


def _variables() -> list[Node]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Instance",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": "label_values(relayd_build_info, instance)", "refId": "instance"},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _placed(dashboard: Node) -> Iterator[Node]:
    """The panels, row by row, from left to right."""
    number = y = 0
    for heading, panels in dashboard["rows"].items():
        number += 1
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        yield {"id": number, "type": "row", "title": heading, "collapsed": False, "gridPos": place}
        x, height, y = 0, 0, y + 1
        for panel in panels:
            number += 1
            width, tall = panel.get("width", USUAL_WIDTH), HEIGHTS[_kind(panel)]
            if x + width > COLUMNS:
                x, y, height = 0, y + height, 0
            height = max(height, tall)
            place = {"h": tall, "w": width, "x": x, "y": y}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            x += width
        y += height


def _kind(panel: Node) -> str:
    return str(panel.get("kind", "timeseries"))


def _panel(panel: Node) -> Node:
    kind = _kind(panel)
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": expression(query["expr"]),
            "legendFormat": query.get("legend", "__auto"),
            **({"instant": True, "format": "table"} if kind == "table" else {}),
        }
        for index, query in enumerate(panel["queries"])
    ]
    return {
        "type": kind,
        "title": panel["title"],
        "description": panel.get("about", ""),
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": _drawing(kind, panel["unit"]), "overrides": []},
        "options": _options(kind),
    }


def _drawing(kind: str, unit: str) -> Node:
    if kind == "table":
        return {"unit": unit}
    drawn: Node = {"unit": unit, "min": 0}
    if kind == "timeseries":
        drawn["custom"] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
    return drawn


def _options(kind: str) -> Node:
    if kind == "timeseries":
        return {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area"}
    return {}


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for uid, document in dashboards().items():
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        (FOLDER / f"{uid}.json").write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
