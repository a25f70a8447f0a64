"""Upstreams that misbehave with pictures, sounds and scores: no failure looks like success.

Every misbehaviour of the demo provider, at every endpoint that is no conversation: the client is
told in its own format, nothing is charged that was not delivered, one row tells what happened, and
the daemon goes on.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson
import pytest

from relayd.demo.pixels import png
from relayd.demo.sound import sound
from relayd.model import Entry
from tests.conftest import Daemons
from tests.demo.serving import form_of
from tests.support.raw_client import Reply, request_bytes
from tests.support.running import Running

CONFIG = """\
demo: "on"
prices: {"*": {input: 1, output: 2}}
"""
PICTURE = ("image", "a.png", png(64, 64, "abcdef"))
SOUND = ("file", "a.wav", b"".join(sound("wav", 0.5)))


class Asked(NamedTuple):
    """How one endpoint is asked: a JSON document, or the fields and the file of a form.

    `streams`: the answer is events. `raw`: it is bytes that nobody can judge.
    """

    path: str
    fields: dict[str, object]
    file: tuple[str, str, bytes] | None = None
    streams: bool = False
    raw: bool = False


ENDPOINTS = {
    "image": Asked("images/generations", {"prompt": "x"}),
    "image events": Asked(
        "images/generations", {"prompt": "x", "stream": True, "partial_images": 2}, streams=True
    ),
    "edit": Asked("images/edits", {"prompt": "x"}, PICTURE),
    "edit events": Asked(
        "images/edits",
        {"prompt": "x", "stream": "true", "partial_images": "2"},
        PICTURE,
        streams=True,
    ),
    "speech": Asked("audio/speech", {"input": "Hello " * 50, "voice": "a"}, raw=True),
    "speech events": Asked(
        "audio/speech", {"input": "Hello " * 50, "voice": "a", "stream_format": "sse"}, streams=True
    ),
    "transcript": Asked("audio/transcriptions", {}, SOUND),
    "transcript events": Asked("audio/transcriptions", {"stream": "true"}, SOUND, streams=True),
    "moderation": Asked("moderations", {"input": "x"}),
    "rerank": Asked("rerank", {"query": "x", "documents": ["a"]}),
    "completion": Asked("completions", {"prompt": "x"}),
    "completion events": Asked("completions", {"prompt": "x", "stream": True}, streams=True),
}
# Misbehaviour -> the status that a client gets, whatever it asked for.
STATUSES = {
    "400": 400,
    "401": 502,
    "403": 502,
    "404": 404,
    "429": 429,
    "500": 502,
    "503": 503,
    "529": 503,
    "html": 502,
    "garbage": 502,
    "half-head": 502,
    "big-headers": 502,
}
STREAMS = {name: asked for name, asked in ENDPOINTS.items() if asked.streams}
WHOLE = {name: asked for name, asked in ENDPOINTS.items() if not (asked.streams or asked.raw)}


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


def ask(relay: Running, asked: Asked, part: str) -> tuple[Reply, Entry]:
    """The answer of a model that misbehaves so, and its row."""
    model = f"demo-image-{part}"
    headers = dict(relay.auth)
    body = orjson.dumps({"model": model, **asked.fields})
    if asked.file:
        headers["Content-Type"], body = form_of({"model": model, **asked.fields}, asked.file)
    with relay.connect() as client:
        client.send(request_bytes(f"/v1/{asked.path}", body, headers))
        reply = client.reply()
    return reply, relay.row(reply.headers["x-request-id"])


def tells(reply: Reply) -> bool:
    """Whether the answer is, or ends with, an error in OpenAI's words; or breaks off."""
    if not reply.whole:
        return True
    if reply.headers["content-type"].startswith("text/event-stream"):
        last = reply.body.rstrip().rpartition(b"data: ")[2]
        return b'"error"' in last and bool(orjson.loads(last)["error"]["message"])
    return bool(reply.document["error"]["message"])


@pytest.mark.parametrize("part", STATUSES)
def test_a_failure_before_the_reply_is_told_and_costs_nothing(relay: Running, part: str) -> None:
    for name, asked in ENDPOINTS.items():
        reply, row = ask(relay, asked, part)
        assert reply.status == STATUSES[part], name
        assert tells(reply), name
        assert row.outcome != "ok", name
        assert (row.status, row.cost) == (STATUSES[part], 0), name


@pytest.mark.parametrize("part", ["cut", "reset"])
def test_a_reply_that_breaks_off_is_told(relay: Running, part: str) -> None:
    for name, asked in ENDPOINTS.items():
        reply, row = ask(relay, asked, part)
        assert tells(reply), name
        assert row.outcome in ("upstream_error", "broken_stream"), name
        assert reply.status == (200 if asked.streams or asked.raw else 502), name


@pytest.mark.parametrize("part", ["error-first", "error-in-stream"])
def test_an_error_inside_a_reply_that_says_200_is_told(relay: Running, part: str) -> None:
    for name, asked in ENDPOINTS.items():
        reply, row = ask(relay, asked, part)
        assert tells(reply), name
        assert row.outcome == "upstream_error", name
        late = asked.streams and part == "error-in-stream"
        assert reply.status == 200 if late else reply.status in (502, 503), name


def test_a_stream_without_its_end_is_told(relay: Running) -> None:
    for name, asked in STREAMS.items():
        reply, row = ask(relay, asked, "no-done")
        assert tells(reply), name
        assert row.outcome == "broken_stream", name


def test_broken_json_is_no_reply(relay: Running) -> None:
    for name, asked in WHOLE.items():
        reply, row = ask(relay, asked, "malformed")
        assert (reply.status, row.cost) == (502, 0), name
        assert (row.outcome, row.error_code) == ("upstream_error", "upstream_bad_reply"), name


@pytest.mark.parametrize("part", ["split", "gzip", "close-delimited", "trailers", "stale"])
def test_a_reply_that_comes_oddly_is_the_same_reply(relay: Running, part: str) -> None:
    for name, asked in ENDPOINTS.items():
        reply, row = ask(relay, asked, part)
        assert (reply.status, reply.whole, row.outcome) == (200, True, "ok"), name
        assert row.cost > 0, name
