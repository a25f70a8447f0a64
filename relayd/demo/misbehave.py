"""Misbehaviours: transformations of scripts, one small function each.

`ACTS` is the table, from the inside out: first what is answered, then the events, then how the body
is framed, then the connection. `spoil` applies, in that order, every act that the model's name has
as a part. `INNER` are the parts that are heeded earlier, while the answer is made. What the parts
mean to users stands in `names.MISBEHAVIOURS`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Final

from relayd.demo import failures
from relayd.demo.failures import Act, Scene
from relayd.demo.names import Name
from relayd.demo.script import (
    FOREVER,
    TURN,
    Close,
    Leave,
    Reset,
    Script,
    Send,
    Step,
    Wait,
)

# Long enough for what was written to have left, before a reset throws away what has not.
_LET_GO: Final = Wait(0.02)
_MOST_PIECES: Final = 64
_CHARACTER: Final = re.compile(rb"[\xc2-\xf4][\x80-\xbf]|\r(?=\n)|\n(?=\r?\n)")
_FIELD_LINE: Final = re.compile(rb"^(data|event): ", re.MULTILINE)


def spoil(script: Script, name: Name, scene: Scene) -> Script:
    """Apply every misbehaviour that the name asks."""
    for part, act in ACTS.items() if name.parts else ():
        if name.has(part):
            script = act(script, replace(scene, model=name.model, number=name.parts[part]))
    return script


def _no_done(script: Script, scene: Scene) -> Script:
    if not script.closing:
        return script
    return replace(script, body=script.body[: -script.closing], closing=0)


# Events


def _each(script: Script, change: Callable[[bytes], list[Step]]) -> Script:
    """The script with every Send of its body replaced; only the last steps still close it."""
    changed = [change(step.data) if isinstance(step, Send) else [step] for step in script.body]
    open_ended = len(changed) - script.closing
    closing = sum(len(steps) for steps in changed[open_ended:])
    return replace(script, body=[step for steps in changed for step in steps], closing=closing)


def _events(change: Callable[[bytes], bytes]) -> Act:
    """An act upon the bytes of each server-sent event; other bodies stay as they are."""

    def change_events(script: Script, scene: Scene) -> Script:
        return _each(script, lambda data: [Send(change(data))]) if script.kind == "sse" else script

    return change_events


def _with_comments(event: bytes) -> bytes:
    return b": this is a comment\n\n:\n" + event


def _with_crlf(event: bytes) -> bytes:
    return event.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _without_space(event: bytes) -> bytes:
    return _FIELD_LINE.sub(rb"\1:", event)


def _gzip(script: Script, scene: Scene) -> Script:
    packer = zlib.compressobj(wbits=31)

    def squeeze(data: bytes) -> list[Step]:
        return [Send(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))]

    packed = _each(script, squeeze)
    body = [*packed.body, Send(packer.flush())]
    return replace(packed, body=body, headers=[*script.headers, ("content-encoding", "gzip")])


def _split(script: Script, scene: Scene) -> Script:
    return _each(script, _scattered)


def _scattered(data: bytes) -> list[Step]:
    """The bytes in many pieces, cut also inside characters and line ends.

    Between two pieces the wire rests: without that, a reader would get several at once.
    """
    even = range(0, len(data), max(23, len(data) // _MOST_PIECES))
    inside = {match.start() + 1 for match in islice(_CHARACTER.finditer(data), _MOST_PIECES)}
    cuts = sorted({*even, *inside, 0})
    steps: list[Step] = []
    for start, end in zip(cuts, [*cuts[1:], len(data)], strict=True):
        steps += (Send(data[start:end]), Wait(0.001))
    return steps


def _burst(script: Script, scene: Scene) -> Script:
    body: list[Step] = [step for step in script.body if not isinstance(step, Wait)]
    return replace(script, body=body, closing=0)


# Framing


def _halves(script: Script) -> tuple[list[Step], list[Step]]:
    """The body in two: a stream between events, one document in the middle of its bytes."""
    if script.streams or len(script.body) > 1:
        return script.body[: script.middle], script.body[script.middle :]
    data = script.whole
    return [Send(data[: len(data) // 2])], [Send(data[len(data) // 2 :])]


def _broken_off(script: Script, end: Step) -> Script:
    """The first half, a moment, and the end; a content-length still counts the second half."""
    said, unsaid = _halves(script)
    missing = sum(len(step.data) for step in unsaid if isinstance(step, Send))
    return replace(script, body=[*said, _LET_GO, end], closing=0, announced=missing)


def _cut(script: Script, scene: Scene) -> Script:
    return _broken_off(script, Close())


def _reset(script: Script, scene: Scene) -> Script:
    return _broken_off(script, Reset())


def _stall(script: Script, scene: Scene) -> Script:
    said, unsaid = _halves(script)
    wait = Wait(FOREVER if scene.number is None else scene.number)
    return replace(script, body=[*said, wait, *unsaid])


def _cut_length(script: Script, scene: Scene) -> Script:
    return replace(script, framing="length", announced=script.announced + 1000)


def _close_delimited(script: Script, scene: Scene) -> Script:
    return replace(script, framing="close")


def _trailers(script: Script, scene: Scene) -> Script:
    trailers = [("x-demo-trailer", "the end"), ("x-demo-seed", scene.seed)]
    headers = [*script.headers, ("trailer", "x-demo-trailer, x-demo-seed")]
    return replace(script, framing="chunked", headers=headers, trailers=trailers)


def _big_headers(script: Script, scene: Scene) -> Script:
    big = [(f"x-demo-big-{number}", "b" * 1000) for number in range(72)]
    return replace(script, headers=[*script.headers, *big])


def _wrong_type(script: Script, scene: Scene) -> Script:
    others = [header for header in script.headers if header[0] != "content-type"]
    return replace(script, headers=[("content-type", "text/plain"), *others])


# The connection


def _continue(script: Script, scene: Scene) -> Script:
    return replace(script, before=[Send(b"HTTP/1.1 100 Continue\r\n\r\n"), TURN])


def _keepalive_close(script: Script, scene: Scene) -> Script:
    return replace(script, after=[Leave(0.05)])


def _stale(script: Script, scene: Scene) -> Script:
    return replace(script, fresh_only=True)


def _wire(*steps: Step) -> Act:
    """An act after which the wire sees these steps and nothing else."""

    def replace_wire(script: Script, scene: Scene) -> Script:
        return replace(script, framing="raw", body=list(steps))

    return replace_wire


def _slow_first_byte(script: Script, scene: Scene) -> Script:
    wait = Wait(3 if scene.number is None else scene.number)
    return replace(script, before=[wait, *script.before])


INNER: Final = frozenset({"no-usage", "huge-event", "json-on-stream"})
ACTS: Final[dict[str, Act]] = {
    "malformed": failures.malformed,
    "error-in-stream": failures.error_in_stream,
    "error-first": failures.error_first,
    "400": failures.status(400),
    "401": failures.status(401),
    "403": failures.status(403),
    "404": failures.status(404),
    "429": failures.status(429),
    "500": failures.status(500),
    "503": failures.status(503),
    "529": failures.status(529),
    "html": failures.html,
    "no-done": _no_done,
    "comments": _events(_with_comments),
    "crlf": _events(_with_crlf),
    "no-space": _events(_without_space),
    "gzip": _gzip,
    "stall": _stall,
    "cut": _cut,
    "reset": _reset,
    "split": _split,
    "burst": _burst,
    "wrong-type": _wrong_type,
    "cut-length": _cut_length,
    "close-delimited": _close_delimited,
    "trailers": _trailers,
    "big-headers": _big_headers,
    "100-continue": _continue,
    "keepalive-close": _keepalive_close,
    "stale": _stale,
    "half-head": _wire(Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/ev"), _LET_GO, Close()),
    "garbage": _wire(Send(b"\x16\x03\x01 SSH-2.0-demo \xff\xfe no HTTP at all\r\n\r\n"), Close()),
    "refused": _wire(Reset()),
    "slow-first-byte": _slow_first_byte,
}
