"""The step that brought money: limits of keys, credits, and the sums over the usage log.

Written as SQL that nothing else shares, for a released step is never edited (see `steps`). Here the
tables of sums are made and filled from the rows that are there; what keeps them from then on is
`batches`, by what `rollup` says of them. That the two agree is tested.
"""

from __future__ import annotations

_RAISE = "UPDATE keys_version SET value = value + 1"

_COLUMNS = (
    "ALTER TABLE usage ADD COLUMN cost INTEGER DEFAULT 0",
    "ALTER TABLE usage ADD COLUMN uncharged INTEGER DEFAULT 0",
    "ALTER TABLE usage ADD COLUMN day INTEGER DEFAULT 0",
    "UPDATE usage SET day ="
    " coalesce(CAST(strftime('%Y%m%d', started_at, 'unixepoch') AS INTEGER), 0)",
    "ALTER TABLE accounts ADD COLUMN group_name TEXT NOT NULL DEFAULT 'default'",
    "ALTER TABLE accounts ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE accounts ADD COLUMN created_at REAL NOT NULL DEFAULT 0",
    "ALTER TABLE keys ADD COLUMN expires_at REAL",
    *(
        f"ALTER TABLE keys ADD COLUMN {name} TEXT NOT NULL DEFAULT '{empty}'"
        for name, empty in (
            *(("models", "[]"), ("endpoints", "[]"), ("addresses", "[]")),
            *(("limits", "{}"), ("caps", "{}"), ("note", "")),
        )
    ),
    "ALTER TABLE keys ADD COLUMN old_digest BLOB",
    "ALTER TABLE keys ADD COLUMN old_until REAL NOT NULL DEFAULT 0",
)

_TABLES = (
    """CREATE TABLE credits (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account_id INTEGER NOT NULL REFERENCES accounts(id),
        amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer'),
        kind TEXT NOT NULL CHECK (kind IN ('grant', 'adjustment')),
        reason TEXT NOT NULL,
        actor TEXT NOT NULL,
        created_at REAL NOT NULL
    )""",
    "CREATE INDEX credits_account ON credits(account_id, amount)",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL
    )""",
    """CREATE TABLE admin_tokens (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        digest BLOB NOT NULL UNIQUE,
        prefix TEXT NOT NULL,
        created_at REAL NOT NULL,
        disabled_at REAL
    )""",
    "CREATE TABLE estimates (model TEXT PRIMARY KEY, bytes REAL, tokens REAL) WITHOUT ROWID",
    # Append-only, by whatever tool: what was granted and who changed what stays as it was said.
    *(
        f"CREATE TRIGGER {table}_keep_{act} BEFORE {act} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} are never changed or deleted'); END"
        for table in ("credits", "audit")
        for act in ("update", "delete")
    ),
    f"CREATE TRIGGER credits_insert AFTER insert ON credits BEGIN {_RAISE}; END",
    *(
        f"CREATE TRIGGER admin_tokens_{act} AFTER {act} ON admin_tokens BEGIN {_RAISE}; END"
        for act in ("insert", "update", "delete")
    ),
)

# The groups that sums are kept for. An id of 0 is none. Names that clients make up are not kept:
# they would let the sums grow without bound.
_GROUPS = (
    ("account_id", "INTEGER", "coalesce(account_id, 0)"),
    ("key_id", "INTEGER", "coalesce(key_id, 0)"),
    (
        "model",
        "TEXT",
        "CASE WHEN outcome IN ('refused', 'bad_request') THEN ''"
        " ELSE coalesce(model_asked, '') END",
    ),
    ("upstream", "TEXT", "coalesce(upstream, '')"),
    ("format_in", "TEXT", "coalesce(format_in, '')"),
    ("outcome", "TEXT", "coalesce(outcome, '')"),
    ("status", "INTEGER", "coalesce(status, 0)"),
)
_DAY = ("day", "INTEGER", "coalesce(day, 0)")
_MONTH = ("month", "INTEGER", "coalesce(day, 0) / 100")


def _bounded(number: str) -> str:
    """So that no sum of absurd numbers leaves 64 bits; unknown stays unknown."""
    return f"min(max({number}, 0), 100000000000)"


_WRITES = tuple(f"cache_write_{ttl}" for ttl in ("5m", "1h", "30m", "12h", "other"))
_MEASURES = (
    # NULL as long as no request reported that count.
    ("in_uncached", _bounded("in_uncached")),
    ("cache_read", _bounded("cache_read")),
    (
        "cache_write",
        f"CASE WHEN coalesce({', '.join(_WRITES)}) IS NOT NULL"
        f" THEN {' + '.join(f'coalesce({_bounded(write)}, 0)' for write in _WRITES)} END",
    ),
    ("tool_prompt", _bounded("tool_prompt")),
    ("out_total", _bounded("out_total")),
    ("reasoning", _bounded("reasoning")),
    ("requests", "1"),
    ("failed", "outcome IS NOT 'ok'"),
    ("estimated", "coalesce(usage_source IN ('estimated', 'partial', 'interrupted'), 0)"),
    ("bytes_in", f"coalesce({_bounded('bytes_in')}, 0)"),
    ("bytes_out", f"coalesce({_bounded('bytes_out')}, 0)"),
    # Whole microseconds: sums do not depend on the order of the rows.
    ("first_byte_us", f"coalesce(CAST(round({_bounded('first_byte * 1e6')}) AS INTEGER), 0)"),
    ("first_bytes", "first_byte IS NOT NULL"),
    ("duration_us", f"coalesce(CAST(round({_bounded('duration * 1e6')}) AS INTEGER), 0)"),
    # Whole micro-dollars and the pico-dollars beyond: together exact, whatever they come to.
    ("cost_micro", "coalesce(cost, 0) / 1000000"),
    ("cost_rest", "coalesce(cost, 0) % 1000000"),
    ("uncharged_micro", "coalesce(uncharged, 0) / 1000000"),
    ("uncharged_rest", "coalesce(uncharged, 0) % 1000000"),
)

# Keyed by everything that reports group by; the same by month, for a year of many keys; the same
# for all keys together, for a year by day; and every key alone, for its days and for its caps.
_ROLL_UPS = (
    ("usage_daily", (_DAY, *_GROUPS)),
    ("usage_monthly", (_MONTH, *_GROUPS)),
    ("usage_daily_all", (_DAY, *_GROUPS[2:])),
    ("usage_daily_keys", (_DAY, _GROUPS[1], _GROUPS[0])),
)


def _roll_up(table: str, groups: tuple[tuple[str, str, str], ...]) -> tuple[str, str]:
    """The table, and the sums of the rows that are there."""
    key = ", ".join(name for name, _, _ in groups)
    typed = ", ".join(f"{name} {kind}" for name, kind, _ in groups)
    measured = ", ".join(f"{name} INTEGER" for name, _ in _MEASURES)
    values = ", ".join((*(of for *_, of in groups), *(f"sum({of})" for _, of in _MEASURES)))
    places = ", ".join(str(place) for place in range(1, len(groups) + 1))
    return (
        f"CREATE TABLE {table} ({typed}, {measured}, PRIMARY KEY ({key})) WITHOUT ROWID",
        f"INSERT INTO {table} ({key}, {', '.join(name for name, _ in _MEASURES)})"
        f" SELECT {values} FROM usage GROUP BY {places}",  # the names and expressions above
    )


_SPENT = (
    # What the balance goes by, at hand for every account without adding up its days.
    """CREATE TABLE account_spend (
        account_id INTEGER PRIMARY KEY, cost_micro INTEGER NOT NULL, cost_rest INTEGER NOT NULL
    )""",
    "INSERT INTO account_spend SELECT account_id, sum(cost_micro), sum(cost_rest)"
    " FROM usage_daily_keys WHERE account_id <> 0 GROUP BY account_id",
    # The rows of earlier days may be gone; their sums are not.
    "CREATE TABLE usage_pruned (one INTEGER PRIMARY KEY CHECK (one = 1), before_day INTEGER)",
    "INSERT INTO usage_pruned VALUES (1, 0)",
)

MONEY = (
    *_COLUMNS,
    *_TABLES,
    *(statement for roll_up in _ROLL_UPS for statement in _roll_up(*roll_up)),
    *_SPENT,
)
