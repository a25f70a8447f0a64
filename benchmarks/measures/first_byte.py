"""Time to the first byte at one connection: what a lone user waits longer because of the relay.

The same request goes to the mock directly, through nginx, and through relayd, in turn, one at a
time, so that every server meets the same moments of the machine. The relay's share is the
difference of the medians.
"""

from __future__ import annotations

import gc
from contextlib import ExitStack

from benchmarks.asking import request
from benchmarks.measures.wire_client import WireClient
from benchmarks.servers import Server
from benchmarks.stage import Goal, Section, Stage, median, percentile

GOAL_MS = 0.3
WARM_UP = 50
KINDS = {"whole reply": ("demo", False), "stream": ("demo-chunks-8", True)}


def measure(stage: Stage) -> Section:
    """Both kinds of reply, all servers."""
    section = Section(
        "Time to first byte at one connection (ms)",
        ["reply", "server", "median", "p99", "added, median", "added, p99"],
    )
    servers = [stage.mock, *stage.proxies]
    for kind, (model, stream) in KINDS.items():
        requests = [request(server, "chat", model, stream=stream) for server in servers]
        times = _ask_in_turn(servers, requests, stage.sizes.requests)
        _add(section, kind, times)
    return section


def _ask_in_turn(
    servers: list[Server], requests: list[bytes], number: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {server.name: [] for server in servers}
    with ExitStack() as stack:
        clients = [stack.enter_context(WireClient(server)) for server in servers]
        turns = list(zip(servers, clients, requests, strict=True))
        gc.disable()
        try:
            for count in range(number + WARM_UP):
                for server, client, asked in turns:
                    timing = client.ask(asked)
                    if count >= WARM_UP:
                        times[server.name].append(timing.first * 1000)
        finally:
            gc.enable()
    return times


def _add(section: Section, kind: str, times: dict[str, list[float]]) -> None:
    direct = times["direct"]
    for name, each in times.items():
        middle, late = median(each), percentile(each, 0.99)
        added = middle - median(direct)
        row = [kind, name, f"{middle:.3f}", f"{late:.3f}"]
        if name == "direct":
            row += ["", ""]
        else:
            row += [f"{added:.3f}", f"{late - percentile(direct, 0.99):.3f}"]
        section.rows.append(row)
        if name == "relayd":
            section.goals.append(Goal(f"added to first byte, {kind}", added, GOAL_MS, "ms"))
