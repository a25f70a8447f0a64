"""The front's own part: request ids, the memory of routes, the shape of lists."""

from __future__ import annotations

from relayd.web.server import ROUTES_REMEMBERED, new_request_id
from tests.conftest import Daemons
from tests.support.raw_client import request_bytes


def test_request_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert {len(one) for one in ids} == {len("req_") + 12 + 16}
    times = [one[4:16] for one in ids]
    assert times == sorted(times)


def test_the_memory_of_routes_is_bounded_and_holds_no_key(start: Daemons) -> None:
    relay = start('demo: "on"\n')
    with relay.connect() as client:
        for number in range(ROUTES_REMEMBERED + 50):
            path = f"/v1beta/models/m{number}:countTokens"
            client.send(request_bytes(path, b"", {"x-api-key": "nobody"}))
            client.reply()
        path = f"/v1beta/models/demo:generateContent?key={relay.key}"
        client.send(request_bytes(path, b'{"contents":[]}'))
        client.reply()
    routes = relay.daemon.front._routes
    assert len(routes) <= ROUTES_REMEMBERED
    assert relay.key not in repr(routes)


def test_more_connections_than_allowed_are_turned_away(start: Daemons) -> None:
    relay = start('demo: "on"\nlimits: {max_connections: 2}\n')
    with relay.connect() as one, relay.connect() as two:
        for client in (one, two):
            client.send(request_bytes("/healthz", method="GET"))
            assert client.reply().status == 200
        with relay.connect() as third:
            assert third.read_all().startswith(b"HTTP/1.1 503 ")
        one.send(request_bytes("/healthz", method="GET"))
        assert one.reply().status == 200
