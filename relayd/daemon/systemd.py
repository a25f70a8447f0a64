"""Tell systemd what the daemon is doing (sd_notify(3)): one datagram to the socket in
`NOTIFY_SOCKET`.

Without that variable nothing happens, so the same code runs in a terminal.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping


def notify(environ: Mapping[str, str], *lines: str) -> None:
    """Send state lines such as `READY=1`. A supervisor that does not listen is not our problem."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto("\n".join(lines).encode(), address)
    except OSError:
        pass


def watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """Seconds between signs of life, half of what systemd allows; None when it does not ask."""
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return microseconds / 2_000_000 if microseconds > 0 else None


async def stay_alive(environ: Mapping[str, str], interval: float) -> None:
    """Give a sign of life every `interval` seconds, as long as the event loop turns."""
    while True:
        notify(environ, "WATCHDOG=1")
        await asyncio.sleep(interval)
