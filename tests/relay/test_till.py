"""The till: let in or refused, written down before anybody hears of it, charged once.

Whole requests run through it in tests/e2e and tests/relay/test_relay.py; here stand the rules that
only show from close by: what is undone when a step fails, which day a row counts to, what is
learned.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import pytest

from relayd.accounts import DEFAULT_GROUP, Account, Group, Key, Limits
from relayd.errors import ClientGone, NoUpstream, Refused
from relayd.model import Entry, Usage
from relayd.policy.admission import Admission
from relayd.policy.balances import Balances, Sums
from relayd.policy.calendar import Calendar
from relayd.policy.estimate import Estimates
from relayd.policy.keys import Caller, Directory
from relayd.policy.prices import Price, PriceBook, Rates, Units
from relayd.relay.call import Call
from relayd.relay.till import Till
from relayd.relay.work import Work
from relayd.wire.formats import FORMATS
from relayd.wire.paths import Target, locate
from tests.support.relay_parts import NotingClient, NotingLedger

ACCOUNT, KEY = 3, 7
START = 1_000.0
NOON = 1_795_262_400.0  # 2026-11-21, 12:00 UTC
RATES = Rates.of({"input": 2, "output": 10})
PRICES = PriceBook([("m", Price(RATES, request=1000))])
REFUSING = PriceBook([("m", Price(RATES))], "refuse")
BODY = b'{"model": "m", "messages": [], "max_tokens": 100}'


class Counter:
    """A till with one caller. `ledger` has what was written down."""

    def __init__(
        self,
        group: Group = DEFAULT_GROUP,
        *,
        limits: Limits | None = None,
        granted: int | None = None,
        prices: PriceBook = PRICES,
        zone: str = "UTC",
    ) -> None:
        self.ledger = NotingLedger([])
        self.balances = Balances(Sums(granted={} if granted is None else {ACCOUNT: granted}))
        calendar = Calendar(zone)
        refuses = prices.refuses
        admission = Admission(self.balances, calendar, refuse_unpriced=refuses)
        self.till = Till(admission, Estimates(), self.ledger, prices, calendar)
        self.caller = _caller(group, limits or Limits())
        self._numbers = itertools.count(1)

    def work(self, path: str = "/v1/chat/completions", body: bytes = BODY) -> Work:
        """A request that was read."""
        target = locate("POST", path, "")
        assert isinstance(target, Target)
        name = f"req_{next(self._numbers)}"
        call = Call(name, target.format, target, "", [], START, NOON, path)
        entry = Entry(name, NOON, KEY, ACCOUNT, target.operation, format_in=target.format)
        work = Work(call, NotingClient([], body), entry, self.caller)
        work.head = FORMATS[target.format].read_head(body, target)
        entry.model_asked = work.head.model
        self.till.estimate(work.head)
        return work

    def opened(self, **how: Any) -> Work:
        """A request that was let in."""
        work = self.work(**how)
        self.till.open(work, START)
        return work

    def close(self, work: Work, usage: Usage | None = None, source: str = "reported") -> Entry:
        """End a request with such usage; its row."""
        entry: Any = work.entry
        if usage is not None:
            entry.usage, entry.usage_source = usage, source
        self.till.close(work, START + 1)
        return work.entry

    @property
    def taken(self) -> tuple[int, int, int]:
        """Requests in flight, and what key and account have reserved."""
        admission = self.till.admission
        reserved = (self.balances.key(KEY).reserved, self.balances.account(ACCOUNT).reserved)
        return (admission.in_flight(ACCOUNT), *reserved)


def _caller(group: Group, limits: Limits) -> Caller:
    digest = hashlib.sha256(b"secret").digest()
    account = Account(ACCOUNT, "a", group=group.name)
    key = Key(KEY, "k", account, digest, "sk", 0.0, limits=limits)
    return Directory([key], [group]).find("secret")


@pytest.fixture
def counter() -> Counter:
    return Counter()


# --- while a body is read -------------------------------------------------------------------------


def test_who_is_over_a_limit_hears_it_before_the_body_is_read() -> None:
    counter = Counter(limits=Limits(rpm=1))
    work = counter.work()
    with counter.till.reading(work, START):
        pass
    counter.opened()
    with pytest.raises(Refused) as caught, counter.till.reading(work, START):
        pass
    assert (caught.value.status, bool(work.limits)) == (429, True)
    assert counter.taken[0] == 1


def test_a_body_that_is_read_takes_a_place_until_it_is_there_or_never_comes() -> None:
    counter = Counter(limits=Limits(concurrency=1))
    with counter.till.reading(counter.work(), START):
        assert counter.taken[0] == 1
        work = counter.work()
        with pytest.raises(Refused) as caught, counter.till.reading(work, START):
            pass
        assert (caught.value.status, counter.taken[0]) == (429, 1)
    with pytest.raises(ConnectionError), counter.till.reading(counter.work(), START):
        raise ConnectionError
    assert counter.taken[0] == 0
    counter.opened()


@pytest.mark.parametrize(("prices", "refused"), [(REFUSING, True), (PRICES, False)])
def test_who_has_no_money_hears_it_before_the_body_is_read(
    prices: PriceBook, refused: bool
) -> None:
    counter = Counter(Group("default", balance="on"), granted=0, prices=prices)
    work = counter.work()
    if not refused:  # other models are free
        with counter.till.reading(work, START):
            return
    with pytest.raises(Refused) as caught, counter.till.reading(work, START):
        pass
    assert (caught.value.status, work.limits) == (402, [])
    work.entry.operation = "other"  # costs nothing
    with counter.till.reading(work, START):
        pass


# --- open -----------------------------------------------------------------------------------------


def test_a_request_is_written_down_with_what_it_costs_if_nothing_more_is_heard(
    counter: Counter,
) -> None:
    work = counter.opened()

    [opening] = counter.ledger.openings
    assert (opening.request_id, opening.key_id, opening.account_id) == ("req_1", KEY, ACCOUNT)
    assert (opening.operation, opening.model, opening.format_in) == ("generate", "m", "chat")
    assert opening.day == work.entry.day == 20261121
    size = -(-len(BODY) // 4)
    assert (opening.tokens_in, opening.cost) == (size, 1000 + 2 * size)
    reserved = 1000 + 2 * size + 10 * 100
    assert counter.taken == (1, reserved, reserved)


def test_where_leaving_is_free_a_crash_costs_nothing() -> None:
    counter = Counter(Group("default", leaving="free"))
    counter.opened()

    assert counter.ledger.openings[0].cost == 0


def test_a_refusal_takes_nothing_and_writes_nothing_down() -> None:
    counter = Counter(granted=5)
    work = counter.work()

    with pytest.raises(Refused) as caught:
        counter.till.open(work, START)

    assert caught.value.status == 402
    assert work.grant is None and work.limits == []
    assert counter.taken == (0, 0, 0)
    assert counter.ledger.openings == []


def test_over_a_rate_the_headers_say_how_it_stands() -> None:
    counter = Counter(limits=Limits(rpm=1))
    first, second = counter.opened(), counter.work()
    with pytest.raises(Refused):
        counter.till.open(second, START)

    assert dict(first.limits) == dict(second.limits)
    assert dict(second.limits)[b"x-ratelimit-remaining-requests"] == b"0"


def test_a_request_that_cannot_be_written_down_is_not_let_in_and_takes_nothing() -> None:
    counter = Counter(limits=Limits(rpm=1, tpm=1000, concurrency=1))
    counter.ledger.full = True
    work = counter.work()
    with pytest.raises(NoUpstream) as caught:
        counter.till.open(work, START)

    assert caught.value.status == 503
    assert work.grant is None
    assert counter.taken == (0, 0, 0)
    counter.ledger.full = False
    counter.till.open(work, START)  # neither the request nor its tokens were used up
    assert counter.taken[0] == 1


def test_while_rows_could_not_be_kept_nobody_is_let_in(counter: Counter) -> None:
    counter.till.check_room()
    counter.ledger.full = True
    with pytest.raises(NoUpstream) as caught:
        counter.till.check_room()

    assert (caught.value.status, caught.value.retry_after) == (503, 5)


def test_counting_tokens_reserves_nothing_needs_no_price_and_costs_nothing() -> None:
    counter = Counter(granted=0, prices=REFUSING, limits=Limits(tpm=10))
    body = b'{"model": "unpriced", "messages": []}'
    work = counter.opened(path="/v1/messages/count_tokens", body=body)

    assert counter.taken == (1, 0, 0)
    assert counter.close(work).cost == 0
    assert counter.taken == (0, 0, 0)


def test_an_embedding_reserves_no_output(counter: Counter) -> None:
    body = b'{"model": "m", "input": "hello"}'
    counter.opened(path="/v1/embeddings", body=body)

    assert counter.taken[1] == 1000 + 2 * -(-len(body) // 4)


@pytest.mark.parametrize(
    ("prices", "model", "sold"),
    [(PRICES, "m", True), (PRICES, "x", True), (REFUSING, "m", True), (REFUSING, "x", False)],
)
def test_a_model_is_to_be_had_with_a_price_or_where_none_is_needed(
    prices: PriceBook, model: str, sold: bool
) -> None:
    counter = Counter(prices=prices)
    assert counter.till.sells(model) is sold
    work = counter.work(body=BODY.replace(b'"m"', b'"%s"' % model.encode()))
    if sold:
        counter.till.open(work, START)
    else:
        with pytest.raises(Refused) as caught:
            counter.till.open(work, START)
        assert (caught.value.status, caught.value.code) == (403, "model_not_priced")


# --- close ----------------------------------------------------------------------------------------

USAGE = Usage(in_uncached=50, out_total=20)


def test_a_request_pays_for_its_usage_and_gives_the_rest_back() -> None:
    counter = Counter(Group("default", multiplier=1_500_000), granted=10**9)
    entry = counter.close(counter.opened(), USAGE)

    assert entry.cost == 1950  # (1000 + 50 * 2 + 20 * 10) * 1.5
    assert counter.taken == (0, 0, 0)
    assert counter.balances.balance(ACCOUNT) == 10**9 - 1950
    assert counter.ledger.rows == [entry]


def test_a_request_that_used_nothing_pays_nothing(counter: Counter) -> None:
    entry = counter.close(counter.opened())

    assert (entry.usage_source, entry.cost) == ("none", 0)
    assert counter.taken == (0, 0, 0)


def test_a_request_is_charged_once(counter: Counter) -> None:
    work = counter.opened()
    counter.close(work, USAGE)
    counter.close(work, USAGE)

    assert work.entry.cost == counter.balances.spent(ACCOUNT) == 1300
    assert len(counter.ledger.rows) == 1


@pytest.mark.parametrize(("outcome", "cost"), [("client_gone", 0), ("ok", 1300)])
def test_free_is_only_who_left_early(outcome: str, cost: int) -> None:
    counter = Counter(Group("default", leaving="free"))
    work = counter.opened()
    work.entry.outcome = outcome
    work.failure = ClientGone("left") if outcome == "client_gone" else None

    assert counter.close(work, USAGE, "partial").cost == cost


def test_a_strict_account_pays_what_it_has_and_the_rest_is_said() -> None:
    counter = Counter(Group("default", strict=True), granted=3000)
    entry = counter.close(counter.opened(), Usage(in_uncached=50, out_total=1000))

    assert (entry.cost, entry.uncharged) == (3000, 8100)
    assert counter.balances.available(ACCOUNT) == 0


def test_a_model_without_a_price_is_free_where_that_is_so(counter: Counter) -> None:
    work = counter.opened(body=BODY.replace(b'"m"', b'"x"'))

    assert counter.taken == (1, 0, 0)
    assert counter.close(work, USAGE).cost == 0


def test_a_price_changed_meanwhile_counts_for_the_next(counter: Counter) -> None:
    work = counter.opened()
    counter.till.prices = PriceBook([("m", Price(RATES, request=5000))])

    assert counter.close(work, USAGE).cost == 1300
    assert counter.close(counter.opened(), USAGE).cost == 5300


@pytest.mark.parametrize(("zone", "day"), [("UTC", 20261121), ("Pacific/Auckland", 20261122)])
def test_a_row_counts_to_the_day_on_which_its_request_began(zone: str, day: int) -> None:
    counter = Counter(zone=zone)
    admitted, refused = counter.opened(), counter.work()

    assert counter.close(admitted, USAGE).day == day
    assert counter.close(refused).day == day
    assert counter.balances.account(ACCOUNT).on(day) == admitted.entry.cost


def test_a_refused_request_has_a_row_unless_there_is_no_room(counter: Counter) -> None:
    first, second = counter.work(), counter.work()
    counter.close(first)
    counter.ledger.crowded = True  # long before it is full: the rest is for who was let in
    counter.close(second)

    assert counter.ledger.rows == [first.entry]


def test_a_request_that_was_let_in_has_its_row_whatever_the_room(counter: Counter) -> None:
    work = counter.opened()
    counter.ledger.full = counter.ledger.crowded = True
    counter.close(work, USAGE)

    assert counter.ledger.rows == [work.entry]


def test_of_strangers_so_many_rows_a_minute_are_kept_and_of_others_all(counter: Counter) -> None:
    """Anybody could fill the disk, and hide what went wrong, without so much as a key."""

    def note(key_id: int | None, now: float) -> None:
        counter.till.note(Entry("r", NOON, key_id), now)

    for _ in range(700):
        note(None, START)
    assert len(counter.ledger.rows) == 600
    for _ in range(25):
        note(KEY, START)
    assert len(counter.ledger.rows) == 625
    for tenth in range(1, 11):
        note(None, START + tenth / 10)
        note(None, START + tenth / 10)
    assert len(counter.ledger.rows) == 635


# --- estimates ------------------------------------------------------------------------------------


def test_a_reported_prompt_teaches_how_many_tokens_the_next_one_has(counter: Counter) -> None:
    before = counter.work().head
    assert before is not None and before.input_estimate == -(-len(BODY) // 4)
    prompt = Usage(in_uncached=1, cache_read=20, cache_write_5m=19, tool_prompt=10**6, out_total=5)
    for _ in range(200):
        counter.close(counter.opened(), prompt)

    head = counter.work().head
    assert head is not None
    # 49 bytes were 40 tokens: caches count, what a provider's own tools added does not.
    assert head.input_estimate in (40, 41)


@pytest.mark.parametrize("source", ["partial", "estimated", "none"])
def test_nothing_is_learned_of_what_nobody_reported(counter: Counter, source: str) -> None:
    counter.close(counter.opened(), Usage(in_uncached=40, out_total=5), source)

    assert not counter.till.estimates.dirty


@pytest.mark.parametrize(
    ("path", "body", "usage"),
    [
        ("/v1/embeddings", b'{"model": "m", "input": "hello"}', Usage(in_uncached=40)),
        ("/v1/chat/completions", BODY, Usage(out_total=5)),
    ],
)
def test_nothing_is_learned_of_embeddings_and_of_empty_prompts(
    counter: Counter, path: str, body: bytes, usage: Usage
) -> None:
    counter.close(counter.opened(path=path, body=body), usage)

    assert not counter.till.estimates.dirty


def test_a_till_shows_what_is_open_and_no_secret(counter: Counter) -> None:
    counter.opened()

    assert "1 in flight" in repr(counter.till)
    assert "secret" not in repr(counter.till)


# --- pictures and audio ---------------------------------------------------------------------------


def test_what_pictures_may_cost_is_reserved_and_what_came_is_paid() -> None:
    units = Units(image=1000)
    counter = Counter(granted=10_000, prices=PriceBook([("m", Price(Rates(), units=units))]))
    body = b'{"model": "m", "prompt": "a cat", "n": 4}'
    work = counter.opened(path="/v1/images/generations", body=body)
    assert counter.taken == (1, 4000, 4000)

    row = counter.close(work, Usage(images=3))
    assert (row.cost, counter.taken) == (3000, (0, 0, 0))


def test_the_size_of_a_picture_teaches_nothing_about_tokens(counter: Counter) -> None:
    body = b'{"model": "m", "prompt": "a cat", "n": 4}'
    work = counter.opened(path="/v1/images/generations", body=body)
    counter.close(work, Usage(in_uncached=10**6))

    assert counter.till.estimates.tokens("m", 400) == 100


def test_a_strict_account_reserves_for_pictures_by_their_tokens_not_by_their_letters() -> None:
    counter = Counter(Group("default", strict=True), prices=PriceBook([("m", Price(RATES))]))
    body = b'{"model": "m", "prompt": "a", "images": [{"image_url": "%b"}]}' % (b"A" * 10**6)
    work = counter.work(path="/v1/images/edits", body=body)
    assert work.head is not None
    counter.till.open(work, START)

    most = 4 * work.head.input_estimate * RATES.input + 4096 * RATES.output
    assert counter.taken == (1, most, most)
    assert work.head.input_estimate < 2000
