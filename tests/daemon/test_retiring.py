"""Connections over a reload: who is kept, who goes, and when."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from relayd.daemon.retiring import Retired, renewed
from relayd.upstream.provider import Provider
from relayd.wire.paths import Target
from tests.support.pools import upstream
from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.sinks import Collected

CALL = Target("chat", "generate", verb="chat/completions")


def test_an_upstream_that_is_as_it_was_keeps_its_connections() -> None:
    async def work() -> None:
        old = renewed({}, [upstream("same"), upstream("changed"), upstream("gone")])
        changed = upstream("changed", "another-model")
        new = renewed(old, [upstream("same"), changed, upstream("more")])

        assert list(new) == ["same", "changed", "more"]
        assert new["same"] is old["same"]
        assert new["changed"] is not old["changed"] and new["changed"].spec == changed

    asyncio.run(work())


def test_what_is_under_way_is_not_cut_before_the_end() -> None:
    server = ScriptedUpstream()

    async def work() -> None:
        retired = Retired()
        spec = replace(upstream("up"), base_urls=(server.url,))
        busy = Provider(spec)
        outlet, sink = busy.outlet(spec.keys[0].name, 0), Collected()
        await outlet.client.open([outlet.request_head(CALL, "m", (), 0)], sink)

        retired.take([busy])
        retired.take([Provider(upstream("idle"))])
        assert repr(retired) == "<Retired 2>" and busy.connections == 1
        retired.take([])
        assert repr(retired) == "<Retired 1>", "who has nothing under way is forgotten"

        await retired.close()
        await asyncio.sleep(0)
        assert busy.connections == 0

    asyncio.run(work())
    server.close()
