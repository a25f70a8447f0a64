"""What a translation knows beside the documents."""

from __future__ import annotations

import pytest

from relayd.model import FormatName
from relayd.wire.capabilities import UNKNOWN
from relayd.wire.losses import Losses
from relayd.wire.parts import Carrier, CarrierKind
from relayd.wire.setting import NOBODYS, Going, Translating, nothing_remembered

HOMES: dict[CarrierKind, FormatName] = {
    "anthropic-signature": "messages",
    "anthropic-redacted": "messages",
    "gemini-signature": "gemini",
    "openai-encrypted": "responses",
    "chat-details": "chat",
}
FORMATS: tuple[FormatName, ...] = ("chat", "responses", "messages", "gemini")


def going(to: FormatName, scope: str = "mine") -> Going:
    return Going(to, "m", UNKNOWN, Losses(to), scope)


@pytest.mark.parametrize("kind", HOMES)
def test_a_carrier_is_for_its_own_format_and_account(kind: CarrierKind) -> None:
    for to in FORMATS:
        mine, anothers = (Carrier(kind, "p", scope) for scope in ("mine", "another"))
        assert going(to).own(mine) == (mine if to == HOMES[kind] else None)
        assert going(to).own(anothers) is None


@pytest.mark.parametrize("kind", HOMES)
def test_a_carrier_without_a_scope_came_natively_and_is_the_upstreams_own(
    kind: CarrierKind,
) -> None:
    carrier = Carrier(kind, "p")

    assert going(HOMES[kind]).own(carrier) == carrier


@pytest.mark.parametrize("kind", HOMES)
def test_who_could_not_read_what_came_gets_nothing_of_it(kind: CarrierKind) -> None:
    """wire-formats, trap 56."""
    for scope in ("", "mine", NOBODYS):
        assert going(HOMES[kind], NOBODYS).own(Carrier(kind, "p", scope)) is None


def test_no_carrier_is_nobodys() -> None:
    assert going("chat").own(None) is None
    assert nothing_remembered("call") is None


# --- leniency -------------------------------------------------------------------------------------


def test_the_first_that_says_anything_decides() -> None:
    usual = Translating()
    for said, lenient in (
        ((None, None, None), False),
        ((True, False, False), True),
        ((None, False, True), False),
        ((None, None, True), True),
        ((), False),
    ):
        assert usual.is_lenient("curl/8", *said) is lenient
    assert Translating(lenient=True).is_lenient("curl/8", None, None)
    assert not Translating(lenient=True).is_lenient("curl/8", False)


@pytest.mark.parametrize(
    ("agent", "lenient"),
    [
        ("claude-cli/2.1 (external, cli)", True),
        ("codex_cli_rs/0.50", True),
        ("GeminiCLI/0.9 (linux)", True),
        ("my claude-cli", False),
        ("", False),
    ],
)
def test_clients_that_declare_what_no_other_provider_has_are_treated_leniently(
    agent: str, lenient: bool
) -> None:
    assert Translating().is_lenient(agent) is lenient
    assert not Translating().is_lenient(agent, False), "unless the key, its group or the upstream"
    assert not Translating(lenient_clients=()).is_lenient(agent)
