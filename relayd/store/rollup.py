"""The sums over the usage log: which tables there are, and what they are made of.

One list says it all: `batches` keeps the tables by it, `verify` computes them anew by it, `reports`
chooses among them. A row counts for what `OF_A_ROW` says, in every one of them.

No sum leaves 64 bits, where SQLite would go on in floats: a count of one row is taken as at most a
hundred thousand million (a provider may report anything), and money is summed in two columns, whole
micro-dollars and the pico-dollars beyond, which are exact up to nine million million dollars.
"""

from __future__ import annotations

from dataclasses import dataclass

from relayd.store.questions import SERVED

# The groups that sums are kept for, beside the day or month.
COMMON_GROUPS = ("model", "upstream", "format_in", "outcome", "status")
GROUPS = ("account_id", "key_id", *COMMON_GROUPS)

TOKENS = ("in_uncached", "cache_read", "cache_write", "tool_prompt", "out_total", "reasoning")
UNITS = ("images", "audio_ms", "characters", "searches")
COUNTS = (*TOKENS, *UNITS)
TALLIES = (
    "requests",
    "failed",
    "estimated",
    "bytes_in",
    "bytes_out",
    "first_byte_us",
    "first_bytes",
    "duration_us",
)
COST = ("cost_micro", "cost_rest")
MONEY = (*COST, "uncharged_micro", "uncharged_rest")
SUMS = (*TALLIES, *MONEY)
MEASURES = (*COUNTS, *SUMS)

MICRO = 10**6  # pico-dollars
_MOST = 10**11  # a hundred thousand million: tokens, bytes, or microseconds (28 hours) of one row


def _bounded(number: str) -> str:
    return f"min(max({number}, 0), {_MOST})"


_WRITES = tuple(f"cache_write_{ttl}" for ttl in ("5m", "1h", "30m", "12h", "other"))

# What one row of the log counts for, by name: the groups it belongs to and what it adds.
OF_A_ROW = {
    "day": "coalesce(day, 0)",
    "account_id": "coalesce(account_id, 0)",
    "key_id": "coalesce(key_id, 0)",
    # Names that clients make up would let the sums grow without bound.
    "model": "CASE WHEN outcome IN ('refused', 'bad_request') THEN ''"
    " ELSE coalesce(model_asked, '') END",
    "upstream": "coalesce(upstream, '')",
    "format_in": "coalesce(format_in, '')",
    "outcome": "coalesce(outcome, '')",
    "status": "coalesce(status, 0)",
    **{name: _bounded(name) for name in COUNTS},  # NULL where no request reported that count
    "cache_write": f"CASE WHEN coalesce({', '.join(_WRITES)}) IS NOT NULL"
    f" THEN {' + '.join(f'coalesce({_bounded(name)}, 0)' for name in _WRITES)} END",
    "requests": "1",
    "failed": f"outcome IS NOT '{SERVED}'",
    "estimated": "coalesce(usage_source IN ('estimated', 'partial', 'interrupted'), 0)",
    "bytes_in": f"coalesce({_bounded('bytes_in')}, 0)",
    "bytes_out": f"coalesce({_bounded('bytes_out')}, 0)",
    "first_byte_us": f"coalesce(CAST(round({_bounded('first_byte * 1e6')}) AS INTEGER), 0)",
    "first_bytes": "first_byte IS NOT NULL",
    "duration_us": f"coalesce(CAST(round({_bounded('duration * 1e6')}) AS INTEGER), 0)",
    "cost_micro": f"coalesce(cost, 0) / {MICRO}",
    "cost_rest": f"coalesce(cost, 0) % {MICRO}",
    "uncharged_micro": f"coalesce(uncharged, 0) / {MICRO}",
    "uncharged_rest": f"coalesce(uncharged, 0) % {MICRO}",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of sums.

    Arguments:
        key: the columns that name a line.
        values: the others.
        where: which lines of the daily sums it is made of.
    """

    name: str
    key: tuple[str, ...]
    values: tuple[str, ...] = MEASURES
    where: str = "true"

    @property
    def columns(self) -> str:
        """Names, to be listed in SQL."""
        return ", ".join((*self.key, *self.values))

    def made_of(self, source: str) -> str:
        """The query of what must be in it: `source` is lines with the columns of DAILY."""
        places = ", ".join(str(place) for place in range(1, len(self.key) + 1))
        return f"{self._select(source, 'sum')} GROUP BY {places}"

    def raised_by(self, source: str) -> str:
        """The statement that adds such lines to it."""
        # Where hardly two lines share a group, sorting them would cost more than it saves.
        lines = self._select(source) if {*GROUPS} <= {*self.key} else self.made_of(source)
        return (
            f"INSERT INTO {self.name} ({self.columns}) {lines}"
            f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE"
            f" SET {', '.join(_added(name) for name in self.values)}"
        )

    def _select(self, source: str, how: str = "") -> str:
        key = ["day / 100" if name == "month" else name for name in self.key]
        columns = ", ".join((*key, *(f"{how}({name})" for name in self.values)))
        return f"SELECT {columns} FROM {source} WHERE {self.where}"


def _added(name: str) -> str:
    if name in COUNTS:  # unknown and something is something
        return f"{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})"
    return f"{name} = {name} + excluded.{name}"


DAILY = Table("usage_daily", ("day", *GROUPS))
MONTHLY = Table("usage_monthly", ("month", *GROUPS))
DAILY_ALL = Table("usage_daily_all", ("day", *COMMON_GROUPS))
# The key first: a report by day and key is then read in the order that it is grouped in.
DAILY_KEYS = Table("usage_daily_keys", ("day", "key_id", "account_id"))
ACCOUNT_SPEND = Table("account_spend", ("account_id",), COST, "account_id <> 0")
TABLES = (DAILY, MONTHLY, DAILY_ALL, DAILY_KEYS, ACCOUNT_SPEND)


def rows_as_sums(where: str = "true", log: str = "usage") -> str:
    """The rows that fit, each as a line of the daily sums by itself."""
    columns = ", ".join(f"{value} AS {name}" for name, value in OF_A_ROW.items())
    return f"SELECT {columns} FROM {log} WHERE {where}"


def whole(micro: int, rest: int) -> int:
    """Money as it is counted everywhere else, in pico-dollars."""
    return micro * MICRO + rest
