"""The lines of the journal: an opening, a closing, each JSON behind its own checksum.

    9f46e075 ["c1",["req_01...",1763737000.1,...],[100,0,null,...]]

A closing that tells of a response which an upstream keeps has one array more.

Eight hex digits of CRC-32 over what follows the space, then one JSON array and a newline. The first
item says kind and version; the cells behind it are told apart by position. New fields go at the end
of a table and read as their defaults from lines written before; anything else needs a new version.

A line is never longer than LONGEST, because the journal keeps that much room for the closing of
every open request. What a client or a provider made too long, or what JSON cannot hold, is cut:
only the row of a request that a crash met on its way to the store shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from relayd.model import Entry, Holding, Usage

LONGEST = 1024
_LARGEST = 2**63 - 1
_CUTS = (100, 30, 8, 0)  # characters that a text keeps, until the line is short enough

OPENING, CLOSING = "o1", "c1"

ENTRY_CELLS = (
    "request_id", "started_at", "key_id", "account_id", "operation", "model_asked", "model_used",
    "upstream", "format_in", "format_out", "stream", "status", "outcome", "error_code",
    "upstream_request_id", "usage_source", "bytes_in", "bytes_out", "first_byte", "duration",
    "attempts", "upstream_key", "cost", "uncharged", "day",
)  # fmt: skip
USAGE_CELLS = (
    "in_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_30m",
    "cache_write_12h", "cache_write_other", "out_total", "reasoning", "in_audio", "in_image",
    "in_video", "out_audio", "out_image", "tool_prompt", "total_reported", "server_tools",
    "images", "audio_ms", "characters", "searches",
)  # fmt: skip


class Unreadable(ValueError):
    """A line that is damaged, or that a newer relayd wrote."""


class Opening(NamedTuple):
    """A request was admitted.

    `cost`, in pico-dollars, is what the account pays if nothing more is ever heard of it; `day` is
    the calendar day that it counts to.
    """

    request_id: str
    started_at: float
    day: int
    key_id: int | None
    account_id: int | None
    operation: str
    model: str
    stream: bool
    format_in: str
    tokens_in: int
    cost: int

    def interrupted(self) -> Entry:
        """The row of a request that was never closed: relayd was killed under it."""
        return Entry(
            self.request_id,
            self.started_at,
            self.key_id,
            self.account_id,
            operation=self.operation,
            model_asked=self.model,
            format_in=self.format_in,
            stream=self.stream,
            outcome="interrupted",
            usage=Usage(in_uncached=self.tokens_in),
            usage_source="interrupted",
            cost=self.cost,
            day=self.day,
        )


def opening_line(opening: Opening) -> bytes:
    """One line for an admitted request."""
    cells = tuple(opening)
    try:
        text = orjson.dumps((OPENING, cells))
    except TypeError:
        return _cut_line(lambda cut: (OPENING, _short(cells, cut)))
    line = b"%08x " % crc32(text) + text + b"\n"
    return line if len(line) <= LONGEST else _cut_line(lambda cut: (OPENING, _short(cells, cut)))


def closing_line(entry: Entry) -> bytes:
    """One line for a request that has ended, with all that its row will say."""
    cells, counts = _cells(entry), _counts(entry.usage)
    whole = (CLOSING, cells, counts)
    try:
        # Without its holding where the line has to be cut: half a name leads nowhere.
        text = orjson.dumps(whole if entry.holding is None else (*whole, tuple(entry.holding)))
    except TypeError:
        return _cut_line(lambda cut: (CLOSING, _short(cells, cut), _fitting(counts)))
    line = b"%08x " % crc32(text) + text + b"\n"
    if len(line) <= LONGEST:
        return line
    return _cut_line(lambda cut: (CLOSING, _short(cells, cut), _fitting(counts)))


def _cells(entry: Entry) -> tuple[Any, ...]:
    # Written out, not `attrgetter`: the interpreter is twice as quick with what it sees.
    return (
        entry.request_id, entry.started_at, entry.key_id, entry.account_id, entry.operation,
        entry.model_asked, entry.model_used, entry.upstream, entry.format_in, entry.format_out,
        entry.stream, entry.status, entry.outcome, entry.error_code, entry.upstream_request_id,
        entry.usage_source, entry.bytes_in, entry.bytes_out, entry.first_byte, entry.duration,
        entry.attempts, entry.upstream_key, entry.cost, entry.uncharged, entry.day,
    )  # fmt: skip


def _counts(usage: Usage) -> tuple[Any, ...]:
    return (
        usage.in_uncached, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h,
        usage.cache_write_30m, usage.cache_write_12h, usage.cache_write_other, usage.out_total,
        usage.reasoning, usage.in_audio, usage.in_image, usage.in_video, usage.out_audio,
        usage.out_image, usage.tool_prompt, usage.total_reported, usage.server_tools,
        usage.images, usage.audio_ms, usage.characters, usage.searches,
    )  # fmt: skip


def _cut_line(items: Callable[[int], tuple[Any, ...]]) -> bytes:
    """The line with its texts cut as far as it takes."""
    line = b""
    for cut in _CUTS:
        text = orjson.dumps(items(cut))
        line = b"%08x %b\n" % (crc32(text), text)
        if len(line) <= LONGEST:
            break
    return line


def _short(cells: tuple[Any, ...], cut: int) -> list[Any]:
    """The cells with texts cut, the request id apart, which is ours."""
    return [cells[0], *[_storable(cell, cut) for cell in cells[1:]]]


def _storable(cell: Any, cut: int) -> Any:
    if isinstance(cell, str):
        return cell[:cut].encode("utf-8", "replace").decode()
    if isinstance(cell, int):
        return max(-_LARGEST, min(cell, _LARGEST))
    return cell


def _fitting(counts: tuple[Any, ...]) -> list[int | dict[str, int] | None]:
    """The counts; one beyond 64 bits is as good as unknown, and so are a table's many tools."""
    fitting = [n if isinstance(n, int) and abs(n) <= _LARGEST else None for n in counts]
    return [{} if isinstance(n, dict) else fits for n, fits in zip(counts, fitting, strict=True)]


def read_line(line: bytes) -> Opening | Entry:
    """The opening or the finished row that a line (without its newline) stands for.

    Raises Unreadable.
    """
    text = line[9:]
    if line[:9] != b"%08x " % crc32(text):
        raise Unreadable("the checksum does not fit")
    try:
        kind, *rest = orjson.loads(text)
        if kind == OPENING:
            return Opening(*rest[0])
        if kind == CLOSING:
            return _entry(*rest)
    except (TypeError, ValueError) as error:
        raise Unreadable(str(error)) from None
    raise Unreadable(f"a line of kind {kind!r}, which this relayd does not know")


def _entry(cells: list[Any], counts: list[Any], holding: Sequence[Any] = ()) -> Entry:
    if len(cells) > len(ENTRY_CELLS) or len(counts) > len(USAGE_CELLS):
        raise Unreadable("a newer relayd wrote this line")
    # Not strict: what a line has no cell for keeps its default.
    usage = Usage(**dict(zip(USAGE_CELLS, counts, strict=False)))
    entry = Entry(usage=usage, **dict(zip(ENTRY_CELLS, cells, strict=False)))
    entry.holding = Holding(*holding) if holding else None
    return entry
