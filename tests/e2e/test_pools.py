"""Pools through the whole daemon: whose turn it is, who is left alone, who comes back, who waits.

The rules are tested in tests/policy; here it is that a daemon keeps them over real sockets, for
what an operator can write into the file. The breaker is open for an hour wherever it opens, so
nothing comes back by itself that is not meant to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from relayd.model import Entry
from relayd.policy.reports import DoorReport
from relayd.store.questions import NewKey
from tests.conftest import Daemons
from tests.support.answering import AnsweringUpstream, credential
from tests.support.logged import lines
from tests.support.proxies import FakeProxy
from tests.support.raw_client import RawClient, Reply, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import (
    LAST_CHUNK,
    Asked,
    Peer,
    ScriptedUpstream,
    chunk,
    dead_port,
    reply,
    stream_head,
)
from tests.support.speech import SPEECHES, Speech, error_of

CHAT, RESPONSES = SPEECHES["chat"], SPEECHES["responses"]
SPEECH_OF_PATH = {
    SPEECHES[name].path("any", False): SPEECHES[name] for name in ("chat", "messages")
}
BREAKER = "breaker: {consecutive: 1, open_for: 1h, longest: 1h}"
ALONE = "affinity: {enabled: off}"
AFFINE = "affinity: {enabled: on}"
ADMIN = {"admin_token": "an-admin-token"}

Begin = Callable[..., Running]
Upstreams = Callable[..., AnsweringUpstream]


@pytest.fixture
def begin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begin]:
    """Starts a daemon from the lines under `upstreams:` and those of `routing:`; nothing may be
    left of its requests, and it is stopped after the test."""
    daemons = Daemons(lambda: tmp_path_factory.mktemp("relayd"))

    def start(upstreams: str, *routing: str, **more: str) -> Running:
        return daemons(config_of(upstreams, *routing), **more)

    yield start
    for running in daemons.running:
        assert running.left_over() == []
    daemons.stop()


@pytest.fixture
def answering() -> Iterator[Upstreams]:
    """Makes upstreams that answer; well, unless they are told otherwise."""
    made: list[AnsweringUpstream] = []

    def make(answer: Callable[[Asked], bytes] | None = None) -> AnsweringUpstream:
        made.append(AnsweringUpstream(answer or well))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def scripted() -> Iterator[Callable[[], ScriptedUpstream]]:
    """Makes upstreams whose every byte the test decides."""
    made: list[ScriptedUpstream] = []

    def make() -> ScriptedUpstream:
        made.append(ScriptedUpstream())
        return made[-1]

    yield make
    for one in made:
        one.close()


def config_of(upstreams: str, *routing: str) -> str:
    lines = "".join(f"  {line}\n" for line in upstreams.strip("\n").splitlines())
    rules = "".join(f"  {line}\n" for line in routing or (ALONE,))
    return f'demo: "off"\nupstreams:\n{lines}routing:\n{rules}'


def spec(name: str, url: str, *more: str, models: str = '["*"]', key: str = "") -> str:
    """The lines of one upstream."""
    given = {line.partition(":")[0] for line in more}
    usual = [f"base_url: {url}"] if "base_urls" not in given else []
    usual += [f"key: {key or name}-secret"] if "keys" not in given else []
    lines = ["dialect: relay", f"models: {models}", *usual, *more]
    return "\n".join([f"{name}:", *(f"  {line}" for line in lines), ""])


# --- what upstreams answer --------------------------------------------------------------


def well(asked: Asked) -> bytes:
    speech = SPEECH_OF_PATH.get(asked.path, CHAT)
    if asked.document.get("stream"):
        return stream_head() + chunk(speech.stream) + LAST_CHUNK
    return reply(speech.reply)


def failing(status: int, *headers: str) -> Callable[[Asked], bytes]:
    def fail(asked: Asked) -> bytes:
        return reply(b'{"error": {"message": "no"}}', *headers, status=f"{status} X")

    return fail


def only_for(secret: str, answer: Callable[[Asked], bytes]) -> Callable[[Asked], bytes]:
    """One key is answered so, the others well."""
    return lambda asked: (answer if credential(asked) == secret else well)(asked)


# --- what is asked of the daemon --------------------------------------------------------


def ask(
    relay: Running, model: str = "m", *, speech: Speech = CHAT, stream: bool = False, **more: Any
) -> tuple[Reply, Entry]:
    """One request and its row. `headers` is not part of the body."""
    headers = more.pop("headers", None)
    path, body = speech.ask(model, stream=stream, **more)
    got = relay.ask(path, body, headers)
    return got, relay.row(got.headers["x-request-id"])


def ask_often(relay: Running, times: int, model: str = "m", **more: Any) -> None:
    """That many requests on one connection, all of them answered well."""
    path, body = CHAT.ask(model, **more)
    with relay.connect() as client:
        for _ in range(times):
            client.send(request_bytes(path, body, relay.auth))
            assert client.reply().status == 200


def reports(relay: Running) -> dict[str, DoorReport]:
    async def look() -> list[DoorReport]:
        return relay.daemon.relay.pools.report(relay.loop.time())

    return {one.name: one for one in relay.call(look)}


def states(relay: Running) -> dict[str, str]:
    """How each key stands; where it is up, how the worst off of its models does."""
    return {
        name: one.models[0][1] if one.state == "up" and one.models else one.state
        for name, one in reports(relay).items()
    }


def operate(relay: Running, what: str) -> Any:
    """What the operator asks for by the admin API, answered."""
    headers = {"Authorization": f"Bearer {ADMIN['admin_token']}"}
    got = relay.ask(f"/admin/api/upstreams/{what}", headers=headers)
    assert got.status == 200, got.body
    return got.document


def waiting(relay: Running, number: int) -> None:
    """Wait until so many requests are in the waiting room."""
    lobby = relay.daemon.relay.lobby
    assert relay.wait_for(lambda: lobby.waiting == number), lobby


TWO_KEYS = "keys: [one, two]"


# --- shares -----------------------------------------------------------------------------


def test_weights_of_upstreams_and_keys_are_kept_exactly(begin: Begin, answering: Upstreams) -> None:
    up = answering()
    keys = "keys: [{key: a-three, weight: 3}, {key: a-two, weight: 2}]"
    relay = begin(
        spec("a", up.url, keys, "weight: 5")
        + spec("b", up.url, "weight: 3")
        + spec("c", up.url, "weight: 2"),
    )
    for _ in range(3):
        ask_often(relay, 50)
        shares = {"a-three": 15, "a-two": 10, "b-secret": 15, "c-secret": 10}
        assert up.shares() == shares


def test_the_cheapest_is_asked_and_the_next_one_when_it_fails(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering()
    relay = begin(
        spec("dear", up.url, models="{m: {cost: 3.5}}")
        + spec("cheap", up.url, models="{m: {cost: 0.5}}"),
        "strategy: cheapest",
        BREAKER,
        ALONE,
    )
    ask_often(relay, 4)
    assert up.shares() == {"cheap-secret": 4}
    up.answer = only_for("cheap-secret", failing(503))
    ask_often(relay, 3)
    assert up.shares() == {"cheap-secret": 1, "dear-secret": 3}


@pytest.mark.parametrize("strategy", ["least_busy", "fastest"])
def test_a_key_that_is_slow_to_end_is_not_given_more(
    begin: Begin, scripted: Callable[[], ScriptedUpstream], answering: Upstreams, strategy: str
) -> None:
    slow, quick = scripted(), answering()
    relay = begin(
        spec("slow", slow.url, "tier: 1") + spec("quick", quick.url), f"strategy: {strategy}", ALONE
    )

    async def feed() -> None:
        for name, seconds in (("slow/1", 3.0), ("quick/1", 0.01)):
            relay.daemon.relay.pools.doors[name].first_byte.observe(seconds, relay.loop.time())

    relay.call(feed)
    path, body = CHAT.ask("m")
    with relay.connect() as client:
        if strategy == "least_busy":
            for _ in range(2):  # one of the two reaches the slow one, which keeps it
                client.send(request_bytes(path, body, relay.auth))
                if slow.called_again(0.05):
                    break
                assert client.reply().status == 200
        quick.keys()
        ask_often(relay, 6)
        assert len(quick.keys()) == 6


# --- several keys -----------------------------------------------------------------------


def test_a_rate_limited_key_is_left_alone_until_it_said_and_comes_back(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering(only_for("one", failing(429, "retry-after-ms: 250")))
    relay = begin(spec("up", up.url, TWO_KEYS), ALONE)

    got = [ask(relay) for _ in range(2)]
    assert [reply.status for reply, _ in got] == [200, 200]
    assert sorted(row.attempts for _, row in got) == [1, 2]
    assert states(relay) == {"up/1": "cooling", "up/2": "up"}
    up.answer = well
    up.keys()
    ask_often(relay, 4)
    assert up.shares() == {"two": 4}

    relay.wait_for(lambda: states(relay)["up/1"] == "up")
    ask_often(relay, 4)
    assert up.shares() == {"one": 2, "two": 2}


def test_keys_that_are_all_rate_limited_make_a_429_that_says_when(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering(failing(429, "retry-after: 30"))
    relay = begin(spec("up", up.url, TWO_KEYS), ALONE)
    first, row = ask(relay)
    assert (first.status, first.document) == (429, {"error": {"message": "no"}})  # as it came
    assert (row.attempts, row.error_code, row.outcome) == (2, "upstream_429", "upstream_error")

    second, row = ask(relay)
    assert (second.status, row.attempts, row.outcome) == (429, 0, "no_upstream")
    assert 25 < int(second.headers["retry-after"]) <= 30
    assert len(up.keys()) == 2


@pytest.mark.parametrize("status", [401, 402])
def test_a_refused_key_is_out_until_the_operator_takes_it_back(
    begin: Begin, answering: Upstreams, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    up = answering(only_for("one", failing(status)))
    relay = begin(spec("up", up.url, TWO_KEYS), ALONE, **ADMIN)
    ask_often(relay, 4)
    assert up.shares()["one"] == 1
    assert states(relay) == {"up/1": "refused", "up/2": "up"}
    assert "upstream key up/1 is taken out" in caplog.text
    assert caplog.text.count("taken out") == 1

    up.answer = well
    ask_often(relay, 4)
    assert up.shares() == {"two": 4}
    [shown] = operate(relay, "up/1/enable")["upstreams"]
    assert (shown["state"], shown["why"]) == ("up", "")
    ask_often(relay, 8)
    assert min(up.shares().values()) >= 3


def test_a_forbidden_model_is_out_and_the_keys_other_models_are_not(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering()
    relay = begin(spec("up", up.url, TWO_KEYS, models="[m, n]"), ALONE)
    up.answer = only_for("one", failing(403))
    ask_often(relay, 4)
    up.answer = well
    up.keys()
    ask_often(relay, 4)
    assert up.shares() == {"two": 4}
    ask_often(relay, 4, "n")
    assert up.shares() == {"one": 2, "two": 2}


def test_a_client_cannot_talk_a_key_out_of_service(begin: Begin, answering: Upstreams) -> None:
    def echo(asked: Asked) -> bytes:
        said = asked.document.get("verbosity")
        if said is None:
            return well(asked)
        error = {"message": f"Invalid value: '{said}'.", "param": "verbosity", "type": said}
        return reply(orjson.dumps({"error": error}), status="400 Bad Request")

    up = answering(echo)
    relay = begin(spec("up", up.url, TWO_KEYS), ALONE, BREAKER)
    got, row = ask(relay, verbosity="API_KEY_INVALID")
    assert (got.status, row.outcome, row.attempts) == (400, "bad_request", 1)
    assert states(relay) == {"up/1": "up", "up/2": "up"}


@pytest.mark.parametrize("model", ["", ", model: m", ", model: its-m"])
def test_a_configured_probe_takes_a_refused_key_back(
    begin: Begin, answering: Upstreams, model: str
) -> None:
    up = answering(only_for("one", failing(401)))
    rules = f"probe: {{interval: 100ms{model}}}"
    relay = begin(spec("up", up.url, TWO_KEYS, rules, models="{m: its-m}"), ALONE, BREAKER)
    ask_often(relay, 2)
    assert states(relay)["up/1"] == "refused"
    assert probed(relay)["up/1"] == "refused"

    up.answer = well_or_listed
    assert relay.wait_for(lambda: probed(relay)["up/1"] == "up")


@pytest.mark.parametrize("model", ["m", "its-m"])
def test_a_probe_by_a_model_closes_its_breaker(
    begin: Begin, answering: Upstreams, model: str
) -> None:
    up = answering(failing(500))
    rules = f"probe: {{interval: 100ms, model: {model}}}"
    relay = begin(spec("up", up.url, rules, models="{m: its-m}"), ALONE, BREAKER)
    assert ask(relay)[0].status == 502
    assert states(relay) == {"up/1": "open"}
    up.answer = well
    assert relay.wait_for(lambda: probed(relay)["up/1"] == "up")
    assert ask(relay)[0].status == 200


def well_or_listed(asked: Asked) -> bytes:
    return reply(b'{"data": []}') if asked.method == "GET" else well(asked)


def probed(relay: Running) -> dict[str, str]:
    """How keys stand after a probe, where one is due."""
    probing = relay.daemon.probing

    async def begin() -> None:
        probing.start_due()

    relay.call(begin)
    relay.wait_for(lambda: not probing.busy)
    return states(relay)


def test_a_disabled_upstream_is_asked_nothing_until_it_is_enabled(
    begin: Begin, answering: Upstreams, caplog: pytest.LogCaptureFixture
) -> None:
    up = answering()
    relay = begin(spec("up", up.url, TWO_KEYS), ALONE, **ADMIN)
    operate(relay, "up/1/disable")
    ask_often(relay, 3)
    assert up.shares() == {"two": 3}
    operate(relay, "up/disable")
    got, row = ask(relay)
    assert (got.status, row.error_code, row.upstream) == (503, "no_upstream", "")
    message = error_of("chat", got.document)[1]
    assert "2 switched off" in message  # a summary, without names
    assert "up/1" not in message
    [line] = [one for one in lines(caplog) if "no upstream serves" in one]
    assert "up/1 switched off (by the operator" in line and row.request_id in line
    operate(relay, "up/enable")
    ask_often(relay, 8)
    assert min(up.shares().values()) >= 3


# --- where it is ------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_backup_address_answers_where_the_primary_cannot_be_reached(
    begin: Begin, answering: Upstreams, stream: bool
) -> None:
    kept, port = dead_port()
    up = answering()
    urls = f"base_urls: ['http://127.0.0.1:{port}', '{up.url}']"
    relay = begin(spec("up", "", urls), ALONE)

    got, row = ask(relay, stream=stream)
    assert (got.status, got.headers["x-relayd-attempts"]) == (200, "2")
    assert (row.outcome, row.attempts, row.upstream) == ("ok", 2, "up")
    got, row = ask(relay, stream=stream)
    assert (got.status, row.attempts) == (200, 1)  # the primary is left alone
    assert states(relay) == {"up/1": "up"}
    kept.close()


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_an_upstream_is_reached_through_its_proxy(
    begin: Begin, answering: Upstreams, scheme: str
) -> None:
    up = answering()
    with FakeProxy(scheme, credentials="me:swordfish") as proxy:
        line = f"proxy: {scheme}://me:swordfish@127.0.0.1:{proxy.port}"
        relay = begin(spec("up", up.url, line))
        for stream in (False, True):
            got, row = ask(relay, stream=stream)
            assert (got.status, row.outcome, row.usage_source) == (200, "ok", "reported")
        assert proxy.asked == [("127.0.0.1", int(up.url.rpartition(":")[2]))]
        assert b"up-secret" in proxy.carried


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize("trouble", ["refuses", "wants another password"])
def test_a_proxy_that_refuses_is_told_without_its_password_and_healed_elsewhere(
    begin: Begin,
    answering: Upstreams,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    trouble: str,
) -> None:
    up = answering()
    wanted, manner = ("me:swordfish", "refuse") if trouble == "refuses" else ("me:other", "connect")
    with FakeProxy(scheme, credentials=wanted, manner=manner) as proxy:
        line = f"proxy: {scheme}://me:swordfish@127.0.0.1:{proxy.port}"
        relay = begin(
            spec("up", up.url, line, "tier: 1", models='["m*", "only*"]')
            + spec("other", up.url, "tier: 2", models='["m*"]'),
            ALONE,
            "breaker: {enabled: off}",
        )
        got, row = ask(relay, "only")
        assert (got.status, row.error_code) == (502, "upstream_unreachable")
        assert "proxy" in error_of("chat", got.document)[1]
        assert b"swordfish" not in got.body
        got, row = ask(relay)
        assert (got.status, row.attempts, row.upstream) == (200, 2, "other")
        assert "swordfish" not in "".join(lines(caplog))


# --- what is changed on the way ---------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["chat", "messages"])
def test_parameters_and_headers_arrive_as_they_are_edited(
    begin: Begin, answering: Upstreams, name: str, stream: bool
) -> None:
    up, speech = answering(), SPEECHES[name]
    params = (
        "params: {set: {temperature: 0, reasoning.effort: low}, "
        "default: {top_p: 0.5, seed: 7}, remove: [logit_bias]}"
    )
    headers = "headers: {x-team: blue}"
    relay = begin(
        spec("up", up.url, params, headers, "remove_headers: [user-agent, idempotency-key]")
    )
    given: dict[str, Any] = {
        "temperature": 1,
        "logit_bias": {"1": 2},
        "seed": 8,
        "reasoning": {"summary": "x"},
    }
    own = f"{'openai' if name == 'chat' else 'anthropic'}-beta"
    sent = {"User-Agent": "client/1", "Idempotency-Key": "k", own: "kept"}
    got, row = ask(relay, speech=speech, stream=stream, headers=sent, **given)

    assert (got.status, row.outcome, row.usage_source) == (200, "ok", "reported")
    [asked] = up.asked
    expected = orjson.loads(speech.ask("m", stream=stream, **given)[1])
    del expected["logit_bias"]
    expected["reasoning"]["effort"] = "low"
    assert asked.document == {**expected, "temperature": 0, "top_p": 0.5, "seed": 8}
    assert asked.headers["x-team"] == "blue"
    assert asked.headers[own] == "kept"
    assert not {"user-agent", "idempotency-key"} & set(asked.headers)


def test_a_status_is_taken_for_what_the_operator_says(begin: Begin, answering: Upstreams) -> None:
    odd, good = answering(failing(404)), answering()
    mapped = "status_map: {404: 503, 500: 400}"
    relay = begin(
        spec("odd", odd.url, mapped, "tier: 1", models='["m*", "only*"]')
        + spec("good", good.url, "tier: 2", models='["m*"]'),
        ALONE,
        "retries: {attempts: 2}",
    )
    got, row = ask(relay)
    assert (got.status, row.attempts, row.upstream) == (200, 2, "good")
    got, row = ask(relay, "only")
    assert (got.status, row.outcome, row.error_code) == (503, "upstream_error", "overloaded")
    odd.answer = failing(500)
    got, row = ask(relay)
    assert (got.status, row.outcome, row.attempts) == (400, "bad_request", 1)


def test_a_model_has_timeouts_of_its_own(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    up = scripted()
    models = "{hasty: {name: m, timeouts: {first_byte: 60ms}}, patient: m}"
    relay = begin(spec("up", up.url, models=models), "retries: {attempts: 1}", ALONE)
    path, body = CHAT.ask("hasty")
    got = relay.ask(path, body)
    peer = up.accept()
    assert (got.status, error_of("chat", got.document)[0]) == (504, "timeout")
    assert peer.hung_up()

    path, body = CHAT.ask("patient")
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = up.accept()
        peer.read_request()
        assert not peer.hung_up(within=0.15)
        peer.send(reply(CHAT.reply))
        assert client.reply().status == 200


# --- fallback models --------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["elsewhere", "at the same key"])
@pytest.mark.parametrize("status", [500, 429])
def test_a_fallback_model_answers_and_the_reply_says_which(
    begin: Begin, answering: Upstreams, stream: bool, where: str, status: int
) -> None:
    def answer(asked: Asked) -> bytes:
        return (failing(status) if asked.document["model"] == "its-big" else well)(asked)

    up = answering(answer)
    same = where == "at the same key"
    models = "{big: its-big, small: its-small}" if same else "{big: its-big}"
    lines = spec("up", up.url, models=models)
    if not same:
        lines += spec("other", up.url, models="{small: its-small}")
    relay = begin(lines, "models: {big: {fallbacks: [small]}}", BREAKER)

    got, row = ask(relay, "big", stream=stream)
    assert (got.status, got.headers["x-relayd-model"]) == (200, "small")
    assert got.headers["x-relayd-attempts"] == "2"
    assert (row.model_asked, row.model_used, row.attempts) == ("big", "its-small", 2)
    assert (row.outcome, row.upstream) == ("ok", "up" if same else "other")
    # The model asked for is left alone now: its fallback is asked at once.
    got, row = ask(relay, "big", stream=stream)
    assert (got.status, got.headers["x-relayd-model"], row.attempts) == (200, "small", 1)
    assert "x-relayd-attempts" not in got.headers
    assert [one.document["model"] for one in up.asked] == ["its-big", "its-small", "its-small"]


def test_a_fallback_that_fails_too_is_told_as_the_last_failure(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering(failing(400))
    relay = begin(
        spec("up", up.url, models="[big, small]"),
        "models: {big: {fallbacks: [small]}}",
        BREAKER,
    )
    got, row = ask(relay, "big")
    assert (got.status, row.attempts) == (400, 1)  # a mistake of the client is not tried again
    up.answer = failing(503)
    got, row = ask(relay, "big")
    assert (got.status, row.attempts, row.model_used) == (503, 2, "small")


# --- how often --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "attempts"),
    [("{}", 4), ("{attempts: 2}", 2), ("{attempts: 1}", 1), ("{budget: 0.0, floor: 0}", 1)],
)
def test_attempts_are_bounded(
    begin: Begin, answering: Upstreams, rules: str, attempts: int
) -> None:
    up = answering(failing(500))
    lines = "".join(spec(f"up{i}", up.url) for i in range(6))
    relay = begin(lines, f"retries: {rules}", ALONE)
    got, row = ask(relay)
    assert (got.status, row.attempts, len(set(up.keys()))) == (502, attempts, attempts)


# --- hedging ----------------------------------------------------------------------------


class Pair:
    """A daemon with a first and a second upstream; the first usually answers in 10 ms."""

    def __init__(
        self,
        begin: Begin,
        scripted: Callable[[], ScriptedUpstream],
        *rules: str,
        more: str = "weight: 1",
    ) -> None:
        self.first, self.second = scripted(), scripted()
        lines = spec("a", self.first.url, "tier: 1") + spec("b", self.second.url, "tier: 2", more)
        self.relay = begin(lines, "hedge: on", ALONE, *rules)
        self.relay.call(self._feed)
        self.before = self.relay.mark()

    async def _feed(self) -> None:
        for _ in range(30):
            self.relay.daemon.relay.pools.doors["a/1"].quantiles.observe(0.01)

    def ask(self, *, stream: bool) -> tuple[RawClient, Peer, Peer]:
        """A request that has reached both."""
        path, body = CHAT.ask("m", stream=stream)
        client = self.relay.connect()
        client.send(request_bytes(path, body, self.relay.auth))
        peers = self.first.accept(), self.second.accept()
        for peer in peers:
            peer.read_request()
        return client, *peers

    def row(self) -> Entry:
        [row] = self.relay.new_rows(self.before)
        return row


@pytest.fixture
def pair(begin: Begin, scripted: Callable[[], ScriptedUpstream]) -> Pair:
    return Pair(begin, scripted)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("winner", ["a", "b"])
def test_of_two_attempts_one_answers_and_the_other_is_cut(
    pair: Pair, winner: str, stream: bool
) -> None:
    client, first, second = pair.ask(stream=stream)
    wins, loses = (first, second) if winner == "a" else (second, first)
    answer = stream_head() + chunk(CHAT.stream) + LAST_CHUNK if stream else reply(CHAT.reply)
    with client:
        wins.send(answer)
        got = client.reply()
    assert loses.hung_up()

    assert (got.status, got.body) == (200, CHAT.stream if stream else CHAT.reply)
    assert got.headers["x-relayd-attempts"] == "2"
    row = pair.row()
    assert (row.upstream, row.attempts, row.outcome) == (winner, 2, "ok")
    assert (row.usage_source, row.usage.in_uncached, row.usage.out_total) == ("reported", 5, 7)
    assert states(pair.relay) == {"a/1": "up", "b/1": "up"}


@pytest.mark.parametrize("ends", [None, b'data: {"error": {"message": "boom"}}\n\n'])
def test_a_ping_is_no_answer_and_leaves_the_other_attempt_alone(
    pair: Pair, ends: bytes | None
) -> None:
    client, first, second = pair.ask(stream=True)
    with client:
        second.send(stream_head() + chunk(b": ping\n\n"))
        if ends is not None:
            second.send(chunk(ends))
            assert second.hung_up()
        assert not first.hung_up(0.05)
        first.send(stream_head() + chunk(CHAT.stream) + LAST_CHUNK)
        got = client.reply()
    assert second.hung_up()
    assert (got.status, got.body) == (200, CHAT.stream)
    assert (pair.row().upstream, pair.row().outcome) == ("a", "ok")


def test_a_backup_that_still_connects_when_the_other_answers_is_asked_nothing(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    with FakeProxy(manner="hang") as proxy:
        through = f"proxy: http://127.0.0.1:{proxy.port}"
        pair = Pair(begin, scripted, more=through)
        path, body = CHAT.ask("m", stream=True)
        with pair.relay.connect() as client:
            client.send(request_bytes(path, body, pair.relay.auth))
            peer = pair.first.accept()
            peer.read_request()
            assert pair.relay.wait_for(lambda: proxy.asked)
            peer.send(stream_head() + chunk(CHAT.opening))
            assert pair.relay.wait_for(lambda: pair.relay.daemon.relay.pools.in_flight("b") == 0)
            peer.send(chunk(CHAT.ending) + LAST_CHUNK)
            assert client.reply().body == CHAT.stream
    assert states(pair.relay) == {"a/1": "up", "b/1": "up"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fails", ["a", "b"])
def test_of_two_attempts_one_may_fail(pair: Pair, fails: str, stream: bool) -> None:
    client, first, second = pair.ask(stream=stream)
    bad, good = (first, second) if fails == "a" else (second, first)
    with client:
        bad.send(reply(b"{}", status="500 X"))
        answer = stream_head() + chunk(CHAT.stream) + LAST_CHUNK if stream else reply(CHAT.reply)
        good.send(answer)
        got = client.reply()
    assert got.status == 200
    row = pair.row()
    assert (row.upstream, row.attempts, row.outcome) == ("b" if fails == "a" else "a", 2, "ok")
    assert row.usage.total == 12


def test_two_attempts_that_both_fail_are_one_failure_of_the_request(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    pair = Pair(begin, scripted, "retries: {attempts: 2}")
    client, first, second = pair.ask(stream=False)
    with client:
        for peer in (first, second):
            peer.send(reply(b"{}", status="500 X"))
        got = client.reply()
    assert (got.status, got.headers["x-relayd-attempts"]) == (502, "2")
    row = pair.row()
    assert (row.outcome, row.usage_source, row.attempts) == ("upstream_error", "none", 2)


def test_a_client_that_leaves_cuts_both_attempts(pair: Pair) -> None:
    client, first, second = pair.ask(stream=True)
    client.close()
    assert first.hung_up()
    assert second.hung_up()
    row = pair.row()
    assert (row.outcome, row.status) == ("client_gone", 499)


def test_hedging_stays_within_the_budget(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    pair = Pair(begin, scripted, "retries: {budget: 0.0, floor: 0}")
    path, body = CHAT.ask("m")
    with pair.relay.connect() as client:
        client.send(request_bytes(path, body, pair.relay.auth))
        peer = pair.first.accept()
        peer.read_request()
        assert not pair.second.called_again(0.05)
        peer.send(reply(CHAT.reply))
        assert "x-relayd-attempts" not in client.reply().headers
    assert pair.row().attempts == 1


# --- the waiting room -------------------------------------------------------------------


class Room:
    """A daemon whose only key holds one request at a time, and the request that it holds."""

    def __init__(self, begin: Begin, scripted: Callable[[], ScriptedUpstream], rules: str) -> None:
        self.up = scripted()
        lines = spec("up", self.up.url, "limits: {concurrency: 1}")
        self.relay = begin(lines, f"waiting: {rules}", ALONE, BREAKER)
        self.clients: list[RawClient] = []
        self.send("first")
        self.peer = self.up.accept()
        assert self.peer.read_request().document["user"] == "first"

    def send(self, user: str, key: str = "") -> RawClient:
        """A client whose request is on its way."""
        path, body = CHAT.ask("m", user=user)
        client = self.relay.connect()
        auth = {"Authorization": f"Bearer {key or self.relay.key}"}
        client.send(request_bytes(path, body, auth))
        self.clients.append(client)
        return client

    def next(self) -> str:
        """End the request that is held; returns who is served next, on the same connection."""
        self.peer.send(reply(CHAT.reply))
        return str(self.peer.read_request().document["user"])

    def end(self) -> None:
        """End the last one."""
        self.peer.send(reply(CHAT.reply))
        self.relay.wait_until_quiet()
        for client in self.clients:
            client.close()


def new_account(relay: Running) -> str:
    """The key of another account."""

    async def make() -> str:
        _, key = await relay.daemon.books.store.create_key(
            NewKey("other", "others"), now=0.0, actor="test"
        )
        await relay.daemon.refresh_keys()
        return key

    return relay.call(make)


def test_those_who_wait_are_served_in_turns_of_their_accounts(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    room = Room(begin, scripted, "{timeout: 5s}")
    other = new_account(room.relay)
    for number, user in enumerate(("a1", "a2", "a3", "b1", "b2"), 1):
        room.send(user, other if user[0] == "b" else "")
        waiting(room.relay, number)
    assert [room.next() for _ in range(5)] == ["a1", "b1", "a2", "b2", "a3"]
    room.end()
    assert states(room.relay) == {"up/1": "up"}
    assert {row.outcome for row in room.relay.rows()} == {"ok"}


def test_who_waits_too_long_gets_a_503_that_says_when_to_come_again(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    room = Room(begin, scripted, "{timeout: 100ms}")
    client = room.send("late")
    got = client.reply()
    assert (got.status, error_of("chat", got.document)[0]) == (503, "service_unavailable_error")
    assert int(got.headers["retry-after"]) >= 1
    assert "1 at its limits" in error_of("chat", got.document)[1]
    assert b"up/1" not in got.body
    row = room.relay.row(got.headers["x-request-id"])
    assert (row.outcome, row.error_code, row.upstream) == ("no_upstream", "upstream_full", "")
    assert (row.attempts, row.usage_source) == (0, "none")
    assert row.duration >= 0.09
    room.end()


def test_a_full_room_and_one_of_no_time_refuse_at_once(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    room = Room(begin, scripted, "{timeout: 5s, places: 1}")
    room.send("waits")
    waiting(room.relay, 1)
    got = room.send("one too many").reply()
    assert (got.status, room.relay.daemon.relay.lobby.waiting) == (503, 1)
    assert room.next() == "waits"
    room.end()

    room = Room(begin, scripted, "{timeout: 0s}")
    assert room.send("no time").reply().status == 503
    room.end()


@pytest.mark.parametrize("way", [RawClient.close, RawClient.reset])
def test_a_client_that_leaves_the_room_frees_its_place(
    begin: Begin,
    scripted: Callable[[], ScriptedUpstream],
    way: Callable[[RawClient], None],
) -> None:
    room = Room(begin, scripted, "{timeout: 5s, places: 2}")
    leaver = room.send("leaves")
    waiting(room.relay, 1)
    room.send("stays")
    waiting(room.relay, 2)
    before = room.relay.mark()
    way(leaver)
    waiting(room.relay, 1)
    room.relay.wait_for(lambda: room.relay.mark() > before)
    row = room.relay.rows()[0]
    assert (row.outcome, row.status, row.upstream) == ("client_gone", 499, "")
    room.send("comes")  # there is a place again
    waiting(room.relay, 2)
    assert [room.next(), room.next()] == ["stays", "comes"]
    room.end()


def test_a_client_that_leaves_at_the_moment_it_is_served_takes_no_place_with_it(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    room = Room(begin, scripted, "{timeout: 5s}")
    room.send("leaves")
    waiting(room.relay, 1)
    relay = room.relay.daemon.relay

    async def both() -> None:
        # As when the client hangs up and a place becomes free within one turn of the loop.
        [pool] = {route.pool for route in relay.pools._routes.values()}
        waiter: Any = pool.queue.peek()
        waiter.future.cancel()
        door = relay.pools.doors["up/1"]
        door.in_flight -= 1
        relay.lobby.stir()
        door.in_flight += 1

    room.relay.call(both)
    waiting(room.relay, 0)
    assert reports(room.relay)["up/1"].in_flight == 1
    room.end()
    assert reports(room.relay)["up/1"].in_flight == 0


def test_a_minutes_requests_go_to_the_next_key_and_then_wait(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering()
    keys = "keys: [{key: one, rpm: 3}, {key: two, rpm: 2}]"
    relay = begin(spec("up", up.url, keys), "waiting: {timeout: 50ms}", ALONE)
    ask_often(relay, 5)
    assert up.shares() == {"one": 3, "two": 2}
    got, row = ask(relay)
    assert (got.status, row.error_code, row.attempts) == (503, "upstream_full", 0)
    assert 50 <= int(got.headers["retry-after"]) <= 61
    assert {one.state for one in reports(relay).values()} == {"full"}
    assert not up.asked


def test_tokens_of_a_minute_are_corrected_by_what_the_reply_reports(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering()
    relay = begin(spec("up", up.url, "limits: {tpm: 1000}"), "waiting: {timeout: 50ms}", ALONE)
    long = [{"role": "user", "content": "word " * 500}]
    got, _ = ask(relay, messages=long)
    assert got.status == 200
    # It was taken for hundreds of tokens, and cost 12: there is room for another.
    assert ask(relay, messages=long)[0].status == 200


def test_a_full_model_falls_back_before_it_waits(
    begin: Begin, scripted: Callable[[], ScriptedUpstream], answering: Upstreams
) -> None:
    busy, free = scripted(), answering()
    relay = begin(
        spec("busy", busy.url, "limits: {concurrency: 1}", models="[big]")
        + spec("free", free.url, models="[small]"),
        "models: {big: {fallbacks: [small]}}",
    )
    path, body = CHAT.ask("big")
    with relay.connect() as client:
        client.send(request_bytes(path, body, relay.auth))
        peer = busy.accept()
        peer.read_request()
        got, row = ask(relay, "big")
        assert (got.status, got.headers["x-relayd-model"], row.upstream) == (200, "small", "free")
        peer.send(reply(CHAT.reply))
        assert client.reply().status == 200


def test_where_the_fallback_is_full_too_whichever_is_free_first_answers(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    big, small = scripted(), scripted()
    limits = "limits: {concurrency: 1}"
    relay = begin(
        spec("a", big.url, limits, models="[big]") + spec("b", small.url, limits, models="[small]"),
        "models: {big: {fallbacks: [small]}}",
    )
    path, body = CHAT.ask("big")
    with relay.connect() as one, relay.connect() as two, relay.connect() as three:
        for client in (one, two):
            client.send(request_bytes(path, body, relay.auth))
        peer, other = big.accept(), small.accept()
        for each in (peer, other):
            each.read_request()
        three.send(request_bytes(path, body, relay.auth))
        waiting(relay, 1)
        peer.send(reply(CHAT.reply))
        assert peer.read_request().document["model"] == "big"
        for each in (peer, other):
            each.send(reply(CHAT.reply))
        assert "x-relayd-model" not in three.reply().headers


def test_a_request_that_still_fits_does_not_wait_behind_one_that_does_not(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    up = scripted()
    relay = begin(spec("up", up.url, "limits: {tpm: 1000}"), "waiting: {timeout: 5s}", ALONE)
    other = new_account(relay)
    path, long = CHAT.ask("m", messages=[{"role": "user", "content": "word " * 500}])
    _, short = CHAT.ask("m")
    with relay.connect() as one, relay.connect() as two, relay.connect() as three:
        one.send(request_bytes(path, long, relay.auth))
        first = up.accept()
        first.read_request()
        two.send(request_bytes(path, long, relay.auth))
        waiting(relay, 1)
        three.send(request_bytes(path, short, {"Authorization": f"Bearer {other}"}))
        second = up.accept()
        second.read_request()
        for peer in (second, first):  # what the first really cost leaves room for the long one
            peer.send(reply(CHAT.reply))
        first.read_request()
        first.send(reply(CHAT.reply))
        assert [client.reply().status for client in (one, two, three)] == [200] * 3


# --- conversations ----------------------------------------------------------------------


def talk(number: int, turns: int = 1) -> dict[str, Any]:
    """The body of one conversation after so many turns."""
    said = [{"role": "user", "content": f"conversation {number}"}]
    for turn in range(turns - 1):
        said += [{"role": "assistant", "content": f"{turn}"}, {"role": "user", "content": "on"}]
    return {"messages": said}


def by_header(number: int, turn: int) -> dict[str, Any]:
    unlike = [{"role": "user", "content": f"something new {number} {turn}"}]
    return {"headers": {"X-Relayd-Session": f"s{number}"}, "messages": unlike}


def by_cache_key(number: int, turn: int) -> dict[str, Any]:
    unlike = [{"role": "user", "content": f"something new {number} {turn}"}]
    return {"prompt_cache_key": f"s{number}", "messages": unlike}


def by_opening(number: int, turn: int) -> dict[str, Any]:
    return talk(number, turn + 1)


KINDS = {"header": by_header, "cache key": by_cache_key, "opening": by_opening}
FOUR_KEYS = "keys: [one, two, three, four]"


@pytest.mark.parametrize("strategy", ["weighted", "least_busy"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_stays_with_one_key_and_many_spread(
    begin: Begin, answering: Upstreams, kind: str, strategy: str
) -> None:
    up = answering()
    relay = begin(spec("up", up.url, FOUR_KEYS), f"strategy: {strategy}")
    homes: set[str] = set()
    for number in range(12):
        for turn in range(3):
            assert ask(relay, **KINDS[kind](number, turn))[0].status == 200
        [home] = set(up.keys())
        homes.add(home)
    assert len(homes) >= 2


def test_a_conversation_moves_at_once_when_its_key_is_gone_and_then_stays(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering()
    relay = begin(spec("up", up.url, FOUR_KEYS), BREAKER)
    ask(relay, **by_header(1, 0))
    [home] = up.keys()
    up.answer = only_for(home, failing(503))
    got, row = ask(relay, **by_header(1, 1))
    assert (got.status, row.attempts) == (200, 2)
    _, moved = up.keys()
    up.answer = well
    for turn in range(2, 5):
        assert ask(relay, **by_header(1, turn))[1].attempts == 1
    assert set(up.keys()) == {moved}


def test_a_response_is_followed_up_where_it_was_made(begin: Begin, answering: Upstreams) -> None:
    made = iter(range(1000))

    def answer(asked: Asked) -> bytes:
        document = orjson.loads(RESPONSES.reply) | {"id": f"resp_{next(made)}"}
        return reply(orjson.dumps(document))

    up = answering(answer)
    relay = begin(spec("up", up.url, FOUR_KEYS), AFFINE)
    for number in range(8):
        opening = f"conversation {number}"
        got, _ = ask(relay, speech=RESPONSES, input=opening)
        for _ in range(2):
            previous = got.document["id"]
            got, _ = ask(relay, speech=RESPONSES, input="on", previous_response_id=previous)
        assert len(set(up.keys())) == 1


def test_a_streamed_response_is_followed_up_where_it_was_made(
    begin: Begin, answering: Upstreams
) -> None:
    def answer(asked: Asked) -> bytes:
        stream = RESPONSES.stream.replace(b'"r1"', b'"resp_%d"' % len(up.asked))
        return stream_head() + chunk(stream) + LAST_CHUNK

    up = answering(answer)
    relay = begin(spec("up", up.url, FOUR_KEYS), AFFINE)
    for number in range(8):
        ask(relay, speech=RESPONSES, stream=True, input=f"conversation {number}")
        more = {"input": "on", "previous_response_id": f"resp_{len(up.asked)}"}
        ask(relay, speech=RESPONSES, stream=True, **more)
        before, after = (credential(one) for one in up.asked[-2:])
        assert before == after


def test_a_thousand_equal_openings_do_not_pile_up_on_one_key(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    up = scripted()
    relay = begin(spec("up", up.url, FOUR_KEYS), AFFINE)
    path, body = CHAT.ask("m")
    clients = [relay.connect() for _ in range(24)]
    peers = []
    for client in clients:
        client.send(request_bytes(path, body, relay.auth))
        peers.append(up.accept())
    used = Counter(credential(peer.read_request()) for peer in peers)
    for peer, client in zip(peers, clients, strict=True):
        peer.send(reply(CHAT.reply))
        assert client.reply().status == 200
        client.close()
    assert len(used) >= 2
    assert max(used.values()) <= 20


# --- reload -----------------------------------------------------------------------------


def rewrite(relay: Running, upstreams: str, *routing: str) -> None:
    """Another configuration, taken over by the running daemon."""
    from tests.support.running import usual_lines

    config = config_of(upstreams, *routing)
    relay.config_path.write_text(usual_lines(config) + config)
    relay.call(relay.daemon.reload)


def test_a_reload_in_the_middle_of_an_outage_forgets_nothing(
    begin: Begin, answering: Upstreams
) -> None:
    up = answering()
    kept, port = dead_port()
    rules = (ALONE, BREAKER, "retries: {attempts: 10}")
    lines = spec("up", up.url, "keys: [one, two, three, four]", models="[m]")
    lines += spec("dead", f"http://127.0.0.1:{port}", models="[m]")
    relay = begin(lines, *rules, **ADMIN)
    refusals = {"one": failing(401), "two": failing(500), "three": failing(429, "retry-after: 99")}
    up.answer = lambda asked: refusals.get(credential(asked), well)(asked)
    for _ in range(12):
        assert ask(relay)[0].status == 200
    expected = {
        "up/1": "refused",
        "up/2": "open",
        "up/3": "cooling",
        "up/4": "up",
        "dead/1": "open",
    }
    assert states(relay) == expected

    changed = lines.replace("keys:", "timeouts: {stall: 50s}\n  keys:")
    rewrite(relay, changed, *rules)
    assert states(relay) == expected
    up.keys()
    ask_often(relay, 4)
    assert up.shares() == {"four": 4}
    # Another secret for the key that was refused is a new chance.
    refusals.clear()
    rewrite(relay, changed.replace("[one,", "[another,"), *rules)
    assert states(relay) == {**expected, "up/1": "up"}
    ask_often(relay, 8)
    shares = up.shares()
    assert min(shares["another"], shares["four"]) >= 3
    kept.close()


def test_a_reload_that_takes_an_upstream_away_answers_those_who_wait_for_it(
    begin: Begin, scripted: Callable[[], ScriptedUpstream], answering: Upstreams
) -> None:
    room, other = Room(begin, scripted, "{timeout: 5s}"), answering()
    client = room.send("waits")
    waiting(room.relay, 1)
    rewrite(room.relay, spec("other", other.url), "waiting: {timeout: 5s}", ALONE, BREAKER)
    room.peer.send(reply(CHAT.reply))
    got = client.reply()
    assert got.status in (200, 503), got.body  # served by who is there now, or told to come again
    assert room.relay.row(got.headers["x-request-id"]).outcome in ("ok", "no_upstream")
    assert room.clients[0].reply().status == 200
    assert ask(room.relay)[1].upstream == "other"
    for one in room.clients:
        one.close()


def test_a_reload_while_somebody_waits_keeps_the_place(
    begin: Begin, scripted: Callable[[], ScriptedUpstream]
) -> None:
    room = Room(begin, scripted, "{timeout: 5s}")
    room.send("waits")
    waiting(room.relay, 1)
    lines = spec("up", room.up.url, "limits: {concurrency: 1}", "weight: 7")
    rewrite(room.relay, lines, "waiting: {timeout: 5s}", ALONE, BREAKER)
    room.peer.send(reply(CHAT.reply))
    room.peer = room.up.accept()  # the connections of the old configuration are not kept
    assert room.peer.read_request().document["user"] == "waits"
    room.end()
    assert reports(room.relay)["up/1"].in_flight == 0
