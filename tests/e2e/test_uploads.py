"""Forms on their way: what goes up is what the client sent, but for the model; nothing stays."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.accounts import Limits
from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.forms import BOUNDARY, CONTENT_TYPE, HEADERS, Part, audio, form, model
from tests.support.raw_client import RawClient, Reply, chunked, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import ScriptedUpstream, reply

PATH = "/v1/audio/transcriptions"
TEXT = reply(b'{"text":"hello"}')
MEGABYTE = 2**20
NOISE = random.Random(7).randbytes(3 * MEGABYTE)
CONFIG = """\
upstreams:
  scripted:
    base_url: "{url}/v1"
    dialect: openai
    key: sk-upstream
    models: {{whisper: their-whisper, other: other}}
  spare:
    base_url: "{url}/v1"
    dialect: openai
    key: sk-spare
    tier: 2
    models: {{other: another}}
routing: {{retries: {{attempts: 2}}, breaker: {{enabled: off}}, longest_cooldown: 0}}
limits: {{max_body: 64KiB, max_upload: 8MiB, max_spooled: 12MiB, body_timeout: 2s}}
"""


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Iterator[Running]:
    yield start(CONFIG.format(url=upstream_of_module.url))


@pytest.fixture(autouse=True)
def no_file_is_left(relay: Running) -> Iterator[None]:
    """After each test nothing is spooled, and no file is open that has no name."""
    before = nameless_files()
    yield
    room = relay.daemon.front.limits.room
    assert room is not None
    relay.wait_for(lambda: not room.used and nameless_files() <= before)
    assert (room.used, nameless_files() - before) == (0, set())


def nameless_files() -> set[str]:
    """The files that this process has open, and that no folder has."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry))
    return {target for target in found if "(deleted)" in target}


def send(client: RawClient, relay: Running, body: bytes) -> None:
    client.send(request_bytes(PATH, body, {**relay.auth, **HEADERS}))


def refused(relay: Running, body: bytes, content_type: str = CONTENT_TYPE) -> Reply:
    """What a form that is refused is answered with; no upstream hears of it."""
    return relay.ask(PATH, body, {"Content-Type": content_type})


@pytest.mark.parametrize("size", [5, 3 * MEGABYTE])
def test_a_form_goes_up_as_it_came_but_for_the_model(
    relay: Running, upstream: ScriptedUpstream, size: int
) -> None:
    parts = [Part("x-unknown", b"kept"), audio(NOISE[:size]), Part("prompt", "häh".encode())]
    with relay.connect() as client:
        send(client, relay, form(*parts, model("whisper")))
        peer = upstream.accept()
        asked = peer.read_request()
        peer.send(TEXT)
        assert client.reply().document == {"text": "hello"}
    assert asked.path == PATH
    assert asked.headers["content-type"] == CONTENT_TYPE
    assert asked.headers["authorization"] == "Bearer sk-upstream"
    assert asked.body == form(*parts, model("their-whisper"))


def test_a_form_in_http_chunks_arrives_whole(relay: Running, upstream: ScriptedUpstream) -> None:
    body = form(model("whisper"), audio(NOISE))
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    upstream.answer_with(TEXT)
    with relay.connect() as client:
        headers = {**relay.auth, **HEADERS, "Transfer-Encoding": "chunked"}
        client.send(request_bytes(PATH, chunked(*pieces), headers))
        assert client.reply().status == 200
    assert relay.rows()[0].bytes_in == len(body)


def test_where_an_upstream_fails_the_next_one_gets_all_of_it(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    with relay.connect() as client:
        send(client, relay, form(audio(NOISE), model("other")))
        first = upstream.accept()
        assert first.read_request().body == form(audio(NOISE), model("other"))
        first.send(reply(b"{}", status="500 Oops"))
        second = upstream.accept()
        asked = second.read_request()
        second.send(TEXT)
        assert client.reply().status == 200
    assert asked.headers["authorization"] == "Bearer sk-spare"
    assert asked.body == form(audio(NOISE), model("another"))


def test_an_answer_that_comes_early_ends_the_upload(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    body = form(model("whisper"), audio(NOISE * 2))
    with relay.connect() as client:
        send(client, relay, body)
        peer = upstream.accept()
        peer.read_head()
        peer.send(reply(b'{"error":{"message":"too large"}}', status="413 Too Large"))
        answer = client.reply()
        assert answer.status == 413, answer.body
        with pytest.raises((EOFError, ConnectionError)):
            peer.read_request()


def test_a_client_that_leaves_ends_the_upload(relay: Running, upstream: ScriptedUpstream) -> None:
    with relay.connect() as client:
        send(client, relay, form(model("whisper"), audio(NOISE * 2)))
        peer = upstream.accept()
    with pytest.raises((EOFError, ConnectionError)):
        peer.read_request()


def test_a_client_that_stalls_hears_so(relay: Running) -> None:
    body = form(model("whisper"), audio(NOISE))
    with relay.connect() as client:
        head = request_bytes(PATH, b"", {**relay.auth, **HEADERS, "Content-Length": str(len(body))})
        client.send(head + body[: 2 * MEGABYTE])
        answer = client.reply()
    assert (answer.status, answer.document["error"]["code"]) == (408, "body_timeout")


def test_a_client_that_leaves_in_the_middle_leaves_nothing(relay: Running) -> None:
    body = form(model("whisper"), audio(NOISE))
    before, files = relay.mark(), nameless_files()
    with relay.connect() as client:
        head = request_bytes(PATH, b"", {**relay.auth, **HEADERS, "Content-Length": str(len(body))})
        client.send(head + body[: 2 * MEGABYTE])
        assert relay.wait_for(lambda: nameless_files() - files)
        client.reset()
    assert relay.new_rows(before)[0].outcome == "client_gone"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form(model("whisper"), audio(b"")), "file"),
        (form(model("whisper"), audio(b"x"), model("whisper")), "model"),
        (form(Part("model", b"whisper", "a.txt"), audio(b"x")), "model"),
        (form(audio(b"x"), model("whisper"))[:-30], None),
        (form(audio(b"x")), "model"),
    ],
)
def test_a_form_that_is_wrong_is_the_clients_mistake(
    relay: Running, body: bytes, param: str | None
) -> None:
    answer = refused(relay, body)
    assert (answer.status, answer.document["error"]["param"]) == (400, param)


def test_a_form_without_a_boundary_is_refused(relay: Running) -> None:
    answer = refused(relay, form(model("whisper")), "multipart/form-data")
    assert (answer.status, answer.document["error"]["code"]) == (400, "missing_boundary")


def test_a_form_over_the_bound_is_refused_before_it_is_read(relay: Running) -> None:
    with relay.connect() as client:
        headers = {**relay.auth, **HEADERS, "Content-Length": str(9 * MEGABYTE)}
        client.send(request_bytes(PATH, b"", headers))
        assert client.reply().status == 413


def test_a_form_over_the_bound_in_chunks_is_refused_as_it_comes(relay: Running) -> None:
    with relay.connect() as client:
        headers = {**relay.auth, **HEADERS, "Transfer-Encoding": "chunked"}
        client.send(request_bytes(PATH, b"", headers))
        start = form(audio(b"")).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        client.try_send(chunked(start, *[NOISE] * 3)[:-5])
        assert client.reply().status == 413


def test_whoever_may_ask_nothing_uploads_nothing(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, limits=Limits(concurrency=1))
    headers = {"Authorization": f"Bearer {customer.secret}", **HEADERS}
    with relay.connect() as first, relay.connect() as second:
        first.send(request_bytes(PATH, form(model("whisper"), audio(b"x")), headers))
        peer = upstream.accept()
        declared = {**headers, "Content-Length": str(7 * MEGABYTE)}
        second.send(request_bytes(PATH, b"", declared))
        answer = second.reply()  # though nothing of the body has come
        assert (answer.status, answer.document["error"]["code"]) == (429, "rate_limit_exceeded")
        peer.read_request()
        peer.send(TEXT)
        assert first.reply().status == 200


def test_an_upload_that_is_being_read_takes_a_place_of_its_key(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    """It took none, and one key could send any number of slow ones at once."""
    relay = start(CONFIG.format(url=upstream.url).replace("body_timeout: 2s", "body_timeout: 60s"))
    customer = Customer(relay, limits=Limits(concurrency=1))
    admission, account = relay.daemon.books.till.admission, customer.key.account.id
    headers = {"Authorization": f"Bearer {customer.secret}"}
    upload = request_bytes(PATH, form(model("whisper"), audio(b"x")), {**headers, **HEADERS})
    chat = request_bytes("/v1/chat/completions", b'{"model":"other","messages":[]}', headers)
    with relay.connect() as first, relay.connect() as second:
        first.send(upload[:-100])
        assert relay.wait_for(lambda: admission.in_flight(account) == 1)
        for another in (upload, chat):
            second.send(another)
            answer = second.reply()
            assert (answer.status, answer.document["error"]["code"]) == (429, "rate_limit_exceeded")
        first.send(upload[-100:])
        upstream.answer_with(TEXT)
        assert first.reply().status == 200
        assert admission.in_flight(account) == 0
        first.send(upload[:-100])
        assert relay.wait_for(lambda: admission.in_flight(account) == 1)
        first.reset()
        assert relay.wait_for(lambda: admission.in_flight(account) == 0)


def test_all_uploads_together_have_a_bound(relay: Running, upstream: ScriptedUpstream) -> None:
    body = form(model("whisper"), audio(NOISE * 2 + NOISE[:MEGABYTE]))
    with relay.connect() as first, relay.connect() as second:
        send(first, relay, body)
        peer = upstream.accept()
        second.try_send(request_bytes(PATH, body, {**relay.auth, **HEADERS})[: 6 * MEGABYTE])
        answer = second.reply()
        assert (answer.status, answer.document["error"]["code"]) == (503, "no_room")
        assert peer.read_request().body.endswith(f"--{BOUNDARY}--\r\n".encode())
        peer.send(TEXT)
        assert first.reply().status == 200
