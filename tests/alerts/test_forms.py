"""What each kind of receiver gets."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.alerting import FORMS, Alert, Condition, Form, State, Webhook
from relayd.alerts.forms import (
    DISCORD_TAKES,
    LONGEST_LINE,
    LONGEST_TEXT,
    MOST_ALIKE,
    MOST_LINES,
    SLACK_TAKES,
    TELEGRAM_TAKES,
    WRITERS,
    fitted,
    lines,
)
from relayd.model import Secret

DOWN = Condition(
    "upstream_down", "openai", "critical", "The upstream openai is down.", "openai is back."
)
RAISED = Alert("raised", DOWN, 0.0, 0.0)
HOOK = Webhook("ops", Secret("https://hooks.example/"), chat="-1001", source="relay-1")


def written(form: Form, *alerts: Alert) -> Any:
    return WRITERS[form](alerts, HOOK)


def named(name: str, kind: Any = "balance", state: State = "raised") -> Alert:
    """An alert of something that a customer gave a name to."""
    condition = Condition(kind, name, "warning", f"The account {name} has nothing.")
    return Alert(state, condition, 0.0, 0.0)


def text(form: Form, *alerts: Alert) -> str:
    said = written(form, *alerts)
    return str(said["content" if form == "discord" else "text"])


def test_every_form_has_a_writer_and_makes_json() -> None:
    assert set(WRITERS) == set(FORMS)
    for write in WRITERS.values():
        assert orjson.dumps(write([RAISED], HOOK))


def test_programs_get_every_field() -> None:
    assert written("json", Alert("still", DOWN, 0.0, 7200.0)) == {
        "source": "relay-1",
        "alerts": [
            {
                "state": "still",
                "kind": "upstream_down",
                "subject": "openai",
                "severity": "critical",
                "text": "still, for 2 h: The upstream openai is down.",
                "since": "1970-01-01T00:00:00+00:00",
                "at": "1970-01-01T02:00:00+00:00",
            }
        ],
    }


@pytest.mark.parametrize(
    ("state", "lasted", "words"),
    [
        ("raised", 0.0, "\U0001f534 relay-1: The upstream openai is down."),
        ("still", 21_600.0, "\U0001f534 relay-1: still, for 6 h: The upstream openai is down."),
        ("over", 185.0, "\U0001f7e2 relay-1: openai is back. (After 3 min.)"),
        ("over", 11.2, "\U0001f7e2 relay-1: openai is back. (After 11 s.)"),
        ("over", 400_000.0, "\U0001f7e2 relay-1: openai is back. (After 5 d.)"),
        ("over", -5.0, "\U0001f7e2 relay-1: openai is back. (After 0 s.)"),  # a clock was set back
    ],
)
def test_a_line_says_whether_it_is_new_lasts_or_is_over(
    state: State, lasted: float, words: str
) -> None:
    assert lines([Alert(state, DOWN, 100.0, 100.0 + lasted)], "relay-1") == [words]


def test_what_is_critical_stands_first_and_what_is_over_last() -> None:
    over = Alert("over", DOWN, 0.0)
    said = lines([over, named("a"), RAISED], "r")
    assert [line.split(" ", 2)[0] for line in said] == [
        "\U0001f534",
        "\U0001f7e1",
        "\U0001f7e2",
    ]


def test_many_of_one_kind_are_one_line() -> None:
    few = [named(f"a{number}") for number in range(MOST_ALIKE)]
    assert len(lines(few, "r")) == MOST_ALIKE
    many = [RAISED, *(named(f"a{number}") for number in range(200))]
    assert lines(many, "r") == [
        "\U0001f534 r: The upstream openai is down.",
        "\U0001f7e1 r: 200 times balance: a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 190 more",
    ]
    over = [named(f"a{number}", state="over") for number in range(5)]
    assert lines(over, "r") == ["\U0001f7e2 r: 5 times balance over: a0, a1, a2, a3, a4"]


def test_a_name_makes_no_second_line_and_hides_nothing() -> None:
    [said] = lines([named("a\nb\r\x1b[31m\u202egnp.exe " + "x" * 10_000)], "r")
    assert said.isprintable() and len(said) < LONGEST_LINE + 20
    [told] = written("json", named("a\u202e" + "x" * 10_000))["alerts"]
    assert max(len(told["text"]), len(told["subject"])) <= LONGEST_TEXT + 3
    assert (told["text"] + told["subject"]).isprintable()


def test_what_looks_like_a_key_is_hidden() -> None:
    assert "sk-abcdef0123456789" not in text("slack", named("sk-abcdef0123456789"))


def test_what_it_is_about_keeps_its_name() -> None:
    [told] = written("json", named("sk-abcdef0123456789 ltd."))["alerts"]
    assert told["subject"] == "sk-abcdef0123456789 ltd."


def test_slack_and_mattermost_read_names_as_text() -> None:
    said = text("slack", named("<!channel> & <@U1> [free](http://evil) @all ![x](http://evil)"))
    assert "&lt;!channel&gt; &amp; &lt;@" in said
    assert "](" not in said and "@a" not in said and "<" not in said
    asked = written("slack", RAISED)
    assert asked["mrkdwn"] is False and asked["unfurl_links"] is False


def test_discord_mentions_nobody_and_makes_no_link() -> None:
    asked = written("discord", named("@everyone <@1> [free](https://evil) **x** `y` ||z||"))
    assert asked["allowed_mentions"] == {"parse": []} and asked["flags"] == 4
    said = asked["content"]
    assert r"\<@1\> \[free\]\(https\://evil\) \*\*x\*\* \`y\` \|\|z\|\|" in said


def test_telegram_gets_its_chat_and_opens_no_link() -> None:
    said = written("telegram", RAISED)
    assert said["chat_id"] == "-1001" and said["link_preview_options"] == {"is_disabled": True}
    assert "parse_mode" not in said and "openai" in said["text"]


@pytest.mark.parametrize(
    ("form", "most"),
    [("slack", SLACK_TAKES), ("discord", DISCORD_TAKES), ("telegram", TELEGRAM_TAKES)],
)
@pytest.mark.parametrize("letter", ["a", "*", "<", "\U0001f534"])
def test_no_message_is_longer_than_its_service_takes(form: Form, most: int, letter: str) -> None:
    kinds = ("upstream_down", "key_down", "key_refused", "balance", "certificate", "key_expiry")
    many = [named(letter * 290, kind) for kind in kinds for _ in range(MOST_ALIKE)]
    said = text(form, *many)
    assert len(said.encode("utf-16-le")) // 2 <= most
    assert "more" in said.splitlines()[-1]


def test_of_very_many_lines_the_first_are_told_and_the_rest_counted() -> None:
    said = fitted([str(number) for number in range(MOST_LINES + 5)], 10_000).splitlines()
    assert len(said) == MOST_LINES + 1 and said[-1] == "... and 5 more"
