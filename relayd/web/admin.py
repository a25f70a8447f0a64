"""The admin API: the state of the upstreams as JSON, and the three things an operator does to them.

Two tokens open it. That of the configuration can be weak, so wrong guesses are counted per peer and
stopped; that of the control file is new at every start and cannot be guessed, so it always opens:
whoever hammers on the door through a proxy on this machine does not lock its operator out. A
request is let in before anything of it is looked at, even its path.

None of this is relayed, and none of it leaves a row in the usage log: what an operator does is
written to the log instead.

    GET  /admin/api/upstreams                     how every door is doing
    GET  /admin/api/upstreams/openai              those of one upstream, or one: openai/2
    POST /admin/api/upstreams/openai/2/enable     disable, probe; `key` may also be a field of the
    POST /admin/api/upstreams/probe               query or of a JSON body
"""

from __future__ import annotations

import asyncio
import difflib
import hmac
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, unquote

import orjson

from relayd.errors import BadCall, Refused, RelayError
from relayd.model import Secret
from relayd.policy.reports import DoorReport, ProbeResult
from relayd.web.client import BodyLimits, HttpClient

log = logging.getLogger("relayd")

ROOT = "/admin/api"
UPSTREAMS = f"{ROOT}/upstreams"
BODY = BodyLimits(max_body=16 * 1024, timeout=10.0)
GUESSES = 10  # wrong tokens that one peer may offer in a minute
MINUTE = 60.0
PEERS_REMEMBERED = 1000
HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
BY_STATUS = {
    401: [(b"www-authenticate", b'Bearer realm="relayd admin"')],
    405: [(b"allow", b"GET, HEAD, POST")],
}

Document = dict[str, object]


class Upstreams(Protocol):
    """What is looked at and switched; `policy.pools.Pools` is one."""

    def report(self, now: float) -> Sequence[DoorReport]:
        """How every door is doing, in configured order."""

    def enable(self, upstream: str, key: str | None, now: float) -> None:
        """Take all or one of its keys back into use, whatever took them out; KeyError: unknown."""

    def disable(self, upstream: str, key: str | None, now: float) -> None:
        """Take all or one of its keys out of use until `enable`; KeyError: unknown."""


class Prober(Protocol):
    """Who asks upstreams whether they are well."""

    async def probe(self, upstream: str, key: str | None) -> list[ProbeResult]:
        """Ask with all or one of its keys, within a bounded time; KeyError: unknown."""


class Chosen(NamedTuple):
    """Which doors a request is about: those of an upstream, or one."""

    upstream: str
    key: str | None

    def __str__(self) -> str:
        return self.upstream if self.key is None else f"{self.upstream}/{self.key}"


class Guesses:
    """Who offered wrong tokens of late. Owns a bounded table of peers; the oldest leaves first."""

    def __init__(self) -> None:
        self._times: dict[str, deque[float]] = {}

    def __repr__(self) -> str:
        return f"<Guesses of {len(self._times)} peers>"

    def wait(self, peer: str, now: float) -> float:
        """Seconds until this peer may offer a token again; 0.0 is now."""
        times = self._times.get(_network(peer))
        if times is None or len(times) < GUESSES:
            return 0.0
        return max(0.0, times[0] + MINUTE - now)

    def note(self, peer: str, now: float) -> None:
        """This peer's token was wrong."""
        network = _network(peer)
        times = self._times.pop(network, None) or deque(maxlen=GUESSES)
        times.append(now)
        if len(self._times) >= PEERS_REMEMBERED:
            del self._times[next(iter(self._times))]
        self._times[network] = times


class Admin:
    """Answers requests under `/admin/api`. Owns the count of wrong tokens.

    Arguments:
        upstreams: what is shown and switched.
        prober: what is asked to probe.
        own_token: that of the control file, made by this process.
        clock: the loop's.

    Attributes:
        token: that of the configuration, which a reload may change; an empty one opens nothing.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        prober: Prober,
        *,
        own_token: Secret,
        token: Secret,
        clock: Callable[[], float],
    ) -> None:
        self.token = token
        self._own_token = own_token
        self._upstreams = upstreams
        self._prober = prober
        self._clock = clock
        self._guesses = Guesses()
        self._verbs: dict[str, Callable[[Chosen], Awaitable[Document]]] = {
            "enable": self._enable,
            "disable": self._disable,
            "probe": self._probe,
        }

    def __repr__(self) -> str:
        return f"<Admin {self._guesses!r}>"

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path belongs to the admin API."""
        return path.startswith(ROOT) and path[len(ROOT) : len(ROOT) + 1] in ("", "/")

    async def answer(self, client: HttpClient) -> None:
        """Answer one request, whatever it is."""
        path, _, query = client.raw_path.partition("?")
        try:
            self._let_in(client)
            document = await self._serve(client, path.rstrip("/"), query)
        except RelayError as exc:
            self._refuse(client, exc)
        except Exception:
            log.exception("admin: %s %s could not be answered", client.method, path[:200])
            self._refuse(client, RelayError("This could not be done: see relayd's log."))
        else:
            client.send(200, HEADERS, orjson.dumps(document))

    # --- who may ------------------------------------------------------------------------------

    def _let_in(self, client: HttpClient) -> None:
        offered = bearer(client.headers.get("Authorization", ""))
        if _same(offered, self._own_token):
            return
        peer, now = client.peer, self._clock()
        wait = self._guesses.wait(peer, now)
        if wait:
            raise Refused(
                f"Too many wrong tokens: try again in {math.ceil(wait)} seconds.",
                status=429,
                code="too_many_attempts",
                retry_after=wait,
            )
        if _same(offered, self.token):
            return
        if offered:  # to come without one is no guess
            self._guesses.note(peer, now)
            log.warning("admin: a wrong token from %s", peer or "an unknown address")
        raise Refused(
            "This needs the admin token: `Authorization: Bearer TOKEN`.", code="invalid_admin_token"
        )

    @staticmethod
    def _refuse(client: HttpClient, exc: RelayError) -> None:
        headers = [*HEADERS, *BY_STATUS.get(exc.status, ())]
        if exc.retry_after is not None:
            headers.append((b"retry-after", b"%d" % math.ceil(exc.retry_after)))
        document = {"error": {"message": exc.message, "code": exc.code}}
        client.send(exc.status, headers, orjson.dumps(document))

    # --- what is asked for --------------------------------------------------------------------

    async def _serve(self, client: HttpClient, path: str, query: str) -> Document:
        if path != UPSTREAMS and not path.startswith(f"{UPSTREAMS}/"):
            raise Refused(f"There is nothing at {path[:200]}.", status=404, code="not_found")
        rest = path[len(UPSTREAMS) + 1 :]
        if client.method in ("GET", "HEAD"):
            key = key_asked(query, b"")
            return self._show(self._find(unquote(rest), key) if rest or key else None)
        if client.method != "POST":
            raise _wrong_method(client.method)
        name, _, verb = rest.rpartition("/")
        if verb not in self._verbs or (not name and verb != "probe"):
            raise BadCall(
                "POST to .../upstreams/NAME/ and one of: enable, disable, probe.",
                status=404,
                code="not_found",
            )
        key = key_asked(query, await client.read_body())
        if not name and key is None:
            return await self._probe_all()
        chosen = self._find(unquote(name), key)
        log.info("admin: %s %s, asked by %s", verb, chosen, client.peer or "an unknown address")
        return await self._verbs[verb](chosen)

    def _find(self, name: str, key: str | None) -> Chosen:
        """The doors that a name and a key stand for; Refused (404), with the nearest name."""
        known: dict[str, Chosen] = {}
        for report in self._upstreams.report(self._clock()):
            known[report.name] = Chosen(report.upstream, report.key)
            known[report.upstream] = Chosen(report.upstream, None)
        asked = name if key is None else f"{name}/{key}"
        if asked in known:
            return known[asked]
        raise Refused(_unknown(asked, known), status=404, code="unknown_upstream")

    def _show(self, chosen: Chosen | None) -> Document:
        reports = self._upstreams.report(self._clock())
        return {"upstreams": [r.as_json() for r in reports if chosen is None or _is_of(r, chosen)]}

    # --- what is done -------------------------------------------------------------------------

    async def _enable(self, chosen: Chosen) -> Document:
        return self._switch(self._upstreams.enable, chosen)

    async def _disable(self, chosen: Chosen) -> Document:
        return self._switch(self._upstreams.disable, chosen)

    def _switch(self, act: Callable[[str, str | None, float], None], chosen: Chosen) -> Document:
        act(*chosen, self._clock())  # nothing was awaited since it was found: it is known
        return self._show(chosen)

    async def _probe(self, chosen: Chosen) -> Document:
        return _results([await self._prober.probe(*chosen)])

    async def _probe_all(self) -> Document:
        names = dict.fromkeys(r.upstream for r in self._upstreams.report(self._clock()))
        return _results(await asyncio.gather(*(self._prober.probe(name, None) for name in names)))


def bearer(authorization: str) -> bytes:
    """The token of an Authorization header, b"" when it holds none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def key_asked(query: str, body: bytes) -> str | None:
    """The upstream key that the query or the body names, None for neither.

    Raises BadCall for a body that is no such thing, and for two that differ.
    """
    asked = parse_qs(query, keep_blank_values=True).get("key", [])
    if body:
        asked.extend(_key_in(body))
    if len(set(asked)) > 1:
        raise BadCall("Name one key, not several.", param="key")
    if "" in asked:
        raise BadCall("`key` is empty: leave it out to mean all keys.", param="key")
    return asked[0] if asked else None


def _key_in(body: bytes) -> list[str]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadCall("The body is not valid JSON.") from None
    if not isinstance(document, dict) or not document.keys() <= {"key"}:
        raise BadCall('The body may hold one field: {"key": "NAME"}.')
    key = document.get("key")
    if key is None:
        return []
    if type(key) not in (str, int):
        raise BadCall("`key` must be the name of a key.", param="key")
    return [str(key)]


def _same(offered: bytes, token: Secret) -> bool:
    """Whether it is the token, in a time that does not tell how much of it is right."""
    return bool(token) and hmac.compare_digest(offered, token.reveal().encode())


def _network(peer: str) -> str:
    """What stands for a peer: its address, or of IPv6 the network, which one host has whole."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(IPv6Address(int(address) >> 64 << 64))
    return peer


def _unknown(asked: str, known: dict[str, Chosen]) -> str:
    upstream, _, key = asked.partition("/")
    keys = [chosen.key for chosen in known.values() if chosen.upstream == upstream and chosen.key]
    if keys:
        return f"The upstream `{upstream}` has no key `{key[:200]}`; it has: {', '.join(keys)}."
    message = f"There is no upstream `{asked[:200]}`"
    near = difflib.get_close_matches(asked[:200], known, n=1)
    return f"{message}; did you mean `{near[0]}`?" if near else f"{message}."


def _is_of(report: DoorReport, chosen: Chosen) -> bool:
    return report.upstream == chosen.upstream and chosen.key in (None, report.key)


def _wrong_method(method: str) -> BadCall:
    return BadCall(f"{method} is not for this: GET or POST is.", status=405, code="bad_method")


def _results(found: Sequence[Sequence[ProbeResult]]) -> Document:
    return {"results": [result.as_json() for results in found for result in results]}
