"""The document of the admin API: it says what there is, and what it says holds.

schemathesis makes up requests from the document, good ones and bad ones, sends them over a socket,
and holds each answer against the document: nothing undocumented, no 500, no bad request taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator

from relayd import __version__
from relayd.errors import BadCall
from relayd.web.admin import ROOT, ROUTES
from relayd.web.admin_schema import Operation, Schema, schema
from tests.support.admin_desk import TOKEN, AdminDesk
from tests.web.conftest import Counter

OPERATIONS = [(route.method, route.path) for route in ROUTES]


def test_the_table_and_the_document_name_the_same_operations() -> None:
    assert sorted(schema().operations) == sorted(OPERATIONS)


def test_the_table_and_the_document_agree_about_statuses_and_parameters() -> None:
    for route in ROUTES:
        item = schema().document["paths"][route.path]
        operation = item[route.method.lower()]
        assert [s for s in operation["responses"] if s < "3"] == [str(route.status)], route
        listed = [*item.get("parameters", ()), *operation.get("parameters", ())]
        named = {one.get("$ref", "").rpartition("/")[2].removesuffix("Path") for one in listed}
        named |= {one["name"] for one in listed if "name" in one}
        in_path = {part[1:-1] for part in route.path.split("/") if part.startswith("{")}
        assert in_path <= named, route


def test_every_schema_of_the_document_is_a_good_one() -> None:
    for one in schema().document["components"]["schemas"].values():
        Draft202012Validator.check_schema(one)


def test_the_document_is_served_with_the_version_of_this_relayd(ask: Counter) -> None:
    served = ask("GET", "/openapi.json")
    assert served == schema().document
    assert served["info"]["version"] == __version__
    assert ask("GET", "/openapi.json", token=None, status=401)


# checks


def operation(method: str, path: str) -> Operation:
    return schema().operation(method, path)


@pytest.mark.parametrize(
    ("query", "checked"),
    [
        ("", {}),
        ("limit=5&after=0", {"limit": 5, "after": 0}),
        ("disabled=true", {"disabled": True}),
        ("limit=5&limit=5", {"limit": 5}),
        ("search=a%20b+c", {"search": "a b c"}),
        ("search=5", {"search": "5"}),
    ],
)
def test_parameters_come_in_their_types(query: str, checked: dict[str, Any]) -> None:
    assert operation("GET", "/accounts").check_query(query) == checked


def test_lists_and_moments_come_in_their_types() -> None:
    usage = operation("GET", "/usage")
    assert usage.check_query("by=model,day&since=1.5") == {"by": ["model", "day"], "since": 1.5}
    assert usage.check_query("until=1.5e3") == {"until": 1500.0}
    for query in ("since=1e999", "since=-1", "since=nan", "since=%D9%A1", "by=model,,day"):
        with pytest.raises(BadCall):
            usage.check_query(query)


def test_an_unknown_parameter_is_said_with_those_there_are() -> None:
    with pytest.raises(BadCall, match=r"no parameter `x`; there is: none\."):
        operation("GET", "/groups").check_query("x=1")
    with pytest.raises(BadCall, match="there is: limit, after, account"):
        operation("GET", "/credits").check_query("x=1")


def test_a_complaint_about_a_body_names_the_field_and_is_short() -> None:
    make = operation("POST", "/keys")
    with pytest.raises(BadCall) as caught:
        make.check_body(b'{"name":"a","account":"b","limits":{"rpm":"%b"}}' % (b"x" * 9000))
    assert caught.value.param == "limits.rpm"
    assert len(caught.value.message) < 400


def test_a_body_that_need_not_come_may_stay_away() -> None:
    assert operation("POST", "/keys/{key}/rotate").check_body(b"") == {}
    assert operation("GET", "/keys").check_body(b"whatever") == {}
    with pytest.raises(BadCall):
        operation("POST", "/keys").check_body(b"")


def test_the_checks_say_what_they_are() -> None:
    assert repr(schema()) == f"<Schema of {len(OPERATIONS)} operations>"
    assert repr(operation("POST", "/tokens")) == "<Operation query=[] takes_body=True>"
    with pytest.raises(KeyError):
        schema().operation("GET", "/nothing")
    assert isinstance(schema(), Schema)


# made-up requests


@pytest.fixture(scope="module")
def open_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminDesk]:
    """One desk for all of them, with a little in it."""
    folder: Path = tmp_path_factory.mktemp("desk")
    with AdminDesk([], database=folder / "relayd.db") as desk:
        ask = Counter(desk)
        ask("POST", "/accounts", {"name": "alice"}, status=201)
        ask("POST", "/accounts/alice/credits", {"amount": "20"}, status=201)
        ask("POST", "/keys", {"name": "laptop", "account": "alice"}, status=201)
        ask("POST", "/tokens", {"name": "ops"}, status=201)
        yield desk


def make_up(desk: AdminDesk, method: str, path: str, examples: int) -> None:
    """Send so many good requests to an operation, and so many bad ones."""
    # Here, not above: it takes seconds to load, and all who collect tests would wait for it.
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    # A schema cannot say that an expiry is past, that there is no such group, that a name is an id:
    # what is written may be refused although the document allows it. What is read may not.
    excluded = [] if method == "GET" else [positive_data_acceptance]
    document = schemathesis.openapi.from_dict(schema().document)
    for mode in GenerationMode:
        strategy = document[path][method].as_strategy(generation_mode=mode)

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def send(case: Any) -> None:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = case.call(base_url=desk.url + ROOT, headers=headers)
            if answer.status_code == 413:  # it was too large to be looked at
                return
            case.validate_response(answer, excluded_checks=excluded)

        send()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_made_up_requests_are_answered_as_the_document_says(
    open_desk: AdminDesk, method: str, path: str
) -> None:
    make_up(open_desk, method, path, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_many_made_up_requests_are_answered_as_the_document_says(
    open_desk: AdminDesk, method: str, path: str
) -> None:
    make_up(open_desk, method, path, 25)
