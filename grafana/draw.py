"""`python grafana/draw.py PROMETHEUS FOLDER [END]`: draw each dashboard's panels as a picture.

For docs/: what the panels' queries find on a Prometheus, drawn by matplotlib (`pip install
matplotlib`) in the dashboards' own layout: the five minutes before END (Unix seconds), or before
now. Grafana draws them more prettily; the data is the same.
"""

from __future__ import annotations

import math
import re
import sys
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parents[1]))

from grafana import build

MINUTES = 5
STEP = 5  # seconds
ROW = 0.42  # inches of a unit of height
WIDTH = 16.0  # inches
LONGEST = 26  # letters of a line's name
MOST_LINES = 14  # of one panel
BESIDE = 3.4  # columns of a panel that its lines' names take
UNITS = {
    **{"s": "s", "percentunit": "", "reqps": "/s", "ops": "/s", "bytes": "MiB", "Bps": "B/s"},
    "currencyUSD": "$",
}


def asked(address: str, expr: str, now: float) -> list[Any]:
    """The lines of a query over the minutes before `now`."""
    full = expr.replace("$__rate_interval", "30s").replace("$__range", f"{MINUTES}m")
    query = {"query": full.replace("$instance", ".*"), "start": now - 60 * MINUTES, "end": now}
    url = f"{address}/api/v1/query_range?{urllib.parse.urlencode(query | {'step': STEP})}"
    with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 (given by who runs this)
        return list(orjson.loads(reply.read())["data"]["result"])


def drawn(axes: Any, panel: dict[str, Any], address: str, now: float) -> None:
    """One panel: lines over time, or the last numbers."""
    axes.set_title(panel["title"], fontsize=9, loc="left", fontweight="bold")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = [
        (named(target["legendFormat"], line["metric"]), points)
        for target in panel["targets"]
        for line in asked(address, target["expr"], now)
        if (points := [(float(t), float(v)) for t, v in line["values"] if math.isfinite(float(v))])
    ]
    if panel["type"] == "timeseries":
        if unit == "bytes":
            found = [(name, [(t, v / 2**20) for t, v in points]) for name, points in found]
        lines(axes, found, UNITS.get(unit, ""))
        return
    axes.axis("off")
    # What has ended since is no state of now.
    said = [(name, points[-1][1]) for name, points in found if now - points[-1][0] <= STEP]
    if panel["type"] == "stat":
        text = worded(said[0][1], unit) if said else "no data"
        axes.text(0.02, 0.35, text, fontsize=18, color="#2a6f4e")
    else:
        rows = [f"{name}   {worded(value, unit)}" for name, value in said[:MOST_LINES]]
        axes.text(0.02, 0.95, "\n".join(rows), fontsize=7, va="top", family="monospace")


def lines(axes: Any, found: list[tuple[str, list[tuple[float, float]]]], unit: str) -> None:
    """Lines over the minutes, their names beside them; where there are many, the highest."""
    highest = sorted(found, key=lambda line: -max(value for _, value in line[1]))[:MOST_LINES]
    start = min((points[0][0] for _, points in found), default=0.0)
    for name, points in highest:
        axes.plot(
            [(t - start) / 60 for t, _ in points], [v for _, v in points], label=name[:LONGEST]
        )
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.set_xlim(0, MINUTES)
    axes.set_ylabel(unit, fontsize=7)
    axes.set_xlabel("minutes", fontsize=7)
    highest_of_all = max((value for _, points in highest for _, value in points), default=0.0)
    axes.set_ylim(0, highest_of_all * 1.1 or 1)
    if highest:
        axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.02), frameon=False)


def worded(value: float, unit: str) -> str:
    """A number with its unit."""
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "bool_yes_no":
        return "yes" if value else "no"
    if unit == "s":
        return (
            f"{value * 1000:.3g} ms"
            if value < 1
            else f"{value:.0f} s"
            if value >= 10
            else f"{value:.2g} s"
        )
    if unit == "currencyUSD":
        return f"${value:,.2f}"
    return f"{value:,.3g} {UNITS.get(unit, '')}".rstrip()


def named(legend: str, labels: dict[str, str]) -> str:
    """A legend with its labels filled in."""
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    # Prometheus leaves out a label that is empty.
    return "" if legend == "__auto" else re.sub(r"\{\{\w+\}\}", "(none)", legend)


def main() -> None:
    """Draw all of them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    address, folder = sys.argv[1].rstrip("/"), Path(sys.argv[2])
    now = float(sys.argv[3]) if len(sys.argv) > 3 else datetime.now(UTC).timestamp()
    for uid, document in build.dashboards().items():
        panels = document["panels"]
        height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
        figure = pyplot.figure(figsize=(WIDTH, height * ROW))
        for panel in panels:
            place = panel["gridPos"]
            top = 1 - place["y"] / height
            if panel["type"] == "row":
                figure.text(0.01, top - 0.6 / height, panel["title"], fontsize=11, color="#555555")
                continue
            box = (
                (place["x"] + 0.9) / build.COLUMNS,
                top - (place["h"] - 0.9) / height,
                (place["w"] - (BESIDE if panel["type"] == "timeseries" else 1.3)) / build.COLUMNS,
                (place["h"] - 1.9) / height,
            )
            drawn(figure.add_axes(box), panel, address, now)
        figure.savefig(folder / f"{uid}.png", dpi=70)
        pyplot.close(figure)


if __name__ == "__main__":
    main()
