"""/metrics of a whole daemon, part by part: what is not text, sessions, uploads, keys in trouble,
accounts, captures, reloads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import orjson
import pytest

from tests.conftest import Daemons
from tests.support import forms
from tests.support.answering import Answer, AnsweringUpstream
from tests.support.customers import Customer
from tests.support.exposition import Growth, scraped
from tests.support.raw_client import request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import Asked, ScriptedUpstream, reply
from tests.support.sessions import Talk
from tests.support.speech import SPEECHES

CONFIG = """\
demo: "on"
capture: {keys: [test], largest: 4KiB}
prices: {"demo*": {input: 3, output: 15}}
"""
UPSTREAM = "  {0}: {{dialect: relay, base_url: 'URL', key: k, models: [{0}]}}\n"
BROKEN = f"""\
demo: "off"
routing: {{retries: {{attempts: 1}}, breaker: {{consecutive: 3, open_for: 60s}}}}
upstreams:
  dead: {{dialect: relay, base_url: "http://127.0.0.1:9", key: k, models: [unreachable]}}
{"".join(UPSTREAM.format(name) for name in ("fails", "limited", "forbidden"))}"""
RACE = """\
demo: "off"
routing: {{hedge: on}}
upstreams:
  slow: {{dialect: relay, base_url: "{slow}", key: k, models: [m], tier: 1}}
  quick: {{dialect: relay, base_url: "{quick}", key: k, models: [m], tier: 2}}
"""
ONE = """\
demo: "off"
upstreams:
  up: {{dialect: relay, base_url: "{url}", key: k, models: [m]}}
"""
CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@pytest.fixture
def growth(relay: Running) -> Growth:
    return Growth(relay)


def test_pictures_and_characters_are_units(relay: Running, growth: Growth) -> None:
    drawn = {"model": "demo-image", "prompt": "a cat", "n": 2, "response_format": "b64_json"}
    assert relay.ask("/v1/images/generations", orjson.dumps(drawn)).status == 200
    spoken = {"model": "demo-tts", "voice": "alloy", "input": "Hello, world!"}
    assert relay.ask("/v1/audio/speech", orjson.dumps(spoken)).status == 200
    ranked = {"model": "demo-rerank", "query": "a", "documents": ["a", "b"]}
    assert relay.ask("/v1/rerank", orjson.dumps(ranked)).status == 200
    assert growth.of("relayd_units_total", unit="images") == 2
    assert growth.of("relayd_units_total", unit="characters") == 13
    assert growth.of("relayd_units_total", unit="searches") == 1
    assert growth.of("relayd_requests_total", operation="image", outcome="ok") == 1
    assert growth.of("relayd_requests_total", operation="speech", outcome="ok") == 1


def test_uploads_count_by_their_bytes(relay: Running, growth: Growth) -> None:
    body = forms.form(forms.model("demo-whisper"), forms.audio(bytes(300_000)))
    assert relay.ask("/v1/audio/transcriptions", body, forms.HEADERS).status == 200
    assert growth.of("relayd_received_bytes_total", operation="transcribe") == len(body)
    assert growth.of("relayd_sent_bytes_total", operation="transcribe") > 0
    assert scraped(relay).value("relayd_spooled_bytes") == 0  # of the one that has ended


def test_sessions_are_seen_while_they_are_open_and_when_they_end(
    relay: Running, growth: Growth
) -> None:
    with Talk(relay) as talk:
        talk.respond()
        assert scraped(relay).value("relayd_realtime_open_sessions") == 1
    name = "relayd_realtime_session"
    assert relay.wait_for(lambda: growth.of(f"{name}s_total", by="client", outcome="ok"))
    assert growth.of(f"{name}s_total") == growth.of(f"{name}_duration_seconds_count") == 1
    assert scraped(relay).value("relayd_realtime_open_sessions") == 0
    assert growth.of("relayd_requests_total", operation="realtime", status="2xx") == 1
    assert growth.of("relayd_requests_total", operation="realtime", status="1xx") == 1
    way = {"operation": "realtime"}
    assert growth.of("relayd_request_duration_seconds_count", **way) == 1  # of the response alone


def test_accounts_show_what_they_paid_and_what_is_left(relay: Running, growth: Growth) -> None:
    customer = Customer(relay, credit="5")
    assert customer.ask(CHAT, "demo").status == 200
    seen = scraped(relay)
    paid = growth.of("relayd_cost_dollars_total")
    assert paid > 0
    account = {"account": customer.name}
    assert seen.value("relayd_account_cost_dollars_total", **account) == pytest.approx(paid)
    assert seen.value("relayd_account_balance_dollars", **account) == pytest.approx(5 - paid)


def test_captures_are_counted(relay: Running, growth: Growth) -> None:
    relay.ask(*CHAT.ask("demo"))
    assert relay.wait_for(lambda: growth.of("relayd_captures_total", result="kept"))
    assert growth.of("relayd_captures_total", result="lost") == 0


def test_a_reload_is_seen_and_one_that_failed_stays_seen(relay: Running, growth: Growth) -> None:
    good = relay.config_path.read_text()
    relay.config_path.write_text(f"{good}nonsense: 1\n")
    relay.call(relay.daemon.reload)
    assert growth.of("relayd_config_reloads_total", result="failure") == 1
    assert scraped(relay).value("relayd_config_last_reload_successful") == 0
    relay.config_path.write_text(good)
    relay.call(relay.daemon.reload)
    assert growth.of("relayd_config_reloads_total", result="success") == 1
    assert scraped(relay).value("relayd_config_last_reload_successful") == 1


# --- keys in trouble ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upstream() -> Iterator[AnsweringUpstream]:
    """One that can be told how to fail."""
    upstream = AnsweringUpstream(failing(500))
    yield upstream
    upstream.close()


def failing(status: int, *headers: str) -> Callable[[Asked], bytes]:
    return lambda asked: reply(b'{"error": {"message": "no"}}', *headers, status=f"{status} X")


@pytest.fixture(scope="module")
def broken(start: Daemons, upstream: AnsweringUpstream) -> Running:
    return start(BROKEN.replace("URL", upstream.url))


@pytest.mark.parametrize(
    ("model", "answer", "state"),
    [
        ("fails", failing(500), "open"),
        ("limited", failing(429, "retry-after: 60"), "cooling"),
        ("forbidden", failing(403), "refused"),
    ],
)
def test_a_key_is_seen_to_be_in_trouble_by_its_models(
    broken: Running, upstream: AnsweringUpstream, model: str, answer: Answer, state: str
) -> None:
    """As many models as there are may be in trouble; a key is as the best of them."""
    upstream.answer = answer
    names = {"upstream": model, "key": "1"}
    assert scraped(broken).value("relayd_upstream_key_up", **names) == 1
    for _ in range(4):
        broken.ask(*CHAT.ask(model))
    seen = scraped(broken)
    assert seen.value("relayd_upstream_key_up", **names) == 0
    assert seen.value("relayd_upstream_key_state", **names, state=state) == 1
    assert seen.value("relayd_upstream_key_troubled_models", **names, state=state) == 1
    assert seen.total("relayd_upstream_key_cooldown_seconds", **names) > 0
    assert seen.total("relayd_upstream_attempts_total", **names) >= 1


def test_what_cannot_be_connected_to_is_seen(broken: Running) -> None:
    broken.ask(*CHAT.ask("unreachable"))
    names = {"upstream": "dead", "key": "1"}
    assert scraped(broken).value("relayd_upstream_key_state", **names, state="open") == 1
    code = "upstream_unreachable"
    assert scraped(broken).total("relayd_upstream_attempts_total", **names, result=code) == 1


# --- two attempts beside each other ---------------------------------------------------------------


@pytest.fixture
def scripted() -> Iterator[Callable[[], ScriptedUpstream]]:
    """Makes upstreams by hand, and closes them."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(ScriptedUpstream()))


def test_of_a_race_both_attempts_are_counted(
    start: Daemons, scripted: Callable[[], ScriptedUpstream]
) -> None:
    slow, quick = scripted(), scripted()
    relay = start(RACE.format(slow=slow.url, quick=quick.url))

    async def usually() -> None:
        for _ in range(30):
            relay.daemon.relay.pools.doors["slow/1"].quantiles.observe(0.01)

    relay.call(usually)
    growth = Growth(relay)
    with relay.connect() as client:
        path, body = CHAT.ask("m")
        client.send(request_bytes(path, body, relay.auth))
        peers = slow.accept(), quick.accept()
        for peer in peers:
            peer.read_request()
        peers[1].send(reply(CHAT.reply))
        assert client.reply().status == 200
    assert growth.of("relayd_hedges_total", won_by="second") == 1
    attempts = "relayd_upstream_attempts_total"
    assert growth.of(attempts, upstream="quick", result="ok") == 1
    assert relay.wait_for(lambda: growth.of(attempts, upstream="slow", result="lost_race")) == 1


def test_an_attempt_whose_client_left_is_counted(
    start: Daemons, scripted: Callable[[], ScriptedUpstream]
) -> None:
    upstream = scripted()
    relay = start(ONE.format(url=upstream.url))
    growth = Growth(relay)
    with relay.connect() as client:
        path, body = CHAT.ask("m", stream=True)
        client.send(request_bytes(path, body, relay.auth))
        upstream.accept().read_request()
    attempts = "relayd_upstream_attempts_total"
    assert relay.wait_for(lambda: growth.of(attempts, result="client_gone")) == 1
