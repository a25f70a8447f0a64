"""How the commands print: on terminals of any width, in a pipe, and in words."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from relayd.cli.tables import count, money, printable, short_count, span
from relayd.money import DOLLAR
from tests.support.commands import Commands, recent

ROOT = Path(__file__).parents[2]
END = "-- end of the command --"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 ms"),
        (0.0042, "4.2 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (9.996, "10.0 s"),
        (59.96, "1 m 00 s"),
        (3599.4, "59 m 59 s"),
        (7805, "2 h 10 m"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_unknown_is_a_dash_and_zero_is_zero() -> None:
    assert (count(None), count(0), count(1234567)) == ("-", "0", "1,234,567")
    assert (printable(""), printable("a\x07b")) == ("-", "a\ufffdb")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.0000"),
        (DOLLAR, "1.0000"),
        (-5 * DOLLAR, "-5.0000"),
        (1_234_567 * DOLLAR, "1,234,567.0000"),
        (DOLLAR // 10_000, "0.0001"),
        (DOLLAR // 30_000, "0.000033"),
        (-1234, "-0.0000000012"),
        (1, "0.000000000001"),
    ],
)
def test_an_amount_that_is_something_never_looks_like_nothing(amount: int, text: str) -> None:
    assert money(amount) == text


def test_limits_are_said_as_they_were_typed() -> None:
    assert [short_count(n) for n in (7, 1000, 1500, 100_000, 2_000_000)] == [
        "7",
        "1k",
        "1500",
        "100k",
        "2M",
    ]


# terminals


# One process for several commands: to start one takes longer than they do.
PROGRAM = f"""
import sys
from relayd.cli.main import main
for words in sys.argv[1:]:
    main(words.split(), standalone_mode=False)
    print({END!r})
"""


def on_screen(run: Commands, columns: int, *commands: str) -> list[list[str]]:
    """The lines of each command, without colours, that a terminal of so many columns gets."""
    words = [f"{command} --database {run.database}" for command in commands]
    command = [sys.executable, "-c", PROGRAM, *words]
    environ = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, env=environ, cwd=ROOT
    )
    os.close(inner)
    written = b""
    try:
        while more := os.read(terminal, 65536):
            written += more
    except OSError:  # the program has ended
        pass
    os.close(terminal)
    assert process.wait(30) == 0, written
    *pages, rest = re.sub(r"\x1b\[[0-9;]*m", "", written.decode()).split(f"{END}\r\n")
    assert (len(pages), rest) == (len(commands), ""), written
    return [page.splitlines() for page in pages]


@pytest.fixture
def busy(run: Commands) -> Commands:
    """A database with something in it."""
    narrow = "--rpm 60 --tpm 100k --concurrency 4 --spend-day 5 --spend-month 100 --expires 30d"
    run("key", "create", "laptop", "--account", "alice", *narrow.split(), "--models", "gpt-*")
    run("key", "create", "ci-runner", "--account", "alice")
    run("account", "topup", "alice", "20", "--reason", "invoice 7 of the year 2026, paid in cash")
    run.fill([recent(n, cost=n * 10**10, model_asked="claude-sonnet-4-6") for n in range(9)])
    return run


@pytest.mark.parametrize(
    ("columns", "commands"),
    [
        (
            80,
            [
                "key list",
                "key show laptop",
                "account list",
                "account credits alice",
                "ledger audit",
                "usage --since 30d --by model,key",
                "usage --rows 5",
            ],
        ),
        (120, ["key list", "ledger audit", "usage --rows 5"]),
    ],
)
def test_every_table_fits_its_terminal(busy: Commands, columns: int, commands: list[str]) -> None:
    for lines in on_screen(busy, columns, *commands):
        tables = [line for line in lines if not line.startswith("No room for: ")]
        assert max(map(len, tables)) <= columns, "\n".join(lines)


def test_what_has_no_room_is_said_and_what_matters_stays(busy: Commands) -> None:
    [lines] = on_screen(busy, 80, "usage --rows 5")
    for title in ("started (UTC)", "model", "outcome", "cost ($)"):
        assert title in lines[1]
    assert lines[-1].startswith("No room for: request id, ")
    assert lines[-1].endswith(". --json has everything.")


def test_a_list_wraps_between_its_parts(busy: Commands) -> None:
    [lines] = on_screen(busy, 80, "key list")
    limits = [line[lines[1].index("limits") :].split("  ")[0].rstrip() for line in lines[3:7]]
    assert limits == ["60 rpm,", "100k tpm,", "4 at once,", "$5/day,"]


def test_a_table_wider_than_any_terminal_is_neither_cut_nor_wrapped(run: Commands) -> None:
    run.fill([recent(1, model_asked="m" * 150)])
    [lines] = on_screen(run, 80, "usage")
    assert any("m" * 150 in line for line in lines)
