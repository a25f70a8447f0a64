"""Generic pass-through: paths that relayd does not know, as bytes, under its limits and books."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import openai
import pytest

from tests.conftest import Daemons
from tests.support.answering import AnsweringUpstream
from tests.support.demo_server import DemoServer
from tests.support.raw_client import RawClient, Reply, chunked, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import (
    LAST_CHUNK,
    Asked,
    ScriptedUpstream,
    chunk,
    reply,
    stream_head,
)

CONFIG = """\
limits: {{max_upload: 4MiB}}
routing: {{retries: {{attempts: 3}}, breaker: {{enabled: off}}, longest_cooldown: 0}}
upstreams:
  first:
    dialect: openai
    base_url: "{url}/v1"
    keys: [first-key, second-key]
    models: [m]
    passthrough: [/v1/files, /v1/things/]
  second:
    {{dialect: openai, base_url: "{url}", key: third, models: [n], passthrough: [/v1/files, /odd]}}
  google:
    {{dialect: gemini, base_url: "{url}", key: mine, models: [g], passthrough: [/v1beta/files]}}
"""
SDK = """\
upstreams:
  d:
    dialect: demo
    base_url: "{url}"
    keys: [a, b]
    models: [m]
    passthrough: [/v1/files, /v1/batches]
"""
OK = reply(b'{"ok":true}')
BINARY = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture(scope="module")
def up() -> Iterator[AnsweringUpstream]:
    upstream = AnsweringUpstream(lambda _: OK)
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def relay(start: Daemons, up: AnsweringUpstream) -> Running:
    return start(CONFIG.format(url=up.url))


@pytest.fixture(autouse=True)
def well(up: AnsweringUpstream) -> None:
    """Each test begins with an upstream that says yes, and has heard nothing."""
    up.answer, up.asked = lambda _: OK, []


def send(relay: Running, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return relay.ask(path, body, names, method=method)


def file_of(body: bytes) -> bytes:
    """A whole response that is a file."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\ncontent-length: {len(body)}"
    return f"{head}\r\netag: one\r\n\r\n".encode() + body


def _say(said: bytes, _: Asked) -> bytes:
    return said


def code(got: Reply) -> tuple[int, str]:
    return got.status, got.document["error"]["code"]


# --- what arrives ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_method_path_query_and_body_arrive_as_they_were_sent(
    relay: Running, up: AnsweringUpstream, method: str
) -> None:
    body = b'{"a": 1.0,  "a": 2}' if method != "GET" else b""
    got = send(relay, method, "/v1/files/a%20b?x=1&key=mine&y=%C3%A9", body)
    assert (got.status, got.body) == (200, b'{"ok":true}')
    [asked] = up.asked
    assert (asked.method, asked.path) == (method, "/v1/files/a%20b?x=1&y=%C3%A9")
    assert asked.body == body
    assert asked.headers.get("content-length") == (str(len(body)) if body else None)


def test_a_request_without_a_body_says_so_where_that_matters(
    relay: Running, up: AnsweringUpstream
) -> None:
    for method, length in (("POST", "0"), ("GET", None), ("DELETE", None)):
        send(relay, method, "/v1/files/x/cancel")
        assert up.asked[-1].headers.get("content-length") == length


def test_only_what_tells_of_the_request_travels_and_no_credential(
    relay: Running, up: AnsweringUpstream
) -> None:
    headers = {
        "Cookie": "c",
        "X-Api-Key": "theirs",
        "Proxy-Authorization": "p",
        "Connection": "close, X-Hop",
        "X-Hop": "h",
        "X-Forwarded-For": "10.0.0.1",
        "Range": "bytes=0-9",
        "OpenAI-Beta": "files=1",
        "Content-Type": "application/jsonl",
        "Idempotency-Key": "i",
    }
    relay.ask("/v1/files", b"{}", headers)
    [asked] = up.asked
    assert asked.headers["authorization"] == "Bearer first-key"
    kept = {"range": "bytes=0-9", "openai-beta": "files=1", "idempotency-key": "i"}
    kept["content-type"] = "application/jsonl"
    assert asked.headers.items() >= kept.items()
    assert not asked.headers.keys() & {"cookie", "x-api-key", "x-hop", "x-forwarded-for"}
    assert relay.key not in str(asked.headers)


def test_each_upstream_gets_its_own_kind_of_credential_and_version(
    relay: Running, up: AnsweringUpstream
) -> None:
    for path in ("/odd/a/", "/v1beta/files/1", "/v1/things"):
        assert send(relay, "GET", path).status == 200
    odd, google, things = up.asked
    assert (odd.path, odd.headers["authorization"]) == ("/odd/a/", "Bearer third")
    assert google.headers["x-goog-api-key"] == "mine"
    assert "authorization" not in google.headers
    assert (things.path, things.headers["authorization"]) == ("/v1/things", "Bearer first-key")


def test_all_requests_go_to_one_key_of_the_first_upstream(
    relay: Running, up: AnsweringUpstream
) -> None:
    for number in range(6):
        send(relay, "GET", f"/v1/files/{number}")
    assert up.shares() == {"first-key": 6}


def test_a_chunked_upload_of_any_bytes_arrives_and_comes_back(
    relay: Running, up: AnsweringUpstream
) -> None:
    up.answer = lambda asked: file_of(asked.body)
    pieces = [BINARY[at : at + 100_000] for at in range(0, len(BINARY), 100_000)]
    headers = {**relay.auth, "Transfer-Encoding": "chunked", "Content-Type": "application/x-thing"}
    with relay.connect() as client:
        client.send(request_bytes("/v1/files", chunked(*pieces), headers))
        got = client.reply()
    assert got.body == BINARY == up.asked[0].body
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["etag"] == "one"


def test_an_event_stream_passes_as_it_comes(start: Daemons, upstream: ScriptedUpstream) -> None:
    relay = start(CONFIG.format(url=upstream.url))
    with relay.connect() as client:
        client.send(request_bytes("/v1/files/run", b"{}", relay.auth))
        peer = upstream.accept()
        peer.read_request()
        peer.send(stream_head() + chunk(b"data: one\n\n"))
        assert client.read_until(b"data: one\n\n")
        peer.send(chunk(b"data: two\n\n") + LAST_CHUNK)
        assert client.read_until(b"data: two\n\n")
    relay.wait_until_quiet()
    assert relay.rows()[0].outcome == "ok"


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/../chat/completions",
        "/v1/files/%2e%2e/admin",
        "/v1/files/%2E./admin",
        "/v1/files/.",
        "/v1/files//x",
        "/v1/files/a%2fb",
        "/v1/files/a%5Cb",
        "/v1/files/a\\b",
        "/v1/files/%252e%252e/x",
        "/v1/files/a%00b",
        "/v1/files/a%0d%0ab",
        "/v1/files/a%zz",
    ],
)
def test_a_path_that_might_lead_elsewhere_is_refused(
    relay: Running, up: AnsweringUpstream, path: str
) -> None:
    before = relay.mark()
    assert code(send(relay, "GET", path)) == (400, "bad_path")
    assert up.asked == []
    [row] = relay.new_rows(before)
    assert (row.operation, row.outcome) == ("other", "bad_request")


@pytest.mark.parametrize("path", ["/v1/filesystem", "/v1/file", "/v2/files", "/v1//files"])
def test_what_no_prefix_opens_is_unknown(relay: Running, up: AnsweringUpstream, path: str) -> None:
    assert code(send(relay, "GET", path)) == (404, "unknown_url")
    assert up.asked == []


def test_nothing_is_open_where_nobody_opened_it(start: Daemons) -> None:
    relay = start()
    assert code(send(relay, "GET", "/v1/files")) == (404, "unknown_url")


def test_what_relayd_knows_is_not_passed_through(start: Daemons, up: AnsweringUpstream) -> None:
    config = CONFIG.format(url=up.url).replace("/v1/files, /v1/things/", "/v1/models, /v1/files")
    relay = start(config)
    assert "m" in str(send(relay, "GET", "/v1/models").document)
    assert up.asked == []


@pytest.mark.parametrize("method", ["HEAD", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(relay: Running, up: AnsweringUpstream, method: str) -> None:
    assert send(relay, method, "/v1/files").status == 405
    assert up.asked == []


def test_the_endpoint_has_to_be_allowed_and_the_key_to_be_known(
    relay: Running, up: AnsweringUpstream
) -> None:
    relay.change_key(endpoints=("chat",))
    try:
        assert code(send(relay, "GET", "/v1/files")) == (403, "endpoint_not_allowed")
    finally:
        relay.change_key(endpoints=())
    with RawClient(relay.address) as client:
        client.send(request_bytes("/v1/files", b"", method="GET"))
        assert client.reply().status == 401
    assert up.asked == []


def test_a_key_for_single_models_may_pass_through(relay: Running) -> None:
    relay.change_key(models=("m",))
    try:
        assert send(relay, "GET", "/v1/files").status == 200
    finally:
        relay.change_key(models=())


def test_a_body_beyond_the_bound_is_refused(relay: Running, up: AnsweringUpstream) -> None:
    got = send(relay, "POST", "/v1/files", b"x" * (4 * 2**20 + 1))
    assert code(got) == (413, "request_too_large")
    assert up.asked == []


# --- what comes back ------------------------------------------------------------------------------


def test_the_row_says_who_asked_whom_and_that_it_cost_nothing(relay: Running) -> None:
    before = relay.mark()
    send(relay, "POST", "/v1/files", b"abc")
    [row] = relay.new_rows(before)
    assert (row.operation, row.outcome, row.status) == ("other", "ok", 200)
    assert (row.upstream, row.upstream_key, row.model_asked) == ("first", "1", "")
    assert (row.bytes_in, row.bytes_out, row.cost, row.usage_source) == (3, 11, 0, "none")


@pytest.mark.parametrize("status", ["200", "201", "206"])
def test_an_answer_passes_whatever_it_says(
    relay: Running, up: AnsweringUpstream, status: str
) -> None:
    up.answer = lambda _: reply(b'{"error":{"message":"of the batch"}}', status=status)
    got = send(relay, "GET", "/v1/files/1")
    assert (got.status, got.body) == (int(status), b'{"error":{"message":"of the batch"}}')


def test_a_clients_mistake_passes_and_the_upstreams_failure_is_none_of_success(
    relay: Running, up: AnsweringUpstream
) -> None:
    up.answer = lambda _: reply(b'{"error":{"message":"no such file"}}', status="404 Not Found")
    got = send(relay, "GET", "/v1/files/1")
    assert (got.status, got.document["error"]["message"]) == (404, "no such file")
    for told, seen in (("401", 502), ("500", 502), ("503", 503)):
        said = reply(b'{"error":"secret"}', status=told)
        up.answer = partial(_say, said)
        assert send(relay, "GET", "/v1/files/1").status == seen


def test_what_changes_something_is_not_sent_twice(relay: Running, up: AnsweringUpstream) -> None:
    up.answer = lambda _: reply(b"{}", status="500 Oops")
    assert send(relay, "POST", "/v1/files", b"{}").status == 502
    assert len(up.asked) == 1
    up.asked = []
    assert send(relay, "GET", "/v1/files").status == 502
    assert len(up.asked) == 2, "reading may be tried again"


def test_a_reply_that_breaks_off_is_cut_for_the_client_too(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    relay = start(CONFIG.format(url=upstream.url))
    with relay.connect() as client:
        client.send(request_bytes("/v1/files/1", b"", relay.auth, method="GET"))
        peer = upstream.accept()
        peer.read_request()
        peer.send(file_of(b"x" * 1000)[:-500])
        peer.close()
        assert not client.reply().whole
    relay.wait_until_quiet()
    assert relay.rows()[0].outcome == "broken_stream"


# --- with the SDK ---------------------------------------------------------------------------------


def test_the_sdk_keeps_files_and_batches(start: Daemons) -> None:
    demo = DemoServer(None)
    try:
        relay = start(SDK.format(url=demo.url))
        with openai.OpenAI(api_key=relay.key, base_url=f"{relay.url}/v1", max_retries=0) as client:
            file = client.files.create(file=("a.jsonl", b'{"x":1}\n' * 1000), purpose="batch")
            assert client.files.content(file.id).read() == b'{"x":1}\n' * 1000
            assert file.id in [one.id for one in client.files.list()]
            batch = client.batches.create(
                completion_window="24h", endpoint="/v1/responses", input_file_id=file.id
            )
            assert client.batches.retrieve(batch.id).input_file_id == file.id
            assert client.files.delete(file.id).deleted
    finally:
        demo.stop()
