"""Who may use what, from where, and until when: over real sockets, each refusal in its own words.

What a key may not have looks like what does not exist: a model outside its list is a 404 in the
words of an unknown one, and stands in no list. Where a client comes from is believed of the
connection, and of `X-Forwarded-For` only behind a proxy that the operator trusts.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.conftest import Daemons
from tests.support.answering import AnsweringUpstream
from tests.support.customers import NOW, Customer
from tests.support.raw_client import Reply
from tests.support.running import Running
from tests.support.scripted_upstream import Asked, reply
from tests.support.speech import SPEECHES, Speech, error_of

CONFIG = """\
demo: "on"
groups:
  some: {models: [alpha, "demo*", "beta-*"]}
  embedders: {endpoints: [embeddings]}
  nothing: {models: []}
upstreams:
  up:
    dialect: relay
    base_url: "http://127.0.0.1:9"
    models: [alpha, beta-1, beta-2, gamma]
  other:
    dialect: relay
    base_url: "http://127.0.0.1:9"
    models: [claude-only]
    formats: [messages]
    translate: false
"""
CHAT = SPEECHES["chat"]
EMBEDDING = orjson.dumps({"model": "demo-embedding", "input": "hi"})


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


def message(speech: Speech, answer: Reply, status: int) -> str:
    """What an error says, in the format's own shape."""
    assert answer.status == status, answer.body
    return error_of(speech.format, answer.document)[1]


# --- models ---------------------------------------------------------------------------------------


def test_a_model_outside_the_list_is_a_404_in_the_words_of_an_unknown_one(
    relay: Running, speech: Speech
) -> None:
    for customer in (Customer(relay, "some"), Customer(relay, models=("alpha", "demo"))):
        forbidden = customer.ask(speech, "gamma")
        unknown = customer.ask(speech, "nobody-has-it")
        said = message(speech, forbidden, 404).replace("gamma", "nobody-has-it")
        assert said == message(speech, unknown, 404)
        row = customer.row(forbidden)
        assert (row.outcome, row.error_code, row.cost) == ("refused", "model_not_found", 0)
        assert row.upstream == ""
        assert customer.ask(speech, "demo").status == 200


def test_a_key_only_narrows_what_its_group_has(relay: Running) -> None:
    customer = Customer(relay, "some", models=("gamma", "beta-2", "demo"))

    assert listed(customer) == {"beta-2", "demo"}
    assert customer.ask(CHAT, "gamma").status == 404
    assert customer.ask(CHAT, "demo").status == 200


def listed(customer: Customer) -> set[str]:
    """What the model list has for a customer, of what is not the demo provider's own."""
    answer = customer.get("/v1/models")
    assert answer.status == 200
    names = {one["id"] for one in answer.document["data"]}
    return {name for name in names if name == "demo" or not name.startswith("demo")}


def test_the_lists_of_models_hold_what_the_key_may_use_and_nothing_else(relay: Running) -> None:
    assert listed(Customer(relay)) == {
        *("alpha", "beta-1", "beta-2", "gamma", "demo", "claude-only")
    }
    assert listed(Customer(relay, "some")) == {"alpha", "beta-1", "beta-2", "demo"}
    customer = Customer(relay, "some", models=("beta-*",))
    assert listed(customer) == {"beta-1", "beta-2"}
    assert listed(Customer(relay, models=("nothing-like-it",))) == set()
    google = customer.get("/v1beta/models").document["models"]
    assert {one["name"] for one in google} == {"models/beta-1", "models/beta-2"}


@pytest.mark.parametrize("path", ["/v1/models/{}", "/v1beta/models/{}"])
def test_one_model_is_told_of_only_to_who_may_use_it(relay: Running, path: str) -> None:
    customer = Customer(relay, "some", models=("beta-*", "demo-50*"))

    assert customer.get(path.format("beta-1")).status == 200
    assert customer.get(path.format("demo-500")).status == 200, "by a wildcard of the upstream"
    for name in ("alpha", "gamma", "demo", "nobody-has-it"):
        assert customer.get(path.format(name)).status == 404


def test_an_account_whose_group_is_gone_may_do_nothing_and_is_told_why(relay: Running) -> None:
    answer = Customer(relay, "no-such-group").ask(CHAT, "demo")

    assert "its group is not configured" in message(CHAT, answer, 403)
    assert answer.document["error"]["code"] == "group_unknown"


def test_a_model_outside_the_list_is_not_known_by_its_formats_either(relay: Running) -> None:
    answer = Customer(relay, models=("alpha",)).ask(CHAT, "claude-only")

    assert "does not exist or you do not have access" in message(CHAT, answer, 404)
    assert Customer(relay).ask(CHAT, "claude-only").status == 400


# --- endpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize("whose", ["key", "group"])
def test_an_endpoint_that_is_not_allowed_is_a_403(
    relay: Running, speech: Speech, whose: str
) -> None:
    customer = (
        Customer(relay, endpoints=("embeddings",))
        if whose == "key"
        else Customer(relay, "embedders")
    )
    answer = customer.ask(speech, "demo")

    assert "may not be used for chat" in message(speech, answer, 403)
    row = customer.row(answer)
    assert (row.outcome, row.error_code) == ("refused", "endpoint_not_allowed")
    assert row.operation == "generate"
    assert relay.ask("/v1/embeddings", EMBEDDING, customer.auth).status == 200


def test_who_may_only_chat_gets_no_embeddings(relay: Running) -> None:
    customer = Customer(relay, endpoints=("chat",))

    assert relay.ask("/v1/embeddings", EMBEDDING, customer.auth).status == 403
    assert customer.ask(CHAT, "demo").status == 200


# --- addresses ------------------------------------------------------------------------------------

HOME = "192.0.2.7"
FORWARDED = {
    "the client": (HOME, 200),
    "another": ("198.51.100.9", 403),
    "a liar: what the proxy saw comes last": (f"{HOME}, 198.51.100.9", 403),
    "a chain: what lies left of the client is hearsay": (f"198.51.100.9, {HOME}", 200),
    "through two proxies of ours": (f"{HOME}, 10.1.2.3, 127.0.0.5", 200),
    "with a port": (f"{HOME}:5678", 200),
    "IPv6": ("2001:db8::7", 200),
    "another IPv6": ("2001:db9::7", 403),
    "garbage": ("unknown", 403),
    "nothing": ("", 403),
}


@pytest.fixture(scope="module")
def behind_a_proxy(start: Daemons) -> Running:
    return start('demo: "on"\ntrusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n')


@pytest.mark.parametrize("way", FORWARDED)
def test_behind_a_trusted_proxy_the_client_is_whom_it_names(
    behind_a_proxy: Running, way: str
) -> None:
    forwarded, status = FORWARDED[way]
    customer = Customer(behind_a_proxy, addresses=("192.0.2.0/24", "2001:db8::/32"))

    answer = customer.ask(CHAT, "demo", headers={"X-Forwarded-For": forwarded})

    assert answer.status == status
    if status == 403:
        assert answer.document["error"]["code"] == "address_not_allowed"


def test_nobody_is_believed_whom_the_operator_does_not_trust(
    relay: Running, speech: Speech
) -> None:
    customer = Customer(relay, addresses=("192.0.2.0/24",))
    for headers in ({}, {"X-Forwarded-For": HOME}, {"X-Real-IP": HOME}, {"Forwarded": HOME}):
        answer = customer.ask(speech, "demo", headers=headers)
        assert "may not be used from your address" in message(speech, answer, 403)
    at_home = Customer(relay, addresses=("127.0.0.1/32",))
    assert at_home.ask(speech, "demo", headers={"X-Forwarded-For": HOME}).status == 200


def test_lists_and_account_pages_ask_for_the_address_too(relay: Running) -> None:
    away = Customer(relay, addresses=("192.0.2.0/24",))
    for path in ("/v1/models", "/v1/models/demo", "/api/v1/credits", "/v1/usage"):
        assert relay.ask(path, headers=away.auth, method="GET").status == 403


# --- time -----------------------------------------------------------------------------------------


def test_an_expired_key_is_a_401(relay: Running, speech: Speech) -> None:
    customer = Customer(relay, expires_at=NOW + 1)
    answer = customer.ask(speech, "demo")

    assert message(speech, answer, 401) == "This API key has expired."
    assert customer.row(answer).outcome == "refused"
    assert customer.get("/v1/models").status == 401
    assert Customer(relay, expires_at=4e9).ask(speech, "demo").status == 200


def test_a_disabled_key_or_account_is_a_401_from_the_next_request_on(relay: Running) -> None:
    customer, other = Customer(relay), Customer(relay)
    assert customer.ask(CHAT, "demo").status == other.ask(CHAT, "demo").status == 200

    customer.change(disabled=True)
    other.change_account(disabled=True)

    assert message(CHAT, customer.ask(CHAT, "demo"), 401) == "This API key is disabled."
    assert "account" in message(CHAT, other.ask(CHAT, "demo"), 401)


def test_a_rotated_key_is_the_same_key_and_the_old_secret_works_as_long_as_was_said(
    relay: Running,
) -> None:
    customer = Customer(relay)
    first = customer.row(customer.ask(CHAT, "demo"))
    old = customer.auth

    customer.rotate(grace=0.0)

    path, body = CHAT.ask("demo")
    assert relay.ask(path, body, old).status == 401
    assert customer.row(customer.ask(CHAT, "demo")).key_id == first.key_id


# --- prices ---------------------------------------------------------------------------------------

PRICED = """\
demo: "on"
unpriced: refuse
prices: {"demo-*": {input: 1, output: 2}}
"""


@pytest.fixture(scope="module")
def priced(start: Daemons) -> Running:
    return start(PRICED)


def test_a_model_without_a_price_is_refused_where_that_is_configured(
    priced: Running, speech: Speech
) -> None:
    customer = Customer(priced)
    answer = customer.ask(speech, "demo")

    assert "has no price here" in message(speech, answer, 403)
    row = customer.row(answer)
    assert (row.error_code, row.cost, row.upstream) == ("model_not_priced", 0, "")
    assert customer.ask(speech, "demo-reasoning").status == 200


def test_a_model_without_a_price_is_free_otherwise(relay: Running, speech: Speech) -> None:
    customer = Customer(relay)

    assert customer.row(customer.ask(speech, "demo")).cost == 0


# --- fallbacks ------------------------------------------------------------------------------------

FALLING_BACK = """\
demo: "off"
prices:
  main: {{input: 1, output: 1}}
  spare: {{input: 2, output: 2}}
unpriced: {unpriced}
routing:
  retries: {{attempts: 5}}
  breaker: {{enabled: off}}
  longest_cooldown: 0
  models: {{main: {{fallbacks: [{fallbacks}]}}}}
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: [main, spare, free-for-all]}}
"""


def _only_main_fails(asked: Asked) -> bytes:
    if orjson.loads(asked.body)["model"] == "main":
        return reply(b"{}", status="500 No")
    return reply(CHAT.reply)


def falling_back(start: Daemons, url: str, **more: Any) -> Running:
    usual = {"unpriced": "free", "fallbacks": "spare"}
    return start(FALLING_BACK.format(url=url, **{**usual, **more}))


def test_a_fallback_that_the_key_may_not_use_is_not_taken_and_one_it_may_is_paid_at_its_own_price(
    start: Daemons,
) -> None:
    with AnsweringUpstream(_only_main_fails) as upstream:
        relay = falling_back(start, upstream.url)
        narrow, wide = Customer(relay, models=("main",)), Customer(relay)

        refused = narrow.ask(CHAT, "main")
        assert refused.status == 502
        assert {asked.document["model"] for asked in upstream.asked} == {"main"}
        assert narrow.row(refused).cost == 0

        answer = wide.ask(CHAT, "main")
        assert (answer.status, answer.headers["x-relayd-model"]) == (200, "spare")
        row = wide.row(answer)
        assert (row.model_asked, row.model_used) == ("main", "spare")
        assert row.cost == (5 + 7) * 2 * 10**6


def test_a_fallback_without_a_price_is_not_taken_where_such_are_refused(start: Daemons) -> None:
    with AnsweringUpstream(_only_main_fails) as upstream:
        relay = falling_back(start, upstream.url, unpriced="refuse", fallbacks="free-for-all")
        customer = Customer(relay)

        answer = customer.ask(CHAT, "main")

        assert answer.status == 502
        assert {asked.document["model"] for asked in upstream.asked} == {"main"}
        assert customer.row(answer).cost == 0
