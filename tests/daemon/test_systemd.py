"""sd_notify: datagrams to whoever asked for them, silence otherwise."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from relayd.config.config import load
from relayd.daemon.daemon import Daemon
from relayd.daemon.systemd import notify, stay_alive, watchdog_interval
from relayd.tasks import child


def test_lines_arrive_as_one_datagram(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        notify({"NOTIFY_SOCKET": str(tmp_path / "notify")}, "READY=1", "STATUS=well")
        assert sock.recv(1000) == b"READY=1\nSTATUS=well"


def test_an_abstract_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0relayd-test-notify")
        notify({"NOTIFY_SOCKET": "@relayd-test-notify"}, "WATCHDOG=1")
        assert sock.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "relative"])
def test_nobody_listening_is_no_problem(address: str) -> None:
    notify({"NOTIFY_SOCKET": address}, "READY=1")
    notify({}, "READY=1")


@pytest.mark.parametrize(
    ("microseconds", "seconds"),
    [("20000000", 10.0), ("0", None), ("", None), ("-5", None), ("x", None)],
)
def test_signs_of_life_come_twice_as_often_as_asked(
    microseconds: str, seconds: float | None
) -> None:
    assert watchdog_interval({"WATCHDOG_USEC": microseconds}) == seconds
    assert watchdog_interval({}) is None


def test_a_daemon_says_when_it_is_ready_alive_and_stopping(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text('listen: "127.0.0.1:0"\ndemo: "on"\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}

        async def work() -> list[bytes]:
            loop = asyncio.get_running_loop()
            daemon = Daemon(load(config, environ), config, environ)
            await daemon.start()
            said = [await loop.sock_recv(sock, 1000) for _ in range(3)]
            await daemon.reload()
            while b"RELOADING=1" not in said[-1]:
                said.append(await loop.sock_recv(sock, 1000))
            await daemon.close()
            while b"STOPPING=1" not in said[-1]:
                said.append(await loop.sock_recv(sock, 1000))
            return said

        said = asyncio.run(work())
    assert said[0].startswith(b"READY=1\nSTATUS=listening on http://127.0.0.1:")
    assert b"WATCHDOG=1" in said


def test_signs_of_life_go_on_as_long_as_the_loop_turns(tmp_path: Path) -> None:
    async def work() -> list[bytes]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(tmp_path / "notify"))
            sock.setblocking(False)
            task = child(stay_alive({"NOTIFY_SOCKET": str(tmp_path / "notify")}, 0.001))
            loop = asyncio.get_running_loop()
            heard = [await loop.sock_recv(sock, 100) for _ in range(3)]
            task.cancel()
            return heard

    assert asyncio.run(work()) == [b"WATCHDOG=1"] * 3
