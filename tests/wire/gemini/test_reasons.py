"""Why an answer of Gemini's ended."""

from __future__ import annotations

from typing import get_args

from relayd.wire.events import Reason
from relayd.wire.gemini.reasons import FAULTS, REASONS


def test_every_word_means_one_of_ours_and_a_fault_of_the_models_is_no_reason() -> None:
    assert set(REASONS.values()) <= set(get_args(Reason))
    assert not FAULTS & REASONS.keys()
    assert {REASONS[word] for word in REASONS if word.startswith(("IMAGE_", "NO_IMAGE"))} == {
        "filter"
    }
