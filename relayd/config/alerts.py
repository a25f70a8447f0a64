"""The `alerts:` section: what is worth telling, and the webhooks that are told.

The address of a webhook is a secret: most services put a token into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from relayd.alerting import FORMS, KINDS, SEVERITIES, AlertRules, Kind, Webhook
from relayd.config.document import Place, Wrong
from relayd.config.keys import NAME, WRONG_NAME
from relayd.config.values import (
    Hidden,
    Reader,
    fields,
    is_one_of,
    number,
    seconds,
    switch,
    web_address,
)
from relayd.model import Secret
from relayd.money import DOLLAR, pico

USUAL = AlertRules()


def _url(text: str) -> Secret:
    """An http or https address; no message quotes it."""
    address = web_address(text, "https://hooks.example/...")
    try:
        (urlsplit(address).hostname or "").encode("idna")
    except UnicodeError:
        raise Wrong("names a host that cannot be looked up") from None
    return Secret(address)


def _webhooks(place: Place) -> tuple[Webhook, ...]:
    found: list[Webhook] = []
    for index, item in enumerate(place.items() if place.is_list else [place]):
        webhook = item.take(partial(_webhook, name=str(index + 1)))
        if webhook is None:
            continue
        if webhook.name in {other.name for other in found}:
            item.complain(f"there is another webhook {webhook.name!r}")
        found.append(webhook)
    return tuple(found)


def _webhook(place: Place, name: str) -> Webhook:
    values = {"name": name, **fields(place, _WEBHOOK)}
    if "url" not in values:
        if any(key in place.members() for key in ("url", "url_file")):
            raise Wrong("has no address that could be used")
        raise Wrong("needs a url")
    if values.get("form") == "telegram" and not values.get("chat"):
        raise Wrong('telegram needs the chat: `chat: "-1001234"`')
    return Webhook(**values)


def _name(place: Place) -> str:
    if not NAME.fullmatch(place.text()):
        raise Wrong(WRONG_NAME)
    return place.text()


def _chat(place: Place) -> str:
    return place.text()


def _kinds(place: Place) -> tuple[Kind, ...]:
    read = is_one_of(KINDS)
    if not place.is_list:
        return (read(place),)
    taken = [item.take(read) for item in place.items()]
    return tuple(kind for kind in taken if kind is not None)


def _dollars(place: Place) -> int:
    try:
        return pico(place.text())
    except ValueError as error:
        raise Wrong(str(error)) from None


_WEBHOOK: Mapping[str, Reader] = {
    "name": _name,
    "url": Hidden(_url),
    "form": is_one_of(FORMS),
    "chat": _chat,
    "kinds": _kinds,
    "severity": is_one_of(SEVERITIES),
    "over": switch,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsConfig:
    """Whom to tell when something is wrong, and what counts as wrong."""

    webhooks: Annotated[tuple[Webhook, ...], _webhooks] = ()
    # Of accounts that need a balance.
    balance_below: Annotated[int, _dollars] = DOLLAR
    # Of the requests of five minutes, at least twenty; 0 is never.
    error_ratio: Annotated[float, number(0.0, 1.0)] = USUAL.error_ratio
    # Before a key of ours, or the certificate of an upstream, expires.
    expiry: Annotated[float, seconds(0, 366 * 86400.0)] = USUAL.expiry
    # What lasts is told again after so long; 0 is never.
    repeat: Annotated[float, seconds(0, 30 * 86400.0)] = USUAL.repeat

    @property
    def rules(self) -> AlertRules:
        """What is worth an alert."""
        return AlertRules(self.balance_below, self.error_ratio, self.expiry, self.repeat)
