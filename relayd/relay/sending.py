"""A request as an upstream shall get it: its head, and the body in pieces or from a spool.

A JSON body goes out as it came, but for the model's name and what the operator edits. A form, and
what is passed on unread, goes out from where it was kept: in one go while it is in memory, else as
an `Upload`, which takes no memory and can be sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from relayd.policy.lease import Lease
from relayd.relay.call import Call
from relayd.relay.crossing import Crossing
from relayd.relay.sides import RawHeaders
from relayd.upstream.provider import Outlet
from relayd.upstream.upload import Upload
from relayd.wire import headers as wire_headers
from relayd.wire import params
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.multipart import Form, Raw
from relayd.wire.paths import Target


class Sending(NamedTuple):
    """What goes out at once, and what follows it."""

    pieces: list[bytes | memoryview]
    upload: Upload | None = None


class Post:
    """Makes the requests of one attempt.

    Arguments:
        call: what the client asked for.
        lease: the place at the upstream.
        outlet: renders the heads.
        extra: headers of ours that go along.
    """

    __slots__ = ("_call", "_extra", "_lease", "_outlet")

    def __init__(self, call: Call, lease: Lease, outlet: Outlet, extra: RawHeaders) -> None:
        self._call = call
        self._lease = lease
        self._outlet = outlet
        self._extra = extra

    def __repr__(self) -> str:
        return f"<Post to {self._outlet!r}>"

    def translated(self, crossing: Crossing) -> Sending:
        """The request in the upstream's own format."""
        pieces, length = crossing.pieces()
        forwarded = crossing.forwarded() + self._extra
        head = self._outlet.request_head(
            crossing.target, self._lease.model, forwarded, length, crossing.content_type
        )
        return Sending([head, *pieces])

    def passed(self, head: Head, moved: Callable[[], None]) -> Sending:
        """The request as it came. `moved`: called for each piece of an upload that was taken."""
        kept = head.form or head.raw
        if kept is not None:
            return self._kept(kept, moved)
        if head.target.rest:  # what is there already is asked for without a body
            return Sending([self._head(0)])
        edits = self._lease.spec.edits
        pieces = FORMATS[self._call.format].outgoing(head, self._lease.model)
        if edits.of_params:
            pieces = params.edited(pieces, edits)
        return Sending([self._head(sum(map(len, pieces))), *pieces])

    def _kept(self, kept: Form | Raw, moved: Callable[[], None]) -> Sending:
        parts, spool = kept.with_model(self._lease.model), kept.spool
        length = sum(len(p) if isinstance(p, bytes) else p[1] - p[0] for p in parts)
        head = self._head(length, kept.content_type.encode("latin-1", "replace"))
        if spool.whole is None:
            return Sending([head], Upload(parts, spool, moved))
        view = memoryview(spool.whole)
        return Sending([head, *[p if isinstance(p, bytes) else view[slice(*p)] for p in parts]])

    def _head(self, length: int, content_type: bytes = b"") -> bytes:
        call, model = self._call, self._lease.model
        target: Target | None = call.target
        assert target is not None
        if target.rest:
            return self._resource_head(target, length)
        forwarded = wire_headers.for_upstream(call.headers, call.format) + self._extra
        return self._outlet.request_head(target, model, forwarded, length, content_type)

    def _resource_head(self, target: Target, length: int) -> bytes:
        headers, format = self._call.headers, self._call.format
        forwarded = (
            wire_headers.unread(headers)
            if target.operation == "other"
            else wire_headers.for_upstream(headers, format)
        )
        has_body = length > 0 or target.method not in ("GET", "DELETE")
        return self._outlet.resource_head(
            target, forwarded + self._extra, length if has_body else None
        )
