"""The hub as the fidelity numbers use it: a format's codec, a request on its way, a stream read.

What the relay itself does with a request and a reply is done here with the same modules and without
a network: decode, encode, read, write. Everything that a run could vary is fixed (the request's id,
the moment, the account), so that two runs print the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import orjson

from benchmarks.fidelity.recording import Recorded
from relayd.model import FormatName
from relayd.wire import sse
from relayd.wire.capabilities import UNKNOWN, Capability
from relayd.wire.codec import Codec, Reader, Writer
from relayd.wire.events import Events
from relayd.wire.formats import FORMATS
from relayd.wire.losses import Losses
from relayd.wire.names import Names
from relayd.wire.neutral import Request
from relayd.wire.paths import Target, locate
from relayd.wire.restore import Restore
from relayd.wire.setting import Coming, Going, Written
from relayd.wire.transcode import Transcode

Json = dict[str, Any]
NAMES: Final[tuple[FormatName, ...]] = ("chat", "responses", "messages", "gemini")
CROSSINGS: Final = tuple((a, b) for a in NAMES for b in NAMES if a != b)
MODEL: Final = "some-model"
PATHS: Final[dict[str, str]] = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "gemini": f"/v1beta/models/{MODEL}:generateContent",
}
REQUEST_ID: Final = "req_1"
ACCOUNT: Final = "acc1"
MOMENT: Final = 1_700_000_000
# A model that takes whatever its format can say: what is lost to it is lost to the format.
ABLE: Final = replace(UNKNOWN, custom_tools=True)


def codec(name: FormatName) -> Codec:
    """The format's row."""
    found = FORMATS[name].codec
    assert found is not None, name
    return found


def target(path: str, query: str = "") -> Target:
    """What a recorded path asks for."""
    bare, _, said = path.partition("?")
    found = locate("POST", bare, query or said)
    assert isinstance(found, Target), path
    return found


def decoded(recorded: Recorded) -> Request:
    """The request of an exchange. Raises BadCall."""
    aim = target(recorded.path)
    return codec(aim.format).decode(orjson.loads(recorded.request), aim)


def going(
    to: FormatName,
    model: str = MODEL,
    *,
    native: bool = False,
    lenient: bool = False,
    can: Capability | None = None,
) -> Going:
    """A request on its way to an upstream of the format `to`."""
    able = can or (ABLE if native else UNKNOWN)
    return Going(to, model, able, Losses(to, lenient=lenient), native=native)


def encoded(request: Request, way: Going) -> Written:
    """The request as `way` has it, through JSON once, as it would travel. Raises BadCall."""
    written = codec(way.format).encode(request, way)
    return written._replace(document=orjson.loads(orjson.dumps(written.document)))


def coming(client: FormatName, request: Request | None = None, *, native: bool = False) -> Coming:
    """A reply on its way to a client of this format, who asked for `request`."""
    asked = request or Request(source=client, model=MODEL, messages=[])
    return Coming(asked, asked.model, REQUEST_ID, MOMENT, scope=ACCOUNT, sealed=not native)


def reader(name: FormatName) -> Reader:
    """A fresh reader."""
    return codec(name).reader()


def writer(name: FormatName, way: Coming) -> Writer:
    """A fresh writer."""
    return codec(name).writer(way)


def events(name: FormatName, body: bytes) -> Events:
    """The events of a whole stream, `end` included."""
    found: Events = []
    read = reader(name)
    for block in sse.blocks(body):
        event = sse.parse(block)
        if event.data:
            found += read.read(event.name, event.data)
    return found + read.end()


def restore(client: FormatName) -> Restore:
    """What gives calls without an id one; no name was changed here."""
    return Restore(Names([], client), "", REQUEST_ID)


def piped(upstream: FormatName, way: Coming, client: FormatName, pieces: Iterable[bytes]) -> bytes:
    """The client's bytes of a stream that arrives in these pieces, through the relay's own pipe."""
    restored = None if upstream == client else restore(client)
    pipe = Transcode(reader(upstream), writer(client, way), restored)
    return b"".join([*[pipe.feed(piece) for piece in pieces], pipe.finish()])
