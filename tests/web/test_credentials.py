"""Where a key is looked for: every accepted place, the first that is not empty wins."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.web.credentials import credential


def found(query: str = "", path: str = "/v1beta/models", /, **headers: str) -> str:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return credential(CIMultiDictProxy(CIMultiDict(pairs)), path, query)


@pytest.mark.parametrize("written", ["Bearer k", "bearer k", "BEARER   k  ", "bEaReR k"])
def test_the_scheme_is_bearer_in_any_case(written: str) -> None:
    assert found(Authorization=written) == "k"


@pytest.mark.parametrize("written", ["", "Bearer", "Bearer ", "Basic k", "k", "Bearerk"])
def test_anything_else_in_authorization_is_no_key(written: str) -> None:
    assert found(Authorization=written) == ""
    assert found(Authorization=written, x_api_key="other") == "other"


def test_the_order_of_places_is_fixed() -> None:
    places = {"Authorization": "Bearer 1", "x_api_key": "2", "x_goog_api_key": "3", "api_key": "4"}
    expected = ["1", "2", "3", "4"]
    while places:
        assert found("key=5", **places) == expected.pop(0)
        del places[next(iter(places))]


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("key=k", "k"),
        ("alt=sse&key=k", "k"),
        ("key=a%2Bb", "a+b"),
        ("key=", ""),
        ("monkey=k", ""),
        ("key", ""),
        ("", ""),
        ("key=k&key=l", "k"),
    ],
)
def test_the_query_is_the_last_place(query: str, key: str) -> None:
    assert found(query) == key


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files", "/api/usage/token", "/"])
def test_a_key_in_the_query_is_none_where_gemini_has_no_path(path: str) -> None:
    assert found("key=k", path) == ""
    assert found("key=k", path, x_goog_api_key="other") == "other"


def test_empty_values_do_not_win() -> None:
    assert found(x_api_key="", x_goog_api_key="  ", api_key="k") == "k"
    assert found() == ""
