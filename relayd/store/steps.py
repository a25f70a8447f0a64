"""The schema, as the ordered list of steps that made it.

A step, once released, is never edited; the next one corrects it. So nothing here is made from
constants of other modules: they may change, what a step did may not.
"""

from __future__ import annotations

from dataclasses import dataclass

from relayd.store.steps_money import MONEY


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: what becomes true, and the statements that make it so."""

    title: str
    statements: tuple[str, ...]


_RAISE = "UPDATE keys_version SET value = value + 1"

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "accounts, keys and the usage log",
        (
            # AUTOINCREMENT: usage rows outlive their key, so an id is never given out again.
            """CREATE TABLE accounts (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                disabled_at REAL
            )""",
            """CREATE TABLE keys (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                account_id INTEGER NOT NULL REFERENCES accounts(id),
                digest BLOB NOT NULL UNIQUE,
                prefix TEXT NOT NULL,
                created_at REAL NOT NULL,
                disabled_at REAL
            )""",
            # One row, raised by triggers: whoever changes a key, by whatever tool, is noticed,
            # while the usage log's own commits (ten a second) are not mistaken for a change of
            # keys.
            "CREATE TABLE keys_version (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER)",
            "INSERT INTO keys_version VALUES (1, 1)",
            *(
                f"CREATE TRIGGER {table}_{act} AFTER {act} ON {table} BEGIN {_RAISE}; END"
                for table in ("accounts", "keys")
                for act in ("insert", "update", "delete")
            ),
            # WITHOUT ROWID: one b-tree instead of two, and time-ordered ids append to it. No
            # foreign keys and no NOT NULL: a row that tells of money is never refused for what is
            # in it.
            """CREATE TABLE usage (
                request_id TEXT PRIMARY KEY,
                started_at REAL,
                operation TEXT,
                model_asked TEXT,
                model_used TEXT,
                upstream TEXT,
                format_in TEXT,
                format_out TEXT,
                stream INTEGER,
                status INTEGER,
                outcome TEXT,
                error_code TEXT,
                upstream_request_id TEXT,
                usage_source TEXT,
                bytes_in INTEGER,
                bytes_out INTEGER,
                duration REAL,
                first_byte REAL,
                key_id INTEGER,
                account_id INTEGER,
                in_uncached INTEGER,
                cache_read INTEGER,
                cache_write_5m INTEGER,
                cache_write_1h INTEGER,
                cache_write_30m INTEGER,
                cache_write_12h INTEGER,
                cache_write_other INTEGER,
                out_total INTEGER,
                reasoning INTEGER,
                in_audio INTEGER,
                in_image INTEGER,
                in_video INTEGER,
                out_audio INTEGER,
                out_image INTEGER,
                tool_prompt INTEGER,
                total_reported INTEGER,
                server_tools TEXT
            ) WITHOUT ROWID""",
            # Measured: 0.3 us a row and 70 bytes. Reports by time could use the order of the ids
            # instead, but would then be silently wrong for an id made in another way.
            "CREATE INDEX usage_started_at ON usage(started_at)",
        ),
    ),
    Migration(
        "which key of the upstream answered, after how many attempts",
        (
            "ALTER TABLE usage ADD COLUMN upstream_key TEXT DEFAULT ''",
            "ALTER TABLE usage ADD COLUMN attempts INTEGER DEFAULT 0",
        ),
    ),
    Migration("money: what keys and accounts may, were given and spent", MONEY),
    Migration(
        "whether a key's requests may lose what another format cannot say",
        ("ALTER TABLE keys ADD COLUMN lenient INTEGER",),  # NULL: as its group has it
    ),
    Migration(
        "what is not counted in tokens: pictures, audio, characters, searches",
        tuple(
            # NULL: nothing of the kind. No row that is there already had any.
            f"ALTER TABLE {table} ADD COLUMN {unit} INTEGER"
            for table in (
                *("usage", "usage_daily", "usage_monthly", "usage_daily_all"),
                "usage_daily_keys",
            )
            for unit in ("images", "audio_ms", "characters", "searches")
        ),
    ),
    Migration(
        "which upstream key holds which response",
        (
            # By the digest of account and id. No foreign keys, as with the log: what a row tells is
            # never refused.
            """CREATE TABLE holdings (
                digest TEXT PRIMARY KEY,
                account_id INTEGER,
                upstream TEXT,
                upstream_key TEXT,
                site TEXT,
                model TEXT,
                name TEXT,
                at REAL,
                owed INTEGER,
                response_id TEXT,
                key_id INTEGER,
                reserved INTEGER,
                paid INTEGER,
                least INTEGER
            ) WITHOUT ROWID""",
            "CREATE INDEX holdings_at ON holdings(at)",
        ),
    ),
)
