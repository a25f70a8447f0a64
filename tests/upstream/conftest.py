"""Ports that the upstream side is tested against."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose server accepts nobody: connecting to it never ends."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = int(server.getsockname()[1])
    crowd = [socket.socket() for _ in range(8)]
    for one in crowd:
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    yield port
    for one in (*crowd, server):
        one.close()
