"""A customer of a running daemon: an account of its own with one key, and what the books say of it.

Every test of limits and money takes a fresh one, so no test sees what another has spent or used up,
and one daemon serves them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from relayd.accounts import Key
from relayd.model import Entry
from relayd.money import pico
from relayd.store.questions import NewKey, UsageFilter
from tests.support.raw_client import RawClient, Reply, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import Peer, ScriptedUpstream
from tests.support.speech import Speech

NOW = 1_000_000.0  # when accounts and credits came about: long ago, whatever the clock says
_numbers = itertools.count(1)


class Customer:
    """An account with one key.

    Arguments:
        relay: the daemon that knows them.
        group: of the account.
        credit: dollars that it is granted first.
        wants: further properties of the key.
    """

    def __init__(
        self, relay: Running, group: str = "default", credit: str = "", **wants: Any
    ) -> None:
        self.relay = relay
        self.name = f"customer-{next(_numbers)}"
        self.key: Key
        self.secret = ""
        relay.call(lambda: self._come_about(group, wants))
        if credit:
            self.top_up(credit)

    def __repr__(self) -> str:
        return f"<Customer {self.name}>"

    async def _come_about(self, group: str, wants: Mapping[str, Any]) -> None:
        books = self.relay.daemon.books
        await books.store.create_account(self.name, group, now=NOW, actor="test")
        ask = NewKey(self.name, self.name, **wants)
        self.key, self.secret = await books.store.create_key(ask, now=NOW, actor="test")
        await books.refresh()

    def top_up(self, dollars: str) -> None:
        """Grant the account so much, and let the daemon know."""

        async def grant() -> None:
            books = self.relay.daemon.books
            await books.store.add_credit(
                self.name, pico(dollars), kind="grant", reason="test", actor="test", now=NOW
            )
            await books.refresh()

        self.relay.call(grant)

    def change(self, **changes: object) -> None:
        """Change properties of the key, and let the daemon know."""

        async def change() -> None:
            books = self.relay.daemon.books
            self.key = await books.store.change_key(self.name, changes, now=NOW, actor="test")
            await books.refresh()

        self.relay.call(change)

    def change_account(self, **changes: Any) -> None:
        """Change properties of the account, and let the daemon know."""

        async def change() -> None:
            books = self.relay.daemon.books
            await books.store.change_account(self.name, now=NOW, actor="test", **changes)
            await books.refresh()

        self.relay.call(change)

    def rotate(self, grace: float) -> None:
        """Take a new secret, and let the daemon know."""

        async def rotate() -> None:
            books = self.relay.daemon.books
            self.key, self.secret = await books.store.rotate_key(
                self.name, grace=grace, now=NOW, actor="test"
            )
            await books.refresh()

        self.relay.call(rotate)

    # --- asking ---------------------------------------------------------------------------------

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    def begin(
        self,
        speech: Speech,
        model: str,
        *,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> RawClient:
        """A request under way."""
        path, body = speech.ask(model, stream=stream, **more)
        client = self.relay.connect()
        client.send(request_bytes(path, body, {**self.auth, **(headers or {})}))
        return client

    def ask(
        self,
        speech: Speech,
        model: str,
        *,
        stream: bool = False,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> Reply:
        """A request, and its whole reply."""
        with self.begin(speech, model, stream=stream, headers=headers, **more) as client:
            return client.reply()

    def reach(
        self, upstream: ScriptedUpstream, speech: Speech, model: str, *, stream: bool = True
    ) -> tuple[RawClient, Peer]:
        """A request that has reached the upstream, which has yet to answer."""
        client = self.begin(speech, model, stream=stream)
        peer = upstream.accept()
        peer.read_request()
        return client, peer

    def get(self, path: str) -> Reply:
        """A page, with the customer's key."""
        return self.relay.ask(path, headers=self.auth, method="GET")

    # --- what the books say ---------------------------------------------------------------------

    def row(self, reply: Reply) -> Entry:
        """The row of a reply."""
        return self.relay.row(reply.headers["x-request-id"])

    def rows(self, number: int) -> list[Entry]:
        """The customer's rows, newest first, once there are so many; exactly so many."""

        async def read() -> list[Entry]:
            await self.relay.daemon.ledger.flush()
            return await self.relay.daemon.books.store.rows(UsageFilter(account=self.name))

        self.relay.wait_for(lambda: len(self.relay.call(read)) >= number)
        found = self.relay.call(read)
        assert len(found) == number, found
        return found

    @property
    def balance(self) -> int:
        """Granted less spent, as the daemon has it in memory."""
        return self.relay.daemon.books.till.admission.balances.balance(self.key.account.id)

    @property
    def available(self) -> int:
        """The balance less what is reserved."""
        return self.relay.daemon.books.till.admission.balances.available(self.key.account.id)

    @property
    def stored_balance(self) -> int:
        """The balance as the store derives it, nothing waiting."""

        async def read() -> int:
            await self.relay.daemon.ledger.flush()
            store, id = self.relay.daemon.books.store, self.key.account.id
            return (await store.granted()).get(id, 0) - (await store.spent()).get(id, 0)

        return self.relay.call(read)

    @property
    def in_flight(self) -> int:
        """How many of the account's requests are open."""
        return self.relay.daemon.books.till.admission.in_flight(self.key.account.id)
