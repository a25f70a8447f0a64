"""Pictures in another format: what was asked of an image endpoint, drawn by a model that talks, and
what was asked of a model that talks, drawn by one that has an image endpoint.

Both are crossings of which one side is `pictures`, the codec of image endpoints. What is different
from words: such an endpoint draws several pictures for one request, while a model that talks draws
one, so it is asked as often; the pictures that are to be changed may come as the files of a form;
and an answer without any picture is an error, whatever its status was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import orjson

from relayd.errors import BadReply
from relayd.model import FormatName, Operation
from relayd.policy.lease import Lease
from relayd.relay.crossing import Answer, Crossing
from relayd.relay.judge import Verdict
from relayd.relay.sides import RawHeaders
from relayd.relay.translation import Translation, pictures_of
from relayd.wire import plan, transcode
from relayd.wire.codec import Codec
from relayd.wire.facts import parsed
from relayd.wire.formats import FORMATS
from relayd.wire.multipart import Form
from relayd.wire.parts import Document
from relayd.wire.paths import Target
from relayd.wire.pictures import encode, usage
from relayd.wire.pictures.decode import Upload, spelled
from relayd.wire.pictures.reader import Tally
from relayd.wire.pictures.refused import NoPicture, no_picture
from relayd.wire.pictures.writer import PicturesWriter, merged
from relayd.wire.transcode import Transcode

MOST_UPLOADED = 20 * 2**20  # bytes of pictures that travel inside of a request


class Drawing(Crossing):
    """A request for pictures at an upstream that talks.

    `copies`: how often it is asked, once for each picture.
    """

    __slots__ = ("_tally", "copies")

    def __init__(self, translation: Translation, lease: Lease, spoken: FormatName) -> None:
        super().__init__(translation, lease, spoken)
        self.copies = 1
        self._tally: Tally | None = None

    async def fetch(self) -> None:
        """Get the pictures that are to be changed: out of the form, and from the web as for any
        request. Raises BadCall."""
        translation = self._translation
        form = translation.head.form
        if form is not None and translation.form is None:
            if sum(file.size for file in form.files) > MOST_UPLOADED:
                why = f"pictures of more than {MOST_UPLOADED >> 20} MiB cannot be sent to it"
                raise self._losses.refusal("image", why, code="image_too_large")
            translation.form = await asyncio.to_thread(_read, form)
        await super().fetch()

    def write(self) -> None:
        """Put the request into the upstream's words. Raises BadCall."""
        translation = self._translation
        request = self._request or translation.request
        picture = request.output.picture
        assert picture is not None  # that is what image endpoints are asked for
        self.copies = picture.count
        going = translation.going(self._lease, self.spoken, self._losses, self._scope)
        self._written = self._there.encode(request, going)
        self._asked = replace(request, messages=[])
        self._body = orjson.dumps(self._written.document)
        self._request = None
        translation.let_go()

    def forget(self) -> bool:
        """There is no state of ours in an order for pictures."""
        return False

    @property
    def target(self) -> Target:
        """What is called at the upstream: a stream only where its first picture is all of them."""
        head = self._translation.head
        stream = head.stream and self.copies == 1
        target = plan.target(head.target, self.spoken, stream=stream)
        assert target is not None
        return target

    @property
    def operation(self) -> Operation:
        """What the upstream is asked to do."""
        return "generate"

    @property
    def _here(self) -> Codec:
        return pictures_of(self._translation.call.format)

    def pipe(self) -> Transcode | None:
        """For the stream that the client asked for, where one reply is all of it."""
        if not self._translation.head.stream or self.copies > 1:
            return None
        reader, writer, restore = self._ends()
        self._tally = tally = Tally(reader)
        return Transcode(tally, writer, restore, largest=self.largest_reply)

    def answer(self, verdict: Verdict, body: bytes) -> Answer:
        """A whole reply of the upstream's, as the client's format has it. Raises BadReply."""
        return self.answers([(verdict, body)])

    def answers(self, replies: Sequence[tuple[Verdict, bytes]]) -> Answer:
        """The same for all replies to one request: all their pictures. Where some have none, the
        others count; where none has, it is an error. Raises BadReply."""
        for verdict, body in replies:
            if verdict.outcome == "bad_request" or verdict.retry is not None:
                return self._refusal(verdict, body)
        verdict = replies[0][0]._replace(status=200, produced=0)
        used = usage.added_up(each.usage for each, _ in replies)
        drawn: list[Document] = []
        refused: NoPicture | None = None
        for _, body in replies:
            try:
                drawn.append(self._drawn(body))
            except NoPicture as exc:
                refused = refused or exc
        if not drawn and refused is not None:
            return self._undrawn(refused, verdict._replace(usage=used))
        told = merged(drawn)
        if used is not None:
            used.images = len(told["data"])
        return self._told(told, verdict._replace(usage=used))

    def _drawn(self, body: bytes) -> Document:
        """The pictures of one reply. Raises NoPicture, BadReply."""
        document = parsed(body)
        if document is None:
            raise BadReply("The upstream's reply is not what was asked for.")
        return transcode.rewritten(document, *self._ends())

    def _told(self, document: Document, verdict: Verdict) -> Answer:
        if not self._translation.head.stream:
            return Answer(verdict, orjson.dumps(document), _JSON)
        writer = PicturesWriter(self._coming())
        return Answer(verdict, writer.told(document), list(writer.stream_headers))

    def refused(self) -> Answer | None:
        """Where a stream has ended without a picture: that, as a whole reply."""
        reply = None if self._tally is None else self._tally.undrawn
        if reply is None:
            return None
        return self._undrawn(no_picture(reply), Verdict(400, "bad_request", "", reply.usage))

    def _undrawn(self, exc: NoPicture, verdict: Verdict) -> Answer:
        """It was asked, and drew nothing: the client's matter, and the tokens are charged."""
        call = self._translation.call
        if verdict.usage is not None:
            verdict.usage.images = 0
        reply = FORMATS[call.format].error(exc, call.request_id)
        verdict = verdict._replace(status=reply.status, outcome="bad_request", error_code=exc.code)
        return Answer(verdict, reply.body, _JSON)


class Order(Crossing):
    """A conversation that is an order for a picture, at an upstream that does nothing but draw."""

    __slots__ = ("_verb", "content_type")

    def __init__(self, translation: Translation, lease: Lease, spoken: FormatName) -> None:
        super().__init__(translation, lease, spoken)
        self._verb = "images/generations"
        self.content_type = b""

    @property
    def _fetches_itself(self) -> bool:
        return False  # what it changes comes as a file

    def write(self) -> None:
        """Put the request into the upstream's words. Raises BadCall."""
        translation = self._translation
        request = self._request or translation.request
        going = translation.going(self._lease, self.spoken, self._losses, self._scope)
        self._written = self._there.encode(request, going)
        self._asked = replace(request, messages=[])
        if encode.SHOWN in self._written.document:
            self._verb = "images/edits"
            self.content_type, self._body = encode.form(self._written.document)
            self._written.document.pop(encode.SHOWN)
        else:
            self._body = orjson.dumps(self._written.document)
        self._request = None
        translation.let_go()

    def pieces(self) -> tuple[list[bytes | memoryview], int]:
        """The body, and how long it is. An operator's parameters are those of JSON bodies."""
        return ([self._body], len(self._body)) if self.content_type else super().pieces()

    @property
    def target(self) -> Target:
        """What is called at the upstream. It never streams: its only news would be pictures that
        are not yet the ones to be shown."""
        return Target(self.spoken, "image", verb=self._verb)

    @property
    def operation(self) -> Operation:
        """What the upstream is asked to do."""
        return "image"

    @property
    def _there(self) -> Codec:
        return pictures_of(self.spoken)


_JSON: RawHeaders = [(b"content-type", b"application/json")]


def drawing_of(translation: Translation, lease: Lease) -> Crossing | None:
    """How pictures are asked for at one upstream; None where this is not about pictures, or the
    client's own words will do."""
    head, spec = translation.head, lease.spec
    translator, operation = translation.translator, head.target.operation
    if operation not in ("image", "generate") or not translator.serves(head.target):
        return None
    can = translator.capabilities.of(lease.model, spec.name)
    if operation == "image":
        own = "chat" in spec.formats and (not can.endpoints or "chat" in can.endpoints)
        talks = "gemini" in spec.formats and (lease.translated or spec.translate)
        return Drawing(translation, lease, "gemini") if talks and not own else None
    if not (lease.translated and "chat" in spec.formats):
        return None
    # Where the upstream's own name tells nothing, the one that clients use may.
    asked = translator.capabilities.of(head.model, spec.name)
    draws = ("image",) in (can.outputs, asked.outputs)
    return Order(translation, lease, "chat") if draws else None


def _read(form: Form) -> Document:
    """What a form says, pictures included."""
    uploads = [Upload(file.name, file.content_type, form.read(file)) for file in form.files]
    return spelled(form.fields, uploads)
