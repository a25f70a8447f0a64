"""One attempt in another format: the request in the upstream's words, the reply in the client's.

A `Crossing` is made for one request at one upstream. It has all that the attempt needs to ask in
another format than the client's, and to answer: what to call, the body, what reads a stream, and
what a whole reply or a refusal is in the client's words. It decides nothing about upstreams, and
waits for nothing but pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import orjson

from relayd.errors import BadCall, BadReply
from relayd.model import FormatName, Operation
from relayd.policy.lease import Lease
from relayd.relay.judge import Verdict
from relayd.relay.sides import RawHeaders
from relayd.relay.translation import Translation, codec_of, scope_of
from relayd.wire import counting, params, plan, transcode
from relayd.wire import headers as wire_headers
from relayd.wire.codec import Codec, Reader, Writer
from relayd.wire.dialects import DIALECTS
from relayd.wire.facts import parsed
from relayd.wire.formats import FORMATS
from relayd.wire.losses import Losses
from relayd.wire.neutral import Request
from relayd.wire.parts import Document
from relayd.wire.paths import Target
from relayd.wire.refused import refusal
from relayd.wire.restore import Restore
from relayd.wire.setting import NOBODYS, Coming, Written
from relayd.wire.transcode import Transcode


class Answer(NamedTuple):
    """A whole reply for the client."""

    verdict: Verdict
    body: bytes
    headers: RawHeaders  # instead of the upstream's content type


class Crossing:
    """One request at one upstream that is spoken to in another format.

    Arguments:
        translation: of the request.
        lease: the place at the upstream.
        spoken: its format.

    `estimates`: the upstream counts no tokens, so nobody is asked. `copies`: how often it is asked
    the same, at one time. `content_type`: of the body; b"" is JSON.
    """

    copies = 1
    content_type = b""

    __slots__ = (
        "_asked",
        "_body",
        "_lease",
        "_losses",
        "_request",
        "_scope",
        "_translation",
        "_written",
        "estimates",
        "spoken",
    )

    def __init__(self, translation: Translation, lease: Lease, spoken: FormatName) -> None:
        self._translation = translation
        self._lease = lease
        self.spoken = spoken
        counts = translation.head.target.operation == "count_tokens"
        self.estimates = counts and spoken not in DIALECTS[lease.spec.dialect].counts
        self._scope = scope_of(lease)
        self._losses = Losses(spoken, lenient=translation.lenient(lease.spec.lenient))
        self._written: Written | None = None
        self._asked: Request | None = None  # what replies repeat of it
        self._request: Request | None = None  # with the pictures that were fetched for it
        self._body = b""

    def __repr__(self) -> str:
        return f"<Crossing {self._way} at {self._lease.door.name} {self._losses!r}>"

    # --- on the way there -----------------------------------------------------------------------

    async def fetch(self) -> None:
        """Get the pictures that the upstream does not get itself, where the operator allows it.
        Raises BadCall."""
        translation = self._translation
        translator, operation = translation.translator, translation.head.target.operation
        rules = translator.terms.remote_images
        if rules is None or operation == "embed" or self.estimates:
            return
        if not self._fetches_itself:
            # Kept: another attempt beside this one may write the request, and let it go.
            self._request = request = translation.request
            await translator.fetcher.inline(request, rules, translation.account)

    @property
    def _fetches_itself(self) -> bool:
        """Whether the upstream gets pictures from the web."""
        capabilities, lease = self._translation.translator.capabilities, self._lease
        return capabilities.of(lease.model, lease.spec.name).image_urls

    def write(self) -> None:
        """Put the request into the upstream's words. Raises BadCall: it cannot be, or is wrong."""
        if self.estimates:
            return
        translation, operation = self._translation, self._translation.head.target.operation
        codec = FORMATS[self.spoken].codec
        going = translation.going(self._lease, self.spoken, self._losses, self._scope)
        if codec is not None and operation == "embed" and codec.embed is not None:
            document = codec.embed.encode(translation.texts, going)
        elif codec is not None and operation == "generate":
            request = self._request or translation.request
            self._written = codec.encode(request, going)
            document = self._written.document
            # The history is many times as large as the body, and the reply may take its time.
            self._asked = replace(request, messages=[])
        elif codec is not None and operation == "count_tokens" and codec.encode_count is not None:
            request = self._request or translation.request
            document = codec.encode_count(request, going).document
        else:
            what = f"its upstream has no `{translation.head.target.verb}`, nor anything like it"
            raise self._losses.refusal("model", what, code="unsupported_value")
        self._body = orjson.dumps(document)
        self._request = None
        translation.let_go()

    @property
    def is_written(self) -> bool:
        """Whether there is something to ask with."""
        return bool(self._body)

    def forget(self) -> bool:
        """Leave out, from now on, the state that the upstream could not read; False where it got
        none of ours to begin with."""
        if self._scope == NOBODYS:
            return False
        self._scope = NOBODYS
        return True

    @property
    def target(self) -> Target:
        """What is called at the upstream."""
        head = self._translation.head
        target = plan.target(head.target, self.spoken, stream=head.stream)
        assert target is not None  # or `write` has refused it
        return target

    @property
    def operation(self) -> Operation:
        """What the upstream is asked to do."""
        return self._translation.head.target.operation

    @property
    def largest_reply(self) -> int:
        """Bytes of a whole reply that are held to be translated."""
        return self._translation.translator.terms.largest_reply

    def pieces(self) -> tuple[list[bytes | memoryview], int]:
        """The body for the upstream, once it is written, and how long it is."""
        body: list[bytes | memoryview] = [self._body]
        edits = self._lease.spec.edits
        body = params.edited(body, edits) if edits.of_params else body
        return body, sum(map(len, body))

    def forwarded(self) -> RawHeaders:
        """The client's headers that go along."""
        headers = self._translation.call.headers
        if self._scope == NOBODYS:  # it was asked with another body by that key
            headers = [pair for pair in headers if pair[0].lower() != b"idempotency-key"]
        return wire_headers.for_upstream(headers, self.spoken, translated=True)

    # --- on the way back ------------------------------------------------------------------------

    def pipe(self) -> Transcode | None:
        """For the stream that the client asked for; None where it asked for none."""
        if not self._translation.head.stream:
            return None
        return Transcode(*self._ends(), largest=self.largest_reply)

    def _ends(self) -> tuple[Reader, Writer, Restore | None]:
        """A reader of the upstream's reply, a writer of the client's, and what is in between."""
        call, written, coming = self._translation.call, self._written, self._coming()
        restore = None
        if written is not None:
            names, shaped_by = written.names, written.shaped_by
            restore = Restore(names, shaped_by, call.request_id, coming.remember)
        return self._there.reader(), self._here.writer(coming), restore

    @property
    def _there(self) -> Codec:
        """What the upstream is spoken to in."""
        return codec_of(self.spoken)

    @property
    def _here(self) -> Codec:
        """What the client speaks."""
        return codec_of(self._translation.call.format)

    def _coming(self) -> Coming:
        translation, written = self._translation, self._written
        call, head, terms = translation.call, translation.head, translation.translator.terms
        return Coming(
            self._asked or translation.request,
            self._model,
            call.request_id,
            int(call.started_at),
            scope=scope_of(self._lease),
            names=None if written is None else written.names,
            shaped_by="" if written is None else written.shaped_by,
            array=bool(head.target.stream) and not head.target.sse,
            input_estimate=head.input_estimate,
            sealed=self.spoken != call.format,
            rules=terms.rules,
            remember=partial(translation.remember, scope_of(self._lease)),
        )

    def refused(self) -> Answer | None:
        """What a stream has come to that is no answer, though its upstream has not failed; None
        where it is as any other."""
        return None

    def answers(self, replies: Sequence[tuple[Verdict, bytes]]) -> Answer:
        """The same, where the upstream may have been asked several times (`copies`)."""
        return self.answer(*replies[0])

    def answer(self, verdict: Verdict, body: bytes) -> Answer:
        """A whole reply of the upstream's, as the client's format has it.

        Raises BadReply where it is no reply.
        """
        if verdict.outcome == "bad_request" or verdict.retry is not None:
            return self._refusal(verdict, body)
        document = parsed(body)
        if document is None:
            raise BadReply("The upstream's reply is not what was asked for.")
        verdict = verdict._replace(status=200, produced=0)
        operation = self._translation.head.target.operation
        if operation == "count_tokens":
            return Answer(verdict, self._count(document), _JSON)
        if operation == "embed":
            return Answer(verdict, self._vectors(document), _JSON)
        reader, writer, restore = self._ends()
        headers = _JSON
        if self._translation.head.stream:  # it does not stream, although it was asked to
            told = transcode.streamed(document, reader, writer, restore)
            headers = list(writer.stream_headers)
        else:
            told = transcode.whole(document, reader, writer, restore)
        if verdict.usage is None:  # our own words for it are longer, and say some of it twice
            produced = transcode.estimated_output(document, self._there.reader())
            verdict = verdict._replace(produced=produced)
        return Answer(verdict, told, headers)

    def estimate(self) -> Answer:
        """A count of tokens by nobody but us. Raises BadCall."""
        tokens = counting.estimate(self._translation.request)
        verdict = Verdict(200, "ok", "", None)
        return Answer(verdict, self._counted(tokens), _JSON)

    def _vectors(self, document: Document) -> bytes:
        translation, name = self._translation, self._translation.call.format
        there, here = codec_of(self.spoken).embed, codec_of(name).embed
        assert there is not None and here is not None  # or it could not have been asked
        vectors, estimate = there.reply(document), translation.head.input_estimate
        return orjson.dumps(here.document(vectors, translation.texts, self._model, estimate))

    def _count(self, document: Document) -> bytes:
        read = codec_of(self.spoken).count_reply
        tokens = None if read is None else read(document)
        if tokens is None:
            raise BadReply("The upstream's reply holds no count of tokens.")
        return self._counted(tokens)

    def _counted(self, tokens: int) -> bytes:
        write = codec_of(self._translation.call.format).count_document
        assert write is not None  # or the client could not have asked
        return orjson.dumps(write(tokens))

    def _refusal(self, verdict: Verdict, body: bytes) -> Answer:
        """The upstream's refusal in the client's words: what it says, and nothing of its own."""
        call = self._translation.call
        told = refusal(verdict.status, body, call.format)
        reply = FORMATS[call.format].error(told, call.request_id)
        wait = None if verdict.retry is None else verdict.retry.retry_after
        again = [] if wait is None else [(b"retry-after", b"%d" % max(1, math.ceil(wait)))]
        return Answer(verdict._replace(status=reply.status), reply.body, _JSON + again)

    def headers(self) -> RawHeaders:
        """What the client is told of the translation."""
        told = [(b"x-relayd-translated", self._way.encode())]
        if self._losses.header:
            told.append((b"x-relayd-dropped", self._losses.header))
        if self.estimates:
            told.append((b"x-relayd-estimated", b"true"))
        return told

    @property
    def dropped(self) -> tuple[str, ...]:
        """The fields that were left out."""
        return self._losses.dropped

    @property
    def _model(self) -> str:
        """What replies call the model."""
        asked = self._translation.translator.terms.model_in_replies == "asked"
        return self._translation.head.model if asked else self._lease.model

    @property
    def _way(self) -> str:
        return f"{self._translation.call.format}->{self.spoken}"


_JSON: RawHeaders = [(b"content-type", b"application/json")]


def crossing_of(translation: Translation, lease: Lease) -> Crossing | None:
    """How a request is put to one upstream; None where that is in the client's own words."""
    head, client, spec = translation.head, translation.call.format, lease.spec
    may = spec.translate and translation.translator.serves(head.target)
    if not (lease.translated or may):
        return None
    offered = _offered(spec.dialect, spec.formats, head.target)
    if not offered:
        return Crossing(translation, lease, spec.formats[0])
    can = translation.translator.capabilities.of(lease.model, spec.name)
    spoken = plan.spoken(client, offered, can, head.traits or plan.NO_TRAITS)
    return None if spoken == client else Crossing(translation, lease, spoken)


def unstreamed(translation: Translation, lease: Lease) -> Crossing:
    """For a reply that its upstream should have streamed, in the client's own format. Raises
    BadCall where that is not taken apart here."""
    head, client = translation.head, translation.call.format
    if head.target.verb in plan.NATIVE_ONLY or FORMATS[client].codec is None:
        raise BadCall("This call has no events.")
    return Crossing(translation, lease, client)


def _offered(dialect: str, formats: tuple[FormatName, ...], target: Target) -> list[FormatName]:
    """The formats of an upstream in which the call can be put, first those that answer it best."""
    found = [name for name in formats if _speaks(name, target.operation)]
    if target.operation == "count_tokens":
        counters = [name for name in found if name in DIALECTS[dialect].counts]
        return counters or found
    return found


def _speaks(name: FormatName, operation: Operation) -> bool:
    codec = FORMATS[name].codec
    if operation == "image":  # see `drawing`
        return FORMATS[name].pictures is not None
    return codec is not None and (operation != "embed" or codec.embed is not None)
