"""`python -m benchmarks.tracing`: what traces cost a small reply, in processor time of the relay.

Relays that differ in nothing but `tracing:` answer the same load from the same mock, one after the
other, in rounds: off, off once more (what differs between these two is noise), and with 0, a tenth
and all of the requests recorded, sent to a receiver that takes everything. Processor time is that
of all threads, so that the one that sends the spans is in it; medians of the rounds. Then one
connection asks one request after the other: how long a reply takes while the thread is at work.

Before that the parts are timed by themselves, without a server: what the event loop does for one
request with one attempt, the spans put together and taken by the SDK's processor; and what the
SDK's thread does that encodes them. The best of many batches: that hardly knows what else the
machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from benchmarks.asking import request
from benchmarks.load import Repeaters
from benchmarks.machine import describe
from benchmarks.overhead import receive
from benchmarks.processes import Child, cpu_seconds, free_port, is_listening
from benchmarks.servers import Server, start_mock, start_relay
from benchmarks.stage import LOAD_CORE, RELAY_CORE, percentile
from relayd import shipping
from relayd.model import Entry, UpstreamSpec, Usage
from relayd.spans import OpenTelemetry
from relayd.tracing import Place, TracingTerms

CONNECTIONS = 16
WARM_UP = 1.0  # seconds
SETTLING = 15.0
QUIET = 0.5
SPANS = 2  # of a request with one attempt
COLLECTOR = """\
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Taker).serve_forever()
"""
BATCHES, BATCH = 40, 100
BREATH = 0.01  # seconds for the thread between two batches
HEADERS = [
    (name, b"x" * 30)
    for name in b"Host Authorization User-Agent Accept Accept-Encoding \
Content-Type Content-Length Connection x-stainless-lang x-stainless-os x-stainless-arch".split()
]
PLACE = Place(
    UpstreamSpec("up", "openai", ("https://up.example/v1",), (), (), ("chat",)), "1", 0, "m", "chat"
)
ROW = Entry(
    "req_0123456789abcdef",
    0.0,
    operation="generate",
    model_asked="m",
    model_used="m",
    upstream="up",
    format_in="chat",
    format_out="chat",
    stream=True,
    status=200,
    outcome="ok",
    usage=Usage(in_uncached=900, cache_read=100, out_total=300, reasoning=50),
    usage_source="reported",
    first_byte=0.4,
    duration=6.0,
    attempts=1,
    cost=5_000_000_000,
)
SHARES = {"off": None, "off again": None, "0": 0.0, "0.1": 0.1, "1": 1.0}


class Turn(NamedTuple):
    """One round of one relay: replies a second, processor seconds of each, the share of all
    replies whose spans were dropped; and the seconds of replies on one connection."""

    rate: float
    cpu: float
    dropped: float
    alone: list[float]


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.tracing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one round of one relay")
    asked = parser.parse_args(arguments)
    for sample in (1.0, 0.1, 0.0):
        print(f"sample {sample:<9g}  {on_the_loop(sample) * 1e6:7.1f} us on the event loop")
    print(f"every recorded one{in_the_thread() * 1e6:7.1f} us in the thread")
    with tempfile.TemporaryDirectory() as name:
        turns = measured(Path(name), asked.rounds, asked.seconds)
    known = describe()
    print(", ".join(known[name] for name in ("CPU", "Python", "load before")))
    print(f"{asked.rounds} rounds of {asked.seconds:g} s, {CONNECTIONS} connections, medians")
    usual = statistics.median(turn.cpu for turn in turns["off"])
    for share, made in turns.items():
        cpu = statistics.median(turn.cpu for turn in made)
        # Of a round, beside the first relay's in the same round: what slows the machine slows both.
        ratio = statistics.median(
            turn.cpu / off.cpu for turn, off in zip(made, turns["off"], strict=True)
        )
        rate = statistics.median(turn.rate for turn in made)
        dropped = statistics.median(turn.dropped for turn in made)
        print(
            f"sample {share:9}  {cpu * 1e6:7.1f} us a reply   {(cpu - usual) * 1e6:+7.1f}"
            f"   {ratio:5.3f} x   {rate:7,.0f} replies/s   {dropped:4.0%} dropped"
            f"   alone {_spread([seconds for turn in made for seconds in turn.alone])}"
        )
    return 0


def one(tracer: OpenTelemetry) -> None:
    """What a request with one attempt asks of a tracer."""
    trace = tracer.begin(HEADERS, "chat/completions", "POST")
    attempt = trace.attempt(PLACE, "generate")
    _ = attempt.headers
    attempt.end(200, None)
    trace.end(ROW, "laptop")


def on_the_loop(share: float) -> float:
    """Seconds of one request."""
    tracer, kept = keeping(share)
    best = float("inf")
    for _ in range(BATCHES):
        began = time.thread_time()
        for _ in range(BATCH):
            one(tracer)
        best = min(best, time.thread_time() - began)
        time.sleep(BREATH)
        kept.spans.clear()
    tracer.close()
    return best / BATCH


def in_the_thread() -> float:
    """Seconds of the two spans of one request, without what it takes to post them."""
    tracer, kept = keeping(1.0)
    for _ in range(BATCH):
        one(tracer)
    tracer.close()
    best = float("inf")
    for _ in range(BATCHES):
        began = time.thread_time()
        for at in range(0, len(kept.spans), shipping.BATCH):
            encode_spans(kept.spans[at : at + shipping.BATCH]).SerializeToString()
        best = min(best, time.thread_time() - began)
    return best / BATCH


class Kept(SpanExporter):
    """Keeps spans, and sends them nowhere."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def __repr__(self) -> str:
        return f"<Kept {len(self.spans)}>"

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


def keeping(share: float) -> tuple[OpenTelemetry, Kept]:
    """A tracer with the SDK's processor, and what that hands its spans to."""
    tracer = OpenTelemetry(TracingTerms("http://127.0.0.1:9/v1/traces", sample=share))
    tracer.close()
    kept = Kept()
    tracer.shipping = shipping.Shipping(kept, shipping.Session(), "nobody")
    return tracer, kept


def measured(folder: Path, rounds: int, seconds: float) -> dict[str, list[Turn]]:
    """The rounds of each relay, by its share."""
    port = free_port()
    collector = Child(
        [sys.executable, "-c", COLLECTOR, str(port)], LOAD_CORE, folder / "collector.out"
    )
    collector.wait_until(lambda: is_listening(port))
    mock = start_mock(folder, LOAD_CORE)
    relays: dict[str, Server] = {}
    try:
        for share, sample in SHARES.items():
            relays[share] = start_relay(
                folder / share, RELAY_CORE, mock.port, more=_section(sample, port)
            )
            _turn(relays[share], WARM_UP)
        turns: dict[str, list[Turn]] = {share: [] for share in SHARES}
        for _ in range(rounds):
            for share, server in relays.items():
                turns[share].append(_turn(server, seconds))
        return turns
    finally:
        for server in relays.values():
            server.stop()
        mock.stop()
        collector.stop()


def _section(sample: float | None, port: int) -> str:
    if sample is None:
        return ""
    return f'tracing: {{endpoint: "http://127.0.0.1:{port}/v1/traces", sample: {sample}}}\n'


def _turn(server: Server, seconds: float) -> Turn:
    load = Repeaters(server, request(server, "chat", "demo"))
    before, dropped = _settled(server), _dropped(server)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rate = runner.run(load.run(CONNECTIONS, seconds))
    used = _settled(server) - before
    lost = (_dropped(server) - dropped) / SPANS
    return Turn(rate, used / load.replies, lost / load.replies, _alone(server, seconds))


def _alone(server: Server, seconds: float) -> list[float]:
    """How long each reply takes, one request after the other."""
    asked, taken = request(server, "chat", "demo"), []
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            sock.sendall(asked)
            receive(sock)
            taken.append(time.perf_counter() - began)
    return taken


def _spread(taken: list[float]) -> str:
    half, most = percentile(taken, 0.5) * 1e3, percentile(taken, 0.99) * 1e3
    return f"p50 {half:.2f} p99 {most:.2f} ms"


def _settled(server: Server) -> float:
    """Its processor seconds, once it has nothing left to do: spans are sent later."""
    deadline, used = time.monotonic() + SETTLING, cpu_seconds(server.pids)
    while time.monotonic() < deadline:
        time.sleep(QUIET)
        now = cpu_seconds(server.pids)
        if now - used < QUIET / 10:
            return now
        used = now
    return used


def _dropped(server: Server) -> float:
    """Spans that nobody got, as the relay counts them."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith("relayd_spans_dropped_total ")
    )


if __name__ == "__main__":
    sys.exit(main())
