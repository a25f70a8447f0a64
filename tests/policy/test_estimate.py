"""How many tokens so many bytes are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.policy.estimate import LONGEST_NAME, MODELS, Estimates

SIZES = st.integers(1, 10**7)


def test_an_unknown_model_takes_four_bytes_for_a_token_rounded_up() -> None:
    estimates = Estimates()

    assert [estimates.tokens("m", size) for size in (0, 1, 4, 5, 4000)] == [0, 1, 1, 2, 1000]
    assert estimates.ratio("m") == 4.0


def test_the_ratio_of_a_model_is_learned_from_its_replies() -> None:
    estimates = Estimates()

    for _ in range(100):
        estimates.learn("m", 3000, 1000)

    assert estimates.ratio("m") == pytest.approx(3.0, rel=0.01)
    assert estimates.tokens("m", 30_000) == pytest.approx(10_000, rel=0.01)
    assert estimates.tokens("m", 0) == 0
    assert estimates.ratio("other") == 4.0


def test_the_ratio_follows_what_clients_send_now() -> None:
    estimates = Estimates()
    for _ in range(1000):
        estimates.learn("m", 3000, 1000)

    for _ in range(300):
        estimates.learn("m", 5000, 1000)

    assert estimates.ratio("m") == pytest.approx(5.0, rel=0.02)


def test_one_padded_prompt_moves_nobody_elses_estimate() -> None:
    """Twenty million blanks divided everybody's estimates of the model by four."""
    estimates = Estimates()
    for _ in range(200):
        estimates.learn("m", 8000, 2000)

    estimates.learn("m", 20_000_000, 100)

    assert estimates.ratio("m") == pytest.approx(4.0, rel=0.12)


def test_a_first_odd_example_does_not_decide() -> None:
    estimates = Estimates()

    estimates.learn("m", 16, 1)

    assert estimates.ratio("m") == pytest.approx(4.0, rel=0.05)


@given(st.lists(st.tuples(SIZES, SIZES), max_size=60), st.integers(0, 10**9))
def test_the_ratio_stays_between_one_and_sixteen(
    examples: list[tuple[int, int]], size: int
) -> None:
    estimates = Estimates()
    for bytes_in, tokens in examples:
        estimates.learn("m", bytes_in, tokens)

    assert 1.0 <= estimates.ratio("m") <= 16.0001
    assert size / 16.001 <= estimates.tokens("m", size) <= size + 1


@pytest.mark.parametrize(
    ("size", "tokens"), [(0, 5), (5, 0), (-1, 5), (5, -1), (10**30, 5), (5, 10**30)]
)
def test_examples_without_sense_teach_nothing(size: int, tokens: int) -> None:
    estimates = Estimates()

    estimates.learn("m", size, tokens)

    assert estimates.snapshot() == {}
    assert not estimates.dirty


def test_names_that_are_too_long_are_not_remembered() -> None:
    estimates = Estimates()

    estimates.learn("m" * (LONGEST_NAME + 1), 10, 3)

    assert estimates.snapshot() == {}


def test_the_model_learned_from_longest_ago_makes_room() -> None:
    estimates = Estimates()
    for number in range(MODELS):
        estimates.learn(f"m-{number}", 10, 3)

    estimates.learn("m-0", 10, 3)
    estimates.learn("new", 10, 3)

    kept = estimates.snapshot()
    assert len(kept) == MODELS
    assert {"m-0", "new", "m-2"} <= kept.keys()
    assert "m-1" not in kept


def test_a_snapshot_restores_what_was_known() -> None:
    first, second = Estimates(), Estimates()
    first.learn("a", 3000, 1000)
    first.learn("b", 2000, 1000)
    assert first.dirty

    second.restore(first.snapshot())

    assert not first.dirty
    assert second.ratio("a") == first.ratio("a")
    assert list(second.snapshot()) == ["a", "b"]
    assert not second.dirty


def test_what_makes_no_sense_is_not_restored() -> None:
    estimates = Estimates()

    estimates.restore(
        {
            "inf": (float("inf"), 1.0),
            "nan": (float("nan"), 1.0),
            "none": (4.0, 0.0),
            "thin": (1.0, 4.0),
            "thick": (40.0, 1.0),
            **{f"m-{number}": (4.0, 1.0) for number in range(MODELS + 5)},
        }
    )

    kept = estimates.snapshot()
    assert len(kept) == MODELS
    assert not kept.keys() & {"inf", "nan", "none", "thin", "thick", "m-0"}
    assert repr(estimates) == f"Estimates({MODELS} models)"
    estimates.learn("m", 4, 1)
    assert repr(estimates) == f"Estimates({MODELS} models, dirty)"
