"""What the operator hears of: that an upstream key, a model at it, or a base URL changed its state.

Policy says nothing by itself; it hands a record of each change to whoever listens. One record is
one change of state, however many requests fail, with the id of the request that brought it about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

# The first three are a breaker's: of a model at a key, or of a base URL.
Event = Literal["opens", "probes", "closes", "cools", "refused", "back"]


class Change(NamedTuple):
    """One change of state.

    Arguments:
        event: what happened. `cools`: the provider limits the rate; `refused`: it does not take the
            key, for one model where there is one; `back`: it takes it again.
        upstream, key: where.
        model: the upstream's name of it, "" where all models are meant.
        site: the base URL where that is what changed; "" elsewhere.
        at: when, on the loop's clock.
        request: the id of the request that brought it about; "" is none.
        why: in relayd's own words.
        again: seconds until it is tried again; None is not by itself, or not known.
        failures: counted by a breaker that opens.
        instead: the base URL that takes over; "" is none.
    """

    event: Event
    upstream: str
    key: str
    model: str
    site: str
    at: float
    request: str = ""
    why: str = ""
    again: float | None = None
    failures: int = 0
    instead: str = ""


Hear = Callable[[Change], None]


def nobody(change: Change) -> None:
    """Nobody listens."""
