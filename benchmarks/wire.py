"""`python -m benchmarks.wire`: what translation costs, in microseconds of one core.

Three figures. The pipe of each of the twelve crossings is fed one text event at a time, as hosts
send them and as reads mostly bring them, and timed per event; pass-through of the same bytes stands
beside it. The same pipe is fed events of growing size: the time per byte must not grow. And slow
streams run through a real relay, once passed and once translated from each other format, and the
relay's processor time per chunk is compared.

A figure is processor time, the median of many batches: a neighbour on the same core makes some of
them slower; the best batch is beside it. Exits with 1 when a promise is missed, with 2 when it
could not be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from benchmarks import machine, report
from benchmarks.load import LoadFailed
from benchmarks.measures import chunks
from benchmarks.processes import NotStarted, raise_file_limit
from benchmarks.servers import Server, start_mock, start_relay
from benchmarks.stage import LOAD_CORE, RELAY_CORE, Goal, Section, median
from relayd.daemon.process import tame_collector
from relayd.model import FormatName
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.neutral import Request
from relayd.wire.paths import Target
from relayd.wire.pipe import Pipe
from relayd.wire.setting import Coming
from relayd.wire.transcode import Transcode

NAMES: Final[tuple[FormatName, ...]] = ("chat", "responses", "messages", "gemini")
CROSSINGS: Final = tuple((a, b) for a in NAMES for b in NAMES if a != b)
GOAL: Final = 6.0  # microseconds per text event
LINEAR: Final = 1.5  # what a byte of the largest event may cost, to one of a quarter of it
TRANSLATED: Final = 1.5  # processor time of a translated stream, to a passed-through one
MICRO: Final = 1e6
BATCH: Final = 2000
STREAMS: Final = 150  # at the rate of benchmarks.measures.chunks
READ: Final = 64 * 1024
MEASURED: Final = 2_000_000  # characters of each size, in as many events as that takes
SIZES: Final = (1_000, 64_000, 1_000_000, 8_000_000, 32_000_000)

# How a stream begins in each format, and one text event of it, as the provider itself writes them.
OPENINGS: Final[dict[FormatName, bytes]] = {
    "chat": b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},'
    b'"logprobs":null,"finish_reason":null}],"usage":null}\n\n',
    "responses": b"event: response.created\n"
    b'data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1",'
    b'"object":"response","created_at":1790000000,"status":"in_progress","model":"m",'
    b'"output":[]}}\n\nevent: response.output_item.added\n'
    b'data: {"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":'
    b'{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}\n\n'
    b"event: response.content_part.added\n"
    b'data: {"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1",'
    b'"output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],'
    b'"logprobs":[],"text":""}}\n\n',
    "messages": b"event: message_start\n"
    b'data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,'
    b'"output_tokens":1}}}\n\nevent: content_block_start\n'
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n',
    "gemini": b'data: {"candidates": [{"content": {"parts": [{"text": "It"}],"role": "model"},'
    b'"index": 0}],"usageMetadata": {"promptTokenCount": 3,"totalTokenCount": 3},'
    b'"modelVersion": "m","responseId": "r1"}\r\n\r\n',
}
EVENTS: Final[dict[FormatName, bytes]] = {
    "chat": b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"m","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":TEXT},'
    b'"logprobs":null,"finish_reason":null}],"usage":null}\n\n',
    "responses": b"event: response.output_text.delta\n"
    b'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1",'
    b'"output_index":0,"content_index":0,"delta":TEXT,"logprobs":[],"obfuscation":"8sIx"}\n\n',
    "messages": b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":TEXT}}\n\n',
    "gemini": b'data: {"candidates": [{"content": {"parts": [{"text": TEXT}],"role": "model"},'
    b'"index": 0}],"usageMetadata": {"promptTokenCount": 3,"candidatesTokenCount": 9,'
    b'"totalTokenCount": 12},"modelVersion": "m","responseId": "r1"}\r\n\r\n',
}
USUAL_TEXT: Final = " quick brown fox"


def event(name: FormatName, text: str) -> bytes:
    """One event of `name` that says `text`."""
    return EVENTS[name].replace(b"TEXT", orjson.dumps(text))


def translating(upstream: FormatName, client: FormatName) -> Pipe:
    """The pipe of one crossing, begun."""
    codecs = FORMATS[upstream].codec, FORMATS[client].codec
    assert codecs[0] is not None and codecs[1] is not None, "both formats can be translated"
    asked = Request(source=client, model="m", messages=[], stream=True)
    coming = Coming(asked, "m", "req_1", 1_790_000_000)
    pipe = Transcode(codecs[0].reader(), codecs[1].writer(coming))
    pipe.feed(OPENINGS[upstream])
    return pipe


def passing(name: FormatName) -> Pipe:
    """The observer of a stream that is passed, begun."""
    target = Target(name, "generate", stream=True, verb="")
    pipe = FORMATS[name].sniffer(Head(target, "m", stream=True, body=b"", asked_usage=True))
    pipe.feed(OPENINGS[name])
    return pipe


# --- per event ------------------------------------------------------------------------------------


def per_event(batches: int) -> Section:
    """The twelve crossings, and the four formats passed."""
    section = Section(
        f"one text event of {len(USUAL_TEXT)} characters, µs ({batches} batches of {BATCH})",
        ["upstream", "client", "median", "best"],
    )
    pipes: list[tuple[FormatName, str, Callable[[], Pipe]]] = [
        *((a, b, partial(translating, a, b)) for a, b in CROSSINGS),
        *((name, "(passed)", partial(passing, name)) for name in NAMES),
    ]
    times: dict[tuple[str, str], list[float]] = {(a, b): [] for a, b, _ in pipes}
    for _ in range(batches):  # in turns, so that a slow moment does not hit one crossing alone
        for upstream, client, begin in pipes:
            times[upstream, client].append(_batch(begin(), event(upstream, USUAL_TEXT)))
    for (host, client), each in times.items():
        section.rows.append([host, client, f"{median(each):.2f}", f"{min(each):.2f}"])
        if client != "(passed)":
            goal = Goal(f"text event, {host} -> {client}", median(each), GOAL, "µs")
            section.goals.append(goal)
    return section


def _batch(pipe: Pipe, data: bytes) -> float:
    """Microseconds per event over one batch."""
    feed = pipe.feed
    assert feed(data), "a text event is given out at once"
    started = time.process_time()
    for _ in range(BATCH):
        feed(data)
    return (time.process_time() - started) / BATCH * MICRO


# --- by size --------------------------------------------------------------------------------------


def by_size() -> Section:
    """One event of growing size, in reads of 64 KiB: nanoseconds per byte."""
    section = Section(
        "one large text event in reads of 64 KiB, ns per byte",
        ["upstream", "client", *(f"{size:,}" for size in SIZES)],
    )
    for upstream, client in CROSSINGS:
        costs = [_per_byte(upstream, client, size) for size in SIZES]
        section.rows.append([upstream, client, *(f"{cost:.2f}" for cost in costs)])
        growth = costs[-1] / costs[-2]
        goal = Goal(f"growth from 8 MB to 32 MB, {upstream} -> {client}", growth, LINEAR, "x")
        section.goals.append(goal)
    return section


def _per_byte(upstream: FormatName, client: FormatName, size: int) -> float:
    data = event(upstream, "Zwölf Boxkämpfer. " * (size // 18))
    reads = [data[at : at + READ] for at in range(0, len(data), READ)]
    best = float("inf")
    for _ in range(max(3, MEASURED // size)):
        pipe = translating(upstream, client)
        started = time.process_time()
        for read in reads:
            pipe.feed(read)
        best = min(best, time.process_time() - started)
    return best / len(data) * 1e9


# --- whole streams --------------------------------------------------------------------------------


def streams(folder: Path, seconds: float, rounds: int) -> Section:
    """Processor time per chunk through real relays, passed and translated.

    There is a relay for each format of the upstream, and all sixteen ways take their turns in each
    round: what is compared was measured within the same minute.
    """
    section = Section(
        f"CPU per streamed chunk, {STREAMS} streams at {chunks.CHUNKS_PER_SECOND}/s, µs",
        ["upstream", *(f"{name} client" for name in NAMES)],
    )
    with contextlib.ExitStack() as stack:
        mock = start_mock(folder, LOAD_CORE)
        stack.callback(mock.stop)
        relays: dict[FormatName, Server] = {}
        for name in NAMES:
            relays[name] = start_relay(folder / name, RELAY_CORE, mock.port, formats=[name])
            stack.callback(relays[name].stop)
        costs = [_round(relays, seconds) for _ in range(rounds)]
    for upstream in NAMES:
        row = [median([each[upstream, client] for each in costs]) for client in NAMES]
        section.rows.append([upstream, *(f"{cost:.1f}" for cost in row)])
    for upstream, client in CROSSINGS:
        ratio = median([each[upstream, client] / each[client, client] for each in costs])
        goal = Goal(f"stream {upstream} -> {client}, to one passed", ratio, TRANSLATED, "x")
        section.goals.append(goal)
    return section


def _round(
    relays: dict[FormatName, Server], seconds: float
) -> dict[tuple[FormatName, FormatName], float]:
    """Microseconds per chunk, by the formats of the upstream and the client."""
    return {
        (upstream, client): _cost(relay, client, seconds)
        for client in NAMES
        for upstream, relay in relays.items()
    }


def _cost(relay: Server, client: FormatName, seconds: float) -> float:
    return chunks.window(relay, client, seconds, streams=STREAMS).cost / chunks.PER * MICRO


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.wire", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rough look")
    parser.add_argument("--only", default="", choices=["", "events", "sizes", "streams"])
    options = parser.parse_args(arguments)
    tame_collector()
    raise_file_limit()
    try:
        sections = list(_sections(options.only, quick=options.quick))
    except (LoadFailed, NotStarted) as exc:
        print(f"wire: {exc}", file=sys.stderr)
        return 2
    print("\n".join(report.text(machine.describe(), sections)))
    return 0 if all(goal.met for section in sections for goal in section.goals) else 1


def _sections(only: str, *, quick: bool) -> Iterator[Section]:
    if only in ("", "events"):
        yield per_event(20 if quick else 100)
    if only in ("", "sizes"):
        yield by_size()
    if only in ("", "streams"):
        with tempfile.TemporaryDirectory() as folder:
            yield streams(Path(folder), 1.0 if quick else 2.0, 3 if quick else 9)


if __name__ == "__main__":
    sys.exit(main())
