"""Generic pass-through: which path is open, and which might lead elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BadCall
from relayd.wire.passages import METHODS, Passages, check, check_path
from relayd.wire.paths import Target
from tests.support.pools import upstream

PASSAGES = Passages(
    [
        upstream("a", passthrough=("/v1/files", "/v1beta/cachedContents")),
        upstream("b", passthrough=("/v1/files", "/v1/files-too", "/v1")),
        upstream("c"),
    ]
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/files", "a"),
        ("/v1/files/", "a"),
        ("/v1/files/x/content", "a"),
        ("/v1/files-too", "b"),
        ("/v1/fil", "b"),
        ("/v1", "b"),
        ("/v1x", None),
        ("/v2/files", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_path_belongs_to_the_first_upstream_that_has_it_open(path: str, name: str | None) -> None:
    assert PASSAGES.upstream(path) == name
    assert (PASSAGES.target("GET", path, "") is None) is (name is None)


def test_a_target_holds_what_travels() -> None:
    assert PASSAGES.target("PATCH", "/v1/files/a", "x=1&key=mine") == Target(
        "chat",
        "other",
        verb="passthrough",
        rest="/v1/files/a",
        method="PATCH",
        query="x=1",
    )
    found = PASSAGES.target("GET", "/v1beta/cachedContents/1", "")
    assert found is not None and found.format == "gemini"


def test_it_says_what_is_open() -> None:
    assert repr(Passages([upstream("a", passthrough=("/x",))])) == "Passages(/x->a)"
    assert repr(Passages([])) == "Passages()"


def target(**changes: Any) -> Target:
    found = PASSAGES.target("GET", "/v1/files", "")
    assert found is not None
    return found._replace(**changes)


@pytest.mark.parametrize(
    "path", ["/v1/files", "/v1/files/a%20b/%C3%A9", "/v1/a.b..c/...", "/v1/a:b@c,d;e"]
)
def test_a_plain_path_passes(path: str) -> None:
    check(target(rest=path))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/../x",
        "/v1/files/..",
        "/v1/files/.",
        "/v1/./x",
        "/v1/%2e%2E/x",
        "/v1/.%2e/x",
        "/v1//x",
        "/v1/..;/x",
        "/v1/..;a=b/x",
        "/v1/.;/x",
        "/v1/%2e%2e%3B/x",
        "/v1/%c0%ae%c0%ae/x",
        "/v1/%f5",
        "/v1/a%2Fb",
        "/v1/a%5cb",
        "/v1/a\\b",
        "/v1/a%00",
        "/v1/a%1fb",
        "/v1/a%0Ab",
        "/v1/a%7F",
        "/v1/a%252e",
        "/v1/a%",
        "/v1/a%g0",
        "/v1/a b",
        "/v1/é",
        "/v1/a?b",
        "/v1/a#b",
    ],
)
def test_what_might_mean_another_path_is_refused(path: str) -> None:
    with pytest.raises(BadCall) as caught:
        check(target(rest=path))
    assert (caught.value.status, caught.value.code) == (400, "bad_path")


@pytest.mark.parametrize("method", ["HEAD", "TRACE", "CONNECT", "get", "X" * 100])
def test_a_method_that_cannot_pass_is_refused(method: str) -> None:
    with pytest.raises(BadCall) as caught:
        check(target(method=method))
    assert (caught.value.status, caught.value.code) == (405, "bad_method")
    assert len(caught.value.message) < 100


def test_the_others_pass() -> None:
    for method in METHODS:
        check(target(method=method))


@given(st.text(st.sampled_from("/.%25eEfFcC2ab\\"), max_size=12))
def test_no_path_that_passes_holds_a_step_back_however_often_it_is_decoded(path: str) -> None:
    from urllib.parse import unquote

    try:
        check_path(path)
    except BadCall:
        return
    for _ in range(3):
        assert not {".", ".."} & set(path.split("/"))
        assert "\\" not in path and "//" not in path
        path = unquote(path)
