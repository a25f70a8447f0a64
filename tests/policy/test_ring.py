"""Where a digest belongs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.policy.ring import DENSITY, MOST_POINTS, Ring, ring_of

DIGESTS = [blake2b(b"%d" % i, digest_size=16).digest() for i in range(20_000)]
targets = st.dictionaries(st.text(max_size=6), st.integers(1, 9), min_size=2, max_size=8)


def ring(given: dict[str, int]) -> Ring:
    return Ring(list(given), list(given.values()))


def owner(given: dict[str, int], one: Ring, digest: bytes) -> str:
    return list(given)[next(one.order(digest))]


@settings(max_examples=50, deadline=None)
@given(targets, st.data())
def test_removing_a_name_moves_only_its_own(given: dict[str, int], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(given)))
    fewer = {name: weight for name, weight in given.items() if name != gone}
    before, after = ring(given), ring(fewer)
    for digest in DIGESTS[:60]:
        was = [list(given)[i] for i in before.order(digest)]
        was.remove(gone)
        assert [list(fewer)[i] for i in after.order(digest)] == was


@settings(max_examples=25, deadline=None)
@given(targets)
def test_the_order_of_the_names_does_not_matter(given: dict[str, int]) -> None:
    turned = dict(reversed(given.items()))
    one, other = ring(given), ring(turned)
    for digest in DIGESTS[:50]:
        assert owner(given, one, digest) == owner(turned, other, digest)


@settings(max_examples=50, deadline=None)
@given(targets, st.binary(min_size=8, max_size=16))
def test_everyone_is_named_once_as_they_follow(given: dict[str, int], digest: bytes) -> None:
    one = ring(given)
    point = int.from_bytes(digest[:8], "big")
    around = sorted(
        (p < point, p, owner) for p, owner in zip(one._points, one._owners, strict=True)
    )
    found = list(one.order(digest))
    assert found == list(dict.fromkeys(owner for _, _, owner in around))
    assert sorted(found) == list(range(len(given)))


@pytest.mark.parametrize("weights", [[1, 1], [1, 2, 3], [5, 1, 1, 1], [10, 10, 30]])
def test_shares_are_near_the_weights(weights: list[int]) -> None:
    one = Ring([f"openai/{i}" for i in range(len(weights))], weights)
    found = Counter(next(one.order(digest)) for digest in DIGESTS)
    for i, weight in enumerate(weights):
        expected = len(DIGESTS) * weight / sum(weights)
        assert 0.75 * expected < found[i] < 1.25 * expected


@pytest.mark.parametrize("first", [b"\x00", b"\xff"])
def test_the_ring_is_closed(first: bytes) -> None:
    one = Ring(["a", "b"], [1, 1])
    assert one._points[0] > 0 and one._points[-1] < 2**64 - 1
    assert next(one.order(first * 8)) == one._owners[0]


def test_it_stays_small_whatever_the_weights() -> None:
    heavy = Ring(["a", "b", "c"], [1_000_000, 500_000, 1])
    assert MOST_POINTS / 2 < len(heavy._points) <= MOST_POINTS + 1
    assert Counter(heavy._owners)[2] == 1
    assert len(Ring(["a", "b"], [1, 2])._points) == 3 * DENSITY
    assert len(Ring([f"{i}" for i in range(200)], [1] * 200)._points) == MOST_POINTS


def test_a_ring_of_nobody_has_no_order() -> None:
    assert list(Ring([], []).order(DIGESTS[0])) == []
    assert repr(Ring(["a"], [2])) == "Ring(1 names, 200 points)"


def test_another_process_finds_the_same() -> None:
    program = (
        "from relayd.policy.ring import Ring\n"
        "ring = Ring(['a', 'b', 'c'], [1, 2, 3])\n"
        "print([list(ring.order(bytes([i]) * 16)) for i in range(64)])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    one = Ring(["a", "b", "c"], [1, 2, 3])
    expected = str([list(one.order(bytes([i]) * 16)) for i in range(64)])
    assert found == {expected.encode() + b"\n"}


@given(targets, st.binary(min_size=8, max_size=16))
def test_the_owner_is_the_first_to_ask(given: dict[str, int], digest: bytes) -> None:
    one = ring(given)
    assert one.owner(digest) == next(one.order(digest))
    for edge in (b"\x00" * 8, b"\xff" * 8):
        assert one.owner(edge) == next(one.order(edge))


def test_the_ring_of_the_same_names_is_built_once() -> None:
    one = ring_of(("a", "b"), (1, 2))
    assert one is ring_of(("a", "b"), (1, 2))
    assert one is not ring_of(("a", "b"), (2, 1))
