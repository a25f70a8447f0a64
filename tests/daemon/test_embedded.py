"""The embedded demo provider as upstreams: what it answers for, alone and beside others."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

import pytest

from relayd.daemon.embedded import EmbeddedDemo


def test_it_stands_for_a_live_and_a_dead_upstream() -> None:
    async def work() -> None:
        demo = EmbeddedDemo()
        await demo.start()
        live, dead = demo.specs(alone=False)
        assert (live.name, dead.name) == ("demo", "demo-dead-port")
        for spec, refused in ((live, False), (dead, True)):
            parts = urlsplit(spec.base_urls[0])
            with socket.socket() as probe:
                assert bool(probe.connect_ex((parts.hostname or "", parts.port or 0))) is refused
        await demo.close()

    asyncio.run(work())


@pytest.mark.parametrize(("alone", "anything"), [(True, "*"), (False, "demo-*")])
def test_alone_it_answers_for_every_name(alone: bool, anything: str) -> None:
    async def work() -> None:
        demo = EmbeddedDemo()
        await demo.start()
        patterns = [rule.pattern for rule in demo.specs(alone=alone)[0].models]
        assert patterns[-1] == anything
        assert "demo" in patterns
        await demo.close()

    asyncio.run(work())
