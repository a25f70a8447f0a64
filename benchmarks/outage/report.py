"""The simulation's books as a table, with what was missed below it."""

from __future__ import annotations

from math import inf

from rich.console import Console
from rich.table import Table

from benchmarks.outage.books import Books, Record, Served

COLUMNS = (
    "outage",
    "requests",
    "succeeded",
    "retries",
    "share",
    "of budget",
    "added p50",
    "added p99",
    "probes",
    "trespasses",
    "avoided after",
    "asked again",
    "back after",
    "interval",
)


def show(books: Books, console: Console) -> None:
    """Print all of it."""
    table = Table(*COLUMNS, box=None, header_style="bold", pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for record in books.records:
        table.add_row(*_row(books, record))
    calm, total = Served(), books.total()
    for record in books.records:
        calm.requests += record.calm.requests
        calm.left += record.calm.left
        calm.good += record.calm.good
        calm.retries += record.calm.retries
        calm.added.extend(record.calm.added)
    table.add_row("(between outages)", *_served(calm))
    table.add_row("all", *_served(total))
    console.print(table)
    lost = {why: count for why, count in total.lost.most_common()}
    console.print(f"\n{sum(lost.values())} lost: {lost or 'none'}", highlight=False)
    for fault in books.faults():
        console.print(f"MISSED  {fault}", highlight=False)


def _row(books: Books, record: Record) -> list[str]:
    avoided, found = list(record.avoided.values()), record.recoveries.values()
    asked = max((inf if one.sent is None else one.sent for one in found), default=0.0)
    return [
        record.phase.name,
        *_served(record.outage, f"{books.spent(record):.0%}"),
        str(record.probes),
        str(sum(record.trespasses.values())),
        f"{max(avoided):.2f} s" if avoided else "-",
        f"{asked:.1f} s" if found else "-",
        f"{max(one.back for one in found):.1f} s" if found else "-",
        f"{max(one.interval for one in found):.1f} s" if found else "-",
    ]


def _served(served: Served, budget: str = "") -> list[str]:
    return [
        f"{served.requests:,}",
        f"{served.share:.3%}",
        f"{served.retries:,}",
        f"{served.retries / max(1, served.requests):.2%}",
        budget,
        f"{served.quantile(0.5):.3f} s",
        f"{served.quantile(0.99):.3f} s",
    ]
