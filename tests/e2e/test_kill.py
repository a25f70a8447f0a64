"""relayd killed under load, with real processes: its books are right afterwards, to the last unit.

The short form; `make kill-test` is the long one, and a step of its own in `.ci/run`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kill.rounds import Rounds
from benchmarks.kill.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path)
    try:
        yield one
    finally:
        one.close()


def test_no_reply_is_forgotten_and_no_cent_lost_when_relayd_is_killed(site: Site) -> None:
    rounds = Rounds(site, seed=4)

    assert rounds.run("kill", sums=False).faults == []
    assert rounds.run("torn").faults == []
    assert rounds.noted, "the kills left nothing in the journal: nothing was tested"
