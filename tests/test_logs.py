"""Lines for the operator: what they say, which requests have one, what becomes of lost ones."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

from relayd import logs
from relayd.logs import LINES_WAITING, LONGEST_VALUE, Lines, Logs, RequestLog
from relayd.model import Entry, Usage

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


class Told:
    """Everything that was said since."""

    def __init__(self, form: logs.Form = "text", **how: bool) -> None:
        self._stream = io.StringIO()
        self.logs: Logs = logs.set_up(
            form, journald=how.get("journald", False), stream=self._stream
        )

    def lines(self) -> list[str]:
        self.logs.close()
        return self._stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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
        logs.log.exception("it broke")
    first, second = told.lines()
    assert first.startswith("<4>warning request id=req_1") and first.endswith("slow=yes")
    assert second.startswith("<3>error it broke | Traceback") and "ZeroDivisionError" in second


def test_a_trace_is_told_in_json_too() -> None:
    told = Told("json")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logs.log.exception("it broke")
    [line] = told.lines()
    assert "ZeroDivisionError" in orjson.loads(line)["exception"]


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


def test_a_level_above_leaves_lines_out() -> None:
    listening = Told()
    logs.set_level(listening.logs, logging.ERROR)
    RequestLog(listening.logs).tell(FAILED)
    logs.log.warning("nor this")
    assert listening.lines() == []


def test_where_nobody_reads_nothing_is_told() -> None:
    RequestLog(None).tell(SERVED)


def test_lines_that_find_no_room_are_lost_and_counted() -> None:
    """Who reads has stopped: the writer waits, and nobody else does."""
    begun, go_on = threading.Event(), threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            go_on.wait(5)
            return len(text)

    told = logs.set_up(stream=Stuck())
    told.put("first")
    assert begun.wait(5)
    for _ in range(LINES_WAITING + 3):
        told.put("x")
    assert told.lost == 3
    go_on.set()
    told.close()


def test_a_disk_that_is_full_costs_lines_and_nothing_else() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    told = logs.set_up(stream=Full())
    for _ in range(3):
        RequestLog(told).tell(SERVED)
    told.close()
    assert told.lost == 3 and repr(told) == "<Logs lost=3>"


def test_a_level_that_nobody_knows_is_information() -> None:
    record = logging.LogRecord("relayd", 15, "", 0, "x", (), None)
    assert Lines("text", journald=True).format(record).startswith("<6>")
