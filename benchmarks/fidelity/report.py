"""The verdicts as a table, the deviations that are meant by reason, and the failures one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from benchmarks.fidelity.check import Checked
from benchmarks.fidelity.verdicts import table

HEADINGS = (
    "format",
    "exchanges",
    "exact whole",
    "exact cut",
    "request exact",
    "usage equal",
    "usage stated",
    "no usage",
)
EXAMPLES = 3
MOST_FAILURES = 100


def lines(checked: Sequence[Checked]) -> Iterator[str]:
    """The whole report."""
    yield from table(list(_table_rows(checked)))
    yield ""
    yield from _explained(checked)
    again = sum(one.replayed.again for one in checked)
    if again:
        yield f"{again} requests were sent again: the daemon had closed a kept-alive connection."
        yield ""
    yield from _failures(checked)
    failed = failed_ids(checked)
    total = len({id(one.replayed.recorded) for one in checked})
    yield f"{total - len(failed)} passed, {len(failed)} failed"


def failed_ids(checked: Sequence[Checked]) -> list[str]:
    """The exchanges that failed in any mode."""
    return sorted({one.replayed.recorded.id for one in checked if one.failures})


def _table_rows(checked: Sequence[Checked]) -> Iterator[Sequence[object]]:
    yield HEADINGS
    groups: dict[str, list[Checked]] = defaultdict(list)
    for one in checked:
        groups[one.replayed.recorded.label].append(one)
    for label in sorted(groups):
        yield (label, *_counts(groups[label]))
    yield ("all", *_counts(checked))


def _counts(group: Sequence[Checked]) -> tuple[object, ...]:
    whole = [one for one in group if one.replayed.mode == "whole"]
    cut = [one for one in group if one.replayed.mode == "cut"]
    both = zip(whole, cut, strict=True)
    return (
        len(whole),
        sum(one.exact for one in whole),
        sum(one.exact for one in cut),
        sum(one.request_exact for one in whole),
        sum(one.usage_equal and other.usage_equal for one, other in both),
        sum(one.stated is not None for one in whole),
        sum(one.stated is None for one in whole),
    )


def _explained(checked: Sequence[Checked]) -> Iterator[str]:
    """Each reason once, with how many exchanges it covers and a few of their names."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for one in checked:
        for reason in one.reasons:
            if one.replayed.mode == "whole":
                by_reason[reason].append(one.replayed.recorded.id)
    if by_reason:
        yield "Not byte for byte, as meant:"
    for reason, names in by_reason.items():
        more = ", …" if len(names) > EXAMPLES else ""
        yield f"  {len(names)} x {reason}"
        yield f"      {', '.join(names[:EXAMPLES])}{more}"
    if by_reason:
        yield ""


def _failures(checked: Sequence[Checked]) -> Iterator[str]:
    failed = [one for one in checked if one.failures]
    if failed:
        yield "FAILED:"
    for one in failed[:MOST_FAILURES]:
        yield f"  {one.replayed.recorded.id} [{one.replayed.mode}]"
        for failure in one.failures:
            yield f"      {failure}"
    if len(failed) > MOST_FAILURES:
        yield f"  … and {len(failed) - MOST_FAILURES} more"
    if failed:
        yield ""
