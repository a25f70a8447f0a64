"""Background tasks: kept, named, heard of when they die, ended together."""

from __future__ import annotations

import asyncio
import gc

import pytest

from relayd.tasks import Tasks, hear
from tests.support.logged import lines


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def failing() -> None:
    raise ValueError("the reason")


def test_a_task_is_kept_until_it_ends() -> None:
    async def work() -> None:
        tasks = Tasks()
        tasks.spawn(forever(), "waiting")
        gc.collect()
        await asyncio.sleep(0)
        assert repr(tasks) == "<Tasks ['waiting']>"
        await tasks.cancel()
        assert repr(tasks) == "<Tasks []>"

    asyncio.run(work())


def test_a_task_that_dies_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        tasks = Tasks()
        task = tasks.spawn(failing(), "doomed")
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0)
        assert repr(tasks) == "<Tasks []>"

    asyncio.run(work())
    assert "doomed" in caplog.text
    assert "the reason" in caplog.text


def test_cancelling_nothing_is_fine() -> None:
    asyncio.run(Tasks().cancel())


def test_what_fails_in_a_callback_is_told_without_what_it_was_called_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That may be a piece of a request."""

    def callback(data: bytes) -> None:
        raise ZeroDivisionError

    async def work() -> None:
        loop = asyncio.get_running_loop()
        hear(loop)
        loop.call_soon(callback, b"the butler hid the emerald")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(work())
    [line] = lines(caplog)
    assert line.startswith("error asyncio: Exception in callback")
    assert "ZeroDivisionError" in line and "emerald" not in line
