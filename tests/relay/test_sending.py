"""What goes out to an upstream: the body as it came, from memory or from where it was kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import orjson
import pytest

from relayd.policy.lease import Lease
from relayd.relay.call import Call
from relayd.relay.sending import Post, Sending
from relayd.spool import Room, Spool
from relayd.upstream.provider import Outlet, Provider
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.multipart import Held, Raw, form_of
from relayd.wire.paths import TAILS, Target
from tests.support.crossings import MOMENT, crossing, lease
from tests.support.forms import CONTENT_TYPE, audio, form, model

T = TypeVar("T")
CHAT, SOUND = TAILS["chat/completions"], TAILS["audio/transcriptions"]
TRACE = [(b"traceparent", b"00-1-2-01")]
BODY = form(audio(b"sound"), model("m"))


def posted(
    work: Callable[[Post], Sending], target: Target, place: Lease | None = None
) -> tuple[bytes, bytes, Sending]:
    """The head and the body of what goes out at once, and all of it."""

    async def run() -> Sending:
        here = place or lease("chat")
        provider = Provider(here.spec)
        outlet: Outlet = provider.outlet(here.door.key.name, here.site)
        call = Call("req_1", "chat", target, "", [(b"Accept", b"*/*")], 0.0, MOMENT, "")
        post = Post(call, here, outlet, TRACE)
        assert repr(post).startswith("<Post to <Outlet")
        try:
            return work(post)
        finally:
            await provider.close()

    sending = asyncio.run(run())
    head, *pieces = [bytes(piece) for piece in sending.pieces]
    return head, b"".join(pieces), sending


def still() -> None:
    """Nobody asks how far it is."""


def test_json_goes_out_with_the_clients_headers_and_ours() -> None:
    head = FORMATS["chat"].read_head(b'{"model":"m","messages":[]}', CHAT)
    lines, body, sending = posted(lambda post: post.passed(head, still), CHAT)
    assert orjson.loads(body) == {"model": "m", "messages": []}
    assert b"\r\naccept: */*\r\n" in lines
    assert b"\r\ntraceparent: 00-1-2-01\r\n" in lines
    assert b"\r\ncontent-type: application/json\r\n" in lines
    assert b"\r\ncontent-length: %d\r\n" % len(body) in lines
    assert sending.upload is None


def test_a_translated_body_goes_out_in_the_upstreams_format() -> None:
    way = crossing("chat", "messages")
    way.write()
    place = lease("messages")
    lines, body, _ = posted(lambda post: post.translated(way), CHAT, place)
    assert lines.startswith(b"POST /v1/messages ")
    assert b"\r\ntraceparent: 00-1-2-01\r\n" in lines
    assert orjson.loads(body)["max_tokens"]


@pytest.mark.parametrize("name", [None, "other"])
def test_a_form_in_memory_goes_out_in_one_go(name: str | None) -> None:
    body = form(audio(b"sound"), model(name)) if name else form(audio(b"sound"))
    head = Head(SOUND, "m", False, b"", form=form_of(CONTENT_TYPE, body))
    lines, sent, sending = posted(lambda post: post.passed(head, still), SOUND)
    assert sending.upload is None
    assert form_of(CONTENT_TYPE, sent).model == "m"
    assert b"\r\ncontent-length: %d\r\n" % len(sent) in lines
    assert b"\r\ncontent-type: %b\r\n" % CONTENT_TYPE.encode() in lines


def test_a_form_on_disk_follows_its_head_in_pieces() -> None:
    async def kept() -> Spool:
        spool = Spool(Room(len(BODY)))
        spool.append(BODY)
        await spool._flush()
        await spool.finish()
        return spool

    spool = asyncio.run(kept())
    found = form_of(CONTENT_TYPE, BODY)
    found.spool = spool
    head = Head(SOUND, "m", False, b"", form=found)
    moves: list[None] = []
    lines, sent, sending = posted(lambda post: post.passed(head, lambda: moves.append(None)), SOUND)
    assert sent == b""
    assert sending.upload is not None
    assert list(sending.upload.pieces()) == [(0, len(BODY))]
    assert b"\r\ncontent-length: %d\r\n" % len(BODY) in lines
    sending.upload.moved()
    assert moves == [None]
    spool.close()


def test_a_body_passed_on_unread_goes_out_as_it_came() -> None:
    head = Head(SOUND, "", False, b"", raw=Raw("text/csv", Held(b"a,b")))
    lines, sent, _ = posted(lambda post: post.passed(head, still), SOUND)
    assert sent == b"a,b"
    assert b"\r\ncontent-type: text/csv\r\n" in lines
