"""Which upstreams and keys are down, from the reports of their doors.

An upstream is down when none of its keys takes requests. A breaker stands for one model at one key:
where every key turns a model away, the upstream is down for that model; where only some do, these
keys are down. A rate limit is no outage unless it lasts, and neither is one key beside others that
work. What the operator has switched off is no news to them. A model that nobody asks for any more
cannot be shown to work again: after `FORGOTTEN` seconds nobody is told of it; that it is back is
said of nothing that has not served since.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from relayd.alerting import Condition
from relayd.policy.doors import LATELY
from relayd.policy.reports import DoorReport

HOLD: Final = 60.0  # seconds that a rate limit, or one key beside others, may be in trouble
FORGOTTEN: Final = LATELY  # seconds after which a key as a whole is no longer thought down
MOST_NAMED: Final = 5
WHOLE: Final = 100  # the level of an upstream that is down for all models
LONGEST_NAME: Final = 100  # characters of a model's name, which a client may have chosen
_TAKES: Final = ("up", "full")


class Trouble(NamedTuple):
    """What one key has against one model."""

    model: str
    state: str
    why: str


class Outages:
    """Looks at reports. Owns since when models and keys are in trouble, as long as they are."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}
        self._seen: dict[Hashable, float] = {}

    def __repr__(self) -> str:
        return f"<Outages {len(self._since)} watched>"

    def look(self, doors: Iterable[DoorReport], now: float) -> Iterator[Condition]:
        """What is down at `now`, in seconds of any clock that does not jump."""
        by_upstream: dict[str, list[DoorReport]] = {}
        for door in doors:
            if door.state != "disabled":
                by_upstream.setdefault(door.upstream, []).append(door)
        self._seen = {}
        for upstream, keys in by_upstream.items():
            yield from self._upstream(upstream, keys, now)
        self._since = self._seen

    def _upstream(self, name: str, keys: Sequence[DoorReport], now: float) -> Iterator[Condition]:
        troubles = {key.name: list(self._troubles(key, now)) for key in keys}
        if all(_is_down(key) or _nothing_works(key, troubles[key.name]) for key in keys):
            yield _down(name, keys, [one for key in keys for one in troubles[key.name]])
            shared = {one.model for some in troubles.values() for one in some}
        else:
            models = _turned_away([troubles[key.name] for key in keys if not _is_down(key)])
            told = [model for model in models if self._lasts(name, model, models[model], now)]
            if told:
                yield _down_for(name, told, [one for m in told for one in models[m]])
            shared = set(models)
        for key in keys:
            yield from self._key(key, troubles[key.name], shared, now)

    def _lasts(self, name: str, model: str, at_keys: Iterable[Trouble], now: float) -> bool:
        """Whether a model is in trouble for long enough: at once, unless it is only rate limits."""
        since = self._for((name, model), now)
        return since >= HOLD or any(one.state != "cooling" for one in at_keys)

    def _key(
        self, key: DoorReport, troubles: Sequence[Trouble], shared: Collection[str], now: float
    ) -> Iterator[Condition]:
        """Of one key, beside what is `shared` by all of them."""
        refused = [one.model for one in troubles if one.state == "refused"]
        if refused or (key.state == "refused" and not key.by_models):
            yield _refused(key.name, refused)
            return
        failing = [one for one in troubles if one.state != "cooling"]
        own = [one for one in failing if one.model not in shared]
        if own and self._for(key.name, now) >= HOLD:
            yield _key_down(key.name, own)
        elif failing:
            yield _key_down(key.name, failing)._replace(quiet=True)

    def _troubles(self, key: DoorReport, now: float) -> Iterator[Trouble]:
        """Of a key's models, those that are in trouble and were asked for of late."""
        for model, state, until, why in key.models:
            waits = until is None or until > 0
            if waits or self._for((key.name, model, "idle"), now) < FORGOTTEN:
                yield Trouble(_plain(model), state, why)

    def _for(self, what: Hashable, now: float) -> float:
        """How many seconds it has been so, at each look until now."""
        since = self._seen[what] = self._since.get(what, now)
        return now - since


def over(condition: Condition, doors: Iterable[DoorReport], lasted: float) -> str:
    """What is said of a condition that is over, as the doors stand now.

    An upstream or a key that was switched off or taken away is not back, and neither is one that
    nobody has asked since it failed.

    Arguments:
        lasted: seconds since it came up.
    """
    name, kind = condition.subject, condition.kind
    if kind not in ("upstream_down", "key_down"):
        return condition.over
    what = f"upstream {name}" if kind == "upstream_down" else f"upstream key {name}"
    own = [door for door in doors if name in (door.upstream, door.name) and door.state in _TAKES]
    if not own:
        return f"The {what} is not used any more."
    if any(door.served is not None and door.served <= lasted for door in own):
        # Of single models more is known: where each key still has some in trouble, nobody came.
        if condition.level >= WHOLE or not all(door.models for door in own):
            return condition.over
    return f"Nobody asks the {what} any more: whether it works again is not known."


def _is_down(key: DoorReport) -> bool:
    """Whether it takes nothing, whatever the model."""
    return key.state not in _TAKES and not key.by_models


def _nothing_works(key: DoorReport, troubles: Sequence[Trouble]) -> bool:
    """Whether of its models none went well lately. Rate limits are another matter."""
    return bool(troubles) and key.by_models and key.state != "cooling"


def _turned_away(each: Sequence[Sequence[Trouble]]) -> dict[str, list[Trouble]]:
    """The models that are in trouble at each key, and what with."""
    found = {}
    for model in dict.fromkeys(one.model for one in each[0]):
        at_keys = [[one for one in troubles if one.model == model] for troubles in each]
        if all(at_keys):
            found[model] = [one for some in at_keys for one in some]
    return found


def _down(name: str, keys: Sequence[DoorReport], troubles: Sequence[Trouble]) -> Condition:
    whys = _reasons(key.why for key in keys)
    if all(key.by_models for key in keys):
        what = f"requests for {_named(dict.fromkeys(one.model for one in troubles))} fail"
    else:
        what = "none of its keys takes requests"
    text = f"The upstream {name} is down: {what}{whys}."
    over = f"The upstream {name} is back."
    return Condition("upstream_down", name, "critical", text, over, WHOLE)


def _down_for(name: str, models: Sequence[str], troubles: Sequence[Trouble]) -> Condition:
    whys = _reasons(one.why for one in troubles)
    text = f"The upstream {name} is down for {_named(models)}{whys}."
    over = f"The upstream {name} is back."
    # More models are news, though not each of them: at two, four, eight ...
    return Condition("upstream_down", name, "critical", text, over, len(models).bit_length())


def _key_down(name: str, failing: Sequence[Trouble]) -> Condition:
    whys = _reasons(one.why for one in failing)
    models = _named(one.model for one in failing)
    text = f"The upstream key {name} fails for {models}{whys}; others do the work."
    return Condition("key_down", name, "warning", text, f"The upstream key {name} works again.")


def _refused(name: str, models: Sequence[str]) -> Condition:
    what = f"{name} for {_named(models)}" if models else name
    text = f"The provider refused the key {what}: it is taken out. When it is good again:"
    text += f" relayd upstream enable {name}"
    return Condition("key_refused", name, "warning", text, f"The upstream key {name} is in again.")


def _named(models: Iterable[str]) -> str:
    """The first of them, and how many more."""
    models = list(models)
    first, more = models[:MOST_NAMED], len(models) - MOST_NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _reasons(whys: Iterable[str]) -> str:
    said = list(dict.fromkeys(why[0].lower() + why[1:].rstrip(".") for why in whys if why))
    return f" ({'; '.join(said[:MOST_NAMED])})" if said else ""


def _plain(model: str) -> str:
    """A model's name, which a client may have made up, as words in a sentence; "" is all."""
    clean = "".join(c if c.isprintable() else "?" for c in model[:LONGEST_NAME])
    return clean or "requests without a model"
