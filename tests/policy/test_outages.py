"""Which upstreams and keys are down, as the reports of their doors say."""

from __future__ import annotations

import pytest

from relayd.alerting import Condition
from relayd.policy.outages import FORGOTTEN, HOLD, LONGEST_NAME, MOST_NAMED, Outages, over
from relayd.policy.reports import STATES, DoorReport

Model = tuple[str, str, float | None, str]

WHY, SAID = "It answered with status 500.", "it answered with status 500"
BACK = "The upstream up is back."


def door(key: str, state: str = "up", why: str = "", *models: Model) -> DoorReport:
    """A key of the upstream `up`, on its own."""
    return DoorReport("up", key, 1, 1, state, why, None, 0, 0, 0, None, None, None, models)


def bad(model: str, state: str = "open", until: float | None = 5.0, why: str = WHY) -> Model:
    return model, state, until, why


def by_models(key: str, *models: Model) -> DoorReport:
    """A key of which nothing went well lately: the best of its models speaks for it."""
    _, state, until, why = min(models, key=lambda one: STATES.index(one[1]))
    return door(key, state, why, *models)._replace(until=until)


def seen(outages: Outages, *doors: DoorReport, at: float = 0.0) -> list[Condition]:
    return [one for one in outages.look(doors, at) if not one.quiet]


def said(outages: Outages, *doors: DoorReport, at: float = 0.0) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in seen(outages, *doors, at=at)]


@pytest.fixture
def outages() -> Outages:
    return Outages()


def test_while_all_is_well_nothing_is_down(outages: Outages) -> None:
    assert said(outages, door("1"), door("2", "full", "rpm 5")) == []


@pytest.mark.parametrize("state", [s for s in STATES if s not in ("up", "full", "disabled")])
def test_an_upstream_is_down_when_none_of_its_keys_takes_requests(
    outages: Outages, state: str
) -> None:
    assert not any(
        kind == "upstream_down" for kind, _ in said(outages, door("1"), door("2", state))
    )
    keys = [door("1", state, "No route."), door("2", state, "No route.")]
    down = next(one for one in seen(outages, *keys) if one.kind == "upstream_down")
    assert (down.subject, down.severity, down.over) == ("up", "critical", BACK)
    assert down.text == "The upstream up is down: none of its keys takes requests (no route)."


def test_each_upstream_is_looked_at_by_itself(outages: Outages) -> None:
    other = door("1", "open")._replace(upstream="other")
    assert [one.subject for one in seen(outages, door("1"), other)] == ["other"]


def test_what_the_operator_switched_off_is_no_news(outages: Outages) -> None:
    assert said(outages, door("1", "disabled")) == []
    assert said(outages, door("1", "disabled"), door("2")) == []
    assert len(said(outages, door("1", "disabled"), door("2", "open"))) == 1


def test_an_upstream_that_fails_for_all_that_was_asked_lately_is_down(outages: Outages) -> None:
    assert said(outages, by_models("1", bad("m"), bad("n"))) == [
        ("upstream_down", f"The upstream up is down: requests for m, n fail ({SAID}).")
    ]


def test_one_of_its_models_may_be_down_while_others_go_well(outages: Outages) -> None:
    [down] = seen(outages, door("1", "up", "", bad("m")))
    assert (down.kind, down.subject, down.severity) == ("upstream_down", "up", "critical")
    assert down.text == f"The upstream up is down for m ({SAID})."


def test_what_is_down_for_more_models_or_for_all_is_worse(outages: Outages) -> None:
    def level(*keys: DoorReport) -> int:
        return seen(outages, *keys)[0].level

    some = [
        level(door("1", "up", "", *[bad(f"m{n}") for n in range(many)])) for many in range(1, 9)
    ]
    assert some == [1, 2, 2, 3, 3, 3, 3, 4]
    assert level(by_models("1", bad("m"))) > max(some) < level(door("1", "open"))


def test_a_model_is_down_when_every_key_turns_it_away(outages: Outages) -> None:
    one, two = door("1", "up", "", bad("m")), door("2", "up", "", bad("n"))
    assert said(outages, one, two) == []
    both = door("2", "up", "", bad("n"), bad("m"))
    assert [text for _, text in said(outages, one, both)] == [
        f"The upstream up is down for m ({SAID})."
    ]
    # A key that takes nothing at all turns every model away.
    assert [text for _, text in said(outages, one, door("2", "open"))] == [
        f"The upstream up is down for m ({SAID})."
    ]


def test_a_rate_limit_is_an_outage_when_it_lasts(outages: Outages) -> None:
    limited = by_models("1", bad("m", "cooling", 3.0, "rate limit"))
    assert said(outages, limited, at=0.0) == []
    assert said(outages, limited, at=HOLD - 1) == []
    told = [("upstream_down", "The upstream up is down for m (rate limit).")]
    assert said(outages, limited, at=HOLD) == told
    assert said(outages, door("1"), at=HOLD + 1) == []
    assert said(outages, limited, at=HOLD + 2) == []  # it begins anew


def test_a_rate_limit_at_one_key_and_a_failure_at_the_other_is_an_outage(outages: Outages) -> None:
    keys = [by_models("1", bad("m", "cooling", 3.0, "rate limit")), by_models("2", bad("m"))]
    assert said(outages, *keys) == [
        ("upstream_down", f"The upstream up is down for m (rate limit; {SAID}).")
    ]


def test_a_key_that_fails_beside_others_is_told_when_it_lasts(outages: Outages) -> None:
    keys = [by_models("1", bad("m"), bad("n", "cooling")), door("2")]
    assert said(outages, *keys, at=0.0) == []
    [down] = seen(outages, *keys, at=HOLD)
    assert (down.kind, down.subject, down.severity) == ("key_down", "up/1", "warning")
    assert down.text == f"The upstream key up/1 fails for m ({SAID}); others do the work."


def test_a_key_that_is_only_rate_limited_beside_others_is_no_news(outages: Outages) -> None:
    keys = [by_models("1", bad("m", "cooling", 3.0, "rate limit")), door("2")]
    assert [said(outages, *keys, at=at) for at in (0.0, HOLD, 9 * HOLD)] == [[]] * 3


def test_a_key_that_was_down_is_not_over_because_all_of_them_are(outages: Outages) -> None:
    one = by_models("1", bad("m"))
    list(outages.look([one, door("2")], 0.0))
    found = list(outages.look([one, by_models("2", bad("m"))], HOLD))
    assert [(c.kind, c.subject, c.quiet) for c in found] == [
        ("upstream_down", "up", False),
        ("key_down", "up/1", True),
        ("key_down", "up/2", True),
    ]


def test_a_refused_key_is_told_while_its_sisters_work(outages: Outages) -> None:
    assert said(outages, door("1", "refused", WHY), door("2")) == [
        (
            "key_refused",
            "The provider refused the key up/1: it is taken out. When it is good again:"
            " relayd upstream enable up/1",
        )
    ]


def test_a_key_that_is_refused_for_a_model_says_for_which(outages: Outages) -> None:
    forbidden = bad("m", "refused", None)
    [(kind, text)] = said(outages, door("1", "up", "", forbidden), door("2"))
    assert kind == "key_refused"
    assert text.startswith("The provider refused the key up/1 for m: it is taken out.")


def test_the_only_key_that_is_refused_is_two_alerts(outages: Outages) -> None:
    found = seen(outages, door("1", "refused", "It answered with status 401."))
    assert [(one.kind, one.subject) for one in found] == [
        ("upstream_down", "up"),
        ("key_refused", "up/1"),
    ]


def test_a_model_that_nobody_asks_for_any_more_is_forgotten(outages: Outages) -> None:
    idle = by_models("1", bad("m", until=0.0))
    assert said(outages, idle, at=0.0)
    assert said(outages, idle, at=FORGOTTEN - 1)
    assert said(outages, idle, at=FORGOTTEN) == []
    again = by_models("1", bad("m", until=9.0))  # somebody asked, and it failed
    assert said(outages, again, at=FORGOTTEN + 1)
    assert said(outages, idle, at=FORGOTTEN + 2)


def test_an_upstream_that_cannot_be_reached_is_down_however_long_nobody_asks(
    outages: Outages,
) -> None:
    idle = door("1", "half_open", "No route.")._replace(until=0.0)
    for at in (0.0, FORGOTTEN, 9 * FORGOTTEN):
        assert said(outages, idle, at=at)


def test_of_very_many_models_the_first_are_named(outages: Outages) -> None:
    models = [bad(f"m{n}") for n in range(200)]
    [down] = seen(outages, door("1", "up", "", *models))
    assert f" m4 and {200 - MOST_NAMED} more " in down.text and len(down.text) < 300


def test_a_name_that_a_client_made_up_is_cut_and_printable(outages: Outages) -> None:
    [down] = seen(outages, door("1", "up", "", bad("\x1b[31m\n" + "x" * 10_000), bad("")))
    assert down.text.startswith("The upstream up is down for ?[31m?xxx")
    assert "requests without a model" in down.text and len(down.text) < LONGEST_NAME + 100


def test_an_upstream_is_back_only_if_it_takes_requests(outages: Outages) -> None:
    [down] = seen(outages, door("1", "open"))
    back = door("2", "full")._replace(served=5.0)
    assert over(down, [door("1", "open"), back], 9.0) == BACK
    unused = "The upstream up is not used any more."
    for doors in ([], [door("1", "disabled")], [by_models("1", bad("m", until=0.0))]):
        assert over(down, doors, 9.0) == unused
    key = down._replace(kind="key_down", subject="up/2")
    assert over(key, [back], 9.0) == BACK
    assert over(key, [door("1")], 9.0) == "The upstream key up/2 is not used any more."
    assert over(down._replace(kind="key_refused"), [], 9.0) == BACK


def test_what_nobody_has_asked_since_it_failed_is_not_said_to_be_back(outages: Outages) -> None:
    """Before, an upstream without traffic was "back" five minutes after it had failed."""
    unknown = "Nobody asks the upstream up any more: whether it works again is not known."
    [down] = seen(outages, door("1", "open"))
    for served in (None, 9.5):  # never, or before it failed
        assert over(down, [door("1")._replace(served=served)], 9.0) == unknown
    [partly] = seen(outages, door("1", "up", "", bad("m")))
    others = door("1", "up", "", bad("m", until=0.0))._replace(served=1.0)
    assert over(partly, [others], 9.0) == unknown
    assert over(partly, [others._replace(models=())], 9.0) == BACK


def test_nothing_is_remembered_of_what_is_well(outages: Outages) -> None:
    list(outages.look([by_models("1", bad("m")), door("2")], 0.0))
    assert repr(outages) == "<Outages 1 watched>"
    list(outages.look([door("1"), door("2")], 1.0))
    assert repr(outages) == "<Outages 0 watched>"
