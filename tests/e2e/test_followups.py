"""Follow-ups of responses: they reach the upstream key that holds the state, and nobody else's."""

from __future__ import annotations

import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest

from relayd.model import Entry
from relayd.relay.collecting import PATIENCE
from relayd.store.questions import NewKey
from tests.conftest import Daemons
from tests.support.answering import AnsweringUpstream
from tests.support.commands import Commands
from tests.support.demo_server import DemoServer
from tests.support.process import Process
from tests.support.raw_client import RawClient, Reply, request_bytes
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
prices:
  "*": {{input: 1, output: 2}}
responses: {{background: 2}}
upstreams:
  many: {{dialect: demo, base_url: "{url}", keys: [k-1, k-2, k-3, k-4], models: [m, "demo-*"]}}
  spare: {{dialect: demo, base_url: "{url}", key: k-9, tier: 2, models: [other, m]}}
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServer]:
    """A provider whose every credential has state of its own."""
    server = DemoServer(None)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def relay(start: Daemons, demo: DemoServer) -> Running:
    return start(CONFIG.format(url=demo.url))


@pytest.fixture(scope="module")
def stranger(relay: Running) -> dict[str, str]:
    """The headers of another account."""

    async def make() -> str:
        ask = NewKey("stranger", "strangers")
        _, secret = await relay.daemon.books.store.create_key(ask, now=0.0, actor="test")
        await relay.daemon.refresh_keys()
        return secret

    return {"Authorization": f"Bearer {relay.call(make)}"}


def make(relay: Running, text: object = "hello", **more: Any) -> Any:
    """A response, as its document."""
    got = relay.ask("/v1/responses", orjson.dumps({"model": "m", "input": text, **more}))
    assert got.status == 200, got.body
    return got.document


def get(relay: Running, path: str, method: str = "GET", **headers: str) -> Reply:
    return relay.ask(f"/v1/responses/{path}", b"", headers, method=method)


def error(got: Reply) -> tuple[int, str, str | None]:
    document = got.document["error"]
    return got.status, document["code"], document["param"]


def last(relay: Running) -> Entry:
    return relay.rows()[0]


# --- where it goes --------------------------------------------------------------------------------


def test_a_response_is_read_where_it_was_made_whoevers_turn_it_is(relay: Running) -> None:
    made = [make(relay, f"where {number}") for number in range(8)]
    keys = {row.upstream_key for row in relay.rows()[:8]}
    assert len(keys) > 1
    for one in made:
        for _ in range(2):
            got = get(relay, one["id"])
            assert (got.status, got.document["output"]) == (200, one["output"])


def test_its_input_is_listed_with_the_query_of_the_client(relay: Running) -> None:
    items = [{"role": "user", "content": f"part {number}"} for number in range(3)]
    made = make(relay, items)
    got = get(relay, f"{made['id']}/input_items?limit=2&order=asc&key=secret")
    assert got.status == 200
    assert [one["content"][0]["text"] for one in got.document["data"]] == ["part 0", "part 1"]
    assert got.document["has_more"]


def test_the_key_of_a_client_does_not_travel_in_the_query(relay: Running, demo: DemoServer) -> None:
    made = make(relay, "query")
    get(relay, f"{made['id']}?include[]=x&key={relay.key}&limit=1")
    seen = demo.provider.seen[-1]
    assert relay.key not in str(seen)
    assert "limit=1" in str(seen)


def test_a_response_is_streamed_again_from_an_event_on(relay: Running) -> None:
    made = make(relay, "again")
    got = get(relay, f"{made['id']}?stream=true&starting_after=3")
    assert got.headers["content-type"].startswith("text/event-stream")
    assert b'"sequence_number":3,' not in got.body
    assert b'"sequence_number":4,' in got.body
    assert b"response.completed" in got.body
    row = last(relay)
    assert (row.operation, row.stream, row.cost, row.usage_source) == ("follow_up", True, 0, "none")


def test_what_is_deleted_is_gone_here_too(relay: Running) -> None:
    made = make(relay, "delete me")
    assert get(relay, made["id"], "DELETE").document["deleted"] is True
    assert error(get(relay, made["id"])) == (404, "response_not_found", "response_id")
    assert error(get(relay, made["id"], "DELETE"))[0] == 404


def test_a_request_that_goes_on_from_a_response_goes_to_its_key(relay: Running) -> None:
    for number in range(6):
        made = make(relay, f"first {number}")
        first = last(relay)
        after = make(relay, "and then?", previous_response_id=made["id"])
        assert "before that" in orjson.dumps(after["output"]).decode()
        again = last(relay)
        assert (again.upstream, again.upstream_key) == (first.upstream, first.upstream_key)


def test_a_streamed_response_is_known_as_well(relay: Running) -> None:
    body = orjson.dumps({"model": "m", "input": "streamed", "stream": True})
    got = relay.ask("/v1/responses", body)
    id = next(
        orjson.loads(line[6:])["response"]["id"]
        for line in got.body.splitlines()
        if line.startswith(b"data: ")
    )
    assert get(relay, id).status == 200


def test_a_reply_too_large_to_hold_is_known_by_how_it_begins(start: Daemons) -> None:
    document = {"id": "resp_large", "object": "response", "output": "x" * 2**21}

    def answer(asked: Asked) -> bytes:
        return reply(orjson.dumps(document if asked.method == "POST" else {"id": "resp_large"}))

    up = AnsweringUpstream(answer)
    try:
        relay = start(CONFIG.format(url=up.url))
        make(relay, "large")
        assert get(relay, "resp_large").status == 200
        assert up.asked[-1].path == "/v1/responses/resp_large"
    finally:
        up.close()


# --- whose it is ----------------------------------------------------------------------------------


def test_another_accounts_response_is_not_there(
    relay: Running, stranger: dict[str, str], demo: DemoServer
) -> None:
    made = make(relay, "mine alone")
    asked = demo.provider.requests
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        got = get(relay, made["id"] + path, method, **stranger)
        assert error(got) == (404, "response_not_found", "response_id")
        assert made["id"] in got.document["error"]["message"]
    assert demo.provider.requests == asked, "no upstream hears of it"
    assert get(relay, made["id"]).status == 200


@pytest.mark.parametrize("id", ["resp_unknown", "x" * 600, "resp_other"])
def test_nobody_goes_on_from_what_is_unknown_or_another_accounts(
    relay: Running, stranger: dict[str, str], demo: DemoServer, id: str
) -> None:
    if id == "resp_other":
        id = make(relay, "not yours")["id"]
    asked = demo.provider.requests
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        body = orjson.dumps({"model": "m", "input": "and?", "previous_response_id": id})
        got = relay.ask(path, body, stranger)
        assert error(got) == (400, "previous_response_not_found", "previous_response_id")
    assert demo.provider.requests == asked


def test_a_conversation_that_was_made_elsewhere_is_nobodys(relay: Running) -> None:
    for conversation in ("conv_1", {"id": "conv_1"}):
        body = orjson.dumps({"model": "m", "input": "x", "conversation": conversation})
        got = relay.ask("/v1/responses", body)
        assert error(got) == (404, "conversation_not_found", "conversation")


def test_unknown_ids_may_be_trusted(start: Daemons, demo: DemoServer) -> None:
    relay = start(CONFIG.format(url=demo.url).replace("background: 2", "trust_unknown: on"))
    body = orjson.dumps({"model": "m", "input": "x", "previous_response_id": "resp_elsewhere"})
    got = relay.ask("/v1/responses", body)
    assert got.document["error"]["code"] == "previous_response_not_found"
    assert got.headers["x-relayd-upstream-request-id"], "the upstream said so"


def test_what_the_upstream_was_told_not_to_keep_is_not_known(relay: Running) -> None:
    made = make(relay, "not kept", store=False)
    assert error(get(relay, made["id"]))[0] == 404


def test_a_key_that_may_not_use_the_model_does_not_see_its_responses(relay: Running) -> None:
    made = make(relay, "restricted")
    relay.change_key(models=("other",))
    try:
        assert error(get(relay, made["id"]))[0] == 404
    finally:
        relay.change_key(models=())
    assert get(relay, made["id"]).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1"),
        ("GET", "/v1/responses/resp_1/nothing"),
        ("GET", "/v1/responses/a%2F..%2Fb"),
        ("GET", "/v1/responses/%2e%2e"),
        ("GET", "/v1/responses"),
    ],
)
def test_what_is_no_follow_up_is_an_unknown_url(relay: Running, method: str, path: str) -> None:
    got = relay.ask(path, b"", method=method)
    assert (got.status, got.document["error"]["code"]) == (404, "unknown_url")


# --- upstreams that are gone or fail --------------------------------------------------------------


def test_a_key_that_is_switched_off_says_so_and_one_that_is_gone_is_not_found(
    start: Daemons, demo: DemoServer
) -> None:
    relay = start(CONFIG.format(url=demo.url))
    made = make(relay, "where are you")
    where = last(relay)

    async def switch(on: bool) -> None:
        pools, now = relay.daemon.relay.pools, relay.loop.time()
        change = pools.enable if on else pools.disable
        change(where.upstream, where.upstream_key, now)

    relay.call(lambda: switch(False))
    got = get(relay, made["id"])
    assert (got.status, got.document["error"]["code"]) == (503, "no_upstream")
    body = orjson.dumps({"model": "m", "input": "and?", "previous_response_id": made["id"]})
    assert relay.ask("/v1/responses", body).status == 503, "nobody else has it"
    relay.call(lambda: switch(True))
    assert get(relay, made["id"]).status == 200
    text = relay.config_path.read_text()
    relay.config_path.write_text(
        text.replace("keys: [k-1, k-2, k-3, k-4]", "keys: [{key: n, name: n}]")
    )
    relay.call(relay.daemon.reload)
    got = get(relay, made["id"])
    assert error(got)[:2] == (404, "response_not_found")
    assert "not configured any more" in got.document["error"]["message"]
    got = relay.ask("/v1/responses", body)
    assert error(got) == (400, "previous_response_not_found", "previous_response_id")


def test_a_model_that_the_holder_does_not_serve_cannot_go_on(relay: Running) -> None:
    made = make(relay, "go on elsewhere")
    body = {"model": "other", "input": "x", "previous_response_id": made["id"]}
    got = relay.ask("/v1/responses", orjson.dumps(body))
    assert error(got) == (400, "previous_response_not_found", "previous_response_id")


def test_an_upstreams_failure_in_a_follow_up_is_no_success(relay: Running) -> None:
    made = make(relay, model="demo-later-503")
    got = get(relay, made["id"])
    assert got.status == 503
    row = last(relay)
    assert (row.operation, row.outcome, row.cost) == ("follow_up", "upstream_error", 0)
    assert row.model_asked == "demo-later-503"


# --- made in the background -----------------------------------------------------------------------


def costs(relay: Running, rows: int) -> list[tuple[str, bool]]:
    """What was asked, and whether it was paid for; the oldest first."""
    found = relay.rows()[:rows]
    return [(row.operation, bool(row.cost)) for row in reversed(found)]


def test_what_is_made_in_the_background_is_paid_for_once_by_who_sees_its_end(
    relay: Running,
) -> None:
    made = make(relay, "later", background=True)
    assert (made["status"], last(relay).usage_source) == ("queued", "none")
    statuses = [get(relay, made["id"]).document["status"] for _ in range(3)]
    assert statuses == ["in_progress", "completed", "completed"]
    paid = [("generate", False), ("follow_up", False), ("follow_up", True), ("follow_up", False)]
    assert costs(relay, 4) == paid
    row = relay.rows()[1]
    assert (row.usage_source, row.model_asked) == ("reported", "m")
    usage = row.usage
    assert row.cost == (usage.in_uncached or 0) * 10**6 + (usage.out_total or 0) * 2 * 10**6


def test_a_background_stream_that_is_heard_to_its_end_is_paid_for_there(relay: Running) -> None:
    body = orjson.dumps({"model": "m", "input": "bg stream", "background": True, "stream": True})
    got = relay.ask("/v1/responses", body)
    assert b"response.completed" in got.body
    assert costs(relay, 1) == [("generate", True)]
    id = orjson.loads(got.body.split(b"data: ", 1)[1].split(b"\n", 1)[0])["response"]["id"]
    assert get(relay, id).status == 200
    assert costs(relay, 1) == [("follow_up", False)]


@pytest.mark.parametrize("name", ["background", "store"])
@pytest.mark.parametrize("value", ["true", 1, 1.0, [], {}])
def test_how_it_is_made_is_said_clearly_or_refused(
    relay: Running, demo: DemoServer, name: str, value: object
) -> None:
    asked = demo.provider.requests
    got = relay.ask("/v1/responses", orjson.dumps({"model": "m", "input": "x", name: value}))
    assert error(got) == (400, "invalid_type", name)
    assert demo.provider.requests == asked


def test_what_its_reply_says_is_still_made_is_owed_whatever_was_asked(start: Daemons) -> None:
    queued = {"id": "resp_1", "object": "response", "status": "queued", "usage": None}
    done = {**queued, "status": "completed", "usage": USED}

    def answer(asked: Asked) -> bytes:
        return reply(orjson.dumps(queued if asked.method == "POST" else done))

    up = AnsweringUpstream(answer)
    try:
        relay = start(CONFIG.format(url=up.url))
        make(relay, "not asked for later")
        for _ in range(2):
            assert get(relay, "resp_1").status == 200
        rows = [(row.operation, row.cost) for row in relay.rows()]
        assert rows == [
            ("follow_up", 0),
            ("follow_up", 3 * 10**6 + 4 * 2 * 10**6),
            ("generate", 0),
        ]
    finally:
        up.close()


def test_an_account_owes_only_so_many_background_responses(relay: Running) -> None:
    made = [make(relay, f"owed {number}", background=True) for number in range(2)]
    body = orjson.dumps({"model": "m", "input": "one more", "background": True})
    got = relay.ask("/v1/responses", body)
    assert (got.status, got.document["error"]["code"]) == (429, "too_many_background_responses")
    for one in made:
        for _ in range(2):
            get(relay, one["id"])
    again = make(relay, "one more", background=True)
    assert get(relay, f"{again['id']}/cancel", "POST").document["status"] == "cancelled"
    assert get(relay, again["id"], "DELETE").status == 200


def event(kind: str, number: int, **response: object) -> bytes:
    """One event of a stream in the background, in an HTTP chunk."""
    whole = {"id": "resp_live", "object": "response", "background": True, **response}
    data = {"type": kind, "sequence_number": number, "response": whole}
    return chunk(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(data)))


CREATED = event("response.created", 0, status="in_progress", usage=None)
USED = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
COMPLETED = event("response.completed", 1, status="completed", usage=USED)
BACKGROUND = orjson.dumps({"model": "m", "input": "x", "background": True, "stream": True})


def test_a_response_is_known_while_the_stream_that_makes_it_goes_on(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    relay = start(CONFIG.format(url=upstream.url))
    before = relay.mark()
    with relay.connect() as maker, relay.connect() as reader:
        maker.send(request_bytes("/v1/responses", BACKGROUND, relay.auth))
        stream = upstream.accept()
        asked = stream.read_request()
        stream.send(stream_head() + CREATED)
        maker.read_until(b"resp_live")
        reader.send(request_bytes("/v1/responses/resp_live", b"", relay.auth, method="GET"))
        other = upstream.accept()
        again = other.read_request()
        assert (again.method, again.path) == ("GET", "/v1/responses/resp_live")
        assert again.headers["authorization"] == asked.headers["authorization"]
        done = {"id": "resp_live", "object": "response", "status": "completed", "usage": USED}
        other.send(reply(orjson.dumps(done)))
        assert reader.reply().document == done
        stream.send(COMPLETED + LAST_CHUNK)
        maker.read_until(b"response.completed")
    rows = relay.new_rows(before, 2)
    paid = {row.operation: row.cost for row in rows}
    assert paid == {"generate": 0, "follow_up": 3 * 10**6 + 4 * 2 * 10**6}, "once"


def test_a_client_that_leaves_its_background_stream_pays_what_it_came_to(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    relay = start(CONFIG.format(url=upstream.url))
    before = relay.mark()
    with relay.connect() as maker:
        maker.send(request_bytes("/v1/responses", BACKGROUND, relay.auth))
        stream = upstream.accept()
        stream.read_request()
        stream.send(stream_head() + CREATED)
        maker.read_until(b"resp_live")
    relay.wait_for(lambda: not relay.daemon.front.active)
    stream.send(COMPLETED + LAST_CHUNK)
    [row] = relay.new_rows(before)
    assert (row.outcome, row.cost) == ("client_gone", 3 * 10**6 + 4 * 2 * 10**6)


def test_a_background_stream_that_breaks_off_is_paid_for_in_full_when_it_is_read(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    relay = start(CONFIG.format(url=upstream.url))
    with relay.connect() as maker:
        maker.send(request_bytes("/v1/responses", BACKGROUND, relay.auth))
        stream = upstream.accept()
        stream.read_request()
        stream.send(stream_head() + CREATED)
        maker.read_until(b"resp_live")
        stream.close()
        maker.read_until(b"response.failed")
    [row] = relay.new_rows(0)
    assert (row.outcome, row.usage_source) == ("broken_stream", "estimated")
    whole = 300 * 10**6 + 400 * 2 * 10**6
    assert 0 < row.cost < whole, "what was seen"
    with relay.connect() as reader:
        reader.send(request_bytes("/v1/responses/resp_live", b"", relay.auth, method="GET"))
        peer = upstream.accept()
        peer.read_request()
        used = {"input_tokens": 300, "output_tokens": 400, "total_tokens": 700}
        peer.send(reply(orjson.dumps({"id": "resp_live", "object": "response", "usage": used})))
        assert reader.reply().status == 200
    assert sum(one.cost for one in relay.rows()) == whole, "and the rest"


def test_what_nobody_asks_for_is_asked_for_by_relayd_itself(
    start: Daemons, demo: DemoServer
) -> None:
    relay = start(CONFIG.format(url=demo.url))
    made = make(relay, "never looked at", background=True)
    at = relay.rows()[0].started_at

    def collect(moment: float) -> None:
        relay.call(lambda: relay.daemon.collecting.collect(moment))

    collect(at + PATIENCE - 1)
    assert len(relay.rows()) == 1, "a client has its time"
    collect(at + PATIENCE + 1)
    collect(at + PATIENCE + 2)
    collect(at + PATIENCE + 3)
    rows = relay.rows()
    assert [(row.operation, bool(row.cost)) for row in rows] == [
        ("follow_up", True),
        ("follow_up", False),
        ("generate", False),
    ]
    assert rows[0].key_id == rows[2].key_id
    assert get(relay, made["id"]).status == 200
    assert sum(bool(row.cost) for row in relay.rows()) == 1


def test_what_its_upstream_does_not_know_any_more_is_owed_no_longer(
    start: Daemons, demo: DemoServer
) -> None:
    relay = start(CONFIG.format(url=demo.url))
    made = make(relay, "thrown away", background=True)
    at = relay.rows()[0].started_at
    for owner in [owner for owner, id in demo.provider.shelf._kept if id == made["id"]]:
        demo.provider.shelf.drop(owner, made["id"])
    holdings = relay.daemon.books.holdings
    assert get(relay, made["id"]).status == 404
    assert len(holdings.debts(at + 1)) == 1, "it may not know it yet"
    relay.call(lambda: relay.daemon.collecting.collect(at + PATIENCE + 1))
    assert (len(holdings), holdings.debts(at + 1)) == (0, [])


def test_what_is_cancelled_is_paid_for_as_far_as_it_says(relay: Running) -> None:
    made = make(relay, "cancel me", background=True)
    assert get(relay, f"{made['id']}/cancel", "POST").document["status"] == "cancelled"
    assert costs(relay, 1) == [("follow_up", True)], "its prompt at least"
    account = relay.rows()[0].account_id
    assert account is not None
    assert relay.daemon.books.holdings.owed(account) == 0


def test_what_is_deleted_unseen_is_looked_at_before(relay: Running, demo: DemoServer) -> None:
    before, asked = relay.mark(), demo.provider.requests
    made = make(relay, "deleted unseen", background=True)
    assert get(relay, made["id"], "DELETE").document["deleted"] is True
    rows = relay.new_rows(before, 3)
    assert demo.provider.requests == asked + 3
    assert sorted((row.operation, bool(row.cost)) for row in rows) == [
        ("follow_up", False),  # the look: it is in progress
        ("follow_up", True),  # the deletion: its prompt
        ("generate", False),
    ]
    assert get(relay, made["id"]).status == 404


def test_a_stream_that_was_read_is_paid_for_however_it_is_ended(
    start: Daemons, upstream: ScriptedUpstream
) -> None:
    relay = start(CONFIG.format(url=upstream.url))
    delta = {"type": "response.output_text.delta", "sequence_number": 1, "delta": "word " * 400}
    with relay.connect() as maker, relay.connect() as other:
        maker.send(request_bytes("/v1/responses", BACKGROUND, relay.auth))
        stream = upstream.accept()
        stream.read_request()
        stream.send(stream_head() + CREATED)
        stream.send(chunk(b"data: %b\n\n" % orjson.dumps(delta)))
        maker.read_until(b"word word")
        other.send(request_bytes("/v1/responses/resp_live/cancel", b"{}", relay.auth))
        peer = upstream.accept()
        peer.read_request()
        done = {"id": "resp_live", "object": "response", "status": "cancelled", "usage": None}
        peer.send(reply(orjson.dumps(done)))
        assert other.reply().status == 200
        stream.send(LAST_CHUNK)
        maker.read_until(b"response.failed")
    assert sum(row.cost for row in relay.new_rows(0, 2)) > 400 * 2 * 10**6


def test_what_is_owed_stays_set_aside(start: Daemons, demo: DemoServer) -> None:
    relay = start(CONFIG.format(url=demo.url) + "groups: {default: {strict: on}}\n")
    balances = relay.daemon.books.till.admission.balances
    made = make(relay, "x" * 400, background=True, max_output_tokens=1000)
    row = relay.rows()[0]
    assert row.account_id is not None and row.key_id is not None
    parties = balances.account(row.account_id), balances.key(row.key_id)
    assert all(party.reserved >= 1000 * 2 * 10**6 for party in parties)
    for _ in range(2):
        get(relay, made["id"])
    assert [party.reserved for party in parties] == [0, 0]
    assert relay.rows()[0].cost > 0 and relay.rows()[0].uncharged == 0


# --- a restart ------------------------------------------------------------------------------------


class Served:
    """`relayd serve` as a process, again and again in one folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self._config, database = folder / "config.yaml", folder / "relayd.db"
        lines = 'demo: "off"\nledger: {interval: 30s}\n'
        with socket.create_server(("127.0.0.1", 0)) as found:
            self._address = "127.0.0.1", int(found.getsockname()[1])
        listen = f'listen: "127.0.0.1:{self._address[1]}"\n'
        self._config.write_text(listen + lines + CONFIG.format(url=url))
        secret = Commands(database).json("key", "create", "k")["secret"]
        self._auth = {"Authorization": f"Bearer {secret}"}

    def serve(self) -> Process:
        process = Process("serve", "--config", str(self._config))
        process.logged("listens on")
        return process

    def ask(self, path: str, method: str = "GET", **body: object) -> Reply:
        with RawClient(self._address) as client:
            data = orjson.dumps(body) if body else b""
            client.send(request_bytes(f"/v1/responses{path}", data, self._auth, method=method))
            return client.reply()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_known_and_what_is_owed_survives_the_end_of_the_process(
    demo: DemoServer, tmp_path: Path, end: signal.Signals
) -> None:
    served = Served(tmp_path, demo.url)
    ids = {}
    with served.serve() as process:
        for text in ("kept", "owed", "gone", "paid"):
            later = text in ("owed", "paid")
            got = served.ask("", "POST", model="m", input=text + str(end), background=later)
            ids[text] = got.document["id"]
        assert served.ask(f"/{ids['gone']}", "DELETE").status == 200
        for _ in range(2):
            served.ask(f"/{ids['paid']}")
        process.signal(end)
        process.exit_code()
    with served.serve() as process:
        assert served.ask(f"/{ids['kept']}").status == 200
        assert served.ask(f"/{ids['gone']}").status == 404
        for _ in range(3):
            for text in ("owed", "paid"):
                got = served.ask(f"/{ids[text]}")
                assert got.status == 200
        assert got.document["status"] == "completed"
        process.signal(signal.SIGTERM)
        process.exit_code()
    with closing(sqlite3.connect(tmp_path / "relayd.db")) as db:
        paid = db.execute("SELECT count(*) FROM usage WHERE cost > 0 AND operation = 'follow_up'")
        assert paid.fetchone() == (2,)
        assert db.execute("SELECT count(*) FROM holdings WHERE owed").fetchone() == (0,)


# --- with the SDK ---------------------------------------------------------------------------------


def test_the_sdk_finds_its_way(relay: Running) -> None:
    with openai.OpenAI(api_key=relay.key, base_url=f"{relay.url}/v1", max_retries=0) as client:
        made = client.responses.create(model="m", input="by the SDK")
        assert client.responses.retrieve(made.id).output_text == made.output_text
        with client.responses.retrieve(made.id, stream=True, starting_after=1) as events:
            assert [event.type for event in events][-1] == "response.completed"
        assert client.responses.input_items.list(made.id).data
        more = client.responses.create(model="m", input="more", previous_response_id=made.id)
        assert more.id != made.id
        client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(made.id)
        later = client.responses.create(model="m", input="later by the SDK", background=True)
        assert client.responses.cancel(later.id).status == "cancelled"
