"""TLS to the upstream: the right certificate is trusted, any other is refused before a byte is
sent."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relayd.errors import ConnectFailed
from relayd.model import Proxy
from relayd.upstream.client import Origin, PoolLimits, UpstreamClient
from relayd.upstream.upload import Upload
from relayd.wire.multipart import Held
from tests.support.proxies import FakeProxy
from tests.support.scripted_upstream import Peer, ScriptedUpstream
from tests.support.sinks import Collected

pytest.importorskip("cryptography")
from tests.support.certificates import Identity, issue, write

ASK = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"


class TlsServer:
    """Answers every request with `{}` over TLS, in a thread. Notes what it was asked."""

    def __init__(self, pem: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._ready = threading.Event()
        self.asked = self.body = b""
        self.port = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(5)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.readuntil(b"\r\n\r\n"):
                self.asked += data
                length = re.search(rb"content-length: (\d+)", data)
                assert length is not None
                self.body = await reader.readexactly(int(length[1]))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> tuple[Identity, Path]:
    identity = issue("Test authority", None)
    return identity, write(folder, "authority", identity)


@pytest.fixture(scope="module")
def server(folder: Path, authority: tuple[Identity, Path]) -> Iterator[TlsServer]:
    server = TlsServer(write(folder, "server", issue("localhost", authority[0])))
    yield server
    server.close()


def attempt(
    port: int, ca_file: Path | None, host: str = "localhost", proxy: Proxy | None = None
) -> Collected:
    """Two requests over TLS; the second on the same connection."""

    async def work() -> Collected:
        origin = Origin(host, port, True)
        client = UpstreamClient(origin, PoolLimits(), str(ca_file) if ca_file else None, proxy)
        try:
            sink = Collected()
            await client.open([ASK], sink)
            await sink.done()
            again = Collected()
            assert client.reuse([ASK], again) is not None
            assert client.open_connections == 1
            return await again.done()
        finally:
            await client.close()

    return asyncio.run(work())


def test_a_certificate_of_the_trusted_authority_is_accepted(
    server: TlsServer, authority: tuple[Identity, Path]
) -> None:
    done = attempt(server.port, authority[1])
    assert (done.status, done.body, done.problem) == (200, b"{}", None)
    assert attempt(server.port, authority[1], host="127.0.0.1").status == 200


def test_an_upload_goes_through_tls_whole(
    server: TlsServer, authority: tuple[Identity, Path]
) -> None:
    body = bytes(range(256)) * 20_000

    async def work() -> None:
        client = UpstreamClient(
            Origin("localhost", server.port, True), PoolLimits(), str(authority[1])
        )
        ask = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
        sink = Collected()
        upload = Upload([(0, len(body))], Held(body), lambda: None)
        try:
            await client.open([ask], sink, None, upload)
            assert (await sink.done()).body == b"{}"
        finally:
            await client.close()

    asyncio.run(work())
    assert server.body == body


def test_an_unknown_authority_is_refused_before_anything_is_sent(
    server: TlsServer, folder: Path
) -> None:
    server.asked = b""
    stranger = write(folder, "stranger", issue("Another authority", None))
    for ca_file in (None, stranger):
        with pytest.raises(ConnectFailed, match="TLS") as caught:
            attempt(server.port, ca_file)
        assert caught.value.status == 502
    assert server.asked == b""


def test_a_renewed_file_of_authorities_counts_from_the_next_connection_on(
    server: TlsServer, folder: Path, authority: tuple[Identity, Path]
) -> None:
    ca_file = folder / "renewed.pem"
    ca_file.write_bytes(write(folder, "former", issue("Former authority", None)).read_bytes())

    async def work() -> None:
        client = UpstreamClient(Origin("localhost", server.port, True), PoolLimits(), str(ca_file))

        async def status() -> int:
            sink = Collected()
            connection = await client.open([ASK], sink)
            await sink.done()
            connection.abort()
            return sink.status

        with pytest.raises(ConnectFailed, match="TLS"):
            await status()
        ca_file.write_bytes(authority[1].read_bytes())
        assert await status() == 200
        ca_file.write_bytes(b"half a certif")  # it is just being written
        assert await status() == 200
        ca_file.unlink()
        assert await status() == 200
        await client.close()

    asyncio.run(work())


def test_a_certificate_for_another_host_is_refused(
    folder: Path, authority: tuple[Identity, Path]
) -> None:
    other = issue("other.example", authority[0], ip="10.0.0.1")
    server = TlsServer(write(folder, "other", other))
    with pytest.raises(ConnectFailed, match="TLS"):
        attempt(server.port, authority[1])
    assert server.asked == b""
    server.close()


def test_an_expired_certificate_is_refused(folder: Path, authority: tuple[Identity, Path]) -> None:
    server = TlsServer(write(folder, "expired", issue("localhost", authority[0], days=-1)))
    with pytest.raises(ConnectFailed, match="expired"):
        attempt(server.port, authority[1])
    server.close()


def says_no(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.close()


def test_a_server_that_speaks_no_tls_is_refused(authority: tuple[Identity, Path]) -> None:
    plain = ScriptedUpstream()
    plain.answer_with(then=says_no)
    with pytest.raises(ConnectFailed):
        attempt(plain.port, authority[1])
    plain.close()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_through_a_proxy_the_upstreams_certificate_is_checked(
    scheme: Any, server: TlsServer, folder: Path, authority: tuple[Identity, Path]
) -> None:
    server.asked = b""
    names = {"localhost": ("127.0.0.1", server.port)}
    with FakeProxy(scheme, names=names) as fake:
        proxy = Proxy(scheme, "127.0.0.1", fake.port)
        stranger = write(folder, "proxied", issue("Another authority", None))
        with pytest.raises(ConnectFailed, match="TLS"):
            attempt(server.port, stranger, proxy=proxy)
        assert server.asked == b""
        done = attempt(server.port, authority[1], proxy=proxy)
        assert (done.status, done.body, done.problem) == (200, b"{}", None)
        assert fake.asked == [("localhost", server.port)] * 2
        assert ASK not in fake.carried and server.asked == ASK * 2


def test_a_proxy_that_hangs_up_in_the_handshake_is_a_failure_to_connect(
    authority: tuple[Identity, Path],
) -> None:
    with FakeProxy(manner=b"HTTP/1.1 200 OK\r\n\r\n") as fake, pytest.raises(ConnectFailed):
        attempt(443, authority[1], proxy=Proxy("http", "127.0.0.1", fake.port))
