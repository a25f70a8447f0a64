"""What models take: rows over rows, by pattern. The rows that are shipped are tested where they are
read: tests/config/test_capabilities.py."""

from __future__ import annotations

import pytest

from relayd.wire.capabilities import UNKNOWN, Capabilities, Capability


def test_a_model_that_nobody_names_takes_all_that_can_be_said() -> None:
    assert Capabilities({}).of("anything") == UNKNOWN == Capability()


def test_rows_are_laid_over_each_other_the_least_particular_first() -> None:
    table = Capabilities(
        {
            "m-1-mini": {"max_stop": 1},
            "m-1*": {"max_stop": 2, "max_choices": 2},
            "m*": {"max_stop": 3, "max_choices": 3, "cache_marks": 3},
            "*": {"max_stop": 4, "max_choices": 4, "cache_marks": 4, "context": 4},
        }
    )

    def of(model: str) -> tuple[object, ...]:
        can = table.of(model)
        return can.max_stop, can.max_choices, can.cache_marks, can.context

    assert of("m-1-mini") == (1, 2, 3, 4)
    assert of("m-1") == (2, 2, 3, 4)
    assert of("m") == (3, 3, 3, 4)
    assert of("x") == (4, 4, 4, 4)


def test_of_two_wildcards_the_longer_beginning_beats_then_the_longer_text() -> None:
    rows = {"m-*-image": {"max_stop": 1}, "m-1*": {"max_stop": 2}, "m-*-im*": {"max_stop": 3}}
    table = Capabilities(rows)

    assert table.of("m-1-image").max_stop == 2
    assert table.of("m-2-image").max_stop == 1


def test_an_operators_row_beats_ours_where_it_is_as_particular() -> None:
    shipped = {"m-1": {"max_stop": 1}, "m*": {"max_stop": 2, "cache_marks": 2}}

    assert Capabilities(shipped, {"m-1": {"max_stop": 9}}).of("m-1").max_stop == 9
    assert Capabilities(shipped, {"m*": {"max_stop": 9}}).of("m-1").max_stop == 1
    assert Capabilities(shipped, {"*": {"max_stop": 9}}).of("m-2").max_stop == 2


def test_an_upstreams_row_holds_there_only_and_whatever_the_others_say() -> None:
    table = Capabilities(
        {"m-1": {"max_stop": 1}}, {"m-1": {"max_stop": 2}}, {"up": {"*": {"max_stop": 3}}}
    )

    assert [table.of("m-1", upstream).max_stop for upstream in ("", "up", "other")] == [2, 3, 2]
    assert repr(table) == "<Capabilities 2 rows, own ones at ['up']>"


@pytest.mark.parametrize(
    "name",
    [
        "m-1",
        "maker/m-1",
        "host/maker/m-1",
        "maker/m-1:free",
        "m-1-20261121",
        "m-1-2026-11-21",
        "m-1@20261121",
        "maker/m-1-20261121:free",
    ],
)
def test_what_hosts_add_to_a_name_does_not_count(name: str) -> None:
    assert Capabilities({"m-1": {"max_stop": 1}}).of(name).max_stop == 1


@pytest.mark.parametrize("name", ["m-11", "xm-1", "m-1-mini", "m-1-1999", "M-1", "m-1\nm"])
def test_another_name_is_another_model(name: str) -> None:
    assert Capabilities({"m-1": {"max_stop": 1}}).of(name) == UNKNOWN


def test_a_row_may_name_a_host_or_a_variant() -> None:
    table = Capabilities({"maker/*": {"max_stop": 1}, "m-1:free": {"max_stop": 2}})

    assert table.of("maker/x").max_stop == 1
    assert table.of("maker/m-1:free").max_stop == 2


def test_only_the_star_is_special() -> None:
    table = Capabilities({"m.[1]?*": {"max_stop": 1}})

    assert table.of("m.[1]?\n").max_stop == 1
    assert table.of("mx1y") == UNKNOWN


def test_what_was_looked_up_is_remembered_within_bounds() -> None:
    table = Capabilities({"*": {"max_stop": 1}})
    first = table.of("m")

    assert table.of("m") is first
    for number in range(5000):
        table.of(f"m-{number}")
    assert table.of("m") == first
    assert table.of("m") is not first, "a client can name models without end"


def test_endpoints_are_the_providers_own_and_say_nothing_of_who_resells_its_models() -> None:
    shipped = {"m*": {"endpoints": ("responses",), "tools_endpoint": "responses", "max_stop": 1}}
    table = Capabilities(shipped, {"m-2": {"endpoints": ("chat",)}}, resellers={"reseller"})
    assert table.of("m-1", "maker").endpoints == ("responses",)
    resold = table.of("m-1", "reseller")
    assert (resold.endpoints, resold.tools_endpoint, resold.max_stop) == ((), None, 1)
    # What the operator says holds everywhere.
    assert table.of("m-2", "reseller").endpoints == ("chat",)
