"""What both sides of a session say, kept for finding errors where the client's key is captured.

A tunnel that notes is a tunnel that hears everything twice: frames pass as in any other, and beside
them the text of each message, its size, and when it came, become a line. Sound in binary messages
is named by its size only. All lines together are held under the bound of a capture; at the end of
the session they become one file.
"""

from __future__ import annotations

from typing import Any, Literal

from relayd.model import Entry
from relayd.realtime.ending import Ending
from relayd.realtime.tunnel import Tunnel
from relayd.relay.capture import Captures
from relayd.wire.websocket import Ended, FrameError, Frames

Side = Literal["client", "upstream"]
OVERHEAD = 256  # bytes that a line is counted with, beside its text
LARGEST = 2**30  # bytes of one message; the tunnel has the true bound


class Minutes:
    """The lines of one session.

    Arguments:
        captures: takes the file, and says how large it may be.
        key: the name of the client's.
        now: the loop's clock, when the session began.
    """

    def __init__(self, captures: Captures, key: str, now: float) -> None:
        self._captures = captures
        self._key = key
        self._began_at = now
        self._room = captures.terms.largest
        self._lines: list[dict[str, Any]] = []
        self._left_out = 0
        self._sides: dict[Side, Frames | None] = {
            "client": Frames(masked=True, largest=LARGEST, keeps=True),
            "upstream": Frames(masked=False, largest=LARGEST, keeps=True),
        }

    def __repr__(self) -> str:
        return f"<Minutes {len(self._lines)} lines, {self._left_out} left out>"

    def hear(self, side: Side, data: bytes, now: float, most: int = 2**31) -> None:
        """Bytes came from a side, whether they go on or not; of them `most` frames count."""
        frames = self._sides[side]
        if frames is None:
            return
        try:
            ended = frames.feed(data, most)
        except FrameError as exc:  # the tunnel ends the session for it
            self._sides[side], ended = None, exc.ended
        for each in ended:
            self._note(side, each, now)

    def _note(self, side: Side, each: Ended, now: float) -> None:
        text = (each.start or each.text).decode(errors="replace")
        size = OVERHEAD + len(text)
        if size > self._room:
            self._left_out += 1
            return
        self._room -= size
        line: dict[str, Any] = {"s": round(now - self._began_at, 3), "from": side}
        if each.kind == "close":
            line["close"] = each.code
        elif each.kind == "text" and not each.start:
            line["text"] = text
        else:
            line["bytes"] = each.size
            if text:
                line["begins"] = text
        self._lines.append(line)

    def keep(self, name: str, entry: Entry, ended: Ending) -> None:
        """The session has ended: let it be written, by the name that its client knows. `entry` is
        its own row."""
        size = max(self._captures.terms.largest - self._room, 0)
        self._captures.put(self._key, name, size, lambda: self._document(name, entry, ended))

    def _document(self, name: str, entry: Entry, ended: Ending) -> dict[str, Any]:
        return {
            "id": name,
            "at": entry.started_at,
            "key": self._key,
            "verb": "realtime",
            "model": entry.model_asked,
            "upstream": entry.upstream,
            "status": entry.status,
            "outcome": entry.outcome,
            "error": entry.error_code,
            "ended_by": ended.by,
            "close": ended.code,
            "left_out": self._left_out,
            "messages": self._lines,
        }


class NotedTunnel(Tunnel):
    """A tunnel whose both sides are noted. `minutes` has to be set before it starts."""

    minutes: Minutes

    # Behind the pace: of what comes too fast the rest comes again, here as there.

    def _from_client(self, data: bytes, most: int) -> None:
        self.minutes.hear("client", data, self._watch.loop.time(), most)
        super()._from_client(data, most)

    def _from_upstream(self, data: bytes, most: int) -> None:
        self.minutes.hear("upstream", data, self._watch.loop.time(), most)
        super()._from_upstream(data, most)
