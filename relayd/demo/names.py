"""Model names, and what they ask of the demo provider.

Any name works and is answered politely. A name that starts with `demo-` may go on with parts, which
pick a misbehaviour or turn a knob; `MISBEHAVIOURS` and `KNOBS` list them all. Parts combine in any
order (`demo-slow-first-byte-0.5-chunks-100-at-50`, `demo-crlf-split-comments`,
`demo-reasoning-cut`), because a misbehaviour is a transformation of a script: they are applied from
the inside out (what is said, the events, the framing, the connection), in the order of
`misbehave.ACTS`. Of two replies that exclude each other (two statuses, say) the later in that table
wins. A part that is not listed is ignored. A prefix that ends in `/` is allowed before `demo`
(`acme/demo-429`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

PLAIN: Final = (
    "demo",
    "demo-tools",
    "demo-reasoning",
    "demo-embedding",
    "demo-cached",
    "demo-image",
    "demo-tts",
    "demo-transcribe",
    "demo-whisper",
    "demo-moderation",
    "demo-rerank",
)

MISBEHAVIOURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "demo-slow-first-byte": "waits 3 s before the first byte; -0.5 sets the seconds",
        "demo-stall": "falls silent in mid-reply, for ever; -2 sets the seconds, then it goes on",
        "demo-cut": "closes the connection in mid-reply, without terminal event or last chunk",
        "demo-cut-length": "announces a content-length larger than the body, then closes",
        "demo-reset": "resets the connection (TCP RST) in mid-reply",
        "demo-half-head": "sends half a response head, then closes",
        "demo-400": "answers 400, invalid request",
        "demo-401": "answers 401, the key is wrong",
        "demo-403": "answers 403, not allowed",
        "demo-404": "answers 404, no such model",
        "demo-429": "answers 429 with retry-after 1; -7 sets the seconds",
        "demo-500": "answers 500, server error",
        "demo-503": "answers 503, unavailable",
        "demo-529": "answers 529, overloaded",
        "demo-html": "answers 502 with an HTML page",
        "demo-malformed": "answers 200 with broken JSON; in a stream one middle event is broken",
        "demo-error-in-stream": "sends an error event after some text; whole: an error as 200",
        "demo-error-first": "sends an error as the first event; whole: an error as 200",
        "demo-split": "spreads every event over many packets, also inside characters and line ends",
        "demo-burst": "sends all events in as few packets as possible",
        "demo-crlf": "ends the lines of events with CRLF",
        "demo-no-space": "writes events with no space after `data:`",
        "demo-comments": "writes comment lines between events",
        "demo-huge-event": "puts 4 MB of text into one event; -8 sets the MB",
        "demo-garbage": "answers bytes that are not HTTP",
        "demo-close-delimited": "sends no content-length, no chunks: the body ends at the close",
        "demo-gzip": "compresses the body although nobody asked",
        "demo-100-continue": "sends 100 Continue before the reply",
        "demo-trailers": "sends the reply chunked, with trailers",
        "demo-big-headers": "sends more than 64 KB of response headers",
        "demo-no-usage": "never reports usage",
        "demo-no-done": "ends cleanly, but without the terminal event",
        "demo-wrong-type": "names the wrong content type: text/plain, whatever the body is",
        "demo-json-on-stream": "answers with one JSON document although a stream was asked",
        "demo-keepalive-close": "answers, then closes the idle connection after 50 ms",
        "demo-stale": "meets a request on a connection that has served with a silent close",
        "demo-refused": "nobody listens: the daemon has a dead port for it; here it resets",
    }
)

KNOBS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "demo-tools": "calls every declared tool at once, not only the first",
        "demo-reasoning": "thinks before it speaks (any model name that contains `reasoning` does)",
        "demo-embedding": "as demo; a name for embeddings",
        "demo-cached": "reports 3/4 of the prompt as cached (any name with `cached` does)",
        "demo-chunks-N": "streams N content chunks as fast as possible",
        "demo-at-R": "streams R content chunks a second; `demo-chunks-N-at-R` is both",
        "demo-size-N": "answers a text (a sound, a picture) of exactly N bytes; with chunks, N "
        "bytes spread over them",
        "demo-blocked": "draws nothing: the safety system refuses every picture",
        "demo-later": "is good at first: what else the name asks befalls only the follow-ups of a "
        "stored response (`demo-later-503`)",
    }
)

_VALUED: Final = ("slow-first-byte", "stall", "429", "huge-event", "chunks", "at", "size")


@dataclass(frozen=True, slots=True)
class Name:
    """A model name, taken apart: the parts after `demo-`, each with its number or None."""

    model: str
    parts: Mapping[str, float | None]

    def has(self, part: str) -> bool:
        """Whether the part is in the name."""
        return part in self.parts

    def number(self, part: str, default: float, most: float) -> float:
        """The part's number, or the default when there is none, within 0 and `most`."""
        value = self.parts.get(part)
        return min(default if value is None else value, most)

    @property
    def reasons(self) -> bool:
        return "reasoning" in self.model

    @property
    def cached(self) -> bool:
        return "cached" in self.model


def _words() -> tuple[str, ...]:
    listed = [name.removeprefix("demo-") for name in (*MISBEHAVIOURS, *KNOBS)]
    plain = {re.sub(r"-[NR]$", "", word) for word in listed} - set(_VALUED)
    return tuple(sorted(plain, key=len, reverse=True))


_PART: Final = re.compile(
    rf"-(?:({'|'.join(_VALUED)})(?:-(\d+(?:\.\d+)?))?|({'|'.join(_words())}))(?=-|$)"
)


@lru_cache(maxsize=512)
def parse(model: str) -> Name:
    """Take a model name apart; a name that is none of ours has no parts."""
    base, dash, tail = model.rpartition("/")[2].partition("-")
    if base != "demo" or not dash:
        return Name(model, {})
    found = _PART.finditer("-" + tail)
    return Name(model, {m[1] or m[3]: float(m[2]) if m[2] else None for m in found})
