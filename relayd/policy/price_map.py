"""Reads a price map in LiteLLM's JSON form: one object of fields for each model, dollars a token.

The result is lines in the form of the configuration's `prices` section, in dollars a million
tokens. A model that makes pictures, listens, speaks or ranks, and costs nothing by the token, is
priced by the picture, the minute, the character or the search. What the map says of other things
(pixels, pages, other grades of service) has no place there: such fields are counted, and a model
that has nothing else is left out, with the reason. Rates are floats with the dust of binary
arithmetic on them: they are rounded to whole pico-dollars a token, and refused where that would
change them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

from relayd.policy.prices import DEAREST, MOST_TIERS, MOST_TOKENS

EXAMPLE = "sample_spec"  # how the map explains itself
FIELDS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
    "input_cost_per_image_token": "image_in",
    "output_cost_per_image_token": "image_out",
}
# By what a model is for: its price by another measure than tokens, and how many of the map's units
# are one of ours.
UNITS: Mapping[str, tuple[str, int, tuple[str, ...]]] = {
    "image_generation": ("image", 1, ("output_cost_per_image", "input_cost_per_image")),
    "audio_transcription": ("minute", 60, ("input_cost_per_second", "output_cost_per_second")),
    "audio_speech": ("characters", 10**6, ("input_cost_per_character",)),
    "rerank": ("search", 1, ("input_cost_per_query",)),
}
_REQUEST = "input_cost_per_request"
_TIER = re.compile(r"(?P<field>\w+)_above_(?P<thousands>\d{1,5})k_tokens")
_NAME = re.compile(r"[^\s\x00-\x1f\x7f*]{1,256}")
_PICO = Decimal(10) ** 12
UNIT_NAMES = frozenset(name for name, _, _ in UNITS.values())
_DUST = Decimal("1e-6")  # what rounding may change, as a share of the rate

Line = dict[str, Any]


class _Odd(Exception):
    """A model cannot be taken over; the message says why."""


@dataclass(frozen=True, slots=True)
class PriceMap:
    """What a map comes to.

    Arguments:
        prices: by model, the line of the configuration.
        left_out: by model, why not.
        unused: by field that says a cost but has no place here, how many models have it.
    """

    prices: dict[str, Line] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unused: Counter[str] = field(default_factory=Counter)


def read_map(data: bytes, providers: Sequence[str] = ()) -> PriceMap:
    """Read a map.

    Arguments:
        data: the JSON text.
        providers: only models of these (as the map calls them), without `provider/` before their
            names; of two providers that offer the same name, the one named first counts. None
            named is all models, by the map's own names.

    Raises ValueError for what is no such map.
    """
    try:
        models = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(models, dict):
        raise ValueError("is not a price map: expected an object with a member for each model")
    found = PriceMap()
    for name, entry in _chosen(models, providers):
        try:
            found.prices[name] = _line(name, entry, found.unused)
        except _Odd as reason:
            found.left_out[name] = str(reason)
    if not found.prices and not found.left_out:
        raise ValueError("holds no such model")
    return found


def _chosen(models: dict[str, Any], providers: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if not providers:
        yield from ((name, entry) for name, entry in models.items() if name != EXAMPLE)
        return
    by_provider: dict[str, dict[str, Any]] = {provider: {} for provider in providers}
    for name, entry in models.items():
        provider = entry.get("litellm_provider") if isinstance(entry, dict) else None
        if isinstance(provider, str) and provider in by_provider:
            by_provider[provider].setdefault(name.removeprefix(f"{provider}/"), entry)
    merged: dict[str, Any] = {}
    for entries in by_provider.values():
        merged = {**entries, **merged}
    yield from merged.items()


def _line(name: str, entry: object, unused: Counter[str]) -> Line:
    if not _NAME.fullmatch(name):
        raise _Odd("is not the name of a model")
    if not isinstance(entry, dict):
        raise _Odd("has no fields")
    line: Line = {}
    tiers: dict[int, Line] = {}
    others = []
    for key, value in entry.items():
        if "cost" in key and value is not None and not _read(key, value, line, tiers):
            others.append(key)
    _read_ranges(entry.get("tiered_pricing"), line, tiers)
    if not any(line.values()):  # else the same would be paid twice
        line |= _by_unit(entry, others)
    if not line.keys() & {"input", "output", "request", *UNIT_NAMES}:
        raise _Odd(_reason(others))
    if others and not any(line.values()):
        raise _Odd(_reason(others))  # free by the token because it costs by something else
    unused.update(others)
    if line.keys() - {"request", *UNIT_NAMES}:
        line = {"input": 0, "output": 0, **line}
    if len(tiers) > MOST_TIERS:
        raise _Odd(f"has more than {MOST_TIERS} tiers")
    if tiers:
        line["tiers"] = [{"above": above, **rates} for above, rates in sorted(tiers.items())]
    return line


def _by_unit(entry: Mapping[str, Any], others: list[str]) -> Line:
    """The price by another measure than tokens, if there is one; its fields are no others then."""
    mode = entry.get("mode")
    if not isinstance(mode, str) or mode not in UNITS:
        return {}
    name, times, fields = UNITS[mode]
    found = [key for key in fields if key in others]
    price = max((_pico(key, entry[key]) for key in found), default=0) * times
    if not price:
        return {}
    others[:] = [key for key in others if key not in fields]
    return {name: _plain(price, _PICO)}


def _reason(others: Sequence[str]) -> str:
    return f"is priced by {', '.join(sorted(others)[:3])}" if others else "has no price"


def _read(key: str, value: object, line: Line, tiers: dict[int, Line]) -> bool:
    """Take over one field; False when it has no place."""
    if key == _REQUEST:
        line["request"] = _plain(_pico(key, value), _PICO)
        return True
    tier = _TIER.fullmatch(key)
    name = FIELDS.get(tier["field"] if tier else key)
    if name is None:
        return False
    rates = tiers.setdefault(int(tier["thousands"]) * 1000, {}) if tier else line
    rates[name] = _plain(_pico(key, value), Decimal(10) ** 6)
    return True


def _read_ranges(ranges: object, line: Line, tiers: dict[int, Line]) -> None:
    """The other form of tiers: a list of rates, each with the prompts `[from, to]` it is for."""
    for one in ranges if isinstance(ranges, list) else ():
        try:
            above = int(one["range"][0])
            if above > MOST_TOKENS:
                raise ValueError
            rates = {FIELDS[k]: (k, v) for k, v in one.items() if k in FIELDS and v is not None}
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError):
            raise _Odd("has tiers of another form") from None
        into = tiers.setdefault(above, {}) if above > 0 else line
        for name, (key, value) in rates.items():
            into[name] = _plain(_pico(key, value), Decimal(10) ** 6)


def _pico(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Odd(f"{key} is not a number")
    exact = Decimal(str(value)) * _PICO
    if not 0 <= exact <= DEAREST:
        raise _Odd(f"{key} is beyond what a price can be")
    whole = exact.to_integral_value()
    if abs(whole - exact) > exact * _DUST:
        raise _Odd(f"{key} is finer than a price can be")
    return int(whole)


def _plain(pico: int, scale: Decimal) -> int | float:
    """As few digits as say it exactly; no rate has more than a float can hold."""
    value = pico / scale
    return int(value) if value == int(value) else float(value)
