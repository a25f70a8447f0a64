"""Records of alerts: what is worth one, what one says, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from relayd.model import Secret
from relayd.money import DOLLAR

Kind = Literal[
    "upstream_down", "key_refused", "balance", "errors", "ledger", "certificate", "key_expiry"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Severity = Literal["warning", "critical"]
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
    """Something that is wrong; a `test` only tries the way to a webhook."""

    kind: Kind | Literal["test"]
    subject: str
    severity: Severity
    text: str


class Alert(NamedTuple):
    """What is told of a condition. `since`: Unix seconds when it came up."""

    state: State
    condition: Condition
    since: float


class Webhook(NamedTuple):
    """Where alerts go. `kinds`: only these; none named is all. `chat` is Telegram's."""

    name: str
    url: Secret
    form: Form = "json"
    chat: str = ""
    kinds: tuple[Kind, ...] = ()
