"""Which upstream key holds a response."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relayd.model import Holding, HoldingState
from relayd.policy.holdings import Holdings, Thread, holding_digest, site_tag
from relayd.routing import StateRules

RULES = StateRules(entries=3, ttl=100.0)
ACTS = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.sampled_from([1, 2]),
    st.sampled_from([0.0, 1.0, 50.0, 100.0, 150.0]),
    st.sampled_from(["settled", "owed", "gone"]),
)


def held(
    digest: str, at: float = 0.0, state: HoldingState = "settled", account: int = 1
) -> Holding:
    return Holding(digest, account, "openai", "1", "5ee7", "gpt", "smart", at, state)


def test_a_response_is_found_where_it_was_made() -> None:
    table = Holdings(RULES)
    table.keep(held("a", 1.0), 1.0)
    assert table.find("a", 2.0) == held("a", 1.0)
    assert table.find("b", 2.0) is None
    assert repr(table) == "Holdings(1 of 3, 0 owed)"


def test_it_is_forgotten_after_its_time_however_often_it_is_asked_for() -> None:
    table = Holdings(RULES)
    table.keep(held("a", 0.0), 0.0)
    assert table.find("a", 99.0)
    assert table.find("a", 100.0) is None


def test_the_dead_leave_with_those_that_come() -> None:
    table = Holdings(RULES)
    for name in "abc":
        table.keep(held(name), 0.0)
    table.keep(held("d", 100.0), 100.0)
    assert len(table) == 1
    table.keep(held("e", 300.0), 500.0)  # an old one itself, as from a clock that jumped
    assert len(table) == 0


def test_the_oldest_yields_where_there_is_no_room() -> None:
    table = Holdings(RULES)
    for place, name in enumerate("abcd"):
        table.keep(held(name, float(place)), float(place))
    assert table.find("a", 4.0) is None
    assert all(table.find(name, 4.0) for name in "bcd")


def test_what_is_deleted_is_gone_and_twice_is_no_error() -> None:
    table = Holdings(RULES)
    table.keep(held("a"), 0.0)
    table.keep(held("a", state="gone"), 0.0)
    table.keep(held("a", state="gone"), 0.0)
    assert table.find("a", 0.0) is None


def test_an_account_owes_what_was_made_in_the_background_until_it_is_settled() -> None:
    table = Holdings(RULES)
    table.keep(held("a", state="owed"), 0.0)
    table.keep(held("b", state="owed", account=2), 0.0)
    table.keep(held("c", state="owed"), 0.0)
    assert (table.owed(1), table.owed(2), table.owed(3)) == (2, 1, 0)
    table.keep(held("a", state="settled"), 0.0)
    table.keep(held("b", state="gone", account=2), 0.0)
    assert (table.owed(1), table.owed(2)) == (1, 0)


def test_what_is_owed_for_long_is_told() -> None:
    table = Holdings(RULES)
    table.keep(held("a", 1.0, "owed"), 1.0)
    table.keep(held("b", 2.0, "owed"), 2.0)
    table.keep(held("c", 1.0), 2.0)
    assert [debt.digest for debt in table.debts(2.0)] == ["a"]


def test_what_is_owed_is_set_aside_until_it_is_settled_gone_or_forgotten() -> None:
    table = Holdings(RULES)
    aside: Counter[str] = Counter()
    table.on_debt = lambda debt, by: aside.update({debt.digest: by * debt.reserved})
    table.keep(held("a", state="owed")._replace(reserved=7), 0.0)
    table.keep(held("b", state="owed")._replace(reserved=5), 0.0)
    table.keep(held("b", state="owed")._replace(reserved=4), 0.0)
    assert aside == {"a": 7, "b": 4}
    table.keep(held("b"), 0.0)
    for name in "cde":
        table.keep(held(name, 1.0), 1.0)
    assert aside.total() == 0


def test_who_sees_more_of_a_response_pays_the_difference() -> None:
    assert [Thread(paid=paid).due(10) for paid in (0, 4, 10, 12)] == [10, 6, 0, 0]
    assert Thread(least=15).due(10) == 15
    assert Thread(least=15, paid=15).due(0) == 0


def test_what_was_reserved_stays_set_aside_while_a_response_is_owed() -> None:
    owed = Thread(paid=1).charged(held("a", state="owed"), 4, reserved=10, opening=2)
    assert (owed.paid, owed.reserved, owed.least) == (5, 6, 2)
    assert Thread().charged(held("a", state="owed"), 4, reserved=3, opening=2).reserved == 0
    settled = Thread(paid=5).charged(owed._replace(state="settled"), 3, reserved=0, opening=0)
    assert (settled.paid, settled.reserved, settled.least) == (8, 0, 2)


def test_a_start_knows_what_was_known_before() -> None:
    table = Holdings(RULES)
    table.restore([held("a"), held("b"), held("c", 1.0, "owed"), held("d", 2.0)])
    assert [bool(table.find(name, 3.0)) for name in "abcd"] == [False, True, True, True]
    assert table.owed(1) == 1


@given(st.lists(ACTS))
def test_what_is_owed_is_what_stands_in_the_table(
    acts: list[tuple[str, int, float, HoldingState]],
) -> None:
    table = Holdings(RULES)
    for name, account, moment, state in acts:
        digest = f"{account}{name}"
        table.keep(held(digest, moment, state, account), moment)
        assert len(table) <= RULES.entries
        owed = [h for h in table._entries.values() if h.state == "owed"]
        assert sorted(table.debts(1000.0)) == sorted(owed)
        for one in (1, 2):
            assert table.owed(one) == sum(h.account == one for h in owed)


def test_no_two_accounts_share_a_response() -> None:
    assert holding_digest(1, "resp_1") != holding_digest(2, "resp_1")
    assert holding_digest(1, "resp_1") == holding_digest(1, "resp_1")
    assert len(holding_digest(1, "\ud800")) == 32


def test_a_base_url_has_a_short_name() -> None:
    assert site_tag("https://a") != site_tag("https://b")
    assert len(site_tag("https://a")) == 8
