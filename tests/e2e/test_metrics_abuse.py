"""/metrics under those who mean it ill, or do not care: names without end, scrapers that stall,
web pages that look."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterable

import orjson
import pytest

from relayd.web.connection import HIGH_WATER
from relayd.web.scraping import MOST_SCRAPERS
from tests.conftest import Daemons
from tests.support.exposition import scraped
from tests.support.raw_client import RawClient, request_bytes
from tests.support.running import Running
from tests.support.speech import SPEECHES

CONFIG = """\
demo: "on"
upstreams:
  up: {dialect: relay, base_url: "http://127.0.0.1:9", key: k, models: [known, "gpt-*"]}
routing: {retries: {attempts: 1}}
logs: {requests: none}
"""
NAMES = 10_000
LAST = b'"request_id":"req_'  # the last member of each refusal
AT_ONCE = 250  # requests that are sent before their replies are read
CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


def send_all(relay: Running, requests: Iterable[bytes]) -> int:
    """Send them on one connection, many at a time; returns how many were refused."""
    refused, waiting = 0, list(requests)
    with relay.connect() as client:
        while waiting:
            batch, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            client.send(b"".join(batch))
            said = b""
            while said.count(LAST) < len(batch) or not said.endswith(b'"}'):
                said += client.read()
            refused += said.count(b"HTTP/1.1 4") + said.count(b"HTTP/1.1 5")
    return refused


def page(relay: Running) -> str:
    with relay.connect() as client:
        client.send(request_bytes("/metrics", method="GET"))
        return client.reply().body.decode()


def test_ten_thousand_names_of_models_and_keys_make_a_handful_of_series(relay: Running) -> None:
    """Whatever clients write, labels come from the configuration."""
    path, _ = CHAT.ask("known")
    mark = "zzz"  # in each made-up name

    def body(name: str) -> bytes:
        turns = [{"role": "user", "content": "Hi"}]
        return orjson.dumps({"model": name, "messages": turns})

    names = [f"{'gpt-' if n % 2 else ''}{mark}{secrets.token_hex(8)}" for n in range(NAMES)]
    keys = [f"sk-relayd-{mark}{secrets.token_hex(16)}" for _ in range(NAMES)]
    before = page(relay)
    models = (request_bytes(path, body(name), relay.auth) for name in names)
    assert send_all(relay, models) == NAMES
    known = body("known")
    strangers = (request_bytes(path, known, {"Authorization": f"Bearer {key}"}) for key in keys)
    assert send_all(relay, strangers) == NAMES
    paths = (request_bytes(f"/v1/{name}", b"{}", relay.auth) for name in names[:300])
    assert send_all(relay, paths) == 300
    after = page(relay)
    print(f"{len(before)} bytes of metrics before, {len(after)} after 2 x {NAMES} names")
    assert mark not in after
    assert len(after.splitlines()) - len(before.splitlines()) < 150
    assert scraped(relay).total("relayd_requests_total") >= 2 * NAMES


# --- scrapers that stall --------------------------------------------------------------------------


def stalled(relay: Running, data: bytes) -> socket.socket:
    """A client that has sent this, and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(relay.address)
    client.sendall(data)
    return client


async def unsent(relay: Running) -> list[int]:
    """Bytes that wait for each client."""
    return [one.unsent for one in relay.daemon._listener._ours()]


def test_scrapers_that_read_nothing_cost_the_others_nothing(relay: Running) -> None:
    """Neither requests nor other scrapes wait for them, and what waits for them is bounded."""
    ask = request_bytes("/metrics", method="GET")
    size = len(page(relay))
    with contextlib.ExitStack() as stack:
        for data in (ask * 400, ask * 400, ask, ask[: len(ask) // 2]):
            stack.enter_context(contextlib.closing(stalled(relay, data)))
        assert relay.wait_for(lambda: max(relay.call(lambda: unsent(relay))) > HIGH_WATER)
        for _ in range(3):
            assert relay.ask(*CHAT.ask("demo")).status == 200
            assert scraped(relay).total("relayd_client_connections") >= 3
        assert max(relay.call(lambda: unsent(relay))) <= HIGH_WATER + 2 * size + 1000


def test_a_scraper_that_hangs_up_in_the_middle_is_forgotten(relay: Running) -> None:
    before = scraped(relay).total("relayd_client_connections")
    for cut in (5, None):
        stalled(relay, request_bytes("/metrics", method="GET")[:cut]).close()
    assert relay.wait_for(lambda: scraped(relay).total("relayd_client_connections") == before)


def test_a_listener_of_their_own_has_bounds_too(start: Daemons) -> None:
    relay = start('demo: "on"\nmetrics: {listen: "127.0.0.1:0", token: a-long-metrics-token}\n')
    address = relay.daemon.metrics_address
    assert address is not None
    with contextlib.ExitStack() as stack:
        half = [stack.enter_context(RawClient(address)) for _ in range(MOST_SCRAPERS)]
        for client in half:
            client.send(b"GET /metrics HTTP/1.1\r\n")
        assert relay.wait_for(lambda: turned_away(address))
        assert relay.ask(*CHAT.ask("demo")).status == 200
    token = {"Authorization": "Bearer a-long-metrics-token"}
    assert relay.wait_for(lambda: status(address, token) == 200)
    assert status(address, {}) == 403


def turned_away(address: tuple[str, int]) -> bool:
    """Whether a scrape finds no room."""
    return status(address, {}) == 503


def status(address: tuple[str, int], headers: dict[str, str]) -> int:
    """What a scrape gets."""
    with RawClient(address) as client:
        client.send(request_bytes("/metrics", b"", headers, method="GET"))
        return client.reply().status


# --- web pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example:8080", "Sec-Fetch-Site": "same-origin"},  # a name that leads here
        {"Host": "relay.example"},  # who ends TLS says nothing of itself
    ],
)
def test_no_web_page_and_nobody_from_elsewhere_reads_them(
    relay: Running, headers: dict[str, str]
) -> None:
    with relay.connect() as client:
        client.send(request_bytes("/metrics", b"", headers, method="GET"))
        reply = client.reply()
    assert reply.status == 403
    assert b"relayd_" not in reply.body
    assert "access-control-allow-origin" not in reply.headers


def test_not_even_with_the_right_to_is_a_page_of_another_site_told(relay: Running) -> None:
    with relay.connect() as client:
        client.send(request_bytes("/metrics", method="GET"))
        reply = client.reply()
        client.send(request_bytes("/api/status", method="GET"))
        assert client.reply().headers["access-control-allow-origin"] == "*"
    assert reply.status == 200 and reply.headers["x-request-id"]
    assert "access-control-allow-origin" not in reply.headers


def test_what_a_bare_nginx_passes_on_is_refused(relay: Running) -> None:
    with relay.connect() as client:
        client.send(request_bytes("/metrics", method="GET", version="1.0"))
        assert client.reply().status == 403
