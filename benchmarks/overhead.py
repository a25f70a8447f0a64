"""`python -m benchmarks.overhead`: relayd's own account of its overhead, beside an outsider's.

One program is client and upstream at once, and asks one request after the other on one connection.
What passes between its last byte of a request and the upstream's having it whole, and again between
the upstream's last byte and the client's having that, is what a user pays for the relay. The relay
itself says `relayd_overhead_seconds`, of the same requests. The outsider's has the kernel's four
hops in it, which no process sees of itself: what they take alone is measured with a program on the
relay's core that does nothing but pass bytes on. Both take turns, a hundred requests each, and what
is printed are medians of the turns: a machine that others use, too, is slow for seconds at a time.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe
from benchmarks.servers import Server, start_relay
from benchmarks.stage import RELAY_CORE

WARM_UP = 200
TURN = 100  # requests
PATIENCE = 10.0  # seconds for any of the steps of a request
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
        listener.settimeout(PATIENCE)
        self._client.settimeout(PATIENCE)
        self._listener = listener
        self._request = request
        self._upstream: socket.socket | None = None

    def ask(self) -> float:
        """One request; seconds on the way there and back."""
        begun = time.perf_counter()
        self._client.sendall(self._request)
        if self._upstream is None:
            self._upstream, _ = self._listener.accept()
            self._upstream.settimeout(PATIENCE)
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
    os.sched_setaffinity(0, {RELAY_CORE})
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", upstream))
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := client.recv(65536):
        server.sendall(data)
        client.sendall(server.recv(65536))


@contextmanager
def passing(upstream: int) -> Iterator[int]:
    """A process that passes bytes on to a port; gives the port that it listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.Process(target=pass_on, args=(listener, upstream), daemon=True)
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()


class Turn(NamedTuple):
    """What a request took in one turn, in seconds.

    Arguments:
        through: the relay, seen from outside.
        passed: the program that only passes bytes on.
        own: what the relay says of itself.
    """

    through: float
    passed: float
    own: float


def turn(server: Server, relay: Outsider, bare: Outsider) -> Turn:
    """Requests through the relay, then as many past it."""
    seconds, requests = own_account(server)
    through = statistics.fmean(relay.ask() for _ in range(TURN))
    seconds_after, requests_after = own_account(server)
    passed = statistics.fmean(bare.ask() for _ in range(TURN))
    return Turn(through, passed, (seconds_after - seconds) / (requests_after - requests))


def measured(turns: int) -> list[Turn]:
    """Start everything, and let both take turns."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as upstream,
        socket.create_server(("127.0.0.1", 0)) as other,
        passing(other.getsockname()[1]) as bare_port,
    ):
        server = start_relay(Path(folder), RELAY_CORE, upstream.getsockname()[1])
        try:
            request = (
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer "
                f"{server.key}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(BODY)}\r\n\r\n"
            ).encode() + BODY
            relay = Outsider(server.port, upstream, request)
            bare = Outsider(bare_port, other, request)
            for _ in range(WARM_UP):
                relay.ask()
                bare.ask()
            return [turn(server, relay, bare) for _ in range(turns)]
        finally:
            server.stop()


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.overhead", description=__doc__)
    parser.add_argument("--turns", type=int, default=60)
    turns = measured(parser.parse_args(arguments).turns)
    known = describe()
    print(", ".join(known[name] for name in ("CPU", "Python", "load before")))
    print(f"{len(turns)} turns of {TURN} requests, one connection, medians of their means in us")
    outside, passed, own = (statistics.median(part) * 1e6 for part in zip(*turns, strict=True))
    left = statistics.median(one.through - one.passed for one in turns) * 1e6
    ratio = statistics.median(one.own / (one.through - one.passed) for one in turns)
    print(f"seen from outside            {outside:7.1f}")
    print(f"the same, of passing bytes   {passed:7.1f}   (the kernel, and waking up)")
    print(f"what is left                 {left:7.1f}")
    print(f"relayd_overhead_seconds      {own:7.1f}   ({ratio:.2f} of what is left)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
