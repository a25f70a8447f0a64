"""What upstreams keep: follow-ups reach the key that made a response, and no other account.

A request of the Responses format that goes well leaves a response at the upstream key that made it.
Whatever follows on it goes there: reading, deleting, cancelling it, listing its input, and a
request that goes on from it (`previous_response_id`). What is unknown here, too old, or another
account's is not there, in the words of the format's own server; it is never asked for upstream,
because an upstream's account knows all that any client of ours ever made with it.

What is made in the background is paid for once: whoever sees more of it pays the difference, until
its end is seen by the stream that made it, or by the first request that finds it ended (nobody has
to come: see `collecting`). Until then it is owed, its reservation stays, and only so much may be
owed. What ends unseen costs its prompt at least. What this module learns is put into the request's
row, and with that into the journal and the store.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable

from relayd.errors import BadCall, Refused
from relayd.model import Holding, Usage
from relayd.policy.attempts import Attempts
from relayd.policy.holdings import Holdings, Thread, holding_digest, site_tag
from relayd.policy.keys import Caller
from relayd.policy.pins import Pins
from relayd.policy.pool import Wanted
from relayd.policy.pools import Pools, Route
from relayd.relay.work import Work
from relayd.wire.conversation import LONGEST_ID
from relayd.wire.facts import parsed, section, text
from relayd.wire.head import Head

LONGEST_SHOWN = 100  # characters of an id in a message
_ID = re.compile(rb'\s*\{\s*"id"\s*:\s*"([A-Za-z0-9_-]{1,512})"')
SETTLED_IN = 60.0  # seconds after which an upstream surely knows what it made
UNFINISHED = frozenset({"queued", "in_progress"})
DELIVERED = frozenset({"completed", "incomplete"})


class FollowUps:
    """Brings requests to what upstreams keep, and notes what they keep from now on.

    Arguments:
        pools: has the upstream keys.
        holdings: which of them holds what.
        pins: routes to single keys.
        rng: draws the rest before a repetition.
    """

    def __init__(self, pools: Pools, holdings: Holdings, pins: Pins, rng: random.Random) -> None:
        self.holdings = holdings
        self._pools = pools
        self._pins = pins
        self._rng = rng
        # Streams of responses that are made in the background: who sees the first event may ask
        # for the response at once, while the stream goes on.
        self._live: dict[int, Work] = {}
        # Asks for a response that is owed before it is deleted.
        self.look: Callable[[Holding, Caller], Awaitable[None]] = _do_not_look

    def __repr__(self) -> str:
        return f"<FollowUps {self.holdings!r} live={len(self._live)}>"

    # --- asking for what is there ---------------------------------------------------------------

    async def read(self, work: Work) -> None:
        """Read a request for a response. Raises BadCall: 404 where there is none of this
        account's."""
        # What a cancellation may bring along says nothing.
        await work.client.read_spool(work.entry.account_id or 0)
        target, caller = work.call.target, work.caller
        assert target is not None and caller is not None
        id = target.rest.partition("/")[0]
        holding = self._find(work, id)
        if holding is None or not caller.allows(holding.name):
            raise _no_response(id)
        if holding.state == "owed" and target.method == "DELETE":
            await self.look(holding, caller)
            holding = self._find(work, id) or holding
        work.thread = Thread(after=holding)
        work.head = Head(target, holding.name, bool(target.stream), b"")
        work.entry.model_asked, work.entry.stream = holding.name, work.head.stream

    def route(self, work: Work) -> Attempts:
        """To the key that holds it. Raises BadCall (404) where that is not configured any more."""
        assert work.thread is not None and work.thread.after is not None
        assert work.call.target is not None
        holding = work.thread.after
        route = self._pins.held(_door(holding), holding.name, holding.model)
        if route is None:
            raise _no_response(work.call.target.rest.partition("/")[0], _GONE)
        return self._attempts(work, route, holding)

    # --- going on from it -----------------------------------------------------------------------

    def begin(self, work: Work) -> None:
        """Say how a request of the Responses format has to do with what upstreams keep.

        Raises:
            BadCall: 400 or 404, what it goes on from is unknown here; 400, it does not say clearly
                how it is to be made.
            Refused: 429, too many responses were made in the background that nobody looked at.
        """
        head, target = work.head, work.call.target
        assert head is not None and target is not None
        request, rules = head.request, self.holdings.rules
        for name in ("background", "store"):  # a lenient host would read more into it than we do
            if not isinstance(request.get(name), bool | None):
                message = f"The field `{name}` must be a boolean."
                raise BadCall(message, code="invalid_type", param=name)
        made = target.verb == "responses"
        thread = work.thread = Thread(
            keeps=made and request.get("store") is not False,
            background=made and request.get("background") is True,
        )
        thread.after = self._after(work, request)
        if not thread.background:
            return
        if self.holdings.owed(work.entry.account_id or 0) >= rules.background:
            raise Refused(
                "Too many background responses were not retrieved yet: GET them first.",
                status=429,
                code="too_many_background_responses",
                retry_after=5,
            )
        if head.stream:
            self._live[id(work)] = work

    def narrow(self, work: Work, route: Route) -> Attempts | None:
        """To the key that holds what a request goes on from; None where it may go anywhere.

        Raises BadCall (400) where that key is gone, or does not serve the model.
        """
        holding = work.thread.after if work.thread is not None else None
        if holding is None:
            return None
        narrowed = self._pins.narrowed(route, _door(holding))
        if narrowed is None:
            raise BadCall(
                "The previous response is held by an upstream that does not serve the model"
                f" `{route.asked[:LONGEST_SHOWN]}`.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        return self._attempts(work, narrowed, holding)

    def _after(self, work: Work, request: dict[str, object]) -> Holding | None:
        trusts = self.holdings.rules.trust_unknown
        previous = request.get("previous_response_id")
        if isinstance(previous, str) and previous:
            found = self._find(work, previous)
            if found is None and not trusts:
                raise BadCall(
                    f"Previous response with id '{previous[:LONGEST_SHOWN]}' not found.",
                    code="previous_response_not_found",
                    param="previous_response_id",
                )
            return found
        conversation = request.get("conversation")
        named = text(section(conversation).get("id")) or text(conversation)
        if named and not trusts:  # made where we were not asked: nobody knows whose it is
            raise BadCall(
                f"Conversation with id '{named[:LONGEST_SHOWN]}' not found.",
                status=404,
                code="conversation_not_found",
                param="conversation",
            )
        return None

    def _attempts(self, work: Work, route: Route, holding: Holding) -> Attempts:
        assert work.head is not None
        wanted = Wanted(
            work.head.input_estimate, work.entry.account_id or 0, request=work.call.request_id
        )
        never = self._pins.others(_door(holding), holding.site)
        return Attempts(self._pools, [route], wanted, self._rng, never=never)

    def _find(self, work: Work, id: str) -> Holding | None:
        account, moment = work.entry.account_id or 0, work.call.started_at
        if len(id) > LONGEST_ID:
            return None
        digest = holding_digest(account, id)
        return self.holdings.find(digest, moment) or self._find_live(account, id, moment)

    def _find_live(self, account: int, id: str, moment: float) -> Holding | None:
        for work in self._live.values():
            observer = work.observer
            if observer is not None and observer.response_id == id:
                holding = _holding(work, id, owed=True)
                if holding is not None and holding.account == account:
                    self.holdings.keep(holding, moment)
                    return holding
        return None

    # --- what came of it ------------------------------------------------------------------------

    def settle(self, work: Work) -> None:
        """Put into the row what the request did, before it is charged."""
        thread = work.thread
        if thread is None:
            return
        self._live.pop(id(work), None)
        if work.entry.operation == "follow_up":
            self._settle_follow_up(work, thread)
        elif thread.keeps or thread.background:
            self._settle_made(work, thread)

    def _settle_made(self, work: Work, thread: Thread) -> None:
        id, entry = _made(work), work.entry
        # Whatever was asked: it is owed where the reply says that it is still made.
        unseen = thread.background or entry.usage_source != "reported"
        unfinished = unseen and _status(work) in UNFINISHED
        if not id or not (entry.outcome == "ok" or thread.background):
            return
        holding = _holding(work, id, owed=unfinished)
        if holding is None:
            return
        known = self.holdings.find(holding.digest, work.call.started_at)
        if known is not None and known.at == holding.at:
            # Somebody asked while the stream went on: not for another of the same id.
            thread.paid = known.paid
            if known.state == "settled":
                holding = holding._replace(state="settled", id="")
        if unfinished and not (work.observer is not None and work.observer.seen):
            _free(work)  # nothing of it was seen yet
        self._note(work, holding._replace(key_id=entry.key_id or 0))

    def _settle_follow_up(self, work: Work, thread: Thread) -> None:
        entry, target, holding = work.entry, work.call.target, thread.after
        assert target is not None
        if holding is None:
            return
        known = self.holdings.find(holding.digest, work.call.started_at)
        of_all = "/input_items" not in target.rest
        pays = of_all and known is not None and known.state == "owed"
        status = _status(work) if pays else ""
        seen = entry.usage_source == "reported" or status in DELIVERED
        if pays and known is not None:
            holding, thread.paid = known, known.paid
        if (target.method == "DELETE" and entry.outcome == "ok") or (
            of_all and _is_lost(work, holding)
        ):
            thread.least = holding.least if pays else 0
            self._note(work, holding._replace(state="gone", id=""))
        elif pays and status not in UNFINISHED and (status or seen):
            thread.least = holding.least if status == "cancelled" and not seen else 0
            self._note(work, holding._replace(state="settled", id=""))
            if seen:
                return
        _free(work)

    def _note(self, work: Work, holding: Holding) -> None:
        work.entry.holding = holding
        if holding.state != "owed":  # before it is charged: what was set aside pays for it
            self.holdings.keep(holding, work.call.started_at)

    def close(self, work: Work) -> None:
        """Know what was charged, after it was."""
        if work.thread is not None and work.entry.holding is not None:
            self.holdings.keep(work.entry.holding, work.call.started_at)


def _made(work: Work) -> str:
    """The id of the response that a request made, "" where there is none that is kept natively."""
    attempt = work.attempt
    if attempt is None or attempt.crossing is not None or attempt.spoken != "responses":
        return ""
    seen = work.observer.response_id if work.observer is not None else ""
    if work.response_id or seen:
        return work.response_id or seen
    begins = _ID.match(attempt.exchange.kept.opening)
    return begins[1].decode() if begins is not None else ""


def _holding(work: Work, id: str, *, owed: bool) -> Holding | None:
    attempt, attempts = work.attempt, work.attempts
    if attempt is None or attempts is None:
        return None
    lease, account = attempt.lease, work.entry.account_id or 0
    made = Holding(
        holding_digest(account, id),
        account,
        lease.spec.name,
        lease.door.key.name,
        site_tag(lease.spec.base_urls[lease.site]),
        lease.model,
        attempts.route.asked,
        work.call.started_at,
    )
    return made._replace(state="owed", id=id) if owed else made


def _status(work: Work) -> str:
    """How far a response is, as the reply says; "" where there was none."""
    observer = work.observer
    if observer is not None and observer.seen:
        if not observer.complete:
            return "in_progress"
        return "completed" if observer.failed is None else "failed"
    if work.exchange is None or work.entry.outcome != "ok":
        return ""
    if work.exchange.mode == "overflow":  # what is made is short until it ends
        return "completed"
    return text((parsed(work.exchange.kept.body) or {}).get("status"))


def _is_lost(work: Work, holding: Holding) -> bool:
    """Whether its upstream says that it has no such response, and not only not yet."""
    is_old = work.call.started_at - holding.at > SETTLED_IN
    return is_old and work.entry.status == 404 and work.attempt is not None


def _free(work: Work) -> None:
    work.entry.usage, work.entry.usage_source = Usage(), "none"


def _door(holding: Holding) -> str:
    return f"{holding.upstream}/{holding.key}"


async def _do_not_look(debt: Holding, caller: Caller) -> None:
    """Nobody asks."""


_GONE = " The upstream that held it is not configured any more."


def _no_response(id: str, why: str = "") -> BadCall:
    message = f"Response with id '{id[:LONGEST_SHOWN]}' not found.{why}"
    return BadCall(message, status=404, code="response_not_found", param="response_id")
