"""One configured upstream, ready to be called: its specification, its connections, its request
heads.

Strategy: what never changes between two requests (host, credential, configured headers) is
rendered once. An *outlet* is one key at one base URL. The keys of a base URL share its connections
and its rendered request lines, because a connection knows nothing of keys: ten keys need no ten
pools, and ten keys of two base URLs are no more than twenty small records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from relayd.model import UpstreamKey, UpstreamSpec
from relayd.upstream.client import Origin, PoolLimits, UpstreamClient
from relayd.wire import dialects, params, probes
from relayd.wire.paths import Target

LINES_REMEMBERED = 1024
_TYPE = b"content-type: "
KIND = b"content-type"
# Without these there is no request; an operator who removes them gets them all the same.
_NEVER_REMOVED = frozenset({b"host", b"content-length"})


class Provider:
    """One upstream: an outlet for each of its keys at each of its base URLs.

    Owns the connections, one pool for each base URL.
    """

    def __init__(self, spec: UpstreamSpec) -> None:
        self.spec = spec
        self._sites = [_Site(spec, base_url) for base_url in spec.base_urls]
        self._outlets = {
            (key.name, index): Outlet(spec, site, key)
            for index, site in enumerate(self._sites)
            for key in spec.keys
        }

    def __repr__(self) -> str:
        clients = " ".join(repr(site.client) for site in self._sites)
        return f"<Provider {self.spec.name} keys={len(self.spec.keys)} {clients}>"

    def outlet(self, key_name: str, site: int) -> Outlet:
        """The outlet of a key at a base URL, by the key's name and the base URL's position."""
        return self._outlets[key_name, site]

    @property
    def clients(self) -> list[UpstreamClient]:
        """The connections, by base URL."""
        return [site.client for site in self._sites]

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(client.open_connections for client in self.clients)

    def retire(self) -> None:
        """Let replies in flight end, keep nothing open after them."""
        for site in self._sites:
            site.client.retire()

    async def close(self) -> None:
        """Close all connections."""
        for site in self._sites:
            await site.client.close()


class Outlet:
    """One key at one base URL: connections, and request heads that carry the key.

    `client` is shared with the other keys of the base URL.
    """

    __slots__ = (
        "_edits",
        "_fixed",
        "_formats",
        "_key_name",
        "_pairs",
        "_site",
        "_withheld",
        "client",
    )

    def __init__(self, spec: UpstreamSpec, site: _Site, key: UpstreamKey) -> None:
        self.client = site.client
        self._site = site
        self._key_name = key.name
        self._formats = spec.formats
        self._edits = spec.edits
        # What the operator writes wins, over ours and over what a client sends along.
        configured = {n.lower().encode(): v.encode() for n, v in spec.headers}
        removed = frozenset(n.encode() for n in spec.edits.remove_headers) - _NEVER_REMOVED
        self._withheld = removed | configured.keys()
        secret = key.secret.reveal()
        self._fixed: dict[str, bytes] = {}
        self._pairs: dict[str, Mapping[bytes, bytes]] = {}
        for name in spec.formats:
            auth = dict(dialects.auth_headers(site.dialect, name, secret))
            ours = {n: v for n, v in {**site.ours, **auth}.items() if n not in removed}
            self._pairs[name] = {**ours, **configured}
            self._fixed[name] = _lines(self._pairs[name])

    def __repr__(self) -> str:
        return f"<Outlet {self._key_name} {self.client!r}>"

    def request_head(
        self,
        target: Target,
        model: str,
        forwarded: Iterable[tuple[bytes, bytes]],
        length: int,
        content_type: bytes = b"",
    ) -> bytes:
        """The request line and headers of a call, as bytes.

        Arguments:
            target: what is called.
            model: the upstream's own name of the model.
            forwarded: headers that the client's request contributes, names in lower case.
            length: bytes of the body.
            content_type: of the body, where it is not JSON.
        """
        line = self._site.lines.get((target, model)) or self._site.line(target, model)
        fixed, extra = self._fixed[target.format], self._extra(forwarded)
        if content_type:
            others = [line for line in fixed.splitlines(True) if not line.startswith(_TYPE)]
            fixed = b"".join([*others, _TYPE, content_type, b"\r\n"])
        return b"%b%b%bcontent-length: %d\r\n\r\n" % (line, fixed, extra, length)

    def upgrade_head(self, query: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The request for a realtime session: its line, and all headers.

        Arguments:
            query: with the upstream's own name of the model.
            headers: those of the handshake, and what the client's request contributes.
        """
        path = dialects.session_target(self._site.dialect, self._site.base_url, query)
        fixed, extra = self._fixed["chat"], self._extra(headers)
        return b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path.encode("ascii"), fixed, extra)

    def resource_head(
        self, target: Target, forwarded: Iterable[tuple[bytes, bytes]], length: int | None
    ) -> bytes:
        """The request line and headers for what is there already, or is not known to relayd.

        Arguments:
            forwarded: as for a call; the body's content type is among them.
            length: bytes of the body; None where there is none.
        """
        site, withheld = self._site, self._withheld
        path = dialects.resource_target(site.dialect, site.base_url, target).encode("ascii")
        name = target.format if target.format in self._formats else self._formats[0]
        ours = {n: v for n, v in self._pairs[name].items() if n != KIND or KIND in withheld}
        framing = b"" if length is None else b"content-length: %d\r\n" % length
        head = b"%b %b HTTP/1.1\r\n" % (target.method.encode("ascii"), path)
        return b"%b%b%b%b\r\n" % (head, _lines(ours), self._extra(forwarded), framing)

    def probe_request(self, model: str | None) -> list[bytes] | None:
        """The pieces of a cheap request: for one token of `model`, or for the list of models.

        Returns: None where the list is asked for, and this type of upstream has none.
        """
        site, name = self._site, self._formats[0]
        if model is not None:
            target, body = probes.one_token(site.dialect, name, model)
            if self._edits.of_params:  # what requests need here, a probe does too
                body = b"".join(params.edited([body], self._edits))
            return [self.request_head(target, model, probes.HEADERS[name], len(body)), body]
        path = dialects.listing_target(site.dialect, site.base_url, name)
        if path is None:
            return None
        extra = self._extra(probes.HEADERS[name])
        return [b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path.encode("ascii"), self._fixed[name], extra)]

    def _extra(self, forwarded: Iterable[tuple[bytes, bytes]]) -> bytes:
        withheld = self._withheld
        return b"".join([b"%b: %b\r\n" % pair for pair in forwarded if pair[0] not in withheld])


class _Site:
    """One base URL. Owns its connections and a bounded memory of rendered request lines."""

    __slots__ = ("base_url", "client", "dialect", "lines", "ours")

    def __init__(self, spec: UpstreamSpec, base_url: str) -> None:
        self.base_url = base_url
        self.dialect = dialects.DIALECTS[spec.dialect]
        origin, limits = origin_of(base_url), _limits(spec)
        self.client = UpstreamClient(origin, limits, spec.ca_file, spec.proxy)
        host = urlsplit(base_url).netloc.rpartition("@")[2]
        self.ours: Mapping[bytes, bytes] = {
            b"host": host.encode("idna" if not host.isascii() else "ascii"),
            b"user-agent": b"relayd",
            b"accept-encoding": b"identity",
            b"content-type": b"application/json",
        }
        self.lines: dict[tuple[Target, str], bytes] = {}

    def __repr__(self) -> str:
        return f"<_Site {self.client!r} lines={len(self.lines)}>"

    def line(self, target: Target, model: str) -> bytes:
        """The request line of a call, remembered."""
        path = dialects.request_target(self.dialect, self.base_url, target, model)
        line = b"POST %b HTTP/1.1\r\n" % path.encode("ascii")
        if len(self.lines) >= LINES_REMEMBERED:
            self.lines.clear()
        self.lines[target, model] = line
        return line


def origin_of(base_url: str) -> Origin:
    """The origin of a base URL that config has already checked."""
    parts = urlsplit(base_url)
    tls = parts.scheme == "https"
    return Origin(parts.hostname or "", parts.port or (443 if tls else 80), tls)


def _limits(spec: UpstreamSpec) -> PoolLimits:
    return PoolLimits(spec.max_connections, spec.timeouts.connect, spec.idle_timeout)


def _lines(headers: Mapping[bytes, bytes]) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers.items()])
