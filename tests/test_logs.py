"""Lines on their way: which requests have one, at which level, what becomes of lost ones."""

from __future__ import annotations

import io
import logging
import os
import select
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from relayd import logs
from relayd.lines import LONGEST_VALUE, Form, say
from relayd.logs import LINES_WAITING, STRANGERS, Logs, RequestLog, is_journal
from relayd.model import Entry, Usage

PATIENCE = 30.0
SERVED = Entry(
    "req_1",
    0.0,
    key_id=7,
    account_id=3,
    operation="generate",
    model_asked="fast",
    model_used="gpt-5.4-mini",
    upstream="openai",
    upstream_key="1",
    format_in="chat",
    format_out="responses",
    stream=True,
    status=200,
    outcome="ok",
    usage=Usage(in_uncached=10, cache_read=5, out_total=21),
    usage_source="reported",
    first_byte=0.4123,
    duration=2.5,
    attempts=2,
    bytes_in=100,
    bytes_out=200,
)
FAILED = replace(SERVED, outcome="upstream_error", status=502, error_code="upstream_500")


class Full(io.StringIO):
    """A disk that is full, the first `times`."""

    def __init__(self, times: float = float("inf")) -> None:
        super().__init__()
        self._left = times

    def write(self, text: str) -> int:
        self._left -= 1
        if self._left >= 0:
            raise OSError(28, "No space left on device")
        return super().write(text)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


class Told:
    """Everything that was said since."""

    def __init__(self, form: Form = "text", **how: bool) -> None:
        self._stream = io.StringIO()
        self.logs: Logs = logs.set_up(
            form, journald=how.get("journald", False), stream=self._stream
        )

    def lines(self) -> list[str]:
        self.logs.close()
        return self._stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("relayd")
    handlers, levels = list(root.handlers), (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    logging.captureWarnings(False)


def test_a_request_is_one_line_for_people() -> None:
    told = Told()
    RequestLog(told.logs).tell(SERVED, "laptop")
    [line] = told.lines()
    assert line.split(" ", 2)[2] == (
        "info request id=req_1 status=200 outcome=ok op=generate model=fast format=chat"
        " upstream=openai/1 upstream_format=responses upstream_model=gpt-5.4-mini stream=yes"
        " account=3 key=7 key_name=laptop attempts=2 first_byte_s=0.412 duration_s=2.5"
        " in=10 cached=5 out=21 bytes_in=100 bytes_out=200"
    )


def test_and_one_document_for_programs() -> None:
    told = Told("json")
    RequestLog(told.logs).tell(FAILED)
    [line] = told.lines()
    said = orjson.loads(line)
    assert (said["level"], said["message"], said["error"]) == ("info", "request", "upstream_500")
    assert said["time"].endswith("+00:00") and said["duration_s"] == 2.5


def test_under_journald_a_line_has_a_priority_and_no_time_and_a_trace_stays_one_line() -> None:
    told = Told(journald=True)
    RequestLog(told.logs, slow=1.0).tell(SERVED)
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        say(logging.ERROR, "it broke", exc=True)
    first, second = told.lines()
    assert first.startswith("<4>warning request id=req_1") and first.endswith("slow=yes")
    assert second.startswith("<3>error it broke | Traceback") and "ZeroDivisionError" in second


def test_what_a_client_chose_can_do_no_harm_in_a_terminal() -> None:
    told = Told()
    RequestLog(told.logs).tell(replace(SERVED, model_asked="a b\x1b[31m\n" + "x" * 999))
    [line] = told.lines()
    assert f" model=a?b?[31m?{'x' * (LONGEST_VALUE - 9)}~ " in line


@pytest.mark.parametrize(
    ("which", "told"), [("all", [SERVED, FAILED]), ("failed", [FAILED]), ("none", [])]
)
def test_which_requests_have_a_line(which: logs.Which, told: list[Entry]) -> None:
    listening = Told()
    log = RequestLog(listening.logs, which)
    log.tell(SERVED)
    log.tell(FAILED)
    assert len(listening.lines()) == len(told)


def test_of_those_that_went_well_a_share_is_told_evenly_and_of_the_others_all() -> None:
    listening = Told()
    log = RequestLog(listening.logs, sample=0.25)
    for _ in range(100):
        log.tell(SERVED)
    log.tell(FAILED)
    assert len(listening.lines()) == 26
    assert repr(log) == "<RequestLog all sample=0.25>"


def test_none_of_those_that_went_well_but_the_slow_ones() -> None:
    listening = Told()
    log = RequestLog(listening.logs, sample=0.0, slow=3.0)
    log.tell(SERVED)
    for _ in range(3):
        log.tell(SERVED)
    log.tell(replace(SERVED, duration=3.0))
    lines = listening.lines()
    assert [line for line in lines if "slow=yes" in line] == lines[-1:]


def test_of_strangers_some_are_told_and_the_others_counted() -> None:
    """Whoever has no key cannot fill the disk."""
    listening = Told()
    log = RequestLog(listening.logs)
    stranger = replace(SERVED, key_id=None, account_id=None, status=401, outcome="refused")
    for _ in range(3 * STRANGERS):
        log.tell(stranger)
    log.tell(SERVED)
    log.tell(replace(stranger, started_at=60.0))
    *first, ours, last = listening.lines()
    assert len(first) == STRANGERS and "untold" not in "".join(first)
    assert "account=3" in ours and last.endswith(f" untold={2 * STRANGERS}")


def test_a_level_above_leaves_lines_out() -> None:
    listening = Told()
    logs.set_level(listening.logs, logging.ERROR)
    RequestLog(listening.logs).tell(FAILED)
    say(logging.WARNING, "nor this")
    assert listening.lines() == []


def test_libraries_have_no_say_below_warnings() -> None:
    """What they tell of at work may hold anything: the parameters of SQL, for one."""
    listening = Told()
    logs.set_level(listening.logs, logging.DEBUG)
    logging.getLogger("aiosqlite").debug("executing INSERT ... ('secret')")
    say(logging.DEBUG, "ours")
    logging.getLogger("aiosqlite").warning("the disk is slow")
    first, second = listening.lines()
    assert "debug ours" in first and "the disk is slow logger=aiosqlite" in second


def test_what_python_warns_of_is_a_line_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        listening = Told()
        warnings.warn("never awaited", RuntimeWarning, stacklevel=1)
        [line] = listening.lines()
    assert "RuntimeWarning: never awaited" in line and "logger=py.warnings" in line


def test_where_nobody_reads_nothing_is_told() -> None:
    RequestLog(None).tell(SERVED)


def test_lines_that_find_no_room_are_lost_and_counted_and_one_line_says_so() -> None:
    """Who reads has stopped: the writer waits, and nobody else does."""
    begun, go_on = threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            go_on.wait(PATIENCE)
            return super().write(text)

    stream = Stuck()
    told = logs.set_up(stream=stream)
    told.put("first")
    assert begun.wait(PATIENCE)
    for _ in range(LINES_WAITING + 3):
        told.put("x")
    assert told.lost == 3
    go_on.set()
    told.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + LINES_WAITING + 1
    [line] = [line for line in lines if "lost" in line]
    assert line.endswith("warning lines of this log are lost lines=3 in_all=3")


def test_a_disk_that_is_full_costs_lines_and_nothing_else() -> None:
    told = logs.set_up(stream=Full())
    for _ in range(3):
        RequestLog(told).tell(SERVED)
    told.close()
    assert told.lost == 3 and repr(told) == "<Logs lost=3>"


def test_when_there_is_room_again_one_line_says_how_many_are_lost(monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "AGAIN", 0.01)
    told = Told("json")
    told.logs._unwritten = 17  # as after a full disk
    told.logs.put("{}")
    lines = told.lines()
    assert len(lines) == 2
    said = orjson.loads(lines[1])
    assert (said["level"], said["lines"], said["in_all"]) == ("warning", 17, 17)


def test_it_is_said_without_another_line_that_would_show_that_there_is_room(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(logs, "AGAIN", 0.01)
    stream = Full(1)
    told = logs.set_up(stream=stream)
    told.put("lost")
    wait_for(lambda: "lines=1 in_all=1" in stream.getvalue())
    told.close()
    assert stream.getvalue().count("\n") == 1


def test_lines_go_to_the_descriptor_and_a_torn_one_ends_before_the_next(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(write, "w") as stream, open(read, "rb", buffering=0) as pipe:
        told = logs.set_up(stream=stream)
        told.put("x" * 200_000)  # more than fits: half of it is written, then there is no room
        told.put("second")
        taken = b""
        while not taken.endswith(b"second\n"):  # it does not want to wait, and we do
            taken += pipe.read(65536)
        told.close()
        assert taken == b"x" * 200_000 + b"\nsecond\n" and told.lost == 0


def test_a_reader_that_left_costs_lines_and_what_is_half_written_is_ended() -> None:
    read, write = os.pipe()
    with open(write, "w") as stream:
        told = logs.set_up(stream=stream)
        told._sink._torn = True
        told.put("whole")
        wait_for(lambda: bool(select.select([read], [], [], 0)[0]))
        assert os.read(read, 100) == b"\nwhole\n"
        os.close(read)
        told.put("to nobody")
        told.put("at all")
        wait_for(lambda: told.lost == 2)
        told.close()


def test_a_pipe_that_takes_no_more_does_not_keep_the_end_waiting(monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "ENDING", 0.05)
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(write, "w") as stream, open(read, "rb"):
        told = logs.set_up(stream=stream)
        for _ in range(20):
            told.put("x" * 10_000)
        told.close()
        told._writer.join(PATIENCE)
        assert 0 < told.lost <= 20


def test_without_stderr_lines_are_lost_and_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stderr", None)  # as Python has it where that is closed
    told = logs.set_up()
    told.put("x")
    told.close()
    assert told.lost == 1


def test_a_record_that_cannot_be_put_into_words_is_lost_and_fails_nobody() -> None:
    listening = Told()
    logging.getLogger("other").warning("%d", "not a number")
    assert listening.lines()[-1].endswith("lines of this log are lost lines=1 in_all=1")


def test_another_form_and_level_count_from_the_next_line_on() -> None:
    listening = Told()
    say(logging.INFO, "one")
    listening.logs.lines.form = "json"
    logs.set_level(listening.logs, logging.WARNING)
    say(logging.INFO, "two")
    say(logging.WARNING, "three")
    first, second = listening.lines()
    assert first.endswith("info one") and orjson.loads(second)["message"] == "three"


def test_journald_is_known_by_the_stream_not_by_an_inherited_variable(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        place = os.fstat(stream.fileno())
        right = {"JOURNAL_STREAM": f"{place.st_dev}:{place.st_ino}"}
        assert is_journal(right, stream)
        assert not is_journal({"JOURNAL_STREAM": "1:2"}, stream)
        assert not is_journal({}, stream)
    assert not is_journal(right, stream), "closed"
    assert not is_journal(right, io.StringIO()) and not is_journal(right, None)
