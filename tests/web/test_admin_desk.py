"""The desk of the admin API: how routes are found, and how refusals of the store are worded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relayd.errors import BadCall, Refused, RelayError
from relayd.store import refusals
from relayd.store.sqlite import SqliteStore
from relayd.web.admin_desk import (
    Ask,
    Bureau,
    Desk,
    Document,
    Route,
    Table,
    WrongMethod,
    page,
    refusal,
)
from tests.support.admin_office import Office


async def nothing(desk: Desk, ask: Ask) -> Document:
    return {}


TABLE = Table(
    [
        Route("GET", "/things/{thing}", nothing),
        Route("GET", "/things/all", nothing),
        Route("PATCH", "/things/{thing}", nothing),
        Route("POST", "/things/{thing}/{part}/turn", nothing),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "found", "names"),
    [
        ("GET", "/things/all", "/things/all", {}),
        ("HEAD", "/things/all", "/things/all", {}),
        ("GET", "/things/one", "/things/{thing}", {"thing": "one"}),
        ("PATCH", "/things/all", "/things/{thing}", {"thing": "all"}),
        ("GET", "/things/a%2Fb", "/things/{thing}", {"thing": "a/b"}),
        ("GET", "/things/a%20b", "/things/{thing}", {"thing": "a b"}),
        (
            "POST",
            "/things/x/y/turn",
            "/things/{thing}/{part}/turn",
            {"thing": "x", "part": "y"},
        ),
    ],
)
def test_a_route_is_found_by_method_and_path_and_literals_win(
    method: str, path: str, found: str, names: dict[str, str]
) -> None:
    route, found_names = TABLE.find(method, path)
    assert (route.path, found_names) == (found, names)


@pytest.mark.parametrize("path", ["", "/", "/things", "/things/", "/things/x/y", "/other/x"])
def test_what_is_not_there_is_a_404(path: str) -> None:
    with pytest.raises(Refused) as caught:
        TABLE.find("GET", path)
    assert caught.value.status == 404


def test_another_method_is_a_405_that_names_those_there_are() -> None:
    with pytest.raises(WrongMethod) as caught:
        TABLE.find("DELETE", "/things/all")
    assert caught.value.allowed == "GET, HEAD, PATCH"
    assert "DELETE is not for this" in caught.value.message
    with pytest.raises(WrongMethod) as caught:
        TABLE.find("GET", "/things/x/y/turn")
    assert caught.value.allowed == "POST"
    assert repr(TABLE) == "<Table of 4 routes>"


@pytest.mark.parametrize(
    ("exc", "kind", "status"),
    [
        (refusals.NotFound("x"), Refused, 404),
        (refusals.Ambiguous("x"), Refused, 409),
        (refusals.NameTaken("x"), Refused, 409),
        (refusals.BadName("x"), BadCall, 400),
        (refusals.BadAmount("x"), BadCall, 400),
        (refusals.StoreUnavailable("x"), RelayError, 503),
    ],
)
def test_what_the_store_refuses_is_said_in_its_words(
    exc: refusals.StoreError, kind: type[RelayError], status: int
) -> None:
    error = refusal(exc)
    assert (type(error), error.status, error.message) == (kind, status, "x")


def test_a_page_names_the_next_only_if_there_is_one() -> None:
    rows: list[Document] = [{"id": number} for number in range(3)]
    assert page(rows, 3) == {"data": rows, "next": None}
    assert page(rows, 2) == {"data": rows[:2], "next": 1}
    assert page([], 2) == {"data": [], "next": None}


def test_where_there_is_no_bureau_accounts_are_not_there() -> None:
    office = Office()
    for path in ("/accounts", "/keys", "/groups", "/usage", "/audit"):
        assert office.ask(f"/admin/api{path}").status == 404
    assert office.ask("/admin/api/openapi.json").status == 200


def test_a_report_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    async def steps() -> None:
        store = await SqliteStore.open(tmp_path / "relayd.db")
        bureau = Bureau(store, dict, patience=0.05)
        assert await bureau.soon(store.usage(0.0, None, ("key",))) == []
        with pytest.raises(RelayError, match=r"over 0\.05 seconds") as caught:
            await bureau.soon(asyncio.sleep(5.0))
        assert (caught.value.status, caught.value.code) == (503, "too_slow")
        await store.close()

    asyncio.run(steps())
