"""What requests cost and who may spend: over real sockets, to the pico-dollar.

The yardstick is a second price list and a second arithmetic, written from the documentation alone:
dollars as decimals, usage counted by `benchmarks.fidelity.usage` from the bytes of the reply. What
the relay charges must be that, rounded up once; and balances must fall by exactly what was charged,
in memory, in the store, and recomputed from the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal
from typing import Any

import anthropic
import openai
import orjson
import pytest

from benchmarks.fidelity.recording import FIXTURE, Recorded, read
from benchmarks.fidelity.usage import Counts, stated
from relayd.accounts import Caps
from relayd.money import DOLLAR, pico
from tests.conftest import Daemons
from tests.support.answering import AnsweringUpstream
from tests.support.commands import Commands
from tests.support.customers import Customer
from tests.support.raw_client import Reply
from tests.support.running import Running
from tests.support.scripted_upstream import Asked, ScriptedUpstream, reply
from tests.support.speech import FORMATS, SPEECHES, Speech, error_of

RATES = {
    "input": "3",
    "output": "15",
    "cache_read": "0.3",
    "cache_write_5m": "3.75",
    "cache_write_1h": "6",
    "reasoning": "20.5",
    "audio_in": "40",
    "audio_out": "80",
    "image_in": "5",
    "image_out": "30",
}
REQUEST = "0.001"
MULTIPLIER = "1.300001"
LIST = ", ".join(f"{name}: {rate}" for name, rate in RATES.items())
CONFIG = """\
demo: "on"
groups:
  dear: {{multiplier: %s}}
  prepaid: {{balance: on}}
  strict: {{balance: on, strict: on}}
  capped: {{spend: {{day: 0.0015}}}}
  postpaid: {{balance: off}}
prices:
  "*": {{%s, request: %s}}
  free: {{input: 0, output: 0}}
  by-the-token: {{input: 3, output: 15}}
upstreams:
  up: {{dialect: relay, base_url: "{url}", models: [scripted, free, by-the-token]}}
""" % (MULTIPLIER, LIST, REQUEST)  # noqa: UP031 - the braces of YAML and of `format` are enough
KINDS = {
    "chat": "insufficient_quota",
    "responses": "insufficient_quota",
    "messages": "billing_error",
    "gemini": "RESOURCE_EXHAUSTED",
}
CHAT = SPEECHES["chat"]


@pytest.fixture(scope="module")
def relay(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(CONFIG.format(url=upstream_of_module.url))


# --- the second arithmetic ------------------------------------------------------------------------


def price(counts: Counts, multiplier: str = "1", request: str = REQUEST) -> int:
    """What a reply that states these counts costs, in pico-dollars."""

    def of(name: str) -> int:
        return counts.get(name, 0)

    fresh = of("in_uncached")
    audio = min(of("in_audio"), fresh)
    image = min(of("in_image"), fresh - audio)
    spoken = of("out_total")
    out_audio = min(of("out_audio"), spoken)
    out_image = min(of("out_image"), spoken - out_audio)
    thought = min(of("reasoning"), spoken - out_audio - out_image)
    tokens = {
        "input": fresh - audio - image + of("tool_prompt"),
        "audio_in": audio,
        "image_in": image,
        "cache_read": of("cache_read"),
        "cache_write_1h": of("cache_write_1h"),
        "cache_write_5m": sum(of(f"cache_write_{ttl}") for ttl in ("5m", "30m", "12h", "other")),
        "output": spoken - out_audio - out_image - thought,
        "audio_out": out_audio,
        "image_out": out_image,
        "reasoning": thought,
    }
    prices = (Decimal(RATES[name]) * number for name, number in tokens.items())
    per_million = sum(prices, start=Decimal(0))
    dollars = (per_million / 10**6 + Decimal(request)) * Decimal(multiplier)
    return int((dollars * DOLLAR).to_integral_value(ROUND_CEILING))


def counted(speech: Speech, answer: Reply, *, stream: bool) -> Counts:
    """What a reply states of its usage."""
    found = stated(
        Recorded("", speech.format, "", stream, b"", True, answer.status, "", "", answer.body)
    )
    assert found is not None
    return found


def test_the_yardstick_itself_gives_what_a_human_does() -> None:
    counts = {"in_uncached": 10, "cache_read": 1000, "cache_write_5m": 100, "cache_write_1h": 200}
    # 10 * 3 + 1000 * 0.3 + 100 * 3.75 + 200 * 6 + 50 * 15 = 2655 micro-dollars; 0.001 the request
    assert price({**counts, "out_total": 50}) == 3_655 * 10**6
    assert price({"out_total": 1}, "0.3333333", "0") == 5_000_000, "rounded up"


# --- costs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["demo", "demo-cached", "demo-reasoning"])
@pytest.mark.parametrize("group", ["default", "dear"])
def test_a_demo_reply_costs_what_its_usage_says(
    relay: Running, speech: Speech, model: str, stream: bool, group: str
) -> None:
    customer = Customer(relay, group)
    answer = customer.ask(speech, model, stream=stream)

    row = customer.row(answer)
    counts = counted(speech, answer, stream=stream)
    assert (row.outcome, row.usage_source) == ("ok", "reported")
    assert row.cost == price(counts, MULTIPLIER if group == "dear" else "1")
    if "cached" in model:
        assert counts["cache_read"] > 0
    if "reasoning" in model and speech.format != "messages":
        assert counts["reasoning"] > 0
    assert row.uncharged == 0


CACHED = {
    "chat": {
        "prompt_tokens": 1310,
        "completion_tokens": 50,
        "total_tokens": 1360,
        "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 300},
    },
    "responses": {
        "input_tokens": 1310,
        "output_tokens": 50,
        "total_tokens": 1360,
        "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 300},
    },
    "messages": {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 50,
    },
    "gemini": {
        "promptTokenCount": 1310,
        "cachedContentTokenCount": 1000,
        "candidatesTokenCount": 50,
        "totalTokenCount": 1360,
    },
}
# Micro-dollars: fresh at 3, read at 0.3, written at 3.75 or 6 (an hour), output at 15, the request.
CACHED_COST = {
    "chat": 30 + 300 + 300 * 3.75 + 750 + 1000,
    "responses": 30 + 300 + 300 * 3.75 + 750 + 1000,
    "messages": 30 + 300 + 100 * 3.75 + 200 * 6 + 750 + 1000,
    "gemini": 930 + 300 + 750 + 1000,
}


def test_a_cached_token_is_billed_once(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    document = orjson.loads(speech.reply)
    document["usageMetadata" if speech.format == "gemini" else "usage"] = CACHED[speech.format]
    upstream.answer_with(reply(orjson.dumps(document)))
    customer = Customer(relay)

    row = customer.row(customer.ask(speech, "scripted"))

    assert row.cost == int(CACHED_COST[speech.format] * 10**6)


@pytest.fixture(scope="module")
def played(start: Daemons) -> Iterator[Running]:
    """A daemon whose upstream answers each request with the recording that it names."""
    recordings = {one.id: one for one in read(FIXTURE)}

    def answer(asked: Asked) -> bytes:
        one = recordings[asked.headers["idempotency-key"]]
        head = (
            f"HTTP/1.1 {one.status} Recorded\r\ncontent-type: {one.content_type}\r\n"
            f"content-length: {len(one.body)}\r\n\r\n"
        )
        return head.encode() + one.body

    with AnsweringUpstream(answer) as upstream:
        groups = f'demo: "off"\ngroups: {{default: {{multiplier: {MULTIPLIER}}}}}\n'
        prices = f'prices: {{"*": {{{LIST}, request: {REQUEST}}}}}\n'
        up = f'{{dialect: relay, base_url: "{upstream.url}", models: ["*"]}}'
        yield start(f"{groups}{prices}upstreams: {{up: {up}}}\n")


def test_every_recorded_reply_costs_what_it_states(played: Running) -> None:
    compared, wrong, costs = 0, [], []
    customer = Customer(played, credit="100")
    for one in read(FIXTURE):
        headers = {**customer.auth, "idempotency-key": one.id}
        row = customer.row(played.ask(one.path, one.request, headers))
        counts = stated(one)
        costs.append(row.cost)
        if row.usage_source in ("partial", "estimated"):
            continue  # what broke off, or stated nothing
        if (row.outcome, row.usage_source, counts) == ("ok", "none", None) and not row.cost:
            continue  # it is made in the background, and paid for when its end is seen
        wanted = 0
        if row.outcome == "ok" and not one.counts_tokens:
            assert counts is not None
            wanted = price(counts, MULTIPLIER)
        compared += 1
        if row.cost != wanted:
            wrong.append(f"{one.id} ({one.label}, {row.outcome}): {wanted}, charged {row.cost}")
    assert wrong == []
    assert compared > 50
    assert customer.stored_balance == customer.balance == 100 * DOLLAR - sum(costs)


def test_counting_tokens_costs_nothing_and_needs_no_balance(relay: Running) -> None:
    customer = Customer(relay, "prepaid")
    path, body = SPEECHES["messages"].ask("demo")

    counted_tokens = relay.ask(path + "/count_tokens", body, customer.auth)

    assert counted_tokens.status == 200
    assert customer.row(counted_tokens).cost == 0


@pytest.mark.parametrize("model", ["demo-400", "demo-500", "demo-429", "demo-error-first"])
def test_what_failed_before_the_first_byte_costs_nothing(
    relay: Running, speech: Speech, model: str
) -> None:
    customer = Customer(relay, credit="1")
    for stream in (False, True):
        answer = customer.ask(speech, model, stream=stream)
        row = customer.row(answer)
        assert (row.cost, row.usage_source) == (0, "none"), row.outcome
    assert customer.available == DOLLAR


def test_a_reply_without_usage_is_billed_by_an_estimate_and_says_so(
    relay: Running, speech: Speech
) -> None:
    customer = Customer(relay)
    for stream in (False, True):
        row = customer.row(customer.ask(speech, "demo-no-usage", stream=stream))
        usage = row.usage
        assert row.usage_source == "estimated"
        assert usage.in_uncached and usage.out_total
        counts = {"in_uncached": usage.in_uncached, "out_total": usage.out_total}
        assert row.cost == price(counts)


def test_a_balance_falls_by_what_the_rows_cost_and_the_ledger_is_right(relay: Running) -> None:
    customer = Customer(relay, "dear", credit="2.5")
    models = ("demo", "demo-cached", "demo-400", "demo-cut", "demo-no-usage", "demo-embedding")
    asked = 0
    for name in FORMATS:
        for model in models:
            for stream in (False, True):
                customer.ask(SPEECHES[name], model, stream=stream)
                asked += 1

    rows = [row.cost for row in customer.rows(asked)]

    assert sum(rows) > 0 and rows.count(0) >= 8
    assert customer.balance == customer.available == pico("2.5") - sum(rows)
    assert customer.stored_balance == customer.balance
    books = Commands(relay.daemon.config.database)
    assert books("ledger", "verify").exit_code == 0
    report = books.json("usage", "--since", "1d", "--account", customer.name)["rows"]
    assert sum(pico(line["cost"]) for line in report) == sum(rows)


# --- who may spend --------------------------------------------------------------------------------


def unpaid(speech: Speech, answer: Reply) -> str:
    """The message of a 402 in the format's own shape."""
    assert answer.status == 402
    assert "retry-after" not in answer.headers, "waiting does not help"
    kind, message = error_of(speech.format, answer.document)
    assert kind == KINDS[speech.format]
    if speech.format in ("chat", "responses"):
        assert answer.document["error"]["code"] == "insufficient_quota"
    return message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_without_the_balance_it_is_a_402_in_the_clients_format(
    relay: Running, speech: Speech, stream: bool
) -> None:
    customer = Customer(relay, "prepaid")
    answer = customer.ask(speech, "demo", stream=stream)

    assert "The balance is used up" in unpaid(speech, answer)
    row = customer.row(answer)
    assert (row.status, row.outcome, row.error_code) == (402, "refused", "insufficient_quota")
    assert (row.cost, row.upstream, row.model_asked) == (0, "", "demo")


CAPS = {
    "day": (Caps(day=1), "a day", "A new day begins in"),
    "month": (Caps(month=1), "a month", "A new month begins in"),
    "ever": (Caps(ever=1), "in all", ""),
}


@pytest.mark.parametrize("window", CAPS)
def test_over_a_spending_cap_it_is_a_402_that_says_which(
    relay: Running, speech: Speech, window: str
) -> None:
    caps, words, until = CAPS[window]
    message = unpaid(speech, Customer(relay, caps=caps).ask(speech, "demo"))

    assert "The spending cap of this API key does not allow this request" in message
    assert words in message and until in message


def test_a_cap_holds_once_it_is_spent_and_counts_every_key_of_the_account(relay: Running) -> None:
    customer = Customer(relay, "capped")
    assert customer.ask(CHAT, "demo", max_tokens=1).status == 200
    spent = customer.rows(1)[0].cost
    assert 0.0010 * DOLLAR < spent < 0.0015 * DOLLAR

    message = unpaid(CHAT, customer.ask(CHAT, "demo", max_tokens=1))

    assert "The spending cap of this account" in message and "0.0015 dollars a day" in message


def test_a_free_model_needs_no_balance(relay: Running, upstream: ScriptedUpstream) -> None:
    customer = Customer(relay, "prepaid")
    upstream.answer_with(reply(CHAT.reply))

    answer = customer.ask(CHAT, "free")

    assert answer.status == 200
    assert customer.row(answer).cost == 0
    assert customer.ask(CHAT, "demo").status == 402


def test_an_account_needs_a_balance_from_its_first_credit_on(relay: Running) -> None:
    customer = Customer(relay)
    assert customer.ask(CHAT, "demo").status == 200
    customer.top_up("0.000001")
    assert customer.ask(CHAT, "demo").status == 402
    assert Customer(relay, "postpaid", credit="0.000001").ask(CHAT, "demo").status == 200


def test_a_top_up_by_the_command_line_is_seen_within_a_second(relay: Running) -> None:
    customer = Customer(relay, "prepaid")
    assert customer.ask(CHAT, "demo").status == 402
    books = Commands(relay.daemon.config.database)

    assert books("account", "topup", customer.name, "5").exit_code == 0

    assert relay.wait_for(lambda: customer.ask(CHAT, "demo").status == 200)
    assert books("account", "adjust", customer.name, "-5", "--reason", "no").exit_code == 0
    assert relay.wait_for(lambda: customer.ask(CHAT, "demo").status == 402)


def test_what_a_request_may_cost_is_set_aside_while_it_runs(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "strict", credit="0.1")
    with customer.begin(CHAT, "by-the-token", max_tokens=1000) as client:
        peer = upstream.accept()
        size = len(peer.read_request().body)
        # A token is at least a byte; both sides at their dearest.
        assert customer.balance - customer.available == (size * 3 + 1000 * 15) * 10**6
        peer.send(reply(CHAT.reply))
        assert client.reply().status == 200
    assert customer.balance == customer.available == pico("0.1") - (5 * 3 + 7 * 15) * 10**6


def test_a_strict_balance_is_never_overdrawn_whatever_the_upstream_reports(
    relay: Running, upstream: ScriptedUpstream, speech: Speech
) -> None:
    customer = Customer(relay, "strict", credit="0.01")
    document = orjson.loads(speech.reply)
    document["usageMetadata" if speech.format == "gemini" else "usage"] = CACHED[speech.format]
    usage: dict[str, Any] = document.get("usage") or document["usageMetadata"]
    for name in ("completion_tokens", "output_tokens", "candidatesTokenCount"):
        if name in usage:
            usage[name] = 5_000_000
    upstream.answer_with(reply(orjson.dumps(document)))
    bounds: dict[str, dict[str, Any]] = {
        "chat": {"max_tokens": 5},
        "responses": {"max_output_tokens": 5},
        "messages": {"max_tokens": 5},
        "gemini": {"generationConfig": {"maxOutputTokens": 5}},
    }

    answer = customer.ask(speech, "by-the-token", **bounds[speech.format])

    assert answer.status == 200
    row = customer.row(answer)
    assert row.cost == pico("0.01"), "all that there was"
    assert row.uncharged > 74 * DOLLAR
    assert customer.balance == customer.stored_balance == 0
    assert customer.ask(speech, "by-the-token").status == 402


def test_an_overdraft_of_one_that_is_not_strict_is_kept_in_full(
    relay: Running, upstream: ScriptedUpstream
) -> None:
    customer = Customer(relay, "prepaid", credit="0.01")
    document = orjson.loads(CHAT.reply)
    document["usage"] = {"prompt_tokens": 0, "completion_tokens": 1000, "total_tokens": 1000}
    upstream.answer_with(reply(orjson.dumps(document)))

    row = customer.row(customer.ask(CHAT, "by-the-token", max_tokens=5))

    assert (row.cost, row.uncharged) == (pico("0.015"), 0)
    assert customer.balance == customer.stored_balance == pico("-0.005")
    assert customer.ask(CHAT, "by-the-token", max_tokens=5).status == 402


# --- reload ---------------------------------------------------------------------------------------

CHANGING = """\
demo: "on"
groups: {{default: {{multiplier: {multiplier}{more}}}}}
prices: {{"demo*": {{input: 0, output: 0, request: {request}}}}}
"""


def test_a_reload_brings_new_prices_and_groups_and_a_bad_one_brings_nothing(
    start: Daemons,
) -> None:
    relay = start(CHANGING.format(multiplier=1, more="", request="0.01"))
    customer = Customer(relay, credit="1")
    usual = relay.config_path.read_text()

    def after(multiplier: str, request: str, more: str = "") -> int:
        lines = CHANGING.format(multiplier=multiplier, more=more, request=request)
        head = usual[: usual.index("demo:")]
        relay.config_path.write_text(head + lines)
        relay.call(relay.daemon.reload)
        return customer.row(customer.ask(CHAT, "demo")).cost

    assert customer.row(customer.ask(CHAT, "demo")).cost == pico("0.01")
    assert after("1", "0.02") == pico("0.02")
    assert after("1.5", "0.02") == pico("0.03")
    assert after("twice", "0.5") == pico("0.03")
    assert after("1", "much") == pico("0.03")
    assert customer.balance == pico("0.88"), "what was spent stays spent"
    assert after("1", "0.01", ", rpm: 1") == pico("0.01")
    assert customer.ask(CHAT, "demo").status == 429
    assert after("1", "0.04", ", concurrency: 9") == pico("0.04")
    assert customer.balance == customer.available == customer.stored_balance == pico("0.83")


# --- the official libraries -----------------------------------------------------------------------


@pytest.mark.sdk
def test_the_official_libraries_see_a_402_and_do_not_try_again(relay: Running) -> None:
    customer = Customer(relay, "prepaid")
    hi: Any = [{"role": "user", "content": "Hi"}]
    with openai.OpenAI(base_url=relay.url + "/v1", api_key=customer.secret) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="demo", messages=hi)
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_quota")
    with anthropic.Anthropic(base_url=relay.url, api_key=customer.secret) as other:
        with pytest.raises(anthropic.APIStatusError) as raised:
            other.messages.create(model="demo", max_tokens=9, messages=hi)
    assert (raised.value.status_code, raised.value.type) == (402, "billing_error")
    assert len(customer.rows(2)) == 2
