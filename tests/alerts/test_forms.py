"""What each kind of receiver gets."""

from __future__ import annotations

import orjson
import pytest

from relayd.alerting import FORMS, Alert, Condition, State
from relayd.alerts.forms import MOST_LINES, WRITERS, lines

DOWN = Condition("upstream_down", "openai", "critical", "The upstream <openai> & co is down.")
RAISED = Alert("raised", DOWN, 0.0)
MANY = [RAISED] * (MOST_LINES + 5)


def test_every_form_has_a_writer_and_makes_json() -> None:
    assert set(WRITERS) == set(FORMS)
    for write in WRITERS.values():
        assert orjson.dumps(write([RAISED], "-1"))


def test_programs_get_every_field() -> None:
    assert WRITERS["json"]([RAISED], "") == {
        "source": "relayd",
        "alerts": [
            {
                "state": "raised",
                "kind": "upstream_down",
                "subject": "openai",
                "severity": "critical",
                "text": DOWN.text,
                "since": "1970-01-01T00:00:00+00:00",
            }
        ],
    }


def test_slack_reads_its_own_marks_as_text() -> None:
    assert "&lt;openai&gt; &amp; co" in WRITERS["slack"]([RAISED], "")["text"]


def test_discord_mentions_nobody_and_is_not_too_long() -> None:
    said = WRITERS["discord"]([Alert("raised", DOWN._replace(text="@everyone " * 99), 0)] * 20, "")
    assert said["allowed_mentions"] == {"parse": []} and len(said["content"]) <= 2000


def test_telegram_gets_its_chat() -> None:
    said = WRITERS["telegram"]([RAISED], "-1001")
    assert said["chat_id"] == "-1001" and "openai" in said["text"]


WORDS: dict[State, str] = {"raised": "", "still": "still: ", "over": "over: "}


@pytest.mark.parametrize("state", WORDS)
def test_a_line_says_whether_it_is_new_lasts_or_is_over(state: State) -> None:
    said = lines([Alert(state, DOWN, 0.0)])
    assert said.split(" ", 1)[1] == f"relayd: {WORDS[state]}{DOWN.text}"


def test_of_very_many_the_first_are_told_and_the_rest_counted() -> None:
    said = lines(MANY).splitlines()
    assert len(said) == MOST_LINES + 1 and said[-1] == "... and 5 more"


def test_a_line_is_one_line() -> None:
    assert "\n" not in lines([Alert("raised", DOWN._replace(text="a\nb" * 500), 0.0)])
