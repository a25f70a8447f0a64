"""The looking goes on, whatever happens, and a reload changes who is told."""

from __future__ import annotations

import asyncio
import logging

import pytest

from relayd.alerting import AlertRules, Webhook
from relayd.alerts.lookout import Lookout
from relayd.model import Secret
from relayd.policy.conditions import Snapshot

HOOK = Webhook("ops", Secret("http://127.0.0.1:9/secret"))
EMPTY = Snapshot(balances=[("a", 0)])


def waiting(lookout: Lookout) -> str:
    return repr(lookout).split("[")[1].removesuffix("]>")


def test_news_go_to_every_webhook() -> None:
    async def run() -> None:
        lookout = Lookout(lambda: EMPTY, lambda *_: None)
        await lookout.adopt(AlertRules(), (HOOK, HOOK._replace(name="other")))
        lookout.look(1.0)
        lookout.look(2.0)
        assert waiting(lookout) == "<Courier ops waiting=1>, <Courier other waiting=1>"
        await lookout.close()

    asyncio.run(run())


def test_a_reload_with_the_same_webhooks_loses_nothing_that_waits() -> None:
    async def run() -> None:
        lookout = Lookout(lambda: EMPTY, lambda *_: None)
        await lookout.adopt(AlertRules(), (HOOK,))
        lookout.look(1.0)
        await lookout.adopt(AlertRules(error_ratio=0.5), (HOOK,))
        assert waiting(lookout) == "<Courier ops waiting=1>"
        await lookout.adopt(AlertRules(), ())
        assert waiting(lookout) == ""

    asyncio.run(run())


def test_a_fault_in_the_looking_is_told_once_and_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = True

    def snapshot() -> Snapshot:
        if broken:
            raise ZeroDivisionError
        return EMPTY

    async def run() -> None:
        nonlocal broken
        lookout = Lookout(snapshot, lambda *_: None)
        await lookout.adopt(AlertRules(), (HOOK,))
        lookout.look(1.0)
        lookout.look(2.0)
        broken = False
        lookout.look(3.0)
        assert waiting(lookout) == "<Courier ops waiting=1>"
        await lookout.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert len(caplog.records) == 1
