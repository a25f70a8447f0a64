"""The nouns: secrets that do not show, totals that are sums of what is known."""

from __future__ import annotations

from relayd.model import ModelRule, Secret, Usage


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hidden")
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}", "%s" % secret):  # noqa: UP031
        assert "hidden" not in shown
    assert secret.reveal() == "hidden"
    assert secret == Secret("hidden") != Secret("other")
    assert hash(secret) == hash(Secret("hidden"))
    assert not Secret("")
    assert repr(Secret("")) == "Secret(empty)"


def test_totals_are_sums_and_unknown_counts_as_nothing() -> None:
    assert Usage().total == 0
    usage = Usage(in_uncached=1, cache_read=2, cache_write_5m=4, cache_write_1h=8, out_total=16)
    assert (usage.cache_write, usage.total) == (12, 31)
    assert Usage(tool_prompt=5, reasoning=9, total_reported=100).total == 5


def test_a_rule_with_a_star_is_a_wildcard() -> None:
    assert ModelRule("gpt-*").is_wildcard
    assert not ModelRule("gpt-5").is_wildcard
