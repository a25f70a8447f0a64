"""What a request may cost and use, before anybody knows: what is set aside for it.

The prompt is estimated, the output is the most that the request allows. Money is reserved for all
of that, since it is given back at the end; of the tokens of a minute less is taken, because what is
asked for is seldom used up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from relayd.model import Usage
from relayd.policy.keys import Caller
from relayd.policy.prices import Price, charged

DEFAULT_OUTPUT = 4096
# Counts come from strangers, and a minute's tokens must not be gone by one of them.
MOST_CHOICES = 128  # for which tokens are taken; money is reserved for all
NOBODY_ELSE: Mapping[str, Price] = MappingProxyType({})


class Ask(NamedTuple):
    """A request that wants to be let in.

    Arguments:
        caller: who asks.
        model: the public name.
        price: of the model; None where it has none.
        tokens_in: an estimate of the prompt.
        bytes_in: the size of the body: more tokens than that it cannot have.
        max_out: the most output tokens of one reply; None where the request does not say.
        choices: replies that are asked for.
        fallbacks: the prices of other models that may answer, by name. The account pays for the one
            that did, so what is reserved is for the dearest.
        units: what is asked for beside tokens: pictures, audio, characters.
    """

    caller: Caller
    model: str
    price: Price | None
    tokens_in: int
    bytes_in: int
    max_out: int | None = None
    choices: int = 1
    fallbacks: Mapping[str, Price] = NOBODY_ELSE
    units: Usage | None = None


def reserved_for(ask: Ask, output: int) -> tuple[int, int]:
    """What is set aside for a request, and what has to be there; nothing for a free one.

    With `strict` that is the most it can cost, where a token is at least a byte. Otherwise it is
    what it may cost by the estimate, up to the group's bound, and at least the smallest amount.
    Whichever model answers: it is that of the dearest.
    """
    group = ask.caller.group
    size = ask.bytes_in if group.strict else ask.tokens_in
    output, units = output * ask.choices, ask.units
    raw = 0 if ask.price is None else ask.price.ceiling(size, output, units)
    for price in ask.fallbacks.values():
        raw = max(raw, price.ceiling(size, output, units))
    amount = charged(raw, group.multiplier)
    if not amount:
        return 0, 0
    most = group.reserve_cap
    if most is not None and amount > most and not group.strict:
        amount = most
    return amount, amount or 1


def opening_cost(ask: Ask, price: Price, reserved: int) -> int:
    """What the account pays if nothing more is ever heard of the request: its prompt."""
    group = ask.caller.group
    if group.leaving == "free":
        return 0
    if price.tiers:
        raw = price.cost(Usage(in_uncached=ask.tokens_in))
    else:  # the same, without the record
        raw = price.request + ask.tokens_in * price.rates.input
    if ask.units is not None and price.units is not None:
        # What goes in was heard or read, whatever came of it; pictures come out.
        raw += price.units.cost(replace(ask.units, images=None))
    cost = charged(raw, group.multiplier)
    return min(cost, reserved) if group.strict else cost


def tokens_for(ask: Ask, output: int) -> int:
    """What is taken of the minute's tokens; the truth is counted at the end.

    Arguments:
        output: tokens of one reply.
    """
    return ask.tokens_in + output * min(ask.choices, MOST_CHOICES)
