"""`python -m benchmarks.overhead`: relayd's own account of its overhead, beside an outsider's.

One program is client and upstream at once, and asks one request after the other on one connection.
What passes between its last byte of a request and the upstream's having it whole, and again between
the upstream's last byte and the client's having that, is what a user pays for the relay. The relay
itself says `relayd_overhead_seconds`, of the same requests. The outsider's has the kernel's four
hops in it, which no process sees of itself: what they take alone is measured with a program that
does nothing but pass bytes on, in the same run.
"""

from __future__ import annotations

import argparse
import http.client
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.servers import Server, start_relay
from benchmarks.stage import RELAY_CORE

WARM_UP = 200
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello there."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}'
)
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hello."}]}'


def receive(sock: socket.socket) -> bytes:
    """One whole message with a content-length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    while len(body) < length:
        body += sock.recv(65536)
    return head


class Outsider:
    """A client and an upstream that are one program."""

    def __init__(self, port: int, listener: socket.socket, request: bytes) -> None:
        self._client = socket.create_connection(("127.0.0.1", port))
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener = listener
        self._request = request
        self._upstream: socket.socket | None = None

    def ask(self) -> float:
        """One request; seconds on the way there and back."""
        begun = time.perf_counter()
        self._client.sendall(self._request)
        if self._upstream is None:
            self._upstream, _ = self._listener.accept()
            self._upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receive(self._upstream)
        there = time.perf_counter() - begun
        begun = time.perf_counter()
        self._upstream.sendall(REPLY)
        receive(self._client)
        return there + time.perf_counter() - begun


def own_account(server: Server) -> tuple[float, float]:
    """The relay's sum of seconds, and of requests."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()

    def value(name: str) -> float:
        lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    return value("relayd_overhead_seconds_sum"), value("relayd_overhead_seconds_count")


def pass_on(listener: socket.socket, upstream: int) -> None:
    """Pass the bytes of one connection on, and back, one message at a time."""
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", upstream))
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := client.recv(65536):
        server.sendall(data)
        client.sendall(server.recv(65536))
    server.close()
    client.close()


def measured(outsider: Outsider, requests: int, before: Callable[[], None]) -> list[float]:
    """Seconds of each request, after some that do not count."""
    for _ in range(WARM_UP):
        outsider.ask()
    before()
    return [outsider.ask() for _ in range(requests)]


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.overhead", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    number = parser.parse_args(arguments).requests
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as upstream,
        socket.create_server(("127.0.0.1", 0)) as bare,
    ):
        port = upstream.getsockname()[1]
        server = start_relay(Path(folder), RELAY_CORE, port)
        try:
            head = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer "
                f"{server.key}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(BODY)}\r\n\r\n"
            ).encode()
            accounts: list[tuple[float, float]] = []
            through = measured(
                Outsider(server.port, upstream, head + BODY),
                number,
                lambda: accounts.append(own_account(server)),
            )
            accounts.append(own_account(server))
        finally:
            server.stop()
        passing = threading.Thread(target=pass_on, args=(bare, port), daemon=True)
        passing.start()
        hops = measured(Outsider(bare.getsockname()[1], upstream, head + BODY), number, _nothing)
    (sum_before, count_before), (sum_after, count_after) = accounts
    own = (sum_after - sum_before) / (count_after - count_before)
    outside, kernel = statistics.fmean(through), statistics.fmean(hops)
    known = describe()
    print(", ".join(known[name] for name in ("CPU", "Python", "load before")))
    print(f"{number} requests, one connection, means in us")
    print(f"seen from outside            {outside * 1e6:7.1f}")
    print(f"the same, of passing bytes   {kernel * 1e6:7.1f}   (the kernel, and waking up)")
    print(f"what is left                 {(outside - kernel) * 1e6:7.1f}")
    print(f"relayd_overhead_seconds      {own * 1e6:7.1f}   ({own / outside:.0%} of the first)")
    return 0


def _nothing() -> None:
    """There is nobody to ask."""


if __name__ == "__main__":
    sys.exit(main())
