"""Requests on their way to upstreams that do not speak the client's format.

`wire` has the languages; here is decided with which account's secrets they are spoken, how
strictly, and what is remembered. Three lives: a `Translator` is the daemon's, until a reload gives
it other terms; a `Translation` is one request's, read into the hub once until an upstream has words
for it; a `Crossing` (`crossing`) is one attempt's, because the next upstream may have another
format, another name for the model, and an account that cannot read the last one's secrets.

A request whose two sides speak one format never comes here, but for one that holds what another
provider sealed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b

import orjson

from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.policy.keys import Caller
from relayd.policy.lease import Lease
from relayd.relay.call import Call
from relayd.relay.fetching import Fetcher
from relayd.wire import checked, envelope, plan
from relayd.wire.capabilities import Capabilities
from relayd.wire.carriers import Carriers
from relayd.wire.codec import Codec
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.losses import Losses
from relayd.wire.neutral import Request
from relayd.wire.parts import Carrier, Document
from relayd.wire.paths import Target
from relayd.wire.plan import Traits
from relayd.wire.setting import NOBODYS, Going, Translating, nothing_remembered
from relayd.wire.vectors import Texts

AS_USUAL = Translating()
NO_TABLE = Capabilities({})


class Translator:
    """What all translations share. Owns what is remembered of signatures, over a reload.

    Arguments:
        terms: the operator's.
        capabilities: what models take.
        fetcher: of pictures, where the operator has some fetched.
    """

    def __init__(
        self,
        terms: Translating = AS_USUAL,
        capabilities: Capabilities = NO_TABLE,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.carriers = Carriers()
        self.fetcher = fetcher or Fetcher()
        self.adopt(terms, capabilities)

    def __repr__(self) -> str:
        return f"<Translator {self.capabilities!r} {self.carriers!r}>"

    def adopt(self, terms: Translating, capabilities: Capabilities) -> None:
        """Translate the next requests by these."""
        self.terms, self.capabilities = terms, capabilities

    def serves(self, target: Target) -> bool:
        """Whether a call may go to upstreams that do not speak its format."""
        if target.operation not in plan.TRANSLATED or target.verb in plan.NATIVE_ONLY:
            return False
        return self.terms.enabled

    def restricts(self, lease: Lease, client: FormatName, traits: Traits | None) -> bool:
        """Whether the model is not served in the client's format, though its upstream speaks it;
        or may not be, by what the request has. Asked of every request."""
        if len(lease.spec.formats) == 1:
            return False
        can = self.capabilities.of(lease.model, lease.spec.name)
        if can.endpoints and client not in can.endpoints:
            return True
        return traits is not None and can.tools_endpoint not in (None, client)

    def of(self, call: Call, head: Head, caller: Caller | None) -> Translation:
        """The translation of one request."""
        return Translation(self, call, head, caller)


class Translation:
    """One request, and what it is in other formats. Owns the request in the hub."""

    def __init__(
        self, translator: Translator, call: Call, head: Head, caller: Caller | None
    ) -> None:
        self.translator = translator
        self.call = call
        self.head = head
        self.caller = caller
        self.form: Document | None = None  # what it says, once that was read

    def __repr__(self) -> str:
        return f"<Translation of {self.call.request_id} from {self.call.format}>"

    @cached_property
    def request(self) -> Request:
        """The request in the hub. Raises BadCall where its own format does not allow it."""
        head = self.head
        if head.target.operation == "image":
            return pictures_of(self.call.format).decode(self._document(), head.target)
        codec = codec_of(self.call.format)
        decode = codec.decode
        if head.target.operation == "count_tokens" and codec.decode_count is not None:
            decode = codec.decode_count
        return decode(self._document(), head.target)

    def let_go(self) -> None:
        """It has been written; should another upstream be tried after all, it is read again."""
        self.__dict__.pop("request", None)

    @cached_property
    def texts(self) -> Texts:
        """The texts of a request for embeddings. Raises BadCall."""
        embed = codec_of(self.call.format).embed
        assert embed is not None  # or the client could not have asked
        return embed.decode(self._document(), self.head.target)

    def _document(self) -> Document:
        if self.form is not None:
            return self.form
        document: Document = orjson.loads(self.head.body)
        checked.shallow(document)
        return document

    def opened(self, lease: Lease) -> Head:
        """The request in the client's own format, for an upstream that speaks it, without what
        other providers sealed: it holds envelopes of ours from a reply that was translated. Raises
        BadCall where it cannot be read at all."""
        head = self.head
        # Texts, orders for pictures: no reply put an envelope there.
        if head.target.operation in ("embed", "image"):
            return head
        body = orjson.dumps(self._unsealed(lease))
        self.let_go()
        opened = FORMATS[self.call.format].read_head(body, head.target)
        opened.input_estimate = head.input_estimate
        opened.request = {}
        return opened

    def _unsealed(self, lease: Lease) -> Document:
        """The request natively; whatever it is, no envelope is left where one could stand."""
        name, target = self.call.format, self.head.target
        codec = codec_of(name)
        encode = codec.encode if target.operation == "generate" else codec.encode_count
        if encode is not None and target.verb not in plan.NATIVE_ONLY:
            going = self.going(lease, name, Losses(name), scope_of(lease), native=True)
            with suppress(BadCall):  # for the upstream to say what is wrong
                return encode(self.request, going).document
        unsealed: Document = envelope.unsealed(self._document())
        return unsealed

    def going(
        self, lease: Lease, to: FormatName, losses: Losses, scope: str, *, native: bool = False
    ) -> Going:
        """What an encoder must know of one upstream."""
        translator = self.translator
        return Going(
            to,
            lease.model,
            translator.capabilities.of(lease.model, lease.spec.name),
            losses,
            scope,
            native=native,
            rules=translator.terms.rules,
            remembered=nothing_remembered if scope == NOBODYS else self.remembered,
        )

    def lenient(self, upstream: bool | None) -> bool:
        """Whether what cannot be said is left out, by the word of the key, its group, the upstream,
        or the kind of client."""
        caller = self.caller
        said = () if caller is None else (caller.key.lenient, caller.group.lenient)
        return self.translator.terms.is_lenient(self._agent, *said, upstream)

    @cached_property
    def _agent(self) -> str:
        values = (value for name, value in self.call.headers if name.lower() == b"user-agent")
        return next(values, b"").decode("latin-1")

    @property
    def account(self) -> int:
        """Whose signatures may be remembered."""
        return 0 if self.caller is None else self.caller.account.id

    def remembered(self, call_id: str) -> Carrier | None:
        """What was seen on a tool call of this account's."""
        carriers = self.translator.carriers
        return carriers.find(self.account, call_id, self.call.started_at)

    def remember(self, scope: str, call_id: str, carrier: Carrier) -> None:
        """Keep what an upstream put onto a tool call."""
        kept = carrier if carrier.scope else replace(carrier, scope=scope)
        self.translator.carriers.keep(self.account, call_id, kept, self.call.started_at)


def scope_of(lease: Lease) -> str:
    """Who can read what a model seals there: one key of an upstream, or all of them where they
    belong to one account. A digest: clients carry it."""
    spec = lease.spec
    name = spec.name if spec.shared_state else f"{spec.name}\0{lease.door.key.name}"
    return blake2b(name.encode(), digest_size=8).hexdigest()


def pictures_of(name: FormatName) -> Codec:
    """What translates a format's image endpoints; whoever asks knows that it has some."""
    codec = FORMATS[name].pictures
    assert codec is not None, f"{name} has no image endpoints"
    return codec


def codec_of(name: FormatName) -> Codec:
    """What translates a format; whoever asks knows that it is translated."""
    codec = FORMATS[name].codec
    assert codec is not None, f"{name} has no codec"
    return codec
