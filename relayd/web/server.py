"""The HTTP server for clients: from a raw path to a call of the relay, and the few pages beside it.

A path is looked up by `wire.paths.locate`, which knows all formats and their tolerances, then among
the fixed pages (health, status, metrics), the admin API and the account endpoints: what is asked
most costs least. What cannot even be parsed as HTTP is answered in JSON here, too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from aiohttp.http_exceptions import LineTooLong

from relayd.errors import BadCall, NoUpstream, RelayError
from relayd.model import Entry, FormatName
from relayd.policy.keys import Caller
from relayd.realtime.realtime import Realtime
from relayd.realtime.switching import Wish
from relayd.relay.call import Call
from relayd.relay.relay import Relay
from relayd.relay.replies import error_headers
from relayd.web import admin
from relayd.web.account import AccountPages
from relayd.web.bodies import BodyLimits
from relayd.web.client import HttpClient
from relayd.web.credentials import credential
from relayd.web.models import ModelPages, shape_of
from relayd.web.pages import PRIVATE, Pages
from relayd.web.peers import Network, client_address
from relayd.wire import realtime
from relayd.wire.formats import FORMATS
from relayd.wire.paths import Listing, Session, Target, format_of_path, locate

ROUTES_REMEMBERED = 2048
LONGEST_REMEMBERED = 256
LINGER = 2.0  # seconds that a refused body is still read, so that the client gets to see the answer
ID_LINES = b"x-request-id: %b\r\nrequest-id: %b\r\n"
# Browsers may call a relay from any page: keys travel in headers, never in cookies.
CORS = b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\n"
OWN_LINES = ID_LINES + CORS
JSON_TYPE = [(b"content-type", b"application/json")]
PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"*, Authorization"),
    (b"access-control-max-age", b"86400"),
]

Found = Target | Listing | Session | None


class Front:
    """Answers HTTP requests. Owns the count of requests in flight and the memory of routes.

    Arguments:
        relay: serves calls.
        pages: the fixed pages.
        limits: bounds of request bodies.
        office: answers the admin API.
        account: answers the account endpoints.
        realtime: serves sessions.
    """

    def __init__(
        self,
        relay: Relay,
        pages: Pages,
        limits: BodyLimits,
        office: admin.Admin,
        account: AccountPages,
        realtime: Realtime,
        *,
        trusted: Sequence[Network] = (),
    ) -> None:
        self.trusted = trusted
        self.limits = limits
        self.draining = False
        self.active = 0
        self._relay = relay
        self._pages = pages
        self._office = office
        self._account = account
        self._realtime = realtime
        self._clock = asyncio.get_running_loop().time
        self._models = ModelPages(relay, int(time.time()))
        self._idle = asyncio.Event()
        self.given_up = False
        self._routes: dict[tuple[str, str], Found] = {}

    def __repr__(self) -> str:
        return f"<Front active={self.active} draining={self.draining}>"

    @property
    def spooled(self) -> int:
        """Bytes of request bodies that are kept until their requests end."""
        return self.limits.room.used if self.limits.room is not None else 0

    async def drained(self) -> None:
        """Wait until no request is in flight, or `give_up`; meaningful once `draining` is set."""
        while self.active and not self.given_up:
            self._idle.clear()
            await self._idle.wait()

    def give_up(self) -> None:
        """Do not wait for the requests in flight any longer."""
        self.given_up = True
        self._idle.set()

    async def handle(self, client: HttpClient) -> None:
        """Answer one request."""
        path, _, query = client.raw_path.partition("?")
        request_id = new_request_id()
        client.admit(_id_lines(request_id), self.limits)
        self.active += 1
        try:
            target = self._locate(client.method, path, query)
            if target.__class__ is Target and not self.draining:
                await self._relay.serve(self._call(client, target, path, query, request_id), client)
            else:
                await self._answer_other(client, target, path, query, request_id)
        finally:
            client.release()
            self.active -= 1
            if self.draining:
                self._idle.set()

    async def _answer_other(
        self, client: HttpClient, found: Found, path: str, query: str, request_id: str
    ) -> None:
        """All that is not a call of a model: fixed pages, the admin API, lists, preflights."""
        page = self._pages.find(client.method, path)
        if page is not None:
            if path in PRIVATE:
                client.admit(ID_LINES % ((request_id.encode(),) * 2), self.limits)
            client.send(*page(client))
        elif self._office.serves(path):
            client.admit(_id_lines(request_id), admin.BODY)
            await self._office.answer(client)
        elif client.method != "OPTIONS" and self._account.serves(path):
            await self._account.answer(client, path, request_id)
        elif client.method == "OPTIONS":
            client.send(204, PREFLIGHT, b"")
        elif self.draining:
            client.close_after()
            closing = NoUpstream("relayd is shutting down.", retry_after=5)
            self._word(client, format_of_path(path), closing, request_id)
        elif isinstance(found, Listing):
            self._list(client, found, query, request_id)
        elif isinstance(found, Session):
            await self._converse(client, found, path, query, request_id)
        else:
            open_path = self._relay.passing.target(client.method, path, query)
            call = self._call(client, open_path, path, query, request_id)
            await self._relay.serve(call, client)

    async def _converse(
        self, client: HttpClient, wanted: Session, path: str, query: str, request_id: str
    ) -> None:
        """Serve a realtime session. Browsers can set no header: their key is a subprotocol."""
        offered = realtime.protocols(client.headers.getall("Sec-WebSocket-Protocol", ()))
        target = Target(format_of_path(path), "realtime", verb=wanted.verb)
        call = self._call(client, target, path, query, request_id)
        if not call.credential:
            call = call._replace(credential=realtime.key_in(offered))
        await self._realtime.serve(call, Wish(query, offered), client)

    def _call(
        self, client: HttpClient, target: Target | None, path: str, query: str, request_id: str
    ) -> Call:
        return Call(
            request_id,
            target.format if target is not None else format_of_path(path),
            target,
            credential(client.headers, path, query),
            client.raw_headers,
            self._clock(),
            time.time(),
            f"{client.method} {path[:200]}" if target is None else "",
            self.address(client),
        )

    def address(self, client: HttpClient) -> str:
        """Where a request comes from, behind trusted proxies too."""
        if not self.trusted:
            return client.peer
        forwarded = client.headers.getall("X-Forwarded-For", ())
        return client_address(client.peer, forwarded, self.trusted)

    def caller(self, client: HttpClient) -> Caller:
        """Whose key a request carries; Refused when it is nobody's, or may not be used."""
        path, _, query = client.raw_path.partition("?")
        secret = credential(client.headers, path, query)
        address = self.address(client)
        return self._relay.directory.find(secret, moment=time.time(), address=address)

    def _locate(self, method: str, path: str, query: str) -> Found:
        if query:  # it may hold a key: not to be remembered
            return locate(method, path, query)
        known = self._routes.get((method, path))
        if known is None:
            known = locate(method, path, query)
            if isinstance(known, Target) and known.rest:
                return known  # one of many
            if known is not None and len(path) <= LONGEST_REMEMBERED:
                if len(self._routes) >= ROUTES_REMEMBERED:
                    self._routes.clear()
                self._routes[method, path] = known
        return known

    def _list(self, client: HttpClient, wanted: Listing, query: str, request_id: str) -> None:
        shape = shape_of(client, wanted, query)
        try:
            body = self._models.page(shape, wanted, self.caller(client), query)
        except RelayError as exc:
            self._word(client, shape, exc, request_id)
        else:
            client.send(200, JSON_TYPE, body)

    @staticmethod
    def _word(client: HttpClient, name: FormatName, exc: RelayError, request_id: str) -> None:
        reply = FORMATS[name].error(exc, request_id)
        client.send(reply.status, error_headers(exc), reply.body)

    def bad_http(self, exc: BaseException | None) -> bytes:
        """A whole response to what is not HTTP, or beyond its bounds; it gets a row, too."""
        request_id = new_request_id()
        status = 431 if isinstance(exc, LineTooLong) else 400
        text = "Request headers are too large." if status == 431 else "This is not valid HTTP."
        error = BadCall(text, status=status, code="bad_http")
        entry = Entry(request_id, time.time(), status=status, outcome=error.outcome)
        entry.error_code = error.code
        self._relay.note(entry)
        body = FORMATS["chat"].error(error, request_id).body
        head = b"HTTP/1.1 %d Bad Request\r\ncontent-type: application/json\r\n" % status
        return b"%bcontent-length: %d\r\nconnection: close\r\n\r\n%b" % (head, len(body), body)


def new_request_id() -> str:
    """`req_`, the time in milliseconds as hex, then randomness: ids sort by time, so rows
    append."""
    return f"req_{time.time_ns() // 1_000_000:012x}{random.getrandbits(64):016x}"


def _id_lines(request_id: str) -> bytes:
    return OWN_LINES % ((request_id.encode(),) * 2)
