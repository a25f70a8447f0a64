"""Lists of models, and single ones: what the caller's key may use, with what is known of each.

A model is listed if an upstream offers it by name, the key's group and the key let it through, it
is for an endpoint that they may use, and it is for sale: the same questions that a request for it
is asked. What it costs is what this caller pays, times the group's multiplier; what it takes comes
from the table of capabilities, by the upstream's own name of it.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from relayd.accounts import Endpoint
from relayd.errors import Refused
from relayd.model import FormatName
from relayd.policy.keys import Caller
from relayd.policy.offers import Choice, Listed
from relayd.policy.prices import Price
from relayd.policy.prices import Rates as Prices
from relayd.relay.relay import Relay
from relayd.web.client import HttpClient
from relayd.wire import kinds, listing
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.listing import Model, Rates
from relayd.wire.paths import Listing, Target

GENERATE = Target("chat", "generate")  # whether it is translated does not rest on the format
Offers = dict[FormatName, Choice]


class ModelPages:
    """Makes lists of models. Owns a memory of who offers the listed ones, until the next reload.

    Arguments:
        relay: knows the upstreams, the prices and what models take.
        started_at: Unix seconds: since when the models are here, as far as we know.
    """

    def __init__(self, relay: Relay, started_at: int) -> None:
        self._relay = relay
        self._started_at = started_at
        self._lines: tuple[Listed, ...] = ()
        self._offered: dict[str, Offers] = {}

    def __repr__(self) -> str:
        return f"<ModelPages {len(self._relay.pools.listing())} models>"

    def page(self, shape: FormatName, wanted: Listing, caller: Caller, query: str) -> bytes:
        """The list, or the one model that is wanted.

        Raises Refused (404) for a model that is not there for this caller, BadCall (400) for a part
        of the list that cannot be.
        """
        lines = self._relay.pools.listing()
        if lines is not self._lines:  # a reload makes them anew
            self._lines, self._offered = lines, {x.name: self._offers(x.name) for x in lines}
        if wanted.model is not None:
            return self._one(shape, wanted.model, caller)
        found = (self._found(line.name, caller) for line in lines)
        models = [model for model in found if model is not None]
        return listing.many(shape, models, listing.wanted(shape, query))

    def _one(self, shape: FormatName, name: str, caller: Caller) -> bytes:
        # By a wildcard, maybe: then it stands in no list.
        model = self._found(name, caller)
        body = listing.one(shape, [model], name) if model is not None else None
        if body is None:
            raise Refused(
                f"The model `{name[:200]}` does not exist or you do not have access to it.",
                status=404,
                code="model_not_found",
                param="model",
            )
        return body

    def _found(self, name: str, caller: Caller) -> Model | None:
        relay = self._relay
        if not (caller.allows(name) and relay.till.sells(name)):
            return None
        offers = self._offered.get(name) or self._offers(name)
        if not offers:
            return None
        choice = next(iter(offers.values()))
        can = relay.translator.capabilities.of(choice.model, choice.spec.name)
        tasks = _allowed(can, caller)
        if tasks is None:
            return None
        price, share = relay.till.prices.find(name), caller.group.multiplier
        return Model(
            name,
            choice.spec.name,
            self._started_at,
            tuple(offers),
            tasks,
            can.context,
            can.max_output,
            # What no row says is anything, for those who translate; here it is nothing.
            can.inputs if can.inputs != UNKNOWN.inputs else (),
            can.outputs if can.outputs != UNKNOWN.outputs else (),
            _rates(price.rates, price, share) if price else {},
            tuple((a, _rates(rates, price, share)) for a, rates in price.tiers) if price else (),
        )

    def _offers(self, name: str) -> Offers:
        """By format in which the model can be asked, the first that would be."""
        translates = self._relay.translator.serves(GENERATE)
        return self._relay.pools.formats(name, translates)


def shape_of(client: HttpClient, wanted: Listing, query: str) -> FormatName:
    """Whose list a client reads: told by what only its kind sends."""
    headers = client.headers
    if wanted.gemini_path or "x-goog-api-key" in headers or "key" in dict(parse_qsl(query)):
        return "gemini"
    return "messages" if "anthropic-version" in headers else "chat"


def _allowed(can: Capability, caller: Caller) -> tuple[Endpoint, ...] | None:
    """Of what the model is for, what the caller may use it for; None where that is nothing."""
    allowed = [task for task in can.tasks if caller.endpoint_allowed(task)]
    tasks = kinds.usable(can.tasks, allowed)
    return tasks if tasks or not can.tasks else None


def _rates(rates: Prices, price: Price, share: int) -> Rates:
    """What a caller pays, by OpenRouter's names."""
    written = {
        "prompt": rates.input,
        "completion": rates.output,
        "request": price.request,
        "input_cache_read": rates.cache_read,
        "input_cache_write": rates.cache_write_5m,
        "internal_reasoning": rates.reasoning,
    }
    usual = {"audio": (rates.audio_in, rates.input), "image_token": (rates.image_in, rates.input)}
    written |= {name: rate for name, (rate, other) in usual.items() if rate != other}
    if price.units is not None:
        units = price.units._asdict()
        written |= {f"per_{unit.removesuffix('s')}": rate for unit, rate in units.items() if rate}
    return {name: rate * share for name, rate in written.items()}
