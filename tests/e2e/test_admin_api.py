"""The admin API of a whole daemon: what it changes is in force when its answer arrives."""

from __future__ import annotations

from typing import Any

import orjson

from tests.conftest import Daemons
from tests.support.running import Running

ADMIN = "/admin/api"
CONFIG = 'demo: "on"\nadmin: {token: boss-of-all-bosses}\n'


def order(relay: Running, method: str, path: str, body: object = None) -> Any:
    sent = b"" if body is None else orjson.dumps(body)
    reply = relay.ask(
        ADMIN + path, sent, {"Authorization": "Bearer boss-of-all-bosses"}, method=method
    )
    assert reply.status < 300, reply.body
    return reply.document


def test_a_key_and_credit_count_at_once(start: Daemons) -> None:
    relay = start(CONFIG)
    order(relay, "POST", "/accounts", {"name": "alice"})
    made = order(relay, "POST", "/keys", {"name": "laptop", "account": "alice"})
    mine = {"Authorization": f"Bearer {made['secret']}"}
    order(relay, "POST", "/accounts/alice/credits", {"amount": "85.5"})
    credits = relay.ask("/api/v1/credits", headers=mine, method="GET")
    assert credits.document == {"data": {"balance": 85.5, "amount": 85.5}}
    order(relay, "PATCH", "/keys/laptop", {"disabled": True})
    assert relay.ask("/api/v1/credits", headers=mine, method="GET").status == 401


def test_a_token_that_is_made_opens_at_once_and_a_refused_one_nothing(start: Daemons) -> None:
    relay = start(CONFIG)
    secret = order(relay, "POST", "/tokens", {"name": "ops"})["secret"]
    mine = {"Authorization": f"Bearer {secret}"}
    assert relay.ask(f"{ADMIN}/accounts", headers=mine, method="GET").status == 200
    order(relay, "PATCH", "/tokens/ops", {"disabled": True})
    assert relay.ask(f"{ADMIN}/accounts", headers=mine, method="GET").status == 401
