"""A request on its way and a reply on its way, for tests of single codecs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relayd.model import FormatName
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.losses import Losses
from relayd.wire.neutral import Message, Request, Role
from relayd.wire.parts import Part, Text
from relayd.wire.setting import USUAL, Coming, Going, Rules

SCOPE = "acc1"


def able(**changes: Any) -> Capability:
    """What an unknown model takes, but for these."""
    return replace(UNKNOWN, **changes)


def going(
    to: FormatName, can: Capability = UNKNOWN, *, lenient: bool = False, rules: Rules = USUAL
) -> Going:
    """On its way to a model of this format."""
    return Going(to, "upstream-model", can, Losses(to, lenient=lenient), SCOPE, rules=rules)


def coming(client: FormatName, **changes: Any) -> Coming:
    """On its way to a client of this format."""
    asked = Request(source=client, model="asked-model", messages=[])
    return replace(Coming(asked, "asked-model", "req_1", 1_700_000_000, SCOPE), **changes)


def says(role: Role, *parts: Part | str, at: str = "") -> Message:
    """A message of these parts, or texts."""
    said = [Text(each, at=at) if isinstance(each, str) else each for each in parts]
    return Message(role, said, at)


def request(source: FormatName, *messages: Message, **changes: Any) -> Request:
    """A request of these messages."""
    return Request(source=source, model="asked-model", messages=list(messages), **changes)
