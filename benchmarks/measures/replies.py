"""Small whole replies per second through one core, with authentication and the usage log on.

wrk sends the same small chat request over 64 connections, each as soon as the last reply is there;
the mock's own capacity is measured first, because it and the load share a core. What the relay
does is then held against its log: every reply must have left a row. Processor time per reply tells
what the core could do if the other one, with the load and the mock, were never the limit.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections import defaultdict
from typing import NamedTuple

import uvloop

from benchmarks.asking import request
from benchmarks.load import LoadFailed, Repeaters
from benchmarks.processes import cpu_seconds
from benchmarks.servers import Server
from benchmarks.stage import Goal, Section, Stage, median, spread

CONNECTIONS = 64
MODEL = "demo"
GOAL = 10_000
ROWS_TIMEOUT = 10.0
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_COUNT = re.compile(r"(\d+) requests in")
_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)")

LUA = """\
wrk.method = "POST"
wrk.path = "{path}"
wrk.body = [==[{body}]==]
{headers}
"""


class Round(NamedTuple):
    """One server's turn: replies, replies a second, processor seconds of the server."""

    replies: int
    rate: float
    cpu: float


def measure(stage: Stage) -> Section:
    """Run all rounds and compare."""
    rounds: dict[str, list[Round]] = defaultdict(list)
    before = stage.relay.rows()
    for _ in range(stage.sizes.rounds):
        for server in [stage.mock, *stage.proxies]:
            rounds[server.name].append(_round(stage, server))
    section = Section(
        "Small replies per second",
        ["server", "replies/s", "rounds", "CPU us per reply", "core busy"],
        [_row(name, turns, stage) for name, turns in rounds.items()],
    )
    rate = median([turn.rate for turn in rounds["relayd"]])
    section.goals.append(Goal("small replies on one core", rate, GOAL, "/s", at_least=True))
    answered = sum(turn.replies for turn in rounds["relayd"])
    section.notes.append(_rows_note(stage, before, answered))
    return section


def _row(name: str, turns: list[Round], stage: Stage) -> list[str]:
    rates = [turn.rate for turn in turns]
    each = median([turn.cpu / turn.replies for turn in turns])
    busy = median([turn.cpu / stage.sizes.replies_seconds for turn in turns])
    return [name, f"{median(rates):,.0f}", spread(rates), f"{each * 1e6:.1f}", f"{busy:.0%}"]


def _rows_note(stage: Stage, before: int, answered: int) -> str:
    """Every reply that was counted left a row; those cut off at the end may have left more."""
    deadline = time.monotonic() + ROWS_TIMEOUT
    while stage.relay.rows() - before < answered and time.monotonic() < deadline:
        time.sleep(0.2)
    rows = stage.relay.rows() - before
    verdict = "complete" if rows >= answered else "INCOMPLETE"
    return f"{answered:,} replies through relayd, {rows:,} usage rows: {verdict}."


def _round(stage: Stage, server: Server) -> Round:
    asked = request(server, "chat", MODEL)
    seconds = stage.sizes.replies_seconds
    started = cpu_seconds(server.pids)
    if shutil.which("wrk"):
        replies, rate = _with_wrk(stage, server, asked)
    else:
        load = Repeaters(server, asked)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rate = runner.run(load.run(CONNECTIONS, seconds))
        replies = load.replies
    return Round(replies, rate, cpu_seconds(server.pids) - started)


def _with_wrk(stage: Stage, server: Server, asked: bytes) -> tuple[int, float]:
    script = stage.folder / f"{server.name}.lua"
    script.write_text(_script(asked))
    seconds = stage.sizes.replies_seconds
    target = f"http://127.0.0.1:{server.port}"
    load = ["-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s", "--timeout", "10s"]
    done = subprocess.run(
        ["wrk", *load, "-s", str(script), target],
        capture_output=True,
        timeout=seconds + 30,
        env={**os.environ, "LC_ALL": "C"},
    )
    said = done.stdout.decode()
    rate, count, bad = _RATE.search(said), _COUNT.search(said), _BAD.search(said)
    if done.returncode or rate is None or count is None or bad is not None:
        raise LoadFailed(f"wrk at {server.name}: {said}{done.stderr.decode()}")
    return int(count[1]), float(rate[1])


def _script(asked: bytes) -> str:
    """wrk's script for a request that is given as bytes."""
    head, _, body = asked.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    pairs = [line.partition(": ") for line in lines]
    headers = "\n".join(
        f'wrk.headers["{name}"] = "{value}"'
        for name, _, value in pairs
        if name not in ("host", "content-length")
    )
    return LUA.format(path=first.split()[1], body=body, headers=headers)
