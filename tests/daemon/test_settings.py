"""What a reload cannot change, and what it can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relayd.config.config import Config, LedgerConfig, Limits
from relayd.daemon import settings

USUAL = Config()


@pytest.mark.parametrize(
    "other",
    [
        replace(USUAL, ledger=LedgerConfig(fsync=5.0)),
        replace(USUAL, limits=Limits(max_connections=7)),
    ],
)
def test_what_is_opened_once_is_fixed(other: Config) -> None:
    assert settings.fixed_at_start(other) != settings.fixed_at_start(USUAL)


@pytest.mark.parametrize(
    "other",
    [replace(USUAL, drain_timeout=1.0), replace(USUAL, limits=Limits(max_body=7))],
)
def test_the_rest_is_not(other: Config) -> None:
    assert settings.fixed_at_start(other) == settings.fixed_at_start(USUAL)


def test_each_part_gets_its_own_values() -> None:
    config = replace(USUAL, ledger=LedgerConfig(batch=7), limits=Limits(max_body=8))
    assert settings.keeping(config).batch == 7
    assert settings.body_limits(config).max_body == 8
    assert settings.terms(config).default_output == USUAL.default_output


def test_a_reload_keeps_count_of_what_is_spooled() -> None:
    room = settings.body_limits(USUAL).room
    assert room is not None
    room.disk.take(1, 5, alone=True)
    again = settings.body_limits(replace(USUAL, limits=Limits(max_spooled=7)), room)
    assert again.room is room
    assert (room.used, room.most) == (5, 7)
