"""Probing: which keys are asked when, and what a good answer changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from relayd.errors import BadStatus, ConnectFailed
from relayd.model import ModelRule, ProbeRules, Secret, UpstreamKey, UpstreamSpec
from relayd.policy.changes import Change
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools
from relayd.relay.probing import Probing
from relayd.upstream.provider import Provider
from tests.support.scripted_upstream import ScriptedUpstream, dead_port, reply
from tests.support.waiting import until

LIST = reply(b'{"object":"list","data":[]}')
REFUSED = reply(b'{"error":{"message":"no"}}', status="401 Unauthorized")
INTERVAL = 0.01  # seconds
Scene = Callable[[Pools, Probing], Awaitable[None]]


def refuse(pools: Pools, name: str) -> None:
    """The provider refuses a key."""
    lease = pools.choose(pools.route("m", "chat"), Wanted(), 0.0)
    while lease.door.name != name:
        lease.leave(0.0)
        lease = pools.choose(pools.route("m", "chat"), Wanted(), 0.0)
    lease.fail(BadStatus("no", upstream_status=401, code="upstream_credential"), 0.0)


async def a_round(probing: Probing) -> None:
    """Probe what is due, to the end."""
    probing.start_due()
    await until(lambda: not probing.busy)


def with_probing(scene: Scene, *urls: str, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "name": "up",
        "dialect": "openai",
        "base_urls": urls,
        "keys": (UpstreamKey("1", Secret("a")), UpstreamKey("2", Secret("b"))),
        "models": (ModelRule("m"),),
        "formats": ("chat",),
    }
    spec = UpstreamSpec(**{**fields, **changes})

    async def run() -> None:
        provider = Provider(spec)
        pools = Pools([spec])
        try:
            await scene(pools, Probing(pools, lambda: {"up": provider}))
        finally:
            await provider.close()

    asyncio.run(run())


def test_a_good_probe_takes_a_refused_key_back(upstream: ScriptedUpstream) -> None:
    heard: list[Change] = []

    async def scene(pools: Pools, probing: Probing) -> None:
        refuse(pools, "up/2")
        pools.on_change = heard.append
        upstream.answer_with(LIST)
        [result] = await probing.probe("up", "2")
        assert (result.upstream, result.key, result.ok, result.why) == ("up", "2", True, "")
        assert pools.doors["up/2"].refused == ""

    with_probing(scene, upstream.url)
    [change] = heard
    assert (change.event, change.upstream, change.key) == ("back", "up", "2")


def test_a_bad_probe_says_why_and_changes_nothing(upstream: ScriptedUpstream) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        refuse(pools, "up/1")
        upstream.answer_with(REFUSED)
        [result] = await probing.probe("up", "1")
        assert not result.ok
        assert "refused" in result.why
        assert pools.doors["up/1"].refused

    with_probing(scene, upstream.url)


def test_a_backup_that_answers_is_good_enough(upstream: ScriptedUpstream) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        upstream.answer_with(LIST)
        [result] = await probing.probe("up", "1")
        assert result.ok

    held, port = dead_port()
    with held:
        with_probing(scene, f"http://127.0.0.1:{port}", upstream.url)


def test_a_good_probe_opens_the_base_url_that_answered(upstream: ScriptedUpstream) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        for _ in range(2):
            lease = pools.choose(pools.route("m", "chat"), Wanted(), 0.0)
            lease.fail(ConnectFailed("The upstream cannot be reached."), 0.0)
        upstream.answer_with(LIST)
        await probing.probe("up", "1")
        states = [site.breaker.state for site in pools.doors["up/1"].sites]
        assert states == ["open", "closed"]

    held, port = dead_port()
    with held:
        with_probing(scene, f"http://127.0.0.1:{port}", upstream.url)


def test_only_keys_that_are_not_well_are_probed_and_only_when_it_is_time(
    upstream: ScriptedUpstream,
) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        await a_round(probing)
        refuse(pools, "up/1")
        await a_round(probing)
        assert not upstream.called_again(0), "all were well, and then it was not time yet"

    with_probing(scene, upstream.url, probe=ProbeRules(interval=60.0))


def test_a_key_that_is_not_well_is_probed_when_it_is_time(upstream: ScriptedUpstream) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        refuse(pools, "up/1")
        upstream.answer_with(LIST)
        await a_round(probing)
        assert pools.doors["up/1"].is_well(0.0)

    with_probing(scene, upstream.url, probe=ProbeRules(interval=60.0))


def test_what_the_operator_switched_off_stays_off(upstream: ScriptedUpstream) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        pools.disable("up", "1", 0.0)
        upstream.answer_with(LIST)
        [result] = await probing.probe("up", "1")
        assert result.ok
        assert pools.doors["up/1"].disabled

    with_probing(scene, upstream.url)


def test_an_upstream_without_probes_is_never_asked(upstream: ScriptedUpstream) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        refuse(pools, "up/1")
        await a_round(probing)
        assert not upstream.called_again(0)

    with_probing(scene, upstream.url)


def test_an_upstream_that_does_not_answer_keeps_no_other_waiting(
    upstream: ScriptedUpstream,
) -> None:
    silent = ScriptedUpstream()

    async def work() -> None:
        specs = [often_probed("silent", silent.url), often_probed("well", upstream.url)]
        providers = {spec.name: Provider(spec) for spec in specs}
        pools = Pools(specs)
        probing = Probing(pools, lambda: providers)
        try:
            for _ in range(2):  # it is due again while the other still says nothing
                for door in pools.doors.values():
                    door.refused = "no"
                upstream.answer_with(LIST)
                probing.start_due()
                await until(lambda: not pools.doors["well/1"].refused)
                await asyncio.sleep(INTERVAL)
            assert probing.busy == {"silent"}
            assert pools.doors["silent/1"].refused
        finally:
            await probing.close()
            for provider in providers.values():
                await provider.close()
        assert not probing.busy

    asyncio.run(work())
    silent.accept()
    assert not silent.called_again(0), "its first round still ran"
    silent.close()


def test_probing_that_ends_leaves_no_round_behind(upstream: ScriptedUpstream) -> None:
    async def scene(pools: Pools, probing: Probing) -> None:
        refuse(pools, "up/1")
        task = asyncio.get_running_loop().create_task(probing.run())
        await until(lambda: probing.busy == {"up"})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not probing.busy

    with_probing(scene, upstream.url, probe=ProbeRules(interval=60.0))


def often_probed(name: str, url: str) -> UpstreamSpec:
    keys = (UpstreamKey("1", Secret("k")),)
    rules = ProbeRules(interval=INTERVAL)
    return UpstreamSpec(name, "openai", (url,), keys, (ModelRule("m"),), ("chat",), probe=rules)
