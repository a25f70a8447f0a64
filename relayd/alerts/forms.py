"""How alerts are written for each kind of receiver.

Several alerts go into one message: the critical ones first, and many of one kind in one line. Chat
services get a line for each, as many whole lines as they take; `json` is for programs. Names in the
texts may be a customer's or a client's choice: they mention nobody, make no link, no picture and no
second line, whatever they look like.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from relayd.alerting import Alert, Form, Severity, Webhook
from relayd.lines import worded

Payload = dict[str, Any]

MOST_LINES: Final = 20
MOST_ALIKE: Final = 4  # alerts of one kind that have a line each
MOST_NAMED: Final = 10  # where they have one line together
LONGEST_NAME: Final = 40
LONGEST_LINE: Final = 300  # characters
LONGEST_TEXT: Final = 1000
# UTF-16 units, which is what the services count; Slack takes more, and advises against it.
SLACK_TAKES: Final = 4000
DISCORD_TAKES: Final = 2000
TELEGRAM_TAKES: Final = 4096
SUPPRESS_EMBEDS: Final = 4  # Discord's flag: what looks like a link is not opened
_MARKS: Final = {"critical": "\U0001f534", "warning": "\U0001f7e1", "over": "\U0001f7e2"}
_GAP: Final = "\u200b"  # a space of no width
_SPANS: Final = ((172_800, 86_400, "d"), (7200, 3600, "h"), (120, 60, "min"), (0, 1, "s"))
_MARKDOWN: Final = re.compile(r"([\\*_~`|>#\[\]()<:-])")


def json(alerts: Sequence[Alert], webhook: Webhook) -> Payload:
    """Every field of every alert."""
    return {
        "source": webhook.source,
        "alerts": [
            {
                "state": alert.state,
                "kind": alert.condition.kind,
                "subject": _name(alert.condition.subject),
                "severity": alert.condition.severity,
                "text": _plain(_text(alert), LONGEST_TEXT),
                "since": _written(alert.since),
                "at": _written(alert.at),
            }
            for alert in sorted_by_weight(alerts)
        ],
    }


def slack(alerts: Sequence[Alert], webhook: Webhook) -> Payload:
    """Slack's incoming webhooks, and Mattermost's, which reads Markdown and mentions by name."""
    said = [_escaped_for_slack(line) for line in lines(alerts, webhook.source)]
    text = fitted(said, SLACK_TAKES)
    return {"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def discord(alerts: Sequence[Alert], webhook: Webhook) -> Payload:
    """Discord's webhooks; nobody is mentioned, whatever a name looks like."""
    said = [_MARKDOWN.sub(r"\\\1", line) for line in lines(alerts, webhook.source)]
    return {
        "content": fitted(said, DISCORD_TAKES),
        "allowed_mentions": {"parse": []},
        "flags": SUPPRESS_EMBEDS,
    }


def telegram(alerts: Sequence[Alert], webhook: Webhook) -> Payload:
    """Telegram's sendMessage, as plain text."""
    return {
        "chat_id": webhook.chat,
        "text": fitted(lines(alerts, webhook.source), TELEGRAM_TAKES),
        "link_preview_options": {"is_disabled": True},
    }


def lines(alerts: Sequence[Alert], source: str) -> list[str]:
    """One line for each, or for many that are alike."""
    said: list[str] = []
    for alike in _alike(sorted_by_weight(alerts)):
        if len(alike) <= MOST_ALIKE:
            said += [f"{_mark(one)} {source}: {_plain(_text(one), LONGEST_LINE)}" for one in alike]
        else:
            said.append(f"{_mark(alike[0])} {source}: {_together(alike)}")
    return said


def sorted_by_weight(alerts: Iterable[Alert]) -> list[Alert]:
    """What is critical news first, then warnings, then what is over; else as they came."""
    weights = {"critical": 0, "warning": 1}
    return sorted(alerts, key=lambda one: (one.state == "over", weights[one.condition.severity]))


def fitted(said: Sequence[str], most: int) -> str:
    """As many of the lines as a message takes; how many more there are."""
    room = most - len("\n... and 1000000 more")
    taken: list[str] = []
    for line in said[:MOST_LINES]:
        room -= len(f"{line}\n".encode("utf-16-le")) // 2
        if room < 0:
            break
        taken.append(line)
    if len(taken) < len(said):
        taken.append(f"... and {len(said) - len(taken)} more")
    return "\n".join(taken)


def _alike(alerts: Sequence[Alert]) -> list[list[Alert]]:
    """The alerts by state, severity and kind, in the order of the first of each."""
    found: dict[tuple[str, Severity, str], list[Alert]] = {}
    for one in alerts:
        kind = one.state, one.condition.severity, one.condition.kind
        found.setdefault(kind, []).append(one)
    return list(found.values())


def _together(alike: Sequence[Alert]) -> str:
    """Many alerts of one kind as one text."""
    state, kind = alike[0].state, alike[0].condition.kind
    words = {"raised": "", "still": " still", "over": " over"}[state]
    names = ", ".join(_name(one.condition.subject)[:LONGEST_NAME] for one in alike[:MOST_NAMED])
    more = f" and {len(alike) - MOST_NAMED} more" if len(alike) > MOST_NAMED else ""
    return f"{len(alike)} times {kind}{words}: {names}{more}"


def _mark(alert: Alert) -> str:
    return _MARKS["over" if alert.state == "over" else alert.condition.severity]


def _text(alert: Alert) -> str:
    condition = alert.condition
    if alert.state == "raised":
        return condition.text
    lasted = _span(alert.at - alert.since)
    if alert.state == "still":
        return f"still, for {lasted}: {condition.text}"
    return f"{condition.over or f'Over: {condition.text}'} (After {lasted}.)"


def _span(seconds: float) -> str:
    """A time in one unit."""
    seconds = max(seconds, 0.0)
    unit, name = next((unit, name) for least, unit, name in _SPANS if seconds >= least)
    return f"{seconds / unit:.0f} {name}"


def _plain(text: str, most: int) -> str:
    """One line without control characters, changes of direction, and what looks like a key."""
    return worded(" ".join(text[: 2 * most].split()), most)


def _name(text: str) -> str:
    """What it is about, for a program to know it again: nothing is taken for a key here."""
    return "".join(c if c.isprintable() else "?" for c in text[:LONGEST_TEXT])


def _escaped_for_slack(line: str) -> str:
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # Mattermost takes [text](address) for a link, and @name for a person or everybody.
    return line.replace("](", f"]{_GAP}(").replace("@", f"@{_GAP}")


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


WRITERS: Final[Mapping[Form, Callable[[Sequence[Alert], Webhook], Payload]]] = {
    "json": json,
    "slack": slack,
    "discord": discord,
    "telegram": telegram,
}
