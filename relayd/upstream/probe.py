"""Asks an upstream, cheaply, whether it takes a key.

Strategy: one request on a new connection, so that connecting is tried as well, and no kept-alive
connection tells of a better past. The reply is read by its status, as the operator's map of
statuses has it; that the request was found wanting (400, 422) is an answer of somebody who knows
the key. A page instead of JSON is a proxy in between, or the wrong base URL. Time and size are
bounded; whatever happens is returned, never raised.
"""

from __future__ import annotations

import asyncio

import orjson

from relayd.errors import BadReply, BadStatus, NoAnswer, NoUpstream, RelayError, UpstreamError
from relayd.model import UpstreamSpec
from relayd.upstream.connection import Connection
from relayd.upstream.provider import Outlet
from relayd.upstream.sink import RawHeaders
from relayd.wire import facts, waits

MAX_REPLY = 4 * 1024 * 1024  # lists of hundreds of models, with all that is said of each
_CREDENTIAL = frozenset({401, 402, 403})
# The request is at fault, not the upstream: it was read, and so was the key.
_FAULTS_OF_OURS = frozenset({400, 409, 413, 422})


async def probe(
    outlet: Outlet,
    spec: UpstreamSpec,
    model: str | None,
    patience: float,
) -> RelayError | None:
    """Ask once.

    Arguments:
        outlet: the key, and where.
        spec: the upstream that it belongs to.
        model: who is asked for one token, by its public name or the upstream's own; None asks for
            the list of models.
        patience: seconds for all of it.
    Returns: None when it is well, else what is wrong, as a request would have met it.
    """
    asked = outlet.probe_request(None if model is None else _own_name(spec, model))
    if asked is None:
        return NoUpstream("This type of upstream has no list of models: a probe has to name one.")
    sink = _Sink()
    try:
        async with asyncio.timeout(patience):
            sink.connection = await _send(outlet, asked, sink)
            problem = await sink.done
    except TimeoutError:
        return NoAnswer("The upstream did not answer the probe in time.")
    except RelayError as exc:
        return exc
    finally:
        sink.leave()
    return problem or _read(dict(spec.edits.statuses).get(sink.status, sink.status), sink)


def _own_name(spec: UpstreamSpec, model: str) -> str:
    return next((r.target for r in spec.models if r.pattern == model and r.target), model)


async def _send(outlet: Outlet, asked: list[bytes], sink: _Sink) -> Connection:
    try:
        return await outlet.client.open(asked, sink)
    except NoUpstream:  # as many connections as there may be: one of them will do
        connection = outlet.client.reuse(asked, sink)
        if connection is None:
            raise
        return connection


def _read(status: int, sink: _Sink) -> RelayError | None:
    if status in _CREDENTIAL or (status == 400 and facts.refuses_key(sink.body)):
        return BadStatus(
            f"The upstream refused the key with status {status}.",
            upstream_status=status,
            code="upstream_credential",
        )
    if status in _FAULTS_OF_OURS:
        return None
    if not 200 <= status < 300:
        wait = waits.retry_after(sink.headers, sink.body, None)
        return BadStatus(
            f"The upstream answered the probe with status {status}.",
            upstream_status=status,
            code=f"upstream_{status}",
            retry_after=wait,
        )
    return _read_success(sink.body)


def _read_success(body: bytes) -> RelayError | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return BadReply("The upstream answered the probe with something that is not JSON.")
    if isinstance(document, dict) and document.get("error"):
        return BadReply("The upstream answered the probe with an error.")
    return None


class _Sink:
    """Keeps one small reply. Owns the future that its end resolves, and drops what is too large."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: RawHeaders = []
        self.connection: Connection | None = None
        self.done: asyncio.Future[RelayError | None] = asyncio.get_running_loop().create_future()
        self._pieces: list[bytes] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<_Sink status={self.status} size={self._size} done={self.done.done()}>"

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    def on_head(self, status: int, headers: RawHeaders) -> None:
        self.status, self.headers = status, headers

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_REPLY:
            self._pieces.append(data)
        else:
            self._end(BadReply("The upstream's answer to the probe is too large."))

    def on_end(self) -> None:
        self.connection = None  # the pool's again
        self._end(None)

    def on_error(self, exc: UpstreamError) -> None:
        self.connection = None
        self._end(exc)

    def _end(self, problem: RelayError | None) -> None:
        if not self.done.done():
            self.done.set_result(problem)

    def leave(self) -> None:
        """Take no more: a connection whose reply is not whole is closed."""
        if self.connection is not None:
            self.connection.abort()
