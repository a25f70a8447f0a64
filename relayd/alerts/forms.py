"""How alerts are written for each kind of receiver.

Several alerts go into one message. Chat services get a line for each; `json` is for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from relayd.alerting import Alert, Form

Payload = dict[str, Any]

MOST_LINES: Final = 20
LONGEST_LINE: Final = 300
_WORDS: Final = {"raised": "", "still": "still: ", "over": "over: "}
_MARKS: Final = {"critical": "\U0001f534", "warning": "\U0001f7e1", "over": "\U0001f7e2"}


def json(alerts: Sequence[Alert], chat: str = "") -> Payload:
    """Every field of every alert."""
    return {
        "source": "relayd",
        "alerts": [
            {
                "state": alert.state,
                "kind": alert.condition.kind,
                "subject": alert.condition.subject,
                "severity": alert.condition.severity,
                "text": alert.condition.text,
                "since": datetime.fromtimestamp(alert.since, UTC).isoformat(timespec="seconds"),
            }
            for alert in alerts
        ],
    }


def slack(alerts: Sequence[Alert], chat: str = "") -> Payload:
    """Slack's incoming webhooks, and Mattermost's; `&<>` are theirs."""
    text = lines(alerts).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": text}


def discord(alerts: Sequence[Alert], chat: str = "") -> Payload:
    """Discord's webhooks; nobody is mentioned, whatever a name looks like."""
    return {"content": lines(alerts)[:2000], "allowed_mentions": {"parse": []}}


def telegram(alerts: Sequence[Alert], chat: str = "") -> Payload:
    """Telegram's sendMessage, as plain text."""
    return {"chat_id": chat, "text": lines(alerts)[:4096], "disable_web_page_preview": True}


def lines(alerts: Sequence[Alert]) -> str:
    """One line for each, the first ones; how many more there are."""
    said = []
    for state, condition, _ in alerts[:MOST_LINES]:
        mark = _MARKS["over" if state == "over" else condition.severity]
        text = " ".join(condition.text.split())[:LONGEST_LINE]
        said.append(f"{mark} relayd: {_WORDS[state]}{text}")
    if len(alerts) > MOST_LINES:
        said.append(f"... and {len(alerts) - MOST_LINES} more")
    return "\n".join(said)


WRITERS: Final[Mapping[Form, Callable[[Sequence[Alert], str], Payload]]] = {
    "json": json,
    "slack": slack,
    "discord": discord,
    "telegram": telegram,
}
