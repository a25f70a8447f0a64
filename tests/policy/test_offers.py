"""What an upstream offers, and who is meant."""

from __future__ import annotations

import pytest

from relayd.model import UpstreamSpec
from relayd.policy.offers import Catalogue, Choice, listed, speaking, translating
from tests.support.pools import upstream


@pytest.mark.parametrize(
    ("model", "name", "rule"),
    [
        ("gpt-4o", "exact-target", "gpt-4o"),
        ("gpt-3.5", "vendor/3.5", "gpt-*"),
        ("gpt-x-mini", "gpt-x-mini", "gpt-*-mini"),
    ],
)
def test_an_upstream_serves_a_model_by_its_most_particular_rule(
    model: str, name: str, rule: str
) -> None:
    up = upstream("up", "gpt-*=vendor/*", "gpt-*-mini", "gpt-4o=exact-target", "gpt-4o=second")

    found = Catalogue(up).find(model)

    assert found is not None
    assert (found.spec, found.model, found.rule.pattern) == (up, name, rule)


def test_what_no_rule_names_is_not_served() -> None:
    assert Catalogue(upstream("up", "gpt-*", "m")).find("n") is None


def offers(*specs: UpstreamSpec) -> list[Choice]:
    """How each serves `m`."""
    found = [Catalogue(spec).find("m") for spec in specs]
    return [choice for choice in found if choice is not None]


def test_who_spells_the_name_out_is_meant_among_those_of_a_kind() -> None:
    any_chat = upstream("any", "*", formats=("chat",))
    chat = upstream("chat", "m", formats=("chat",))
    gemini = upstream("gemini", "*", formats=("gemini",))
    shut = upstream("shut", "*", formats=("gemini",), translate=False)

    all_of_them = offers(any_chat, chat, gemini, shut)
    assert [choice.spec.name for choice in speaking(all_of_them, "chat")] == ["chat"]
    assert [choice.spec.name for choice in speaking(all_of_them, "gemini")] == ["gemini", "shut"]
    assert [choice.spec.name for choice in translating(all_of_them, "chat")] == ["gemini"]
    assert speaking(all_of_them, "messages") == []


def test_a_list_has_each_name_once_and_no_wildcard() -> None:
    found = listed([upstream("one", "b", "*", "a"), upstream("two", "a", "c")])

    assert [(line.name, line.owner) for line in found] == [("b", "one"), ("a", "one"), ("c", "two")]
