"""The list of all metrics: whole, in Prometheus' terms, and as the documentation has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from relayd.metrics.catalogue import CATALOGUE, Family
from relayd.metrics.collector import Metrics
from relayd.metrics.states import Sources
from tests.support.exposition import Samples

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
UNITS = (
    "_seconds",
    "_bytes",
    "_dollars",
    "_info",
    "_requests",
    "_rows",
    "_lines",
    "_connections",
    "_sessions",
)
# Gauges that are yes or no, or a state.
PLAIN = ("_up", "_state", "_in_flight", "_full", "_successful", "_waiting_requests", "_models")


def test_all_that_is_shown_is_in_the_list_and_all_of_the_list_is_shown() -> None:
    families = Samples(Metrics(Sources()).page()).families
    shown = [
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in families
        if family.name.startswith("relayd_")
    ]
    assert sorted(shown) == sorted((family.name, family.kind) for family in CATALOGUE)


@pytest.mark.parametrize("family", CATALOGUE, ids=lambda family: family.name)
def test_names_are_as_prometheus_wants_them(family: Family) -> None:
    assert re.fullmatch(r"relayd_[a-z_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    base = family.name.removesuffix("_total")
    if family.kind != "counter":
        assert base.endswith(UNITS + PLAIN), base
    assert family.text.endswith(".")
    assert not {"le", "quantile", "job", "instance"} & set(family.labels)


def test_the_documentation_has_each_with_its_labels() -> None:
    rows = dict(re.findall(r"^\| `(relayd_\w+)` \| ([^|]*) \|", DOCS.read_text(), re.M))
    assert rows == {
        family.name: ", ".join(f"`{label}`" for label in family.labels) for family in CATALOGUE
    }
