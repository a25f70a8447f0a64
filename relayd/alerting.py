"""Records of alerts: what is worth one, what one says, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from relayd.model import Secret
from relayd.money import DOLLAR

Kind = Literal[
    "upstream_down",
    "key_down",
    "key_refused",
    "balance",
    "errors",
    "ledger",
    "certificate",
    "key_expiry",
    "reload",
    "log",
    "loop",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Severity = Literal["warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
State = Literal["raised", "still", "over"]
Form = Literal["json", "slack", "discord", "telegram"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)

DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class AlertRules:
    """What is worth an alert.

    Arguments:
        balance_below: pico-dollars.
        error_ratio: failures of all requests in five minutes; 0 is never.
        expiry: seconds before a certificate or key expires.
        repeat: seconds after which what still lasts is told again; 0 is never.
    """

    balance_below: int = DOLLAR
    error_ratio: float = 0.2
    expiry: float = 7 * DAY
    repeat: float = 6 * 3600.0


class Condition(NamedTuple):
    """Something that is wrong; a `test` only tries the way to a webhook.

    Arguments:
        over: what is said when it is over.
        level: how bad it is of its kind; what gets worse is told anew.
        lasting: it is worth telling again while it lasts.
        quiet: it is so, but is no news; only who was told of it is not told that it is over.
    """

    kind: Kind | Literal["test"]
    subject: str
    severity: Severity
    text: str
    over: str = ""
    level: int = 0
    lasting: bool = True
    quiet: bool = False


class Alert(NamedTuple):
    """What is told of a condition: since when it is there, and when it is told, in Unix seconds."""

    state: State
    condition: Condition
    since: float
    at: float = 0.0


class Webhook(NamedTuple):
    """Where alerts go.

    Arguments:
        chat: Telegram's.
        kinds: only these; none named is all.
        severity: only these and worse ones.
        over: what is over is told, too.
        source: how messages call this relay.
    """

    name: str
    url: Secret
    form: Form = "json"
    chat: str = ""
    kinds: tuple[Kind, ...] = ()
    severity: Severity = "warning"
    over: bool = True
    source: str = "relayd"
