"""A realtime session on its way: two connections, and every frame passes as it came.

Strategy: bytes go from one socket to the other in the read callback, as a stream's do: no task, no
queue. Beside them `wire.websocket.Frames` walks along, so that it is known where messages end, what
a response used, and how the session was closed. Where one side is slower than the other, the other
is not read. The relay speaks itself only to end a session, and only between two frames: an error
event in the API's words, then a close frame. In the middle of a frame it can but hang up.

Whoever closes first says how the session ended. After a close frame the other side has
`CLOSE_GRACE` seconds to agree; then the sockets are cut.
"""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

from relayd.ends import End
from relayd.errors import BadCall, BadReply, ClientGone, RelayError
from relayd.realtime.ending import NO_FRAME, Ending, farewell, last_words
from relayd.realtime.pace import Boundary, Pace, boundary
from relayd.realtime.silence import Silence
from relayd.relay.watch import Watch
from relayd.routing import RealtimeRules
from relayd.wire import realtime, websocket
from relayd.wire.realtime import Told
from relayd.wire.websocket import FrameError, Frames

# Frames cost time, however small they are: so many of one side are let through at once, and in so
# many seconds; the rest waits, and its socket is not read.
STEP = 1000
STEP_SECONDS = 0.05
LAST_STEP = 5_000  # of what a connection said that is gone
CLOSE_GRACE = 5.0  # seconds from one side's close frame to the other's


class Owner(Protocol):
    """Whose session it is: keeps its books."""

    @property
    def under_way(self) -> int:
        """Responses that have begun and not ended."""

    def told(self, told: Told, traffic: Tunnel) -> Ending | None:
        """What the upstream said of a response; the ending where the session may not go on."""


class Tunnel:
    """One session. Owned by its task, changed only by callbacks on its loop.

    Arguments:
        client, upstream: both ends.
        owner: keeps the books.
        rules: bounds.
        watch: the timer that looks after it; its patience says how long each side may be silent.
        request: the id of the session, also for the events that the relay makes.

    `ending` is None while it goes on; `done` resolves when both connections are gone. `bytes_in`
    and `bytes_out` are the client's.
    """

    def __init__(
        self, ends: tuple[End, End], owner: Owner, rules: RealtimeRules, watch: Watch, request: str
    ) -> None:
        self.client, self.upstream = ends
        self.done: asyncio.Future[None] = watch.loop.create_future()
        self.ending: Ending | None = None
        self.bytes_in = self.bytes_out = 0
        self._owner = owner
        self._watch = watch
        self.request = request
        self._up = Frames(masked=True, largest=rules.max_message)
        self._down = Frames(masked=False, largest=rules.max_message, keeps=True)
        now = watch.loop.time()
        self._paces = {end: Pace(now) for end in ends}
        self._silence = Silence(rules, now)
        self._grace: asyncio.TimerHandle | None = None
        self._lost_count = False  # of the client's frames: one of them was bad

    def __repr__(self) -> str:
        state = "open" if self.ending is None else f"ended by {self.ending.by} {self.ending.code}"
        return f"<Tunnel {state} in={self.bytes_in} out={self.bytes_out}>"

    def start(self) -> None:
        """Let it flow."""
        self._watch.join(self)
        self.upstream.join(self)
        self.client.join(self)

    # --- Receiver ---------------------------------------------------------------------------------

    def on_data(self, end: End, data: bytes) -> None:
        self._silence.active_at = self._watch.loop.time()
        pace = self._paces[end]
        if pace.timer is None:
            self._take(end, data, STEP)
        else:
            pace.rest += data

    def _take(self, end: End, data: bytes, most: int) -> None:
        """Let through as many frames as may come at once."""
        if self.done.done():
            return
        if self.ending is not None and self.ending.by == "relay":
            if end is self.client:
                self._hear_out(data)
        elif end is self.client:
            self._from_client(data, most)
        else:
            self._silence.heard_at = self._silence.active_at
            self._from_upstream(data, most)

    def _keep_pace(self, end: End, frames: Frames, data: bytes) -> None:
        """Hold a side back that says too much too fast."""
        pace = self._paces[end]
        pace.count += frames.frames
        if pace.count < STEP or end.lost:
            return
        now = self._watch.loop.time()
        wait = pace.since + STEP_SECONDS - now
        pace.rest = data[frames.fed :]
        if pace.rest or wait > 0:
            end.pause("pace")
            pace.timer = self._watch.loop.call_later(max(wait, 0.0), self._go_on, end)
        else:
            pace.count, pace.since = 0, now

    def _go_on(self, end: End) -> None:
        pace = self._paces[end]
        pace.timer, pace.count, pace.since = None, 0, self._watch.loop.time()
        rest, pace.rest = pace.rest, b""
        end.resume("pace")
        if rest:
            self._take(end, rest, STEP)

    def on_room(self, end: End) -> None:
        if end is self.client:
            self._silence.client_stuck = None
            self._silence.heard_at = self._watch.loop.time()
            self.upstream.resume()
        else:
            self._silence.upstream_stuck = None
            self.client.resume()

    def on_lost(self, end: End) -> None:
        pace = self._paces[end]
        if pace.timer is not None:
            pace.timer.cancel()
            rest, pace.rest, pace.timer = pace.rest, b"", None
            self._take(end, rest, LAST_STEP)
        if self.ending is None:
            self._lost_early(end)
        other = self.upstream if end is self.client else self.client
        if other.lost:
            self._finish()
        elif end is self.client or self._up.closed:
            other.close()
        else:
            self._let_go_on()  # the client has yet to hear of the end

    # --- frames -----------------------------------------------------------------------------------

    def _from_client(self, data: bytes, most: int) -> None:
        before = boundary(self._up)
        try:
            ended = self._up.feed(data, most)
        except FrameError as exc:
            self._lost_count = True
            problem = BadCall(exc.reason, code="invalid_frame")
            self.end(Ending("relay", exc.code, problem), up=before)
            return
        if ended and ended[-1].kind == "close":
            self._agree("client", ended[-1].code)
        fed = self._up.fed
        self.bytes_in += fed
        silence = self._silence
        if self.upstream.write(data[:fed]) and silence.upstream_stuck is None:
            silence.upstream_stuck = silence.active_at
            self.client.pause()
        self._keep_pace(self.client, self._up, data)
        self._close_if_agreed()

    def _from_upstream(self, data: bytes, most: int) -> None:
        before = boundary(self._down)
        broken: FrameError | None = None
        try:
            ended = self._down.feed(data, most)
        except FrameError as exc:
            broken, ended = exc, exc.ended
        counted = 0
        for each in ended:
            ending = None
            self.bytes_out += each.end - counted
            counted = each.end
            if each.kind == "close":
                self._agree("upstream", each.code)
            elif each.kind == "text":
                told = realtime.read(each.text, each.start)
                ending = None if told is None else self._owner.told(told, self)
            if ending is not None and self.ending is None:
                self._say(data[: each.end])
                self.end(ending, down="message")
                return
        if broken is not None:
            self._say(data[: broken.at or 0])
            problem = BadReply(f"The upstream does not speak WebSocket properly: {broken.reason}")
            where = before if broken.at is None else boundary(self._down)
            self.end(Ending("relay", websocket.BROKEN, problem), down=where)
            return
        fed = self._down.fed
        self.bytes_out += fed - counted
        self._say(data[:fed])
        self._keep_pace(self.upstream, self._down, data)
        self._close_if_agreed()

    def _say(self, data: bytes) -> None:
        """Let the client have it."""
        silence = self._silence
        if self.client.write(data) and silence.client_stuck is None:
            silence.client_stuck = silence.active_at
            self.upstream.pause()

    def _hear_out(self, data: bytes) -> None:
        """The client's last words, after the relay's: only whether it agrees to the end matters."""
        if self._lost_count:
            return  # nobody can tell any more; it gets its time to hang up
        try:
            self._up.feed(data, STEP)
            self._lost_count = self._up.fed < len(data)
        except FrameError:
            self._lost_count = True
        if self._up.closed:
            self.client.close()

    # --- the end ----------------------------------------------------------------------------------

    def cut(self, ending: Ending) -> None:
        """End it, and wait for nobody: what is said goes out if the sockets take it."""
        self.end(ending)
        for end in (self.client, self.upstream):
            if not end.lost:
                end.close()
        self._finish()

    def end(
        self,
        ending: Ending,
        *,
        down: Boundary | None = None,
        up: Boundary | None = None,
    ) -> None:
        """End it from here, if it has not ended yet.

        Arguments:
            down, up: where the bytes end that the client, and the upstream, have got; by default
                where the last of them ended that came.
        """
        if self.ending is not None:
            return
        self.ending = ending
        self._let_go_on()
        down, up = down or boundary(self._down), up or boundary(self._up)
        if down == "inside":
            self.client.abort()
        else:
            event = f"event_{self.request}" if down == "message" else ""
            words = last_words(ending, event)
            self.bytes_out += len(words)
            self.client.write(words)
            self.client.resume()
        if up == "inside" or self.upstream.full:  # it would not hear of it
            self.upstream.abort()
        else:
            self.upstream.write(farewell())
            self.upstream.close()

    def _agree(self, by: Literal["client", "upstream"], code: int) -> None:
        """A side closes; its frame goes on to the other, who should close as well."""
        if self.ending is None:
            self.ending = Ending(by, code)
            self._let_go_on()

    def _close_if_agreed(self) -> None:
        """Hang up on both once each has said the last word, or can say none any more."""
        if self._up.closed and (self._down.closed or self.upstream.lost):
            self.client.close()
            self.upstream.close()

    def _lost_early(self, end: End) -> None:
        """A connection is gone, and nobody has said that the session is over."""
        if end is self.client:
            self.ending = Ending("client", NO_FRAME, ClientGone("The client left."))
            if self._up.at_frame:
                self.upstream.write(farewell())
            return
        text = "The upstream closed the connection in the middle of the session."
        self.end(Ending("relay", websocket.BROKEN, BadReply(text)))

    def _let_go_on(self) -> None:
        """Wait for the other side, but not for ever."""
        if self._grace is None:
            self._grace = self._watch.loop.call_later(CLOSE_GRACE, self._cut_off)

    def _cut_off(self) -> None:
        self.client.abort()
        self.upstream.abort()

    def _finish(self) -> None:
        self._watch.leave(self)
        for pace in self._paces.values():
            if pace.timer is not None:
                pace.timer.cancel()
            pace.timer, pace.rest = None, b""
        if self._grace is not None and self.client.lost and self.upstream.lost:
            self._grace.cancel()
        if not self.done.done():
            self.done.set_result(None)

    # --- time -------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Look for silence; called by the watch."""
        if self.ending is not None:
            return
        patience, under_way = self._watch.patience, self._owner.under_way > 0
        ending = self._silence.overdue(now, patience, under_way=under_way)
        if ending is not None:
            self.end(ending)

    def give_up(self, exc: RelayError) -> None:
        """End it with an error."""
        self.end(Ending("relay", websocket.BROKEN, exc))
