"""Upstreams by the admin API: what is shown, what is switched, what is said to a mistake."""

from __future__ import annotations

import logging

import pytest

from tests.support.admin_office import STRANGER, UPSTREAMS, Asking, Office
from tests.support.logged import lines


def names(asking: Asking, field: str = "upstreams") -> list[str]:
    assert asking.status == 200, asking.document
    return [f"{row['upstream']}/{row['key']}" for row in asking.document[field]]


# what is shown


def test_all_doors_are_shown_in_order(office: Office) -> None:
    asking = office.ask()
    assert names(asking) == ["openai/1", "openai/2", "azure/1"]
    assert asking.document["upstreams"][1]["until"] == 9.0
    assert names(office.ask(UPSTREAMS + "/")) == names(asking)
    assert office.ask(method="HEAD").status == 200


@pytest.mark.parametrize("path", ["openai/2", "openai%2F2", "openai?key=2"])
def test_a_door_is_named_by_path_or_by_key(office: Office, path: str) -> None:
    assert names(office.ask(f"{UPSTREAMS}/{path}")) == ["openai/2"]


def test_an_upstream_stands_for_all_its_doors(office: Office) -> None:
    assert names(office.ask(f"{UPSTREAMS}/openai")) == ["openai/1", "openai/2"]


# what is done


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("openai", b"", ("openai", None)),
        ("openai/2", b"", ("openai", "2")),
        ("openai", b'{"key": "2"}', ("openai", "2")),
        ("openai", b'{"key": 2}', ("openai", "2")),
        ("openai", b'{"key": null}', ("openai", None)),
        ("openai", b"{}", ("openai", None)),
    ],
)
def test_doors_are_switched_and_shown_as_they_are_now(
    office: Office, path: str, body: bytes, told: tuple[str, str | None]
) -> None:
    disabled = office.ask(f"{UPSTREAMS}/{path}/disable", "POST", body=body)
    assert {row["state"] for row in disabled.document["upstreams"]} == {"disabled"}
    enabled = office.ask(f"{UPSTREAMS}/{path}/enable", "POST", body=body)
    assert {row["state"] for row in enabled.document["upstreams"]} == {"up"}
    assert names(enabled) == [n for n in ("openai/1", "openai/2") if told[1] in (None, n[-1])]
    assert office.upstreams.told == [("disable", *told), ("enable", *told)]


def test_what_an_operator_does_is_logged(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "relayd"):
        office.ask(f"{UPSTREAMS}/openai/2/disable", "POST")
        office.ask(token="guess-me-not")
        office.ask()
    assert lines(caplog) == [
        f"info admin: disable openai/2 request=req_1 by=config address={STRANGER}",
        f"warning admin: a wrong token request=req_1 address={STRANGER}",
    ]


def test_a_probe_tells_of_each_door() -> None:
    office = Office(bad={"openai/2": "401: no such key"})
    asking = office.ask(f"{UPSTREAMS}/openai/probe", "POST")
    assert [row["ok"] for row in asking.document["results"]] == [True, False]
    assert asking.document["results"][1]["why"] == "401: no such key"
    assert names(office.ask(f"{UPSTREAMS}/openai/2/probe", "POST"), "results") == ["openai/2"]


def test_everything_is_probed_at_once(office: Office) -> None:
    asking = office.ask(f"{UPSTREAMS}/probe", "POST")
    assert names(asking, "results") == ["openai/1", "openai/2", "azure/1"]


# mistakes


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("opnai", "There is no upstream `opnai`; did you mean `openai`?"),
        ("nobody", "There is no upstream `nobody`."),
        ("openai/7", "The upstream `openai` has no key `7`; it has: 1, 2."),
    ],
)
def test_an_unknown_name_is_a_404_with_the_nearest(office: Office, path: str, message: str) -> None:
    name, _, query = path.partition("?")
    for verb in ("enable", "disable", "probe"):
        asking = office.ask(f"{UPSTREAMS}/{name}/{verb}?{query}", "POST")
        assert (asking.status, asking.document["error"]["code"]) == (404, "unknown_upstream")
        assert asking.document["error"]["message"] == message
    assert office.ask(f"{UPSTREAMS}/{path}").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/admin/api", 404, "not_found"),
        ("GET", "/admin/api/nothing", 404, "not_found"),
        ("GET", "/admin/api/upstreamsx", 404, "not_found"),
        ("POST", UPSTREAMS, 405, "bad_method"),
        ("POST", f"{UPSTREAMS}/enable", 405, "bad_method"),
        ("POST", f"{UPSTREAMS}/openai/explode", 405, "bad_method"),
        ("POST", f"{UPSTREAMS}/openai/1/explode", 404, "not_found"),
        ("GET", f"{UPSTREAMS}//enable", 404, "not_found"),
        ("DELETE", f"{UPSTREAMS}/openai", 405, "bad_method"),
        ("OPTIONS", UPSTREAMS, 405, "bad_method"),
    ],
)
def test_what_is_not_there_is_said(
    office: Office, method: str, path: str, status: int, code: str
) -> None:
    asking = office.ask(path, method)
    assert (asking.status, asking.document["error"]["code"]) == (status, code)
    assert asking.document["error"]["message"]
    assert (b"allow" in asking.sent) == (status == 405)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b"{"),
        ("", b"[]"),
        ("", b'"2"'),
        ("", b'{"keys": "2"}'),
        ("", b'{"key": ""}'),
        ("", b'{"key": true}'),
        ("", b'{"key": ["2"]}'),
        ("", b"\xff"),
        ("?key=", b""),
        ("?key=1&key=2", b""),
        ("?key=1", b'{"key": "2"}'),
    ],
)
def test_a_bad_key_is_a_400_and_nothing_is_done(office: Office, query: str, body: bytes) -> None:
    asking = office.ask(f"{UPSTREAMS}/openai/disable{query}", "POST", body=body)
    assert asking.status == 400, asking.document
    assert office.upstreams.told == []
