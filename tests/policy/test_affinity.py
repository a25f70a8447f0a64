"""Which upstream key a conversation is at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.affinity import DIGEST_SIZE, Affinity, digest_of
from relayd.routing import AffinityRules

RULES = AffinityRules(ttl=100.0, entries=3)
acts = st.tuples(
    st.sampled_from(["find", "keep", "drop"]),
    st.sampled_from([b"a", b"b", b"c", b"d", b"e"]),
    st.sampled_from([0.0, 1.0, 40.0, 100.0, 150.0]),
)


def test_a_conversation_keeps_its_door() -> None:
    table = Affinity(RULES)
    assert table.find(b"a", 1.0) is None
    table.keep(b"a", "openai/1", 1.0)
    assert table.find(b"a", 2.0) == "openai/1"
    table.keep(b"a", "openai/2", 3.0)
    assert table.find(b"a", 4.0) == "openai/2"
    assert repr(table) == "Affinity(1 of 3)"


def test_it_is_forgotten_when_nobody_asked_for_its_time_to_live() -> None:
    table = Affinity(RULES)
    table.keep(b"a", "x", 0.0)
    assert table.find(b"a", 99.0) == "x"
    assert table.find(b"a", 198.0) == "x"
    assert table.find(b"a", 298.0) is None
    assert len(table) == 0


def test_the_least_recently_used_leaves_first() -> None:
    table = Affinity(RULES)
    for name in (b"a", b"b", b"c"):
        table.keep(name, "x", 0.0)
    table.find(b"a", 1.0)
    table.keep(b"d", "x", 2.0)
    assert [table.find(name, 3.0) for name in (b"a", b"b", b"c", b"d")] == ["x", None, "x", "x"]


def test_what_is_kept_again_is_used() -> None:
    table = Affinity(RULES)
    for name in (b"a", b"b", b"c", b"a", b"d"):
        table.keep(name, "x", 0.0)
    assert table.find(b"a", 1.0) == "x"
    assert table.find(b"b", 1.0) is None


def test_the_dead_leave_when_others_come() -> None:
    table = Affinity(AffinityRules(ttl=10.0, entries=100))
    for i in range(50):
        table.keep(b"%d" % i, "x", 0.0)
    for i in range(25):
        table.keep(b"new %d" % i, "x", 20.0)
    assert len(table) == 25


def test_what_is_dropped_is_unknown() -> None:
    table = Affinity(RULES)
    table.keep(b"a", "x", 0.0)
    table.drop(b"a")
    table.drop(b"never seen")
    assert table.find(b"a", 0.0) is None


def test_a_table_without_room_remembers_nothing() -> None:
    table = Affinity(AffinityRules(entries=0))
    table.keep(b"a", "x", 0.0)
    assert len(table) == 0


@given(st.lists(acts, max_size=60))
def test_it_is_a_bounded_table_with_a_time_to_live(given: list[tuple[str, bytes, float]]) -> None:
    table, now = Affinity(RULES), 0.0
    model: dict[bytes, tuple[str, float]] = {}  # the least recently used first
    for act, digest, pause in given:
        now += pause
        known = model.pop(digest, None)
        alive = known is not None and known[1] > now - RULES.ttl
        if act == "find":
            found = table.find(digest, now)
            assert found == (known[0] if known and alive else None)
            if found:
                model[digest] = found, now
        elif act == "keep":
            table.keep(digest, f"door {now}", now)
            model[digest] = f"door {now}", now
            if len(model) > RULES.entries:
                del model[next(iter(model))]
        else:
            table.drop(digest)
        assert len(table) <= RULES.entries
    for digest, (door, used) in model.items():
        assert table.find(digest, now) == (door if used > now - RULES.ttl else None)


fields = st.tuples(st.integers(0, 2000), st.text(st.characters(exclude_categories=()), max_size=5))


@given(fields, fields, st.binary(max_size=5), st.binary(max_size=5))
def test_no_two_conversations_share_a_digest(
    one: tuple[int, str], other: tuple[int, str], name: bytes, other_name: bytes
) -> None:
    first, second = digest_of(*one, name), digest_of(*other, other_name)
    assert len(first) == DIGEST_SIZE
    assert (first == second) == ((*one, name) == (*other, other_name))


def test_fields_do_not_run_into_each_other() -> None:
    assert digest_of(1, "ab", b"c") != digest_of(1, "a", b"bc")
    assert digest_of(1, "1 a", b"") != digest_of(11, "a", b"")
    assert digest_of(1, "m", b"x").hex() == digest_of(1, "m", b"x").hex()
