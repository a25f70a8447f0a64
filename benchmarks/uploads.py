"""`python -m benchmarks.uploads`: what a large form, and a large reply of sound, take up in relayd.

A relayd of its own, with the upstream and the client in this process. Files go up in forms (of
known length, in HTTP chunks, to an upstream that reads slowly, eight at one time), sound comes down
(to a client that reads at once, or slowly). Of each it is noted whether every byte arrived, how
much resident memory relayd gained at most over what it had before, how long it took, and how much
of its core. The upstream answers a form with the digest of the file in it.

Everything is bounded in time and ended by its own pid. Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from benchmarks.processes import cpu_seconds, resident_bytes
from benchmarks.servers import Server, start_relay
from benchmarks.stage import RELAY_CORE

MEBI = 2**20
MOST_GROWTH = 4 * MEBI
PATIENCE = 120.0
AT_ONCE = 8
PIECE = 256 * 1024
NAP = 0.002  # seconds between two reads of whoever reads slowly
BOUNDARY = b"a-boundary-of-benchmarks"
BEFORE = (
    b'--%b\r\nContent-Disposition: form-data; name="file"; filename="speech.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n" % BOUNDARY
)
# The model stands behind the file, where it is found last.
AFTER = b'\r\n--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%%b\r\n--%b--\r\n' % (
    BOUNDARY,
    BOUNDARY,
)


class Figures(NamedTuple):
    """What one measurement came to: bytes of growth, seconds, seconds of the processor."""

    name: str
    whole: bool
    growth: int
    seconds: float
    processor: float


class Upstream:
    """Reads forms and answers with digests; answers anything else with sound. Owns its threads."""

    def __init__(self, sound: bytes) -> None:
        self._sound = sound
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.nap = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                length = 0
                while (header := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = header.partition(b":")
                    length = int(value) if name == b"content-length" else length
                connection.sendall(self._answer(stream.read, length, b"/speech" in line))

    def _answer(self, read: Callable[[int], bytes], length: int, speaks: bool) -> bytes:
        if speaks:
            read(length)
            return _reply(b"audio/wav", self._sound)
        digest, file_end = hashlib.sha256(), length - len(AFTER % b"demo")
        read(len(BEFORE))
        at = len(BEFORE)
        while at < file_end:
            data = read(min(PIECE, file_end - at))
            digest.update(data)
            at += len(data)
            time.sleep(self.nap)
        read(length - file_end)
        return _reply(b"application/json", b'{"text":"%b"}' % digest.hexdigest().encode())


class Bench:
    """A relayd between this process's client and upstream."""

    def __init__(self, relay: Server, upstream: Upstream, size: int) -> None:
        self.relay, self.upstream = relay, upstream
        self.data = random.Random(5).randbytes(size)
        self.digest = hashlib.sha256(self.data).hexdigest().encode()

    def measure(self, name: str, work: Callable[[], bool]) -> Figures:
        """The figures of some work that says whether all arrived."""
        pid = self.relay.child.pid
        before, used, begun = resident_bytes(pid), cpu_seconds([pid]), time.monotonic()
        worst, over = [before], threading.Event()

        def watch() -> None:
            while not over.wait(0.002):
                worst[0] = max(worst[0], resident_bytes(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            whole = work()
        finally:
            over.set()
            watcher.join()
        took = time.monotonic() - begun
        return Figures(name, whole, worst[0] - before, took, cpu_seconds([pid]) - used)

    def upload(self, *, chunked: bool = False) -> bool:
        """Send the file in a form; whether it arrived."""
        after = AFTER % b"demo"
        length = len(BEFORE) + len(self.data) + len(after)
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % length
        kind = b"multipart/form-data; boundary=" + BOUNDARY
        with self._asking(b"/v1/audio/transcriptions", kind, framing) as client:
            pieces: list[bytes | memoryview] = [BEFORE, *_pieces(self.data), after]
            for piece in pieces:
                client.sendall(b"%x\r\n" % len(piece) if chunked else b"")
                client.sendall(piece)
                client.sendall(b"\r\n" if chunked else b"")
            client.sendall(b"0\r\n\r\n" if chunked else b"")
            return self.digest in _body(client)[0]

    def uploads(self, number: int) -> bool:
        """As many at one time."""
        arrived: list[bool] = []
        threads = [
            threading.Thread(target=lambda: arrived.append(self.upload())) for _ in range(number)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        return arrived == [True] * number

    def listen(self, nap: float = 0.0) -> bool:
        """Ask for sound; whether it arrived."""
        body = b'{"model":"demo","input":"hello","voice":"alloy"}'
        framing = b"content-length: %d" % len(body)
        with self._asking(b"/v1/audio/speech", b"application/json", framing) as client:
            client.sendall(body)
            size, digest = _body(client, nap)[1:]
            return (size, digest.encode()) == (len(self.data), self.digest)

    def slowly(self) -> bool:
        """Send the file to an upstream that reads slowly."""
        self.upstream.nap = NAP * 10
        try:
            return self.upload()
        finally:
            self.upstream.nap = 0.0

    def _asking(self, path: bytes, kind: bytes, framing: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.relay.port), PATIENCE)
        client.sendall(
            b"POST %b HTTP/1.1\r\nhost: relay\r\nauthorization: Bearer %b\r\n"
            b"content-type: %b\r\nconnection: close\r\n%b\r\n\r\n"
            % (path, self.relay.key.encode(), kind, framing)
        )
        return client


def _pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    return (view[at : at + PIECE] for at in range(0, len(data), PIECE))


def _reply(kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


def _body(client: socket.socket, nap: float = 0.0) -> tuple[bytes, int, str]:
    """The first bytes of a reply's body, how many it has, and their digest."""
    with client.makefile("rb") as stream:
        while stream.readline() not in (b"\r\n", b""):
            pass
        first, size, digest = b"", 0, hashlib.sha256()
        while data := stream.read(PIECE):
            first, size = first or data, size + len(data)
            digest.update(data)
            time.sleep(nap)
    return first, size, digest.hexdigest()


def run(size: int) -> list[Figures]:
    """All measurements."""
    with ExitStack() as ends, tempfile.TemporaryDirectory() as folder:
        sound = random.Random(5).randbytes(size)
        upstream = Upstream(sound)
        ends.callback(upstream.close)
        relay = start_relay(Path(folder), RELAY_CORE, upstream.port)
        ends.callback(relay.stop)
        bench = Bench(relay, upstream, size)
        small = Bench(relay, upstream, 64 * 1024)
        for _ in range(3):  # what relayd loads and makes on first use is no growth
            small.upload()
            small.listen()
        return [
            bench.measure("form up", bench.upload),
            bench.measure("form up, in chunks", lambda: bench.upload(chunked=True)),
            bench.measure("form up, slow upstream", bench.slowly),
            bench.measure(f"{AT_ONCE} forms up at one time", lambda: bench.uploads(AT_ONCE)),
            bench.measure("sound down", bench.listen),
            bench.measure("sound down, slow client", lambda: bench.listen(NAP)),
        ]


def main() -> int:
    """Measure and print; 1 where a goal is missed."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.uploads")
    options.add_argument("--size", type=int, default=50, help="MB of a file")
    size = options.parse_args().size * 1_000_000
    table = Table("", "whole", "memory gained", "took", "of its core", "goal")
    missed = 0
    for each in run(size):
        # Several at one time may take as much each.
        most = MOST_GROWTH * (AT_ONCE if each.name.startswith(str(AT_ONCE)) else 1)
        met = each.whole and each.growth <= most
        missed += not met
        table.add_row(
            each.name,
            "yes" if each.whole else "NO",
            f"{each.growth / MEBI:.2f} MiB",
            f"{each.seconds:.2f} s",
            f"{each.processor:.2f} s",
            f"≤ {most // MEBI} MiB: {'yes' if met else 'NO'}",
        )
    known = describe()
    print(", ".join(known[name] for name in ("CPU", "Python", "load before")))
    print(f"a file of {size / 1e6:g} MB")
    Console().print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
