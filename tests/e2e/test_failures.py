"""Every way in which the demo provider fails, on the first attempt and on the last.

The first upstream fails as the model's name says; the second, of a later tier, answers well, and
offers only the names that begin with `m-`. So one failure is looked at twice: where somebody else
can answer, and where nobody can. What went out to the client decides: before that, a failure is
tried elsewhere and leaves no trace but in the count of attempts; after it, it is never asked again
and never looks like success. One failure opens the breaker here, so that its state tells what each
failure was taken for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson
import pytest

from relayd.model import Entry
from relayd.policy.reports import DoorReport
from tests.conftest import Daemons
from tests.demo.serving import Serving
from tests.support.raw_client import Reply
from tests.support.running import Running
from tests.support.scripted_upstream import dead_port
from tests.support.speech import SPEECHES, Speech, error_of, events_of

CONFIG = """\
demo: "off"
upstreams:
  first:
    dialect: relay
    base_url: {url}
    key: first-secret
    tier: 1
    models:
      "m-*": "demo-*"
      "m-s*": {{name: "demo-s*", timeouts: {{first_byte: 80ms, stall: 80ms}}}}
      "last-*": "demo-*"
      "last-s*": {{name: "demo-s*", timeouts: {{first_byte: 80ms, stall: 80ms}}}}
  nowhere:
    dialect: relay
    base_url: {dead}
    key: nowhere-secret
    tier: 1
    models: {{"dead-m*": "demo", "dead-last*": "demo"}}
  second:
    dialect: relay
    base_url: {url}
    key: second-secret
    tier: 2
    models: {{"m-*": demo, "dead-m*": demo}}
routing:
  retries: {{floor: 1000000}}
  breaker: {{consecutive: 1, open_for: 1h, longest: 1h}}
  longest_cooldown: 1h
"""


class Fate(NamedTuple):
    """What a failure comes to where nobody else answers.

    Arguments:
        status: that the client sees; in Messages, an overload has its own.
        code: the ledger's.
        state: of the key or of the model there, afterwards.
        outcome: the ledger's.
        tried_elsewhere: whether another upstream answers, where there is one.
    """

    status: int
    code: str
    state: str = "open"
    outcome: str = "upstream_error"
    tried_elsewhere: bool = True


BAD_REPLY = Fate(502, "upstream_bad_reply")
CREDENTIAL = Fate(502, "upstream_credential", "refused")
OVERLOADED = Fate(503, "overloaded")
SILENT = Fate(504, "upstream_timeout")
RESET = Fate(502, "upstream_timeout")
MISTAKE = Fate(400, "upstream_400", "up", "bad_request", tried_elsewhere=False)
NOT_FOUND = MISTAKE._replace(status=404, code="upstream_404")
BROKEN = Fate(200, "upstream_bad_reply", "open", "broken_stream", tried_elsewhere=False)
WELL = Fate(200, "", "up", "ok", tried_elsewhere=False)

# What the model's name asks for -> what it comes to for a whole reply, and for a stream.
FATES: Mapping[str, tuple[Fate, Fate]] = {
    "400": (MISTAKE, MISTAKE),
    "401": (CREDENTIAL, CREDENTIAL),
    "403": (CREDENTIAL, CREDENTIAL),
    "404": (NOT_FOUND, NOT_FOUND),
    "429": (Fate(429, "upstream_429", "cooling"),) * 2,
    "500": (Fate(502, "upstream_500"),) * 2,
    "503": (OVERLOADED, OVERLOADED),
    "529": (OVERLOADED, OVERLOADED),
    "html": (Fate(502, "upstream_502"),) * 2,
    "half-head": (BAD_REPLY, BAD_REPLY),
    "garbage": (BAD_REPLY, BAD_REPLY),
    "big-headers": (BAD_REPLY, BAD_REPLY),
    "refused": (RESET, RESET),
    "slow-first-byte": (SILENT, SILENT),
    "error-first": (BAD_REPLY, OVERLOADED),
    "malformed": (BAD_REPLY, WELL),
    "cut": (BAD_REPLY, BROKEN),
    "cut-length": (BAD_REPLY, WELL),
    "reset": (BAD_REPLY, BROKEN),
    "stall": (SILENT, BROKEN._replace(code="upstream_timeout")),
    "error-in-stream": (
        BAD_REPLY,
        BROKEN._replace(code="upstream_stream_error", outcome="upstream_error"),
    ),
    "no-done": (WELL, BROKEN._replace(code="upstream_broken_stream")),
    "dead": (Fate(502, "upstream_unreachable"),) * 2,
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Serving]:
    serving = Serving(asyncio.new_event_loop)
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def relay_of_module(start: Daemons, demo: Serving) -> Iterator[Running]:
    kept, port = dead_port()
    yield start(CONFIG.format(url=demo.url, dead=f"http://127.0.0.1:{port}"))
    kept.close()


@pytest.fixture
def relay(relay_of_module: Running) -> Running:
    """The module's daemon, with upstreams of which nothing bad is known."""

    async def forgive() -> None:
        pools = relay_of_module.daemon.relay.pools
        for name in ("first", "nowhere", "second"):
            pools.enable(name, None, relay_of_module.loop.time())

    relay_of_module.call(forgive)
    return relay_of_module


def ask(relay: Running, speech: Speech, model: str, stream: bool) -> tuple[Reply, Entry]:
    """One request, and its row."""
    path, body = speech.ask(model, stream=stream)
    reply = relay.ask(path, body)
    return reply, relay.row(reply.headers["x-request-id"])


def name_of(fault: str, *, last: bool) -> str:
    if fault == "dead":
        return "dead-last" if last else "dead-m"
    return f"last-{fault}" if last else f"m-{fault}"


def report(relay: Running, upstream: str) -> DoorReport:
    async def look() -> list[DoorReport]:
        return relay.daemon.relay.pools.report(relay.loop.time())

    return next(one for one in relay.call(look) if one.upstream == upstream)


def state(relay: Running, upstream: str, fault: str) -> str:
    """How the upstream's key stands, or, where it is up, its model that failed."""
    found = report(relay, upstream)
    assert found.in_flight == 0
    if found.state != "up":
        return found.state
    return next((s for model, s, _, _ in found.models if model == f"demo-{fault}"), "up")


def assert_success(reply: Reply, speech: Speech, stream: bool) -> None:
    """A whole answer of the demo provider, with nothing of a failure in it."""
    assert (reply.status, reply.whole) == (200, True)
    assert b"error" not in reply.body.replace(b'"error":null', b"")
    assert b"You said: Hi." in text_of(reply, speech)
    if stream:
        assert reply.body.endswith(speech.terminal)


def text_of(reply: Reply, speech: Speech) -> bytes:
    """The answer's text, joined out of events where it is a stream."""
    if reply.headers["content-type"].startswith("application/json"):
        return reply.body
    return b"".join(_texts(event) for event in events_of(reply.body))


def _texts(event: Any) -> bytes:
    delta = event.get("delta") or {}
    if isinstance(delta, str):
        return delta.encode()
    found = delta.get("text", "")
    for choice in event.get("choices", ()):
        found += choice["delta"].get("content") or ""
    for candidate in event.get("candidates", ()):
        found += "".join(part.get("text", "") for part in candidate["content"]["parts"])
    return str(found).encode()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FATES)
def test_a_failure_is_healed_elsewhere_or_told_once_it_has_begun(
    relay: Running, speech: Speech, fault: str, stream: bool
) -> None:
    fate = FATES[fault][stream]
    reply, row = ask(relay, speech, name_of(fault, last=False), stream)

    if not fate.tried_elsewhere:
        assert_fate(reply, row, speech, fate, fault, stream)
    else:
        assert_success(reply, speech, stream)
        assert reply.headers["x-relayd-attempts"] == "2"
        assert (row.status, row.outcome, row.error_code) == (200, "ok", "")
        assert (row.upstream, row.upstream_key, row.attempts) == ("second", "1", 2)
        assert (row.model_used, row.usage_source) == ("demo", "reported")
        assert row.usage.in_uncached
    first = "nowhere" if fault == "dead" else "first"
    assert state(relay, first, fault) == fate.state
    assert report(relay, "second")[4:7] == ("up", "", None)
    assert relay.left_over() == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FATES)
def test_a_failure_that_nobody_heals_never_looks_like_success(
    relay: Running, speech: Speech, fault: str, stream: bool
) -> None:
    fate = FATES[fault][stream]
    reply, row = ask(relay, speech, name_of(fault, last=True), stream)

    assert_fate(reply, row, speech, fate, fault, stream)
    first = "nowhere" if fault == "dead" else "first"
    assert state(relay, first, fault) == fate.state
    assert relay.left_over() == []


def assert_fate(
    reply: Reply, row: Entry, speech: Speech, fate: Fate, fault: str, stream: bool
) -> None:
    """It came to what the table says, after a single attempt."""
    status = 529 if fate.status == 503 and speech.name == "messages" else fate.status
    assert (reply.status, row.status) == (status, status)
    assert "x-relayd-attempts" not in reply.headers
    assert (row.outcome, row.error_code) == (fate.outcome, fate.code)
    assert (row.upstream, row.upstream_key) == ("nowhere" if fault == "dead" else "first", "1")
    assert (row.attempts, row.stream) == (1, stream)
    if status == 200:
        assert_begun(reply, row, speech, fate, fault)
        return
    kind, message = error_of(speech.format, reply.document)
    assert kind
    assert len(message) > 5
    assert "-secret" not in message
    assert (row.usage_source, row.usage.total) == ("none", 0)
    if fault == "429":
        assert reply.headers["retry-after"] == "1"


def assert_begun(reply: Reply, row: Entry, speech: Speech, fate: Fate, fault: str) -> None:
    """A reply that had begun: a failure shows in it, and the row counts what was seen."""
    if fate.outcome == "ok":
        assert row.usage_source == "reported"
        return
    assert not reply.body.endswith(speech.terminal) or b"error" in reply.body[-700:]
    assert b"error" in reply.body[-700:]
    # Some formats tell the input at the start: then the cut usage is partly known.
    assert row.usage_source in ("partial", "estimated")
    assert row.usage.out_total


# --- asked again ------------------------------------------------------------------------


PATIENT = """\
demo: "off"
upstreams:
  only:
    dialect: relay
    base_url: {url}
    key: only-secret
    models: ["demo-*", demo]
routing: {{retries: {{floor: 1000000}}, longest_cooldown: 0}}
"""


@pytest.fixture(scope="module")
def patient(start: Daemons, demo: Serving) -> Running:
    """A daemon with one upstream, whose breaker does not open at once."""
    return start(PATIENT.format(url=demo.url))


REPEATED = [("500", 0), ("503", 1), ("529", 0), ("html", 1), ("error-first", 1), ("half-head", 0)]


@pytest.mark.parametrize(("fault", "stream"), REPEATED)
def test_where_there_is_nobody_else_the_same_one_is_asked_once_more(
    patient: Running, demo: Serving, fault: str, stream: int
) -> None:
    speech = SPEECHES["chat"]
    before = demo.provider.requests
    reply, row = ask(patient, speech, f"demo-{fault}", bool(stream))

    assert reply.status == FATES[fault][stream].status
    assert reply.headers["x-relayd-attempts"] == "2"
    assert (row.attempts, demo.provider.requests - before) == (2, 2)
    assert (row.outcome, row.usage_source) == ("upstream_error", "none")


@pytest.mark.parametrize("fault", ["400", "401", "403", "404", "429"])
def test_what_a_repetition_cannot_heal_is_not_repeated(
    patient: Running, demo: Serving, fault: str
) -> None:
    before = demo.provider.requests
    _, row = ask(patient, SPEECHES["chat"], f"demo-{fault}", False)

    assert (row.attempts, demo.provider.requests - before) == (1, 1)
    patient.call(lambda: enable_all(patient))


async def enable_all(relay: Running) -> None:
    pools = relay.daemon.relay.pools
    for door in pools.doors.values():
        pools.enable(door.spec.name, None, relay.loop.time())


def test_an_open_breaker_answers_without_asking_and_names_nobody(
    relay: Running, demo: Serving
) -> None:
    speech = SPEECHES["chat"]
    assert ask(relay, speech, "last-500", False)[0].status == 502
    before = demo.provider.requests
    reply, row = ask(relay, speech, "last-500", False)

    assert (reply.status, row.outcome, row.error_code) == (503, "no_upstream", "no_upstream")
    assert int(reply.headers["retry-after"]) > 3000
    assert "1 failing" in error_of("chat", reply.document)[1]
    assert b"first" not in reply.body
    assert (row.upstream, row.attempts, demo.provider.requests - before) == ("", 0, 0)
    # Another model of the same key is well.
    assert ask(relay, speech, "last-demo", False)[0].status == 200


def test_a_cooling_key_answers_429_and_says_when_to_come_again(
    relay: Running, demo: Serving
) -> None:
    speech = SPEECHES["messages"]
    assert ask(relay, speech, "last-429-7", False)[0].status == 429
    before = demo.provider.requests
    reply, row = ask(relay, speech, "last-429-7", False)

    assert (reply.status, row.outcome, row.upstream) == (429, "no_upstream", "")
    assert reply.headers["retry-after"] == "7"
    assert error_of("messages", reply.document)[0] == "rate_limit_error"
    assert demo.provider.requests == before


def test_a_client_that_leaves_between_two_attempts_is_not_billed(
    patient: Running, demo: Serving
) -> None:
    path, body = SPEECHES["chat"].ask("demo-500")
    before, asked = patient.mark(), demo.provider.requests
    client = patient.connect()
    client.post(path, orjson.loads(body), patient.auth)
    patient.wait_for(lambda: demo.provider.requests > asked)
    client.close()

    [row] = patient.new_rows(before)
    assert (row.outcome, row.usage_source, row.usage.total) == ("client_gone", "none", 0)
    assert demo.provider.requests - asked == 1
