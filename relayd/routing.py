"""How requests are routed: the rules that an operator can set, as plain records.

Defaults are what a fresh installation does. Durations are seconds, shares are fractions of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["weighted", "least_busy", "fastest", "cheapest"]


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a target is left alone, and for how long.

    Arguments:
        enabled: False never leaves a target alone, whatever it answers.
        window: seconds over which failures are counted.
        volume: requests in the window below which the ratio says nothing.
        ratio: share of failures that opens the breaker.
        consecutive: failures in a row that open it, however few requests there are.
        open_for: seconds open at first; doubled with each failed probe, and jittered.
        longest: the most seconds open.
        probes: requests let through at once when half open.
    """

    enabled: bool = True
    window: float = 30.0
    volume: int = 10
    ratio: float = 0.5
    consecutive: int = 5
    open_for: float = 5.0
    longest: float = 60.0
    probes: int = 1


@dataclass(frozen=True, slots=True)
class RetryRules:
    """What a failure before the first byte leads to.

    Arguments:
        attempts: at most so many upstreams are asked for one request.
        deadline: seconds after the first attempt began in which another may begin.
        budget: retries, as a share of the requests in the window, so that an outage is not
            multiplied.
        window: seconds of the budget.
        floor: retries that are always allowed in a window, for those with little traffic.
    """

    attempts: int = 4
    deadline: float = 60.0
    budget: float = 0.2
    window: float = 10.0
    floor: int = 10


@dataclass(frozen=True, slots=True)
class AffinityRules:
    """How a conversation keeps its upstream key.

    Arguments:
        enabled: False gives every request to whoever has the turn.
        by_opening: where a request names no conversation, its first messages do.
        ttl: seconds without a request after which a conversation is forgotten.
        entries: conversations remembered at most.
    """

    enabled: bool = True
    by_opening: bool = True
    ttl: float = 3600.0
    entries: int = 100_000


@dataclass(frozen=True, slots=True)
class RealtimeRules:
    """Bounds of a realtime session.

    Arguments:
        idle_timeout: seconds in which neither side says anything.
        max_session: seconds in all.
        max_message: bytes of one message.
    """

    idle_timeout: float = 300.0
    max_session: float = 3600.0
    max_message: int = 16 * 2**20


@dataclass(frozen=True, slots=True)
class StateRules:
    """What is known of responses that upstreams keep for clients.

    Arguments:
        entries: responses known at most.
        ttl: seconds after which a response is forgotten.
        background: of one account, the most responses made in the background whose end was not
            seen yet: until then they are not paid for.
        trust_unknown: whether a request may go on from a response or conversation that is not
            known here; an upstream that several accounts use may then show one another's.
    """

    entries: int = 50_000
    ttl: float = 30 * 86400.0
    background: int = 100
    trust_unknown: bool = False


@dataclass(frozen=True, slots=True)
class WaitingRules:
    """The room for requests whose upstream keys are at their limits.

    Arguments:
        timeout: seconds that one may wait; 0 is not at all.
        places: requests that may wait at once, for each pool.
    """

    timeout: float = 10.0
    places: int = 1000


@dataclass(frozen=True, slots=True)
class ModelRouting:
    """What is particular to the models that match a pattern; None is as usual.

    Arguments:
        pattern: a public model name, or a wildcard.
        fallbacks: public model names to ask for when this one cannot be served.
    """

    pattern: str
    strategy: Strategy | None = None
    hedge: bool | None = None
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Routing:
    """All of it.

    Arguments:
        hedge: ask a second upstream when the first has sent nothing after its usual time.
        longest_cooldown: the most seconds that a rate limit keeps a key out; 0 is not at all.
    """

    strategy: Strategy = "weighted"
    hedge: bool = False
    longest_cooldown: float = 300.0
    breaker: BreakerRules = BreakerRules()
    retries: RetryRules = RetryRules()
    affinity: AffinityRules = AffinityRules()
    waiting: WaitingRules = WaitingRules()
    models: tuple[ModelRouting, ...] = ()
