"""One configured upstream, ready to be called: its specification, its connections, its request
heads.

What never changes between two requests (host, credential, configured headers) is rendered once.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from relayd.model import UpstreamSpec
from relayd.upstream.client import Origin, PoolLimits, UpstreamClient
from relayd.wire import dialects
from relayd.wire.paths import Target

LINES_REMEMBERED = 1024


class Provider:
    """One upstream. Owns its pool of connections, and a bounded memory of rendered heads."""

    def __init__(self, spec: UpstreamSpec) -> None:
        self.spec = spec
        self.client = UpstreamClient(origin_of(spec.base_url), _limits(spec), spec.ca_file)
        self._dialect = dialects.DIALECTS[spec.dialect]
        # What the operator writes wins, over ours and over what a client sends along.
        self._configured = {n.lower().encode(): v.encode() for n, v in spec.headers}
        self._lines: dict[tuple[Target, str], bytes] = {}
        self._fixed = {name: self._render_fixed(name) for name in spec.formats}

    def __repr__(self) -> str:
        return f"<Provider {self.spec.name} {self.client!r}>"

    def request_head(
        self,
        target: Target,
        model: str,
        forwarded: Iterable[tuple[bytes, bytes]],
        length: int,
    ) -> bytes:
        """The request line and headers of a call, as bytes.

        Arguments:
            target: what is called.
            model: the upstream's own name of the model.
            forwarded: headers that the client's request contributes.
            length: bytes of the body.
        """
        first = self._lines.get((target, model)) or self._line(target, model)
        own = self._configured
        extra = b"".join([b"%b: %b\r\n" % pair for pair in forwarded if pair[0] not in own])
        return b"%b%bcontent-length: %d\r\n\r\n" % (first, extra, length)

    def _line(self, target: Target, model: str) -> bytes:
        path = dialects.request_target(self._dialect, self.spec.base_url, target, model)
        line = b"POST %b HTTP/1.1\r\n%b" % (path.encode("ascii"), self._fixed[target.format])
        if len(self._lines) >= LINES_REMEMBERED:
            self._lines.clear()
        self._lines[target, model] = line
        return line

    def retire(self) -> None:
        """Let replies in flight end, keep nothing open after them."""
        self.client.retire()

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()

    def _render_fixed(self, format_name: str) -> bytes:
        parts = urlsplit(self.spec.base_url)
        host = parts.netloc.rpartition("@")[2]
        pairs: dict[bytes, bytes] = {
            b"host": host.encode("idna" if not host.isascii() else "ascii"),
            b"user-agent": b"relayd",
            b"accept-encoding": b"identity",
            b"content-type": b"application/json",
            **dict(dialects.auth_headers(self._dialect, format_name, self.spec.key.reveal())),
            **self._configured,
        }
        return b"".join(b"%b: %b\r\n" % pair for pair in pairs.items())


def origin_of(base_url: str) -> Origin:
    """The origin of a base URL that config has already checked."""
    parts = urlsplit(base_url)
    tls = parts.scheme == "https"
    return Origin(parts.hostname or "", parts.port or (443 if tls else 80), tls)


def _limits(spec: UpstreamSpec) -> PoolLimits:
    return PoolLimits(spec.max_connections, spec.timeouts.connect, spec.idle_timeout)
