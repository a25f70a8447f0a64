"""A web search of one provider, bounded the same way at another."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.model import FormatName
from relayd.wire.losses import CannotTranslate
from relayd.wire.neutral import Hosted
from relayd.wire.parts import Document
from relayd.wire.searches import search
from tests.wire.ways import going

PLACE = {"city": "Ulm", "country": "DE"}


def tool(format: FormatName, **members: Any) -> Hosted:
    document: Document = {"googleSearch": members} if format == "gemini" else members
    return Hosted(name="s", format=format, kind="web_search", document=document, at="tools[0]")


def found(
    client: FormatName, to: FormatName, *, lenient: bool = False, **members: Any
) -> tuple[Document, tuple[str, ...]]:
    way = going(to, lenient=lenient)
    return search(tool(client, **members), way), way.losses.dropped


def refused(client: FormatName, to: FormatName, **members: Any) -> str | None:
    with pytest.raises(CannotTranslate) as caught:
        found(client, to, **members)
    return caught.value.param


def test_the_sites_that_may_be_looked_at_are_the_same() -> None:
    sites = ["a.example"]
    assert found("messages", "responses", allowed_domains=sites) == (
        {"filters": {"allowed_domains": sites}},
        (),
    )
    assert found("responses", "messages", filters={"allowed_domains": sites}) == (
        {"allowed_domains": sites},
        (),
    )
    assert found("gemini", "messages", excludeDomains=sites) == ({"blocked_domains": sites}, ())


@pytest.mark.parametrize(
    ("client", "to", "members", "param"),
    [
        ("messages", "responses", {"max_uses": 3}, "tools[0].max_uses"),
        ("messages", "responses", {"blocked_domains": ["a"]}, "tools[0].blocked_domains"),
        ("messages", "responses", {"filters": {"x": 1}}, "tools[0].filters"),
        ("messages", "gemini", {"allowed_domains": ["a"]}, "tools[0].allowed_domains"),
        (
            "responses",
            "chat",
            {"filters": {"allowed_domains": ["a"]}},
            "tools[0].filters.allowed_domains",
        ),
        (
            "gemini",
            "responses",
            {"excludeDomains": ["a"]},
            "tools[0].googleSearch.excludeDomains",
        ),
    ],
)
def test_a_bound_that_has_no_place_is_asked_about(
    client: FormatName, to: FormatName, members: Document, param: str
) -> None:
    assert refused(client, to, **members) == param
    assert found(client, to, lenient=True, **members) == ({}, (param,))


def test_where_the_user_is_is_said_in_each_formats_way() -> None:
    located = {"type": "approximate", **PLACE, "street": "x"}
    said = {"type": "approximate", **PLACE}
    assert found("messages", "responses", user_location=located) == ({"user_location": said}, ())
    assert found("responses", "messages", user_location=located) == ({"user_location": said}, ())
    nested = {"type": "approximate", "approximate": PLACE}
    assert found("responses", "chat", user_location=located) == ({"user_location": nested}, ())
    assert found("chat", "messages", user_location=nested) == ({"user_location": said}, ())
    assert found("messages", "gemini", user_location=located) == ({}, ("tools[0].user_location",))
    assert found("messages", "responses", user_location="Ulm") == ({}, ())


def test_how_much_is_to_be_found_is_reported_where_it_has_no_place() -> None:
    assert found("chat", "responses", search_context_size="high") == (
        {"search_context_size": "high"},
        (),
    )
    assert found("responses", "messages", search_context_size="medium") == ({}, ())
    dropped = ("tools[0].search_context_size",)
    assert found("responses", "messages", search_context_size="low") == ({}, dropped)


def test_what_nobody_knows_is_reported() -> None:
    members: Document = {
        "type": "web_search",
        "name": "x",
        "cache_control": {},
        "depth": 3,
        "more": None,
    }
    assert found("messages", "responses", **members) == ({}, ("tools[0].depth",))
    assert found("gemini", "chat", timeRangeFilter={"a": 1}) == (
        {},
        ("tools[0].googleSearch.timeRangeFilter",),
    )
    off: Document = {"external_web_access": False, "filters": {}, "x": 0}
    assert found("responses", "messages", **off) == ({}, ("tools[0].external_web_access",))
