"""Fetching pictures: what is asked, what never is, and what comes of it.

The servers are real, with TLS, on this machine; a resolver and a dialler of the tests' own lead to
them under public addresses, and note what they were asked.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

import pytest

from relayd.relay import fetching
from relayd.relay.fetching import Fetcher
from relayd.tasks import child
from relayd.wire.losses import CannotTranslate
from relayd.wire.neutral import Message, Request
from relayd.wire.parts import File, Image, Part, Text, ToolResult
from relayd.wire.places import is_public
from relayd.wire.setting import Fetching

pytest.importorskip("cryptography")
from tests.support.certificates import issue, write

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 100
PUBLIC = "93.184.216.34"
THERE = "127.0.0.2"  # where the servers are; connections to it come from another address
RULES = Fetching(largest=10_000, most=3, timeout=2.0, redirects=2)


def answer(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A reply as it stands on the wire."""
    lines = {"content-length": str(len(body))} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def moved(to: str, status: str = "302 Found") -> bytes:
    return answer(b"", status, location=to)


class World:
    """Hosts with their addresses, and one server that has all their pages."""

    def __init__(
        self,
        pages: Mapping[str, bytes],
        hosts: Mapping[str, Sequence[str]] | None = None,
        there: str = THERE,
    ) -> None:
        self.pages = pages
        self.hosts = {"pictures.test": [PUBLIC]} if hosts is None else hosts
        self.there = there
        self.looked_up: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.asked: list[bytes] = []
        self.dead: set[str] = set()
        self.port = 0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        if host not in self.hosts:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return self.hosts[host]

    async def dial(self, address: str, port: int) -> socket.socket:
        self.dialled.append((address, port))
        if address in self.dead:
            raise ConnectionRefusedError
        return await fetching.dial(self.there, self.port)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            head = b""
        if head:
            self.asked.append(head)
            page = self.pages[head.split(b" ")[1].decode()]
            writer.write(page)
        if not head.startswith(b"GET /slow"):
            writer.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The authority's certificate, and a server's of the name `pictures.test`."""
    folder = tmp_path_factory.mktemp("tls")
    authority = issue("Test authority", None)
    return (
        write(folder, "authority", authority),
        write(folder, "server", issue("pictures.test", authority, ip=PUBLIC)),
    )


class Bench:
    """Fetches for a request of pictures, in a world."""

    def __init__(self, files: tuple[Path, Path]) -> None:
        self.authority, self.server = files

    def fetch(
        self,
        world: World,
        *parts: Part,
        rules: Fetching = RULES,
        beside: Callable[[Fetcher], Coroutine[None, None, None]] | None = None,
        account: int = 0,
    ) -> Request:
        request = Request(source="chat", model="m", messages=[Message("user", list(parts))])

        async def work() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.server)
            server = await asyncio.start_server(world.serve, world.there, 0, ssl=context)
            world.port = server.sockets[0].getsockname()[1]
            trusted = ssl.create_default_context(cafile=self.authority)
            fetcher = Fetcher(resolve=world.resolve, dial=world.dial, tls=trusted)
            other = None if beside is None else child(beside(fetcher))
            await asyncio.sleep(0.02 if other else 0)
            try:
                await fetcher.inline(request, rules, account)
            finally:
                server.close()

        asyncio.run(work())
        return request

    def picture(self, world: World, url: str = "https://pictures.test/a", **rules: float) -> Image:
        changed = Fetching(**{**{n: getattr(RULES, n) for n in RULES.__slots__}, **rules})
        image = Image(url=url, at="messages[0].content[0].image_url")
        self.fetch(world, image, rules=changed)
        return image

    def refused(self, world: World, url: str = "https://pictures.test/a", **rules: float) -> str:
        with pytest.raises(CannotTranslate) as caught:
            self.picture(world, url, **rules)
        assert caught.value.param == "messages[0].content[0].image_url"
        assert (caught.value.status, caught.value.code) == (400, "invalid_image_url")
        start = "The picture at `messages[0].content[0].image_url` could not be fetched: "
        assert caught.value.message.startswith(start)
        return caught.value.message.removeprefix(start)


@pytest.fixture(scope="module")
def bench(files: tuple[Path, Path]) -> Bench:
    return Bench(files)


# --- what is fetched ------------------------------------------------------------------------------


def test_a_picture_comes_inline_with_the_type_that_its_bytes_show(bench: Bench) -> None:
    world = World({"/a": answer(PNG, content_type="text/html")})

    image = bench.picture(world)

    assert (image.url, image.mime) == ("", "image/png")
    assert base64.b64decode(image.data) == PNG
    assert world.dialled == [(PUBLIC, 443)]


def test_the_server_hears_no_more_than_it_must(bench: Bench) -> None:
    world = World({"/a?b=1%202": answer(PNG)})

    bench.picture(world, "https://PICTURES.test/a?b=1 2#part")

    assert world.asked == [
        b"GET /a?b=1%202 HTTP/1.1\r\nhost: pictures.test\r\nuser-agent: relayd\r\n"
        b"accept: image/*\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n"
    ]


def test_the_same_picture_is_fetched_once_wherever_it_stands(bench: Bench) -> None:
    world = World({"/a": answer(PNG)})
    first, second = (Image(url="https://pictures.test/a") for _ in range(2))

    bench.fetch(world, first, ToolResult(id="c", parts=[second]))

    assert first.data == second.data != ""
    assert len(world.asked) == 1


def test_nothing_is_asked_where_no_picture_is_named_by_a_url_of_the_web(bench: Bench) -> None:
    world = World({})
    bucket = Image(url="gs://bucket/a.png")

    bench.fetch(world, Text("t"), Image(data="aGk="), bucket, File(url="https://pictures.test/a"))

    assert (world.looked_up, bucket.url) == ([], "gs://bucket/a.png")


def test_a_reply_in_chunks_or_packed_is_read_as_well(bench: Bench) -> None:
    chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    open_end = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + PNG
    for page in (chunks % (len(PNG), PNG), open_end):
        assert base64.b64decode(bench.picture(World({"/a": page})).data) == PNG


def test_of_several_addresses_one_that_answers_is_enough(bench: Bench) -> None:
    world = World({"/a": answer(PNG)}, {"pictures.test": ["93.184.216.35", PUBLIC]})
    world.dead = {"93.184.216.35"}

    assert bench.picture(world).mime == "image/png"
    assert world.dialled == [("93.184.216.35", 443), (PUBLIC, 443)]


def test_an_address_in_the_url_is_looked_at_without_a_lookup(bench: Bench) -> None:
    world = World({"/a": answer(PNG)})

    assert bench.picture(world, f"https://{PUBLIC}/a").mime == "image/png"
    assert world.looked_up == []


# --- where it never goes --------------------------------------------------------------------------

PRIVATE = """
0.0.0.0 10.0.0.1 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.1 192.168.1.1 100.64.0.1
100.100.100.200 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.1.1.1 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::10.0.0.1 ::93.184.216.34
64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::5db8:d822 fe80::1 fe80::1%eth0 fec0::1 fc00::1
fd00:ec2::254 ff02::1 ff0e::1 100::1 2001::1 2001:db8::1 2001:10::1 2002:7f00:1:: 2002:5db8:d822::1
3fff::1 5f00::1 4000::1 2606:4700::1%1
"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_an_address_that_is_not_public_is_never_dialled(bench: Bench, address: str) -> None:
    """Loopback, private, link-local with its metadata, CGNAT, multicast, reserved; and each of them
    inside of an IPv6 address."""
    world = World({"/a": answer(PNG)}, {"pictures.test": [address]})

    assert not is_public(address)
    assert bench.refused(world) == "its host has no public address."
    assert world.dialled == []


def test_one_address_that_is_not_public_spoils_the_name(bench: Bench) -> None:
    world = World({"/a": answer(PNG)}, {"pictures.test": [PUBLIC, "10.0.0.1"]})

    assert bench.refused(world) == "its host has no public address."
    assert world.dialled == []


def test_a_name_is_looked_up_once_so_that_it_cannot_answer_otherwise(bench: Bench) -> None:
    """A name whose second answer is an inner address gains nothing: there is no second lookup."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    world = World({"/a": answer(PNG)})

    class Rebinding(World):
        async def resolve(self, host: str, port: int) -> Sequence[str]:
            self.looked_up.append(host)
            return next(answers)

    world = Rebinding({"/a": answer(PNG)})

    assert bench.picture(world).mime == "image/png"
    assert (world.looked_up, world.dialled) == (["pictures.test"], [(PUBLIC, 443)])


def test_this_machine_is_not_asked_by_any_of_its_addresses(bench: Bench) -> None:
    """A connection whose two ends have one address is one to oneself: nothing is sent."""
    world = World({"/a": answer(PNG)}, there="127.0.0.1")

    assert bench.refused(world) == "its host has no public address."
    assert (len(world.dialled), world.asked) == (1, [])


def test_an_unknown_name_is_told_as_one_that_is_not_public(bench: Bench) -> None:
    """Else a client could ask the relay which names its network has."""
    known: list[dict[str, list[str]]] = [{}, {"pictures.test": []}]
    for hosts in known:
        world = World({"/a": answer(PNG)}, hosts)
        assert bench.refused(world) == "its host has no public address."


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://pictures.test/a", "only https is fetched"),
        ("httpx://pictures.test/a", "only https is fetched"),
        ("https://pictures.test:8443/a", "its URL has a user or a port, which is not allowed"),
        ("https://pictures.test:0/a", "its URL has a user or a port, which is not allowed"),
        ("https://user:word@pictures.test/a", "its URL has a user or a port"),
        ("https://pictures.test\\@evil.test/a", "its URL has a user or a port"),
        ("https://pictures.test:x/a", "its URL cannot be read"),
        ("https://[::1/a", "its URL cannot be read"),
        ("https://" + "a" * 70 + ".test/a", "its URL cannot be read"),
        ("https:///a", "its URL has no proper host"),
        ("https:pictures.test", "its URL has no proper host"),
        ("https://pic tures.test/a", "its URL has no proper host"),
        ("https://pictures.test%0d%0a/a", "its URL has no proper host"),
        ("https://[fe80::1%25eth0]/a", "its host has no public address"),
        ("https://127.0.0.1/a", "its host has no public address"),
        ("https://[::1]/a", "its host has no public address"),
        ("https://2130706433/a", "its host has no public address"),
        ("https://0x7f.1/a", "its host has no public address"),
        ("https://１２７.0.0.1/a", "its host has no public address"),  # noqa: RUF001
        ("https://pictures.test/" + "a" * 9000, "its URL is too long"),
    ],
)
def test_a_url_of_another_kind_is_refused(bench: Bench, url: str, why: str) -> None:
    world = World({}, {"2130706433": ["127.0.0.1"], "0x7f.1": ["127.0.0.1"]})

    assert bench.refused(world, url).startswith(why)
    assert world.dialled == []


# --- redirects ------------------------------------------------------------------------------------


def test_a_redirect_is_followed(bench: Bench) -> None:
    world = World({"/a": moved("/b", "301 Moved"), "/b": moved("c", "308 X"), "/c": answer(PNG)})

    assert bench.picture(world).mime == "image/png"
    assert world.looked_up == ["pictures.test"] * 3


def test_each_redirect_is_looked_at_like_the_first(bench: Bench) -> None:
    hosts = {"pictures.test": [PUBLIC], "inner.test": ["10.0.0.1"]}
    for target, why in {
        "https://inner.test/b": "its host has no public address.",
        "https://169.254.169.254/latest": "its host has no public address.",
        "http://pictures.test/b": "only https is fetched.",
        "file:///etc/passwd": "only https is fetched.",
        "https://[": "its server redirects to nowhere.",
    }.items():
        world = World({"/a": moved(target)}, hosts)
        assert bench.refused(world) == why
        assert world.dialled == [(PUBLIC, 443)]


def test_redirects_are_bounded(bench: Bench) -> None:
    world = World({"/a": moved("/a")})

    assert bench.refused(world) == "its server redirects too often."
    assert len(world.asked) == RULES.redirects + 1
    assert bench.refused(World({"/a": moved("/b")}), redirects=0).startswith("its server redirects")


def test_a_redirect_to_nowhere_is_a_failure(bench: Bench) -> None:
    assert bench.refused(World({"/a": answer(PNG, "302 Found")})) == (
        "its server answers with status 302."
    )


# --- what comes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (answer(PNG, "404 Not Found"), "its server answers with status 404"),
        (answer(b"<html>", content_type="image/png"), "what is there is no picture"),
        (answer(b"%PDF-1.7"), "what is there is no picture"),
        (answer(b""), "what is there is no picture"),
        (b"SSH-2.0-OpenSSH\r\n", "its server's answer is damaged"),
        (answer(PNG, content_length="9999"), "its server's answer is damaged"),
        (answer(PNG, content_encoding="br"), "its server's answer is damaged"),
        (b"", "its server's answer is damaged"),
    ],
)
def test_what_is_no_picture_is_refused(bench: Bench, page: bytes, why: str) -> None:
    assert bench.refused(World({"/a": page})) == f"{why}."


def test_a_picture_is_bounded_by_what_its_server_says_and_by_what_comes(bench: Bench) -> None:
    large = b"\x89PNG\r\n\x1a\n" + bytes(20_000)
    silent = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + large
    for page in (answer(large), silent):
        assert bench.refused(World({"/a": page})) == "it is too large."


def test_all_pictures_of_a_request_are_bounded_together(bench: Bench) -> None:
    page = answer(PNG + bytes(5000))
    images = [Image(url=f"https://pictures.test/{name}", at=name) for name in "ab"]

    with pytest.raises(CannotTranslate, match="it is too large"):
        bench.fetch(World({"/a": page, "/b": page}), *images)


def test_the_number_of_pictures_is_bounded_before_anything_is_asked(bench: Bench) -> None:
    images = [Image(url=f"https://pictures.test/{number}", at=f"p{number}") for number in range(4)]
    world = World({})

    with pytest.raises(CannotTranslate) as caught:
        bench.fetch(world, *images)
    assert "`p0` could not be fetched: the request names too many" in caught.value.message
    assert world.looked_up == []
    pages = {f"/{number}": answer(PNG) for number in range(3)}
    bench.fetch(World(pages), *images[: RULES.most])
    assert [bool(image.data) for image in images] == [True, True, True, False]


def test_the_first_picture_that_fails_is_the_one_that_is_named(bench: Bench) -> None:
    """Whichever fails sooner: the same request is refused in the same words."""
    world = World({"/a": moved("/c"), "/c": answer(b"x"), "/b": answer(b"x", "404 Not Found")})
    images = [Image(url=f"https://pictures.test/{name}", at=name) for name in "ab"]

    with pytest.raises(CannotTranslate) as caught:
        bench.fetch(world, *images)
    assert caught.value.param == "a"


def test_time_is_bounded(bench: Bench) -> None:
    world = World({"/slow": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n\x89PNG"})

    why = bench.refused(world, "https://pictures.test/slow", timeout=0.2)
    assert why == "it does not come in time."


def test_the_certificate_is_that_of_the_host(bench: Bench) -> None:
    world = World({"/a": answer(PNG)}, {"other.test": [PUBLIC]})

    assert bench.refused(world, "https://other.test/a") == "its server cannot be reached."
    assert world.asked == []


def test_a_fault_of_ours_is_no_refusal(bench: Bench) -> None:
    class Broken(World):
        async def resolve(self, host: str, port: int) -> Sequence[str]:
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        bench.picture(Broken({}))


def test_a_picture_counts_as_often_as_it_is_named(bench: Bench) -> None:
    """It is fetched once, and sent that often."""
    world = World({"/a": answer(PNG + bytes(4000))})
    images = [Image(url="https://pictures.test/a", at=f"p{number}") for number in range(4)]

    with pytest.raises(CannotTranslate, match=r"`p0` .* names too many"):
        bench.fetch(world, *images)
    assert world.asked == []
    with pytest.raises(CannotTranslate, match=r"`p2` .* it is too large"):
        bench.fetch(world, *images[:3])
    bench.fetch(world, *images[:2])
    assert images[0].data == images[1].data != ""


def test_a_packed_picture_that_is_too_large_is_not_unpacked_to_its_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[int] = []
    take = fetching._Reply.on_body

    def noted(self: fetching._Reply, data: bytes) -> None:
        came.append(len(data))
        take(self, data)

    monkeypatch.setattr(fetching._Reply, "on_body", noted)
    page = answer(gzip.compress(bytes(2**24)), content_encoding="gzip")
    assert bench.refused(World({"/a": page})) == "it is too large."
    assert len(came) == 1


class Silent(World):
    """Neither its names nor its servers ever answer but those of `pictures.test`."""

    def __init__(self, pages: Mapping[str, bytes], hosts: Mapping[str, Sequence[str]]) -> None:
        super().__init__(pages, hosts)
        self.dead = {"93.184.216.99"}

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        if host not in self.hosts:
            self.looked_up.append(host)
            await asyncio.sleep(60)
        return await super().resolve(host, port)

    async def dial(self, address: str, port: int) -> socket.socket:
        if address in self.dead:
            self.dialled.append((address, port))
            await asyncio.sleep(60)
        return await super().dial(address, port)


def shared(bench: Bench, host: str, world: World) -> None:
    """One account names many pictures at `host`; another gets its own all the same."""

    async def others(fetcher: Fetcher) -> None:
        many = [Image(url=f"https://{n}.{host}/a") for n in range(40)]
        rules = Fetching(largest=10_000, most=40, timeout=30.0, redirects=2)
        request = Request(source="chat", model="m", messages=[Message("user", list(many))])
        await fetcher.inline(request, rules, 1)

    image = Image(url="https://pictures.test/a")
    bench.fetch(world, image, rules=Fetching(timeout=2.0), beside=others, account=2)
    assert image.data


def test_silent_servers_take_no_more_than_an_accounts_share(bench: Bench) -> None:
    names = {f"{n}.dead.test": ["93.184.216.99"] for n in range(40)}
    world = Silent({"/a": answer(PNG)}, {"pictures.test": [PUBLIC], **names})

    shared(bench, "dead.test", world)
    assert world.dialled.count(("93.184.216.99", 443)) == fetching.SHARE


def test_names_that_are_never_found_take_no_more_than_an_accounts_share(bench: Bench) -> None:
    world = Silent({"/a": answer(PNG)}, {"pictures.test": [PUBLIC]})

    shared(bench, "lost.test", world)
    assert len(world.looked_up) == fetching.LOOKUPS + 1


def test_a_lookup_counts_until_it_has_ended_whoever_waits_for_it(bench: Bench) -> None:
    world = Silent({}, {})

    async def work() -> None:
        fetcher = Fetcher(resolve=world.resolve)
        for number in range(fetching.LOOKUPS + 2):
            image = Image(url=f"https://{number}.lost.test/a")
            request = Request(source="chat", model="m", messages=[Message("user", [image])])
            with pytest.raises(CannotTranslate, match="in time"):
                await fetcher.inline(request, Fetching(timeout=0.02))

    asyncio.run(work())
    assert len(world.looked_up) == fetching.LOOKUPS


# --- the network's own ends -----------------------------------------------------------------------


def test_names_are_resolved_to_their_addresses_each_once() -> None:
    found = asyncio.run(fetching.resolve("localhost", 443))

    assert found and set(found) <= {"127.0.0.1", "::1"}
    assert len(set(found)) == len(found)


def test_a_dial_that_fails_leaves_no_socket_behind() -> None:
    async def work() -> None:
        for address in ("127.0.0.1", "::1"):
            with pytest.raises(OSError):
                await fetching.dial(address, 1)

    asyncio.run(work())


def test_a_connection_that_is_lost_at_once_leaves_no_socket_behind() -> None:
    sock = socket.socket()

    async def dial(address: str, port: int) -> socket.socket:
        return sock  # that is connected no more

    image = Image(url=f"https://{PUBLIC}/a")
    request = Request(source="chat", model="m", messages=[Message("user", [image])])
    with pytest.raises(CannotTranslate, match="cannot be reached"):
        asyncio.run(Fetcher(dial=dial).inline(request, RULES))
    assert sock.fileno() == -1


def test_a_fetcher_tells_how_many_it_may_still_have() -> None:
    assert repr(Fetcher()).startswith("<Fetcher <asyncio.locks.Semaphore")
