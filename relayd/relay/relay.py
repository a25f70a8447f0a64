"""The life of one request, top to bottom: admit, read, route, open, ask, finish, settle.

`Relay.serve` is the story; each chapter is one function below it. Nothing here calls up. Whatever
happens, the request ends in exactly one `settle`: one row in the usage log, one count in the
metrics, the lease ended; and that happens before the last byte of the reply goes out, so that a
client that has its answer can rely on the row. Admission and choice contain no await: they are
atomic on the loop. To ask is a chapter of its own (`asking`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping

from relayd.errors import Refused, RelayError
from relayd.lines import say
from relayd.model import Entry
from relayd.policy.attempts import Attempts
from relayd.policy.holdings import Holdings
from relayd.policy.keys import ENDPOINT_OF, Caller, Directory
from relayd.policy.pins import Pins
from relayd.policy.pools import Pools, Route
from relayd.relay import conversations, replies
from relayd.relay.asking import Asking
from relayd.relay.attempt import Attempt
from relayd.relay.call import Call, Client
from relayd.relay.capture import CapturedClient, Captures
from relayd.relay.followups import FollowUps
from relayd.relay.lobby import Lobby
from relayd.relay.passing import Passing
from relayd.relay.settling import Settling
from relayd.relay.till import Till
from relayd.relay.translation import Translator
from relayd.relay.work import Last, Meter, Work
from relayd.routing import StateRules
from relayd.tasks import Tasks
from relayd.tracing import Tracer
from relayd.upstream.provider import Provider
from relayd.wire import envelope, kinds, plan
from relayd.wire.defaults import Defaults
from relayd.wire.formats import FORMATS
from relayd.wire.head import without_key
from relayd.wire.paths import Target


def _silence(entry: Entry, key: str) -> None:
    """Nobody is told."""


class Relay:
    """Serves requests. Its parts are passed in; reload replaces `directory` and `defaults` (what
    requests leave out), and reconfigures.

    Arguments:
        directory: who may call.
        pools: which upstream to choose.
        providers: by upstream name.
        till: charges requests and keeps their rows.
        meter: the metrics.
        translator: for upstreams that do not speak a client's format.
        holdings: which upstream key holds which response.
        tracer: begins a trace for each request; None where nobody traces.
        captures: keeps what some requests and their replies hold.
        tell: says a line about an ended request, with the name of its key.
        keepalive: seconds of silence before a stream is kept alive.
        write_timeout: seconds that a client may leave its reply unread.
    """

    def __init__(
        self,
        directory: Directory,
        pools: Pools,
        providers: Mapping[str, Provider],
        till: Till,
        meter: Meter,
        *,
        translator: Translator | None = None,
        holdings: Holdings | None = None,
        tracer: Tracer | None = None,
        captures: Captures | None = None,
        tell: Callable[[Entry, str], None] = _silence,
        keepalive: float = 10.0,
        write_timeout: float = 120.0,
    ) -> None:
        self.directory = directory
        self.pools = pools
        self.lobby = Lobby(pools.routing.waiting)
        self.till = till
        self.translator = translator or Translator()
        self.tracer = tracer
        self.captures = captures or Captures()
        self._clock = asyncio.get_running_loop().time
        self._rng = random.Random()
        pins = Pins(pools, self._rng)
        known = Holdings(StateRules()) if holdings is None else holdings
        self.followups = FollowUps(pools, known, pins, self._rng)
        self.passing = Passing(pools, pins, self._rng)
        self._settling = Settling(
            pools,
            self.lobby,
            till,
            meter,
            followups=self.followups,
            tell=tell,
            clock=self._clock,
        )
        self.asking = Asking(self.lobby, self._settling, meter, self.translator, self._clock)
        self.reconfigure(providers, keepalive, write_timeout)
        self.defaults = Defaults()
        self._drains = Tasks()
        self.in_flight = 0

    def reconfigure(
        self, providers: Mapping[str, Provider], keepalive: float, write_timeout: float
    ) -> None:
        """Serve the next requests by a new configuration; those in flight keep the old one."""
        self.lobby.rules = self.pools.routing.waiting
        self.asking.reconfigure(providers, keepalive, write_timeout)
        self.passing.reconfigure(providers)

    @property
    def providers(self) -> Mapping[str, Provider]:
        """Those in use, by upstream name."""
        return self.asking.providers

    @property
    def settling(self) -> Settling:
        """What ends rows and leases, for who serves in another way."""
        return self._settling

    async def serve(self, call: Call, client: Client, caller: Caller | None = None) -> None:
        """Answer one request, whatever happens. Raises only CancelledError: the client left.

        `caller` is for whom relayd asks on its own; then nobody has shown a key.
        """
        work = Work(call, client, Entry(call.request_id, call.started_at, format_in=call.format))
        work.caller = caller
        if self.tracer is not None:
            method = "" if call.target is None else call.target.method
            work.trace = self.tracer.begin(call.headers, call.verb, method)
        self.in_flight += 1
        try:
            last = await self._work(work)
        except RelayError as exc:
            last = replies.fail(work, exc)
        except asyncio.CancelledError:
            if not self._drain(work):
                self._end(work, replies.leave(work))
            raise
        except Exception:
            # A bug of ours: the client gets its format's 500, the log gets the stack.
            say(logging.ERROR, "a request failed in relayd", exc=True, request=call.request_id)
            if work.exchange is not None:
                work.exchange.leave(served=False)
            last = replies.fail(work, RelayError("relayd failed to handle this request."))
        finally:
            self.in_flight -= 1
        self._end(work, last)

    def _end(self, work: Work, last: Last) -> None:
        """The books are closed before the last bytes go out: who has them can rely on the row."""
        self._settling.close(work, last.size)
        last.act()
        self._settling.count_overhead(work)
        if isinstance(work.client, CapturedClient):
            work.client.keep(work.entry)

    def note(self, entry: Entry) -> None:
        """Count what is not even a request, and keep its row."""
        self._settling.note(entry)

    async def _work(self, work: Work) -> Last:
        directory = self.directory
        self._admit(work)
        await self._read(work)
        if self.directory is not directory:  # while the body came, the key may have changed
            self._identify(work)
        self._route(work)
        self.till.open(work, self._clock())
        attempt, problem = await self.asking.ask(work)
        return replies.finish(work, attempt, problem)

    # --- admit ----------------------------------------------------------------------------------

    def _admit(self, work: Work) -> None:
        call = work.call
        if call.target is None:
            raise Refused(
                f"Unknown request URL: {call.path}. Check the path and the method.",
                status=404,
                code="unknown_url",
            )
        work.entry.operation = call.target.operation
        self._identify(work)
        self.till.check_room()
        if work.caller is not None and self.captures.wants(work.caller.key.name):
            work.client = CapturedClient(work.client, self.captures, call, work.caller.key.name)

    def _identify(self, work: Work) -> None:
        """Whose request it is, and whether they may make it at all."""
        call, caller = work.call, work.caller
        if caller is None or call.credential:  # else we ask for them ourselves
            caller = self.directory.find(
                call.credential, moment=call.started_at, address=call.address
            )
        work.caller = caller
        work.entry.key_id, work.entry.account_id = caller.id, caller.account.id
        assert call.target is not None
        caller.check_endpoint(ENDPOINT_OF[call.target.operation])

    async def _read(self, work: Work) -> None:
        target = work.call.target
        assert target is not None
        if (target.form and work.client.sends_form) or target.operation == "other":
            # Such a body takes room and time: it has a place, and not for whom it is in vain.
            with self.till.reading(work, self._clock()):
                await (self._read_resource if target.rest else self._read_form)(work, target)
            return
        if target.rest:
            await self._read_resource(work, target)
            return
        body = await work.client.read_body()
        work.read_at = work.client.heard_at
        if target.defaults:
            body = self.defaults.filled(body, target.defaults)
        head = FORMATS[work.call.format].read_head(body, target)
        work.head = head
        if "tools" in head.request:  # where these go is the only such question
            head.traits = plan.traits_of(head.request, work.call.format)
        head.sealed = envelope.may_hold(body, work.call.format)
        work.entry.model_asked = without_key(head.model)
        work.entry.stream = head.stream
        self.till.estimate(head)

    async def _read_resource(self, work: Work, target: Target) -> None:
        """What is asked of something that is there already, or is not known here."""
        await self._resource(target).read(work)
        work.read_at = work.client.heard_at

    async def _read_form(self, work: Work, target: Target) -> None:
        form = await work.client.read_form(work.entry.account_id or 0)
        work.read_at = work.client.heard_at
        read = FORMATS[work.call.format].read_form
        assert read is not None  # no other format has a route for one
        work.head = head = read(form, target, self.defaults.model(target.defaults))
        work.entry.model_asked = without_key(head.model)
        work.entry.stream = head.stream

    def _resource(self, target: Target) -> FollowUps | Passing:
        return self.passing if target.operation == "other" else self.followups

    # --- route ----------------------------------------------------------------------------------

    def _route(self, work: Work) -> None:
        """Who can serve the model, and the models named as its fallbacks."""
        head, caller, target = work.head, work.caller, work.call.target
        assert head is not None and caller is not None and target is not None
        if target.rest:
            work.attempts = self._resource(target).route(work)
            return
        caller.check_model(head.model)
        route = self._route_of(head.model, work)
        if not caller.has_every_endpoint:
            self._check_kind(work, route)
        if target.format == "responses":
            self.followups.begin(work)
            work.attempts = self.followups.narrow(work, route)
            if work.attempts is not None:
                head.request = {}
                return
        routes = [route]
        for name in route.fallbacks:
            # What a fallback lacks (a format, say) is no reason to refuse the model asked for.
            other = self._maybe_route(name, work)
            if other is not None and name != head.model:
                routes.append(other)
        wanted = conversations.wanted(
            work.call, head, work.entry.account_id or 0, route, self.pools.routing.affinity
        )
        head.request = {}  # of a large prompt it is many times as large, and waiting may be long
        work.attempts = Attempts(self.pools, routes, wanted, self._rng)

    def _maybe_route(self, name: str, work: Work) -> Route | None:
        assert work.caller is not None
        if not (work.caller.allows(name) and self.till.sells(name)):
            return None
        try:
            route = self._route_of(name, work)
            if not work.caller.has_every_endpoint:
                self._check_kind(work, route)
        except RelayError:
            return None
        return route

    def _check_kind(self, work: Work, route: Route) -> None:
        """The model's kind, and what it is asked to make, may take more than the endpoint that is
        asked. Raises Refused as `Caller.check_endpoint` does."""
        head, caller, call = work.head, work.caller, work.call
        assert head is not None and caller is not None
        if work.entry.operation != "generate":
            return
        upstreams = {member.door.name: member.door.spec.name for member in route.pool.members}
        for door, model in route.models.items():
            tasks = self.translator.capabilities.of(model, upstreams[door]).tasks
            for endpoint in sorted(kinds.needed(tasks, head.request, call.format)):
                caller.check_endpoint(endpoint)

    def _route_of(self, model: str, work: Work) -> Route:
        call = work.call
        assert call.target is not None
        return self.pools.route(model, call.format, self.translator.serves(call.target))

    # --- a client that left ---------------------------------------------------------------------

    def _drain(self, work: Work) -> bool:
        """Whether the reply is heard to its end, for its true usage, although nobody reads it: as
        the caller's group has it, while the upstream is at work on it."""
        attempt, caller = work.attempt, work.caller
        if caller is None or not work.client.gone:
            return False
        # What is made in the background goes on anyway, and its end tells what it costs.
        background = work.thread is not None and work.thread.background
        if caller.group.leaving != "drain" and not background:
            return False
        if attempt is None or attempt.failed or not attempt.exchange.under_way:
            return False
        if replies.is_whole(work.observer):  # it was served; only the connection is still open
            return False
        done = attempt.exchange.listen_on()
        task = self._drains.spawn(attempt.heard(done, caller.group.drain), "drain")
        self.in_flight += 1
        # A callback, not the task's own last lines: cancelled before its first step, it has none.
        task.add_done_callback(lambda _: self._heard(work, attempt))
        return True

    def _heard(self, work: Work, attempt: Attempt) -> None:
        replies.unheard(work, attempt)
        self.in_flight -= 1
        self._end(work, replies.NO_MORE)

    async def close(self) -> None:
        """End what listens on after its client has left; what came until now is charged."""
        await self._drains.cancel()
