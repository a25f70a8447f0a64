"""The admin API: everything an operator sees and does, as JSON over HTTP.

A request is let in before anything of it is looked at, even its path (`web.admin_guard`). Then one
table says who answers it, and the document `data/openapi.yaml` what its query and body may be: an
endpoint gets nothing that the document does not allow. None of this is relayed, and none of it
leaves a row in the usage log; changes of accounts, keys, credits and tokens stand in the store's
audit table, what is done to upstreams in relayd's log.

    GET   /admin/api/accounts?limit=50&after=17    {"data": [...], "next": 67}
    POST  /admin/api/accounts/alice/credits        {"amount": "20.00", "reason": "invoice 7"}
    POST  /admin/api/keys                          the answer holds the secret, once
    POST  /admin/api/upstreams/openai/2/disable    enable, probe
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from operator import attrgetter

import orjson

from relayd.accounts import AdminToken
from relayd.errors import RelayError
from relayd.lines import say
from relayd.model import Secret
from relayd.store.refusals import StoreError
from relayd.web import (
    admin_accounts,
    admin_credits,
    admin_groups,
    admin_keys,
    admin_tokens,
    admin_upstreams,
    admin_usage,
)
from relayd.web.admin_desk import (
    Ask,
    Bureau,
    Desk,
    Document,
    Prober,
    Route,
    Table,
    Upstreams,
    WrongMethod,
    refusal,
)
from relayd.web.admin_guard import Guard
from relayd.web.admin_schema import schema
from relayd.web.bodies import BodyLimits
from relayd.web.client import HttpClient, RawHeaders

ROOT = "/admin/api"
BODY = BodyLimits(max_body=16 * 1024, timeout=10.0)
HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
CHALLENGE = (b"www-authenticate", b'Bearer realm="relayd admin"')


async def _document(desk: Desk, ask: Ask) -> Document:
    """The document that describes all of this."""
    return schema().document


ROUTES = (
    Route("GET", "/accounts", admin_accounts.listed),
    Route("POST", "/accounts", admin_accounts.created, 201),
    Route("GET", "/accounts/{account}", admin_accounts.one),
    Route("PATCH", "/accounts/{account}", admin_accounts.changed),
    Route("GET", "/accounts/{account}/credits", admin_credits.listed),
    Route("POST", "/accounts/{account}/credits", admin_credits.given, 201),
    Route("GET", "/keys", admin_keys.listed),
    Route("POST", "/keys", admin_keys.created, 201),
    Route("GET", "/keys/{key}", admin_keys.one),
    Route("PATCH", "/keys/{key}", admin_keys.changed),
    Route("POST", "/keys/{key}/rotate", admin_keys.rotated),
    Route("GET", "/groups", admin_groups.listed),
    Route("GET", "/groups/{group}", admin_groups.one),
    Route("GET", "/usage", admin_usage.reported),
    Route("GET", "/usage/rows", admin_usage.rows),
    Route("GET", "/credits", admin_credits.listed),
    Route("GET", "/audit", admin_credits.audited),
    Route("GET", "/tokens", admin_tokens.listed),
    Route("POST", "/tokens", admin_tokens.created, 201),
    Route("PATCH", "/tokens/{token}", admin_tokens.changed),
    Route("POST", "/ledger/verify", admin_credits.verified),
    Route("GET", "/upstreams", admin_upstreams.shown),
    Route("POST", "/upstreams/probe", admin_upstreams.all_probed),
    Route("GET", "/upstreams/{upstream}", admin_upstreams.shown),
    Route("GET", "/upstreams/{upstream}/{key}", admin_upstreams.shown),
    Route("POST", "/upstreams/{upstream}/enable", admin_upstreams.enabled),
    Route("POST", "/upstreams/{upstream}/disable", admin_upstreams.disabled),
    Route("POST", "/upstreams/{upstream}/probe", admin_upstreams.probed),
    Route("POST", "/upstreams/{upstream}/{key}/enable", admin_upstreams.enabled),
    Route("POST", "/upstreams/{upstream}/{key}/disable", admin_upstreams.disabled),
    Route("POST", "/upstreams/{upstream}/{key}/probe", admin_upstreams.probed),
    Route("GET", "/openapi.json", _document),
)
TABLE = Table(ROUTES)


class Admin:
    """Answers requests under `/admin/api`. Owns its guard, which counts wrong tokens.

    Arguments:
        upstreams: what is shown and switched.
        prober: what is asked to probe.
        own_token: that of the control file, made by this process.
        token: that of the configuration; an empty one opens nothing.
        clock: the loop's.
        bureau: accounts, keys and money; without it, only upstreams are answered for.
        peer_of: the address that a request comes from, behind trusted proxies too.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        prober: Prober,
        *,
        own_token: Secret,
        token: Secret,
        clock: Callable[[], float],
        bureau: Bureau | None = None,
        peer_of: Callable[[HttpClient], str] = attrgetter("peer"),
    ) -> None:
        self._guard = Guard(own_token, token, clock, peer_of)
        self._peer_of = peer_of
        self._desk = Desk(upstreams, prober, clock, bureau)
        self._schema = schema()

    def __repr__(self) -> str:
        return f"<Admin {self._guard!r}>"

    @property
    def token(self) -> Secret:
        """That of the configuration, which a reload may change."""
        return self._guard.token

    @token.setter
    def token(self, token: Secret) -> None:
        self._guard.token = token

    def know(self, tokens: Iterable[AdminToken]) -> None:
        """These are the store's tokens from now on."""
        self._guard.know(tokens)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path belongs to the admin API."""
        return path.startswith(ROOT) and path[len(ROOT) : len(ROOT) + 1] in ("", "/")

    async def answer(self, client: HttpClient) -> None:
        """Answer one request, whatever it is."""
        path, _, query = client.raw_path.partition("?")
        try:
            actor = self._guard.let_in(client)
            below = path[len(ROOT) :].rstrip("/")
            status, document = await self._serve(client, below, query, actor)
            body = orjson.dumps(document)
        except RelayError as exc:
            _refuse(client, exc)
        except StoreError as exc:
            _refuse(client, refusal(exc))
        except Exception:
            words = f"admin: {client.method} {path[:200]} could not be answered"
            say(logging.ERROR, words, exc=True, request=client.request_id)
            _refuse(client, RelayError("This could not be done: see relayd's log."))
        else:
            client.send(status, HEADERS, body)

    async def _serve(
        self, client: HttpClient, path: str, query: str, actor: str
    ) -> tuple[int, Document]:
        route, names = TABLE.find(client.method, path)
        operation = self._schema.operation(route.method, route.path)
        asked = operation.check_query(query)
        body = operation.check_body(await client.read_body()) if operation.takes_body else {}
        ask = Ask(names, asked, body, actor, self._peer_of(client), client.request_id)
        return route.status, await route.endpoint(self._desk, ask)


def _refuse(client: HttpClient, exc: RelayError) -> None:
    headers: RawHeaders = [*HEADERS]
    if exc.status == 401:
        headers.append(CHALLENGE)
    if isinstance(exc, WrongMethod):
        headers.append((b"allow", exc.allowed.encode()))
    if exc.retry_after is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(exc.retry_after)))
    error = {"message": exc.message, "code": exc.code}
    if exc.param is not None:
        error["param"] = exc.param
    client.send(exc.status, headers, orjson.dumps({"error": error}))
