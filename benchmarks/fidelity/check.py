"""One replayed exchange against what had to come of it: bytes, request, usage row.

A finding is either explained (a deviation that is meant, with its reason) or a failure. Nothing
here knows how the relay works; it compares three results with the recording.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from benchmarks.fidelity.events import parsed
from benchmarks.fidelity.expect import Expected, expected, request_problem, starts_alike
from benchmarks.fidelity.replay import Replayed
from benchmarks.fidelity.usage import Counts, server_tools, stated

LONGEST_TAIL = 4096
COUNT_COLUMNS = (
    "in_uncached",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "cache_write_30m",
    "cache_write_12h",
    "cache_write_other",
    "out_total",
    "reasoning",
    "in_audio",
    "in_image",
    "in_video",
    "out_audio",
    "out_image",
    "tool_prompt",
    "total_reported",
)


@dataclass(slots=True)
class Checked:
    """The verdict on one exchange played once.

    Arguments:
        exact: the client got the recorded bytes.
        request_exact: the upstream got the client's bytes.
        stated: the counts that the reply states, None when it states none.
        usage_equal: the row says the same.
        reasons: deviations that are meant.
        failures: deviations that are not.
    """

    replayed: Replayed
    exact: bool = False
    request_exact: bool = False
    stated: Counts | None = None
    usage_equal: bool = False
    reasons: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def check(replayed: Replayed) -> Checked:
    """Compare everything."""
    checked = Checked(replayed)
    if replayed.problem:
        checked.failures.append(replayed.problem)
        return checked
    wanted = expected(replayed.recorded)
    _check_reply(checked, wanted)
    _check_request(checked)
    _check_usage(checked, wanted)
    return checked


def _check_reply(checked: Checked, wanted: Expected) -> None:
    replayed = checked.replayed
    recorded = replayed.recorded
    checked.exact = replayed.body == recorded.body and replayed.status == recorded.status
    checked.reasons += wanted.reasons
    if wanted.reworded:
        if not (parsed(replayed.body) or {}).get("error") or replayed.status < 400:
            checked.failures.append(f"status {recorded.status} was not reworded into an error")
        return
    if replayed.status != recorded.status:
        checked.failures.append(f"status {recorded.status} became {replayed.status}")
    elif not _bodies_match(replayed.body, wanted):
        alike = starts_alike(replayed.body, wanted.body)
        got = replayed.body[max(0, alike - 30) : alike + 60]
        checked.failures.append(f"the bodies differ from byte {alike}: {got!r}")


def _bodies_match(body: bytes, wanted: Expected) -> bool:
    if not wanted.open_end:
        return body == wanted.body
    tail = body[len(wanted.body) :]
    return body.startswith(wanted.body) and b"error" in tail and len(tail) < LONGEST_TAIL


def _check_request(checked: Checked) -> None:
    replayed = checked.replayed
    if replayed.sent is None:
        checked.failures.append("the request never reached the upstream")
        return
    checked.request_exact = replayed.sent == replayed.recorded.request
    problem = request_problem(replayed.recorded, replayed.sent)
    if problem:
        checked.failures.append(problem)


def _check_usage(checked: Checked, wanted: Expected) -> None:
    row = checked.replayed.row
    if row is None:
        checked.failures.append("there is no usage row")
        return
    checked.stated = None if wanted.reworded else stated(checked.replayed.recorded)
    problems = list(_usage_problems(checked, row, wanted))
    checked.usage_equal = not problems
    checked.failures += problems
    if row["bytes_out"] != len(checked.replayed.body):
        checked.failures.append("the row's bytes_out is not the length of the reply")


def _usage_problems(checked: Checked, row: dict[str, Any], wanted: Expected) -> Iterator[str]:
    source, counts = row["usage_source"], checked.stated
    if counts is None:
        if source in ("reported", "partial"):
            yield f"the row's usage is {source}, but the reply states none"
        return
    broken = wanted.open_end or wanted.failed
    if source != ("partial" if broken else "reported"):
        yield f"the reply states usage, but the row's is {source!r}"
        return
    for column in COUNT_COLUMNS:
        if column == "out_total" and broken:
            continue  # of a broken stream it is at least what was seen
        if row[column] != counts.get(column):
            yield f"{column}: the reply states {counts.get(column)}, the row has {row[column]}"
    tools = orjson.loads(row["server_tools"] or "{}")
    wanted_tools = server_tools(checked.replayed.recorded)
    if wanted_tools and tools != wanted_tools:
        yield f"server tools: the reply states {wanted_tools}, the row has {tools}"
