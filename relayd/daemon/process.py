"""What a daemon asks of its own process: sockets, and a collector that stays out of the way."""

from __future__ import annotations

import contextlib
import gc
import os
import resource


def open_standard_streams() -> None:
    """Give each standard descriptor that is closed a place that leads nowhere.

    Else the next file that is opened gets its number: what a library writes to stderr would stand
    in the database. To be called before anything is opened.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one


def tame_collector() -> None:
    """Leave what was built at start out of collections, and collect less often.

    Requests leave no cycles behind (a test says so): there is little to find.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def raise_file_limit() -> None:
    """Allow as many sockets as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
