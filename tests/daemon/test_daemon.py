"""The daemon as an object: what it opens it closes, what is reloaded and what is kept."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relayd.config.config import load
from relayd.daemon.daemon import Daemon
from relayd.store.questions import NewKey
from tests.support.speech import SPEECHES
from tests.support.waiting import until

CHAT = SPEECHES["chat"]
LISTEN = 'listen: "127.0.0.1:0"\ndrain_timeout: 1s\nkeys_poll_interval: 50ms\n'
UPSTREAM = '  {name}: {{dialect: relay, base_url: "http://127.0.0.1:9", models: [{models}]}}\n'


def run(folder: Path, work: Callable[[Daemon], Coroutine[Any, Any, None]], text: str = "") -> None:
    """Start a daemon from lines of configuration, do something, close it; nothing may be left."""
    path = folder / "config.yaml"
    path.write_text(LISTEN + (text or 'demo: "on"\n'))

    async def whole() -> None:
        daemon = Daemon(load(path, {}), path, {})
        await daemon.start()
        try:
            await work(daemon)
        finally:
            await daemon.close()
        me = asyncio.current_task()
        assert [task for task in asyncio.all_tasks() if task is not me] == []

    before = open_files()
    asyncio.run(whole())
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


async def status(daemon: Daemon, model: str, key: str) -> int:
    path, body = CHAT.ask(model)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(daemon.addresses[0] + path, data=body, headers=headers) as response,
    ):
        await response.read()
        return response.status


async def new_key(daemon: Daemon, name: str = "k") -> str:
    _, secret = await daemon.books.store.create_key(NewKey(name, "a"), now=0.0, actor="test")
    await daemon.refresh_keys()
    return secret


def test_what_a_daemon_opens_it_closes(tmp_path: Path) -> None:
    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        for _ in range(3):
            assert await status(daemon, "demo", key) == 200
        assert await status(daemon, "demo-500", key) == 502

    run(tmp_path, work)


def test_a_daemon_that_served_nothing_closes_too(tmp_path: Path) -> None:
    async def work(daemon: Daemon) -> None:
        assert len(daemon.addresses) == 1

    run(tmp_path, work)


def test_several_addresses_are_served(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text('listen: ["127.0.0.1:0", "127.0.0.2:0"]\ndemo: "on"\n')

    async def work() -> None:
        daemon = Daemon(load(path, {}), path, {})
        await daemon.start()
        key = await new_key(daemon)
        assert len(daemon.addresses) == 2
        assert await status(daemon, "demo", key) == 200
        await daemon.close()

    asyncio.run(work())


def test_rows_are_in_the_store_after_the_end(tmp_path: Path) -> None:
    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        for _ in range(20):
            await status(daemon, "demo", key)

    run(tmp_path, work, 'demo: "on"\nledger: {interval: 60s}\n')

    async def count(daemon: Daemon) -> None:
        assert len(await daemon.books.store.rows(limit=100)) == 20

    run(tmp_path, count)


def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    async def work(daemon: Daemon) -> None:
        taken = daemon.addresses[0].removeprefix("http://")
        path = tmp_path / "second.yaml"
        path.write_text(f'listen: "{taken}"\ndemo: "on"\ndatabase: second.db\n')
        second = Daemon(load(path, {}), path, {})
        tasks = len(asyncio.all_tasks())
        with pytest.raises(OSError):
            await second.start()
        assert len(asyncio.all_tasks()) == tasks

    run(tmp_path, work)


def test_a_key_made_by_another_process_is_seen(tmp_path: Path) -> None:
    async def work(daemon: Daemon) -> None:
        from relayd.store.sqlite import SqliteStore

        beside = await SqliteStore.open(daemon.config.database)
        _, secret = await beside.create_key(NewKey("late", "a"), now=0.0, actor="test")

        async def answers(expected: int) -> bool:
            return await status(daemon, "demo", secret) == expected

        await until(lambda: answers(200))
        await beside.change_key("late", {"disabled": True}, now=1.0, actor="test")
        await until(lambda: answers(401))
        await beside.close()

    run(tmp_path, work)


def test_a_reload_keeps_what_stays_and_replaces_what_changed(tmp_path: Path) -> None:
    before = (
        "upstreams:\n"
        + UPSTREAM.format(name="one", models="a")
        + UPSTREAM.format(name="two", models="b")
    )
    after = (
        "upstreams:\n"
        + UPSTREAM.format(name="one", models="a")
        + UPSTREAM.format(name="three", models="c")
    )

    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        one = daemon.relay.providers["one"]
        (tmp_path / "config.yaml").write_text(LISTEN + after)
        await daemon.reload()
        assert daemon.relay.providers["one"] is one
        assert set(daemon.relay.providers) == {"one", "three"}
        assert [await status(daemon, model, key) for model in "abc"] == [502, 404, 502]

    run(tmp_path, work, before)


def test_reloads_let_go_of_what_they_replaced(tmp_path: Path) -> None:
    """Each kept the old upstream, with its keys, for as long as the process lived."""

    def config(models: str) -> str:
        return LISTEN + "upstreams:\n" + UPSTREAM.format(name="one", models=models)

    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        assert await status(daemon, "a", key) == 502
        replaced = weakref.ref(daemon.relay.providers["one"])
        for models in ("b", "c"):
            (tmp_path / "config.yaml").write_text(config(models))
            await daemon.reload()
        gc.collect()
        assert replaced() is None

    run(tmp_path, work, config("a").removeprefix(LISTEN))


@pytest.mark.parametrize("text", ["upstreams: 5\n", "{", "no_such_line: 1\n", 'listen: "x:y:z"\n'])
def test_a_bad_reload_changes_nothing(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        config, providers = daemon.config, daemon.relay.providers
        (tmp_path / "config.yaml").write_text(text)
        await daemon.reload()
        (tmp_path / "config.yaml").unlink()
        await daemon.reload()
        assert daemon.config is config
        assert daemon.relay.providers is providers
        assert await status(daemon, "demo", key) == 200

    run(tmp_path, work)
    assert "the old configuration stays" in caplog.text


def test_a_reload_may_switch_the_demo_provider_on_and_off(tmp_path: Path) -> None:
    upstream = "upstreams:\n" + UPSTREAM.format(name="one", models="a")

    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        assert await status(daemon, "demo", key) == 200
        (tmp_path / "config.yaml").write_text(LISTEN + 'demo: "off"\n' + upstream)
        await daemon.reload()
        assert [await status(daemon, model, key) for model in ("demo", "a")] == [404, 502]
        (tmp_path / "config.yaml").write_text(LISTEN + 'demo: "on"\n' + upstream)
        await daemon.reload()
        # It was refused a moment ago, and a reload does not forget that.
        assert [await status(daemon, model, key) for model in ("demo", "a")] == [200, 503]

    run(tmp_path, work)


def test_a_reload_takes_new_limits(tmp_path: Path) -> None:
    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        (tmp_path / "config.yaml").write_text(LISTEN + 'demo: "on"\nlimits: {max_body: 10}\n')
        await daemon.reload()
        assert await status(daemon, "demo", key) == 413

    run(tmp_path, work)


def test_a_draining_daemon_says_that_it_is_not_ready(tmp_path: Path) -> None:
    async def work(daemon: Daemon) -> None:
        key = await new_key(daemon)
        daemon.front.draining = True
        async with aiohttp.ClientSession() as session:
            async with session.get(daemon.addresses[0] + "/readyz") as response:
                assert response.status == 503
            async with session.get(daemon.addresses[0] + "/healthz") as response:
                assert response.status == 200
        assert await status(daemon, "demo", key) == 503

    run(tmp_path, work)
