"""The upstream commands as typed, against an admin API over a real socket."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from relayd import control
from relayd.cli import admin
from relayd.cli.daemon import Office, call
from relayd.cli.store import Failed
from relayd.cli.upstream import overview, percent, probed, sentence, wait
from relayd.control import Control
from relayd.model import Secret
from relayd.policy.reports import DoorReport
from tests.support.admin_desk import OWN_TOKEN, TOKEN, AdminDesk, door

Invoke = Callable[..., Result]
LIMITED = "429: Rate limit reached for gpt-5-mini in organization org-x on tokens per min"
DOORS = [
    door("openai", "1", weight=3, in_flight=4, success_ratio=0.9996),
    door(
        "openai",
        "2",
        weight=3,
        state="cooling",
        why="429: Rate limit reached for requests per minute",
        until=11.3,
        success_ratio=0.953,
        models=(
            ("gpt-5-mini", "cooling", 38.0, LIMITED),
            ("o4", "half_open", 0.0, "5 failures in a row"),
        ),
    ),
    door("azure", "eu", state="refused", why="401: no such key", first_byte=None),
    door("spare", state="disabled", why="by the operator", success_ratio=None, tier=2),
]
BAD = {"azure/eu": "401: no such key"}


@click.group()
def relayd() -> None:
    """The command line with nothing but these commands."""


admin.register(relayd)


@pytest.fixture
def desk() -> Iterator[AdminDesk]:
    with AdminDesk(DOORS, BAD) as desk:
        yield desk


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "relayd.db"


@pytest.fixture
def invoke(database: Path) -> Invoke:
    def invoke(*words: str, **environ: str) -> Result:
        command = ["upstream", *words, "--database", str(database)]
        return CliRunner(env={"RELAYD_ADMIN_TOKEN": None, **environ}).invoke(relayd, command)

    return invoke


@pytest.fixture
def running(desk: AdminDesk, database: Path) -> AdminDesk:
    control.write(database, control.control_of([desk.url], Secret(OWN_TOKEN)))
    return desk


def rows(*doors: DoorReport) -> list[Any]:
    return [one.as_json() for one in doors]


def drawn(width: int | None, *doors: DoorReport) -> list[str]:
    return [click.unstyle(line) for line in overview(rows(*doors), width)]


# the list


def test_a_pipe_gets_one_plain_line_for_each_key(running: AdminDesk, invoke: Invoke) -> None:
    result = invoke("list")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    titles, one, two, mini, o4, azure, spare = result.stdout.splitlines()
    assert titles == (
        "upstream  state     tier  weight  in flight  success  first byte     p95  again   why"
    )
    assert one.split("  ")[0] == "openai/1" and one.endswith("99.9%      212 ms  840 ms")
    assert two.endswith("in 12s  429: Rate limit reached for requests per minute")
    assert mini == f"    gpt-5-mini  cooling    again in 38s  {LIMITED}"
    assert o4 == "    o4          half open  again now     5 failures in a row"
    assert azure.split()[1] == "refused" and azure.endswith("401: no such key")
    assert spare.split() == "spare/1 disabled 2 1 0 - 212 ms 840 ms by the operator".split()
    assert result.stderr.startswith("Refused keys stay out until `relayd upstream probe`")


def test_all_that_is_up_needs_no_reasons(database: Path) -> None:
    for width in (None, 80):
        lines = drawn(width, door("openai"), door("azure"))
        assert not any("why" in line or "again" in line for line in lines)
    assert len(drawn(None, door("openai"))) == 2


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_terminal_is_not_overflowed_and_no_word_is_cut(width: int) -> None:
    lines = drawn(width, *DOORS, door("azure-westeurope", "primary"))
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    said = " ".join((LIMITED, *(one.why for one in DOORS), "5 failures in a row"))
    assert set(said.split()) <= set(words)


def test_reasons_stand_in_the_line_where_they_fit_and_below_it_where_not() -> None:
    wide, narrow = drawn(140, DOORS[1]), drawn(80, DOORS[1])
    why = "429: Rate limit reached for requests per minute"
    assert wide[3].startswith(" openai/2") and wide[3].endswith(f"in 12s  {why}")
    assert narrow[4] == f"   again in 12s  {why}"


def test_a_long_reason_goes_on_below_its_start() -> None:
    first, more = drawn(80, DOORS[1])[5:7]
    start = first.index("429:")
    assert more[:start].isspace() and not more[start].isspace()


def test_a_word_longer_than_the_line_stays_whole() -> None:
    address = "https://example.com/" + "x" * 100
    lines = drawn(80, door("openai", state="open", why=f"see {address} for more"))
    assert any(address in line for line in lines)


@pytest.mark.parametrize("width", [80, 140])
def test_states_are_coloured_and_stay_aligned(width: int) -> None:
    lines = list(overview(rows(*DOORS), width))
    for state, colour in (("up", 32), ("cooling", 33), ("refused", 31), ("half open", 31)):
        assert any(f"\x1b[{colour}m{state}\x1b[0m" in line for line in lines)
    tiers = {line[24] for line in drawn(width, *DOORS) if line.startswith((" openai/", " azure/"))}
    assert tiers == {"1"}


@pytest.mark.parametrize("width", [None, 20, 80])
def test_a_name_that_clients_made_up_is_neither_cut_nor_obeyed(width: int | None) -> None:
    name = "[red]vendor/" + "x" * 300
    models = ((name, "open", 4.0, "5 failures"), ("\x1b[2Jgone\n", "open", None, ""))
    lines = list(overview(rows(door("openai", models=models)), width))
    assert any(name in line for line in lines)
    assert any("\ufffd[2Jgone\ufffd" in line for line in lines)


def test_scripts_read_the_answer_itself(running: AdminDesk, invoke: Invoke) -> None:
    listed = orjson.loads(invoke("list", "--json").stdout)
    assert listed == {"upstreams": orjson.loads(orjson.dumps(rows(*DOORS)))}
    switched = orjson.loads(invoke("disable", "openai/1", "--json").stdout)
    assert [row["state"] for row in switched["upstreams"]] == ["disabled"]
    result = invoke("probe", "azure", "--json")
    assert orjson.loads(result.stdout)["results"][0]["ok"] is False
    assert result.exit_code == 1


def test_no_upstreams_says_what_to_do(running: AdminDesk, invoke: Invoke) -> None:
    running.upstreams.doors.clear()
    for words in (("list",), ("probe",)):
        result = invoke(*words)
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr.startswith("No upstreams: ")


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(None, "-"), (1.0, "100%"), (0.99999, "99.9%"), (0.5, "50.0%"), (0.0, "0.0%")],
)
def test_a_share_is_never_rounded_up_to_all(ratio: float | None, text: str) -> None:
    assert percent(ratio) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "now"),
        (0.1, "in 1s"),
        (59.1, "in 1m 00s"),
        (65, "in 1m 05s"),
        (7805, "in 2h 10m"),
    ],
)
def test_a_wait_is_said_as_people_say_it(seconds: float | None, text: str) -> None:
    assert wait(seconds) == text


# switching and probing


def test_keys_are_switched_by_upstream_or_one_by_one(running: AdminDesk, invoke: Invoke) -> None:
    assert invoke("disable", "openai/2").stdout == "openai/2 is disabled.\n"
    assert invoke("enable", "openai").stdout == "openai/1 is up.\nopenai/2 is up.\n"
    assert running.upstreams.told == [("disable", "openai", "2"), ("enable", "openai", None)]


def test_a_key_that_is_still_in_trouble_says_so() -> None:
    (row,) = rows(DOORS[1])
    assert sentence(row) == (
        "openai/2 is cooling, again in 12s (429: Rate limit reached for requests per minute)."
    )


def test_a_probe_that_finds_something_is_exit_code_1(running: AdminDesk, invoke: Invoke) -> None:
    result = invoke("probe")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "openai/1  well    200 ms",
        "openai/2  well    200 ms",
        "azure/eu  failed  200 ms  401: no such key",
        "spare/1   well    200 ms",
    ]
    assert invoke("probe", "openai").exit_code == 0


def test_a_long_reason_of_a_probe_is_wrapped() -> None:
    result = {"upstream": "a", "key": "1", "ok": False, "why": "word " * 40, "seconds": 1.0}
    assert all(len(click.unstyle(line)) <= 80 for line in probed([result], 80))


# mistakes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("enable", "opnai"), "there is no upstream `opnai`; did you mean `openai`?"),
        (("disable", "openai/7"), "the upstream `openai` has no key `7`; it has: 1, 2"),
        (("probe", "zzz zzz"), "there is no upstream `zzz zzz`"),
        (("enable", "../openai"), "there is no upstream `../openai`; did you mean `openai`?"),
    ],
)
def test_an_unknown_name_is_one_line_and_exit_code_1(
    running: AdminDesk, invoke: Invoke, words: tuple[str, ...], message: str
) -> None:
    result = invoke(*words)
    assert (result.exit_code, result.stderr, result.stdout) == (1, f"relayd: {message}\n", "")


def test_without_a_daemon_there_is_one_line(invoke: Invoke, database: Path) -> None:
    result = invoke("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"relayd: no relayd is running on {database}: there is no relayd.db.admin\n"
    )


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_file_left_behind_is_told_from_a_daemon_that_does_not_listen(
    invoke: Invoke, database: Path
) -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    url = f"http://127.0.0.1:{dead_port()}"
    for pid, said in (
        (
            child.pid,
            f"relayd is not running: process {child.pid}, which listened at {url}, is gone",
        ),
        (os.getpid(), f"relayd at {url} (process {os.getpid()}) cannot be reached: "),
    ):
        control.write(database, Control(url, Secret("t"), pid))
        result = invoke("list")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"relayd: {said}") and result.stderr.count("\n") == 1


def test_a_refused_token_says_where_it_came_from(
    desk: AdminDesk, invoke: Invoke, database: Path
) -> None:
    control.write(database, control.control_of([desk.url], Secret("of another run")))
    result = invoke("list")
    assert result.exit_code == 1
    assert result.stderr == (
        f"relayd: relayd at {desk.url} refuses the token of {control.path_of(database)}\n"
    )
    result = invoke("list", RELAYD_ADMIN_TOKEN="wrong")
    assert result.stderr.endswith("refuses the token of $RELAYD_ADMIN_TOKEN or --token\n")


def test_too_many_wrong_tokens_are_said(desk: AdminDesk, invoke: Invoke) -> None:
    for _ in range(11):
        result = invoke("list", "--url", desk.url, "--token", "wrong")
    assert result.exit_code == 1 and "too many wrong tokens: try again in" in result.stderr


def test_a_token_and_an_address_can_be_given(desk: AdminDesk, invoke: Invoke) -> None:
    url = ("--url", desk.url + "/")
    assert invoke("list", *url, "--token", TOKEN).exit_code == 0
    assert invoke("list", *url, RELAYD_ADMIN_TOKEN=TOKEN).exit_code == 0
    bare = invoke("list", *url)
    assert bare.exit_code == 2 and "$RELAYD_ADMIN_TOKEN" in bare.stderr
    for bad in ("127.0.0.1:80", "ftp://x", "http://", "http://x:port", "http://x:0"):
        assert invoke("list", "--url", bad, "--token", TOKEN).exit_code == 2


@pytest.mark.parametrize("token", ["a\nb", "a\r\nHost: x"])
def test_a_token_that_cannot_be_one_is_said(desk: AdminDesk, invoke: Invoke, token: str) -> None:
    result = invoke("list", "--url", desk.url, "--token", token)
    assert result.exit_code == 1 and "holds what no token can hold" in result.stderr


class Stand:
    """Answers one connection with fixed bytes; with None it takes the request and says nothing."""

    def __init__(self, answer: bytes | None) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._answer = answer
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection:
            connection.recv(65536)
            if self._answer is None:
                self._done.wait(5)
            else:
                connection.sendall(self._answer)

    def close(self) -> None:
        self._done.set()
        self._thread.join(5)
        self._server.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "is no relayd: it says 200"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", "is no relayd: it says 200"),
        (b"HTTP/1.1 302 F\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "it says 302"),
        (b'HTTP/1.1 500 E\r\ncontent-length: 11\r\n\r\n{"error":7}', "it says 500"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "cannot be reached: "),
        (b"", "cannot be reached: "),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", "cannot be reached: "),
        (None, "does not answer within "),
    ],
)
def test_whatever_else_answers_is_one_line(answer: bytes | None, said: str) -> None:
    stand = Stand(answer)
    try:
        with pytest.raises(Failed, match=said) as failed:
            patience = 0.3 if answer is None else 20.0
            call(Office(Control(stand.url, Secret("t"), 0), "a test"), "GET", "/x", patience)
        assert "\n" not in failed.value.message
    finally:
        stand.close()


def test_an_answer_of_another_kind_is_said(invoke: Invoke, database: Path) -> None:
    stand = Stand(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    try:
        result = invoke("list", "--url", stand.url, "--token", "t")
        assert result.exit_code == 1
        assert result.stderr.startswith("relayd: the answer holds no upstreams")
    finally:
        stand.close()
