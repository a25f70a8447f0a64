"""The head of a reply as the client gets it: the upstream's, without what is not for it, and ours.

relayd says of itself which upstream key answered after how many attempts, what the caller's limits
are, and what was lost in a translation.
"""

from __future__ import annotations

from relayd.relay.crossing import Crossing
from relayd.relay.sides import RawHeaders
from relayd.wire import headers as wire_headers
from relayd.wire import limits
from relayd.wire.pipe import Pipe

LONGEST_ID = 128


class Heads:
    """Makes the head of one attempt's reply, once it is known. Owned by the attempt.

    Arguments:
        limits: how those of the caller stand.
        crossing: where the reply is translated.

    `own`: what relayd adds to say how it came to this reply. `upstream_id`: what the upstream calls
    the request; empty before its head came.
    """

    __slots__ = ("_crossing", "_limits", "own", "upstream_id")

    def __init__(self, limits: RawHeaders, crossing: Crossing | None) -> None:
        self.own: RawHeaders = []
        self.upstream_id = ""
        self._limits = limits
        self._crossing = crossing

    def __repr__(self) -> str:
        return f"<Heads upstream_id={self.upstream_id!r} own={len(self.own)}>"

    def of_stream(self, headers: RawHeaders, observer: Pipe | None) -> RawHeaders:
        """That of a stream, or of what was too long to be held back.

        Arguments:
            headers: the upstream's.
            observer: what the stream goes through; None where it is none.
        """
        kept = self._for_client(headers, stream=observer is not None)
        if observer is not None:
            kept += observer.stream_headers
        return self._with_own(headers, kept)

    def of_whole(self, headers: RawHeaders, made: RawHeaders | None) -> RawHeaders:
        """That of a whole reply; `made` replaces the upstream's where the body was made anew."""
        kept = self._for_client(headers, stream=made is not None)
        if made is not None:
            names = {name for name, _ in made}
            kept = [pair for pair in kept if pair[0] not in names] + made
        return self._with_own(headers, kept)

    def _for_client(self, headers: RawHeaders, *, stream: bool) -> RawHeaders:
        translated = self._crossing is not None
        return wire_headers.for_client(headers, stream=stream, translated=translated)

    def _with_own(self, headers: RawHeaders, kept: RawHeaders) -> RawHeaders:
        self.upstream_id = upstream_id = wire_headers.upstream_request_id(headers)[:LONGEST_ID]
        if upstream_id:
            kept.append((b"x-relayd-upstream-request-id", upstream_id.encode("latin-1")))
        kept += self.own
        if self._crossing is not None:
            kept += self._crossing.headers()
        return limits.replaced(kept, self._limits)
