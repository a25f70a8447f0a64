"""What a daemon asks of its process; each test gives it back."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from relayd.daemon.process import raise_file_limit, tame_collector


@pytest.fixture
def files() -> Iterator[tuple[int, int]]:
    """The limits of open files, put back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_files_as_the_system_allows_may_be_open(files: tuple[int, int]) -> None:
    soft, hard = files
    lower = min(soft, 512)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    for _ in range(2):
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_what_was_built_at_start_is_left_out_of_collections_and_rest_is_collected() -> None:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    try:
        tame_collector()
        assert gc.get_freeze_count() > 1000
        assert gc.isenabled() and gc.get_threshold()[0] > 700
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        assert gc.collect() >= 1
    finally:
        # What is frozen stays so: thawed, all that the tests are made of would be looked at again.
        gc.set_threshold(*before)


def test_a_standard_stream_that_is_closed_leads_nowhere_and_others_stay() -> None:
    """In a process of its own: the tests need theirs."""
    program = (
        "import os, sys\n"
        "from relayd.daemon.process import open_standard_streams\n"
        "os.close(0), os.close(2)\n"
        "open_standard_streams()\n"
        "print(*(os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in range(3)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert ran.stdout == b"/dev/null pipe /dev/null\n"
