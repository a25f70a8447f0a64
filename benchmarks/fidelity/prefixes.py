"""`python -m benchmarks.fidelity.prefixes`: a history is written to the same bytes in each turn.

Providers bill a prompt by the longest beginning that they know. So when a client sends a history
and a turn more, the translated history must begin with the very bytes of the one before. Successive
exchanges of one recorded test are such turns, where the second history begins with the first.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.fidelity import hub, verdicts
from benchmarks.fidelity.recording import FIXTURE, SHARED, Recorded, read
from benchmarks.fidelity.verdicts import Verdict
from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire.neutral import Request

Json = dict[str, Any]
HISTORY: Final[dict[str, str]] = {
    "chat": "messages",
    "messages": "messages",
    "responses": "input",
    "gemini": "contents",
}
SETTINGS: Final = ("tools", "instructions", "system", "systemInstruction")


def check_all(recordings: Sequence[Recorded]) -> Iterator[Verdict]:
    """The verdicts on every two successive turns, for each pair of formats."""
    turns = list(successive(recordings))
    for client, upstream in hub.CROSSINGS:
        row = f"{client} -> {upstream}"
        for before, after in turns:
            if before.format == client:
                check = partial(prefixed, row, before, after, upstream)
                yield verdicts.judged(row, after.id, check)


def successive(recordings: Sequence[Recorded]) -> Iterator[tuple[Recorded, Recorded]]:
    """Two exchanges of one conversation, of which the second one's history goes on."""
    conversations: dict[tuple[str, str], list[Recorded]] = defaultdict(list)
    for one in recordings:
        if one.format in HISTORY and not one.counts_tokens:
            conversations[one.format, one.id.rpartition("#")[0]].append(one)
    for turns in conversations.values():
        for before, after in itertools.pairwise(turns):
            if _goes_on(orjson.loads(before.request), orjson.loads(after.request), before.format):
                yield before, after


def _goes_on(before: Json, after: Json, name: str) -> bool:
    first, then = before.get(HISTORY[name]), after.get(HISTORY[name])
    if not isinstance(first, list) or not isinstance(then, list) or len(first) >= len(then):
        return False
    same = all(before.get(key) == after.get(key) for key in SETTINGS)
    return same and then[: len(first)] == first


def prefixed(row: str, before: Recorded, after: Recorded, upstream: FormatName) -> Verdict:
    """Whether the second request, as it is sent, begins with the first."""
    requests = [hub.decoded(one) for one in (before, after)]
    tools = [[tool.name for tool in request.all_tools()] for request in requests]
    # A history that declares more tools changes what stands before it, where it has no place.
    skipped = ("tools",) if tools[0] != tools[1] else ()
    try:
        first, then = (_written(one, upstream, skipped) for one in requests)
    except BadCall as exc:
        return Verdict(row, after.id, "refused", why=exc.message)
    if not then.startswith(first):
        return Verdict(row, after.id, "failed", problems=("the history was written otherwise",))
    return Verdict(row, after.id, "equal")


def _written(request: Request, upstream: FormatName, skipped: Sequence[str]) -> bytes:
    """Tools and instructions, then the history without its end."""
    document = hub.encoded(request, hub.going(upstream, lenient=True)).document
    head = [document.get(key) for key in SETTINGS if key not in skipped]
    return orjson.dumps(head) + orjson.dumps(document[HISTORY[upstream]]).rstrip(b"]}")


def main(arguments: list[str] | None = None) -> int:
    """Run and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.fidelity.prefixes", description=__doc__)
    parser.add_argument("--file", type=Path, default=SHARED if SHARED.exists() else FIXTURE)
    options = parser.parse_args(arguments)
    found = list(check_all(read(options.file)))
    print("\n".join(verdicts.lines("prefixes", found)))
    return 1 if verdicts.failed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
