"""Groups by the admin API: the configuration's, to be read."""

from __future__ import annotations

from tests.web.conftest import Counter


def test_groups_are_those_of_the_configuration_as_it_is_now(ask: Counter) -> None:
    assert [group["name"] for group in ask("GET", "/groups")["data"]] == ["default", "team"]
    del ask.desk.groups["team"]
    assert [group["name"] for group in ask("GET", "/groups")["data"]] == ["default"]


def test_a_group_shows_its_options(ask: Counter) -> None:
    team = ask("GET", "/groups/team")
    assert (team["multiplier"], team["strict"], team["reserve_cap"]) == (1.5, True, "0.25")
    assert (team["on_disconnect"], team["balance"], team["models"]) == ("estimate", "auto", ["*"])


def test_an_unknown_group_is_a_404_and_none_can_be_made(ask: Counter) -> None:
    assert ask.refused("GET", "/groups/nobody", status=404)
    assert ask.refused("POST", "/groups", {"name": "x"}, status=405)
