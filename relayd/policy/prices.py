"""What a request costs: prices by model, and the arithmetic from usage to whole pico-dollars.

A rate is pico-dollars a token, which is the same as micro-dollars a million tokens: costs are sums
of products of integers and exact. Every token is billed once, at one rate:

- what was read from or written to a cache goes by the cache's rates, also where it is audio;
- audio and images count among the rest of the prompt, up to its size (where a provider does not say
  which tokens were cached, text is taken to be), video and tool prompts as plain input;
- output is audio, then images, then reasoning, then text, each up to what the ones before left.

Some things are not sold by the token: pictures by the piece, audio by the minute, speech by the
character, reranking by the search (`Units`). Such a price comes on top of that of the tokens.

A price may have tiers: the size of the whole prompt, caches included, decides which rates hold for
all of the request. Counts come from strangers: negative ones are none, absurd ones are cut off, and
no request costs more than ten thousand dollars, so that sums fit the columns they are kept in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from relayd.accounts import UNIT
from relayd.model import ModelRule, UpstreamSpec, Usage
from relayd.money import DOLLAR
from relayd.policy.globs import Glob, fill

Unpriced = Literal["free", "refuse"]

MOST_TOKENS = 2**30 - 1  # of one kind in one request; all bits set, for the test in `cost`
MOST_COST = 10_000 * DOLLAR
DEAREST = DOLLAR  # the most that a token may cost by a price list
DEAREST_UNIT = 1000 * DOLLAR  # the most that a picture, a minute or a search may cost
MOST_UNITS = 10**9  # pictures, milliseconds, characters or searches in one request
MOST_TIERS = 16
REMEMBERED_NAMES = 4096
REMEMBERED_LENGTH = 256
_PROMPT = (
    "in_uncached",
    "tool_prompt",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "cache_write_30m",
    "cache_write_12h",
    "cache_write_other",
)


class Rates(NamedTuple):
    """Pico-dollars a token."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    audio_in: int = 0
    audio_out: int = 0
    image_in: int = 0
    image_out: int = 0

    @classmethod
    def of(cls, written: Mapping[str, int]) -> Rates:
        """All rates, out of those that are written: a missing one is that of `STANDS_IN`."""
        rates = {"input": 0, "output": 0, **written}
        for name, other in STANDS_IN.items():
            rates.setdefault(name, rates[other])
        return cls(**rates)

    @property
    def dearest_in(self) -> int:
        """The most that a token of the prompt can cost."""
        return max(
            self.input,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.audio_in,
            self.image_in,
        )

    @property
    def dearest_out(self) -> int:
        """The most that a token of the reply can cost."""
        return max(self.output, self.reasoning, self.audio_out, self.image_out)


class Units(NamedTuple):
    """Pico-dollars for what is not counted in tokens: a picture that is made, a minute of audio
    that is listened to, a character that is spoken, a search of a rerank."""

    image: int = 0
    minute: int = 0
    characters: int = 0
    search: int = 0

    def cost(self, usage: Usage) -> int:
        """What the units in `usage` cost, rounded up. Unknown counts are none."""
        cost = _units(usage.images) * self.image + _units(usage.characters) * self.characters
        cost += _units(usage.searches) * self.search
        return cost - (-_units(usage.audio_ms) * self.minute // 60_000)


def _units(count: int | None) -> int:
    return min(max(count or 0, 0), MOST_UNITS)


# In this order: an hour's cache costs what five minutes' does, which may itself be the input's.
STANDS_IN = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "reasoning": "output",
    "audio_in": "input",
    "audio_out": "output",
    "image_in": "input",
    "image_out": "output",
}


class Price:
    """What one model costs.

    Arguments:
        rates: for every prompt, or up to the first tier.
        tiers: the rates of longer prompts, as (above so many tokens, rates).
        request: pico-dollars for the request itself.
        units: the prices of what is not counted in tokens; None where there are none.
    """

    __slots__ = ("_dearest", "rates", "request", "tiers", "units")

    def __init__(
        self,
        rates: Rates,
        tiers: Iterable[tuple[int, Rates]] = (),
        request: int = 0,
        units: Units | None = None,
    ) -> None:
        self.rates = rates
        self.tiers = tuple(sorted(tiers))
        self.request = request
        self.units = units if units and any(units) else None
        # Of all rates up to a tier: a smaller prompt may be the dearer one.
        self._dearest = [(0, rates.dearest_in, rates.dearest_out)]
        for above, tier in self.tiers:
            _, most_in, most_out = self._dearest[-1]
            most = (max(most_in, tier.dearest_in), max(most_out, tier.dearest_out))
            self._dearest.append((above, *most))

    def __repr__(self) -> str:
        tiers = f", tiers above {[above for above, _ in self.tiers]}" if self.tiers else ""
        units = f", {self.units!r}" if self.units else ""
        return f"Price({self.rates.input} in, {self.rates.output} out{tiers}{units}, pico a token)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Price) and other._parts() == self._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[object, ...]:
        return self.rates, self.tiers, self.request, self.units

    def cost(self, usage: Usage) -> int:
        """What the usage costs, before any multiplier. Unknown counts are none."""
        plain = usage.in_uncached or 0
        tool = usage.tool_prompt or 0
        read = usage.cache_read or 0
        five = usage.cache_write_5m or 0
        hour = usage.cache_write_1h or 0
        # Other times to live are priced as five minutes: no provider has rates of their own.
        half, twelve, other = (
            usage.cache_write_30m or 0,
            usage.cache_write_12h or 0,
            usage.cache_write_other or 0,
        )
        # Bits of all at once: below 0 when one is, above the most when one is.
        if not 0 <= plain | tool | read | five | hour | half | twelve | other <= MOST_TOKENS:
            return self.cost(_sane(usage))
        five += half + twelve + other
        rates = self._at(plain + tool + read + five + hour) if self.tiers else self.rates
        cost = self.request + (plain + tool) * rates.input
        if read or five or hour:
            cost += read * rates.cache_read + five * rates.cache_write_5m
            cost += hour * rates.cache_write_1h
        if usage.in_audio or usage.in_image:
            cost += _of_subsets(rates, plain, usage)
        if self.units is not None:
            cost += self.units.cost(usage)
        return min(cost + _of_output(rates, usage), MOST_COST)

    def ceiling(self, tokens_in: int, tokens_out: int, asked: Usage | None = None) -> int:
        """The most that so many tokens, or fewer, can cost, whatever kinds they are of, and the
        units in `asked`."""
        _, most_in, most_out = self._dearest[0]
        if self.tiers:
            for above, dearest_in, dearest_out in self._dearest:
                if tokens_in > above:
                    most_in, most_out = dearest_in, dearest_out
        cost = self.request + max(tokens_in, 0) * most_in + max(tokens_out, 0) * most_out
        if asked is not None and self.units is not None:
            cost += self.units.cost(asked)
        return min(cost, MOST_COST)

    def _at(self, prompt: int) -> Rates:
        rates = self.rates
        for above, tier in self.tiers:
            if prompt > above:
                rates = tier
        return rates


def charged(raw: int, multiplier: int) -> int:
    """What an account pays for a cost: times its group's multiplier (millionths), rounded up."""
    return min(-(-raw * multiplier // UNIT), MOST_COST)


def _of_subsets(rates: Rates, plain: int, usage: Usage) -> int:
    """What audio and images add to a prompt that is paid as text."""
    audio = min(max(usage.in_audio or 0, 0), plain)
    image = min(max(usage.in_image or 0, 0), plain - audio)
    return audio * (rates.audio_in - rates.input) + image * (rates.image_in - rates.input)


def _of_output(rates: Rates, usage: Usage) -> int:
    total = min(max(usage.out_total or 0, 0), MOST_TOKENS)
    cost, rest = total * rates.output, total
    if usage.out_audio or usage.out_image:
        audio = min(max(usage.out_audio or 0, 0), rest)
        image = min(max(usage.out_image or 0, 0), rest - audio)
        rest -= audio + image
        cost += audio * (rates.audio_out - rates.output) + image * (rates.image_out - rates.output)
    if usage.reasoning and rates.reasoning != rates.output:
        cost += min(max(usage.reasoning, 0), rest) * (rates.reasoning - rates.output)
    return cost


def _sane(usage: Usage) -> Usage:
    counts: dict[str, int] = {name: getattr(usage, name) or 0 for name in _PROMPT}
    sane: dict[str, Any] = {n: min(max(count, 0), MOST_TOKENS) for n, count in counts.items()}
    return replace(usage, **sane)


class PriceLine(NamedTuple):
    """A line of the price list: a model's name or a wildcard, and the price."""

    pattern: str
    price: Price


class PriceBook:
    """All prices, found by public model name. Owns a bounded memory of what names come to.

    The exact name counts, then the most particular wildcard, as in routing. A name that upstreams
    only map to one of theirs costs what that one does, where it has no line of its own. The line
    `*` is the last resort: it comes after all this.

    Arguments:
        lines: the price list; of two lines for one pattern the first counts.
        unpriced: what happens to models without a price.
        specs: the upstreams, for the names that they map.
    """

    def __init__(
        self,
        lines: Iterable[tuple[str, Price]] = (),
        unpriced: Unpriced = "free",
        specs: Iterable[UpstreamSpec] = (),
    ) -> None:
        self.unpriced = unpriced
        self.lines: dict[str, PriceLine] = {}
        for pattern, price in lines:
            self.lines.setdefault(pattern, PriceLine(pattern, price))
        globs = [Glob(pattern) for pattern in self.lines if "*" in pattern and pattern != "*"]
        self._globs = sorted(globs, key=lambda glob: glob.particularity, reverse=True)
        rules = [rule for spec in specs for rule in spec.models if rule.target]
        self._renamed: dict[str, list[str]] = {}
        for rule in rules:
            if rule.target and not rule.is_wildcard:
                self._renamed.setdefault(rule.pattern, []).append(rule.target)
        self._rewritten = _most_particular_first(rule for rule in rules if rule.is_wildcard)
        self._known: dict[str, PriceLine | None] = {}

    def __repr__(self) -> str:
        return f"PriceBook({len(self.lines)} lines, unpriced: {self.unpriced})"

    @property
    def refuses(self) -> bool:
        """Whether models without a price are refused."""
        return self.unpriced == "refuse"

    @cached_property
    def charges_all(self) -> bool:
        """Whether no model is to be had for nothing."""
        priced = self.refuses or "*" in self.lines
        prices = [line.price for line in self.lines.values()]
        return priced and all(one.units or one.ceiling(1, 1) for one in prices)

    def find(self, model: str) -> Price | None:
        """The price of a model by its public name, or None."""
        line = self.line(model)
        return line.price if line else None

    def line(self, model: str) -> PriceLine | None:
        """The line of the price list that a model goes by."""
        try:
            return self._known[model]
        except KeyError:
            pass
        found = self._look_up(model)
        if len(model) <= REMEMBERED_LENGTH:
            if len(self._known) >= REMEMBERED_NAMES:
                self._known.clear()
            self._known[model] = found
        return found

    def _look_up(self, model: str) -> PriceLine | None:
        for name in (model, *self._targets(model)):
            found = self._own(name)
            if found:
                return found
        return self.lines.get("*")

    def _own(self, name: str) -> PriceLine | None:
        exact = self.lines.get(name)
        if exact:
            return exact
        matching = (glob.pattern for glob in self._globs if glob.match(name) is not None)
        return self.lines.get(next(matching, ""))

    def _targets(self, model: str) -> list[str]:
        """What upstreams call the model; those that spell its name out mean it more than `*`."""
        exact = self._renamed.get(model)
        if exact:
            return exact
        matches = ((glob.match(model), target) for glob, target in self._rewritten)
        return [fill(target, stars) for stars, target in matches if stars is not None]


def _most_particular_first(rules: Iterable[ModelRule]) -> list[tuple[Glob, str]]:
    pairs = [(Glob(rule.pattern), rule.target) for rule in rules if rule.target]
    return sorted(pairs, key=lambda pair: pair[0].particularity, reverse=True)
