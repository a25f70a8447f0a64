"""What is kept of requests and replies: of whom, how much, how long."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import stat
import threading
from pathlib import Path

import orjson
import pytest

from relayd.capture_terms import CaptureTerms
from relayd.model import Entry
from relayd.relay import capture
from relayd.relay.call import Call
from relayd.relay.capture import (
    MOST_BYTES,
    MOST_WAITING,
    NOTHING,
    CapturedClient,
    Captures,
    Noted,
)
from relayd.relay.filing import SUFFIX
from relayd.tasks import child
from relayd.wire.paths import TAILS
from tests.support.relay_parts import NotingClient
from tests.support.waiting import until

NOW = 1_800_000_000.0


def terms(folder: Path, *, total: int = 2**28, ttl: float = 86400.0) -> CaptureTerms:
    return CaptureTerms(("laptop",), folder / "captures", total=total, ttl=ttl)


def a_call() -> Call:
    """Of a chat completion."""
    return Call("req_7", "chat", TAILS["chat/completions"], "", (), 0.0, NOW, "")


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "captures").glob("*"))


def put(captures: Captures, name: str, size: int = 10) -> None:
    captures.put("laptop", name, size, lambda: {"text": "x" * size})


async def written(captures: Captures, waiting: int = 1) -> None:
    """Run until everything that waits is on the disk."""
    task = child(captures.run(lambda: 0.0))
    before = captures.kept + captures.lost
    await until(lambda: captures.kept + captures.lost == before + waiting, 20.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_only_keys_that_are_named_are_wanted(tmp_path: Path) -> None:
    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        assert captures.wants("laptop") and not captures.wants("phone")
        captures.adopt(CaptureTerms())
        assert not captures.wants("laptop")

    asyncio.run(scenario())


def test_a_request_becomes_one_file_for_our_eyes_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        client = NotingClient([], b'{"model":"m"}')
        noting = CapturedClient(client, captures, a_call(), "laptop")
        assert await noting.read_body() == b'{"model":"m"}'
        noting.start(200, [], None)
        noting.write("héllo ".encode())
        noting.end(b"you")
        noting.keep(Entry("req_7", NOW, status=200, outcome="ok", model_asked="m"))
        await written(captures)

    asyncio.run(scenario())
    [path] = kept(tmp_path)
    assert path.name == f"req_7{SUFFIX}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    document = orjson.loads(path.read_bytes())
    assert document["request"] == {"bytes": 13, "text": '{"model":"m"}'}
    assert document["reply"] == {"bytes": 10, "text": "héllo you"}
    assert (document["key"], document["status"], document["model"]) == ("laptop", 200, "m")


def test_a_whole_reply_is_noted_and_passes() -> None:
    async def scenario() -> None:
        captures = Captures()
        client = NotingClient([], b"{}")
        noting = CapturedClient(client, captures, a_call(), "laptop")
        noting.send(200, [], b"whole")
        assert client.received == b"whole" and not noting.gone
        assert noting.bytes_out == client.bytes_out
        assert "got=<Noted 5 of 5>" in repr(noting)

    asyncio.run(scenario())


def test_each_side_is_cut_at_its_bound() -> None:
    noted = Noted(4)
    for piece in (b"ab", b"cdef", b"gh"):
        noted.add(piece)
    assert noted.document() == {"bytes": 8, "cut_at": 4, "text": "abcd"}


def test_a_cut_inside_a_character_is_still_text() -> None:
    noted = Noted(2)
    noted.add("aé".encode())
    assert noted.document() == {"bytes": 3, "cut_at": 2, "text": "a"}


def test_what_is_no_text_is_kept_all_the_same() -> None:
    noted = Noted(100)
    noted.add(b"\xff\x00sound")
    assert base64.b64decode(noted.document()["base64"]) == b"\xff\x00sound"


def test_more_than_the_queue_holds_is_dropped_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        for number in range(MOST_WAITING + 3):
            put(captures, f"req_{number:03}")
        assert captures.lost == 3
        await written(captures, MOST_WAITING)
        assert captures.kept == MOST_WAITING

    asyncio.run(scenario())
    assert len(kept(tmp_path)) == MOST_WAITING


def test_more_bytes_than_may_wait_are_dropped_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        for number in range(3):
            captures.put("laptop", f"req_{number}", MOST_BYTES // 2 + 1, dict)
        assert captures.lost == 2
        await written(captures)
        assert captures.kept == 1

    asyncio.run(scenario())


def test_what_ends_after_a_reload_has_ended_it_is_not_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        noting = CapturedClient(NotingClient([], b"{}"), captures, a_call(), "laptop")
        captures.adopt(NOTHING)
        noting.keep(Entry("req_7", NOW))
        assert not captures._waiting and captures.lost == 0

    asyncio.run(scenario())


def test_what_waits_at_the_end_is_written(tmp_path: Path) -> None:
    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        task = child(captures.run(lambda: NOW))
        await asyncio.sleep(0)
        for number in range(3):
            put(captures, f"req_{number}")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert captures.kept == 3

    asyncio.run(scenario())


def test_a_disk_that_hangs_holds_the_end_up_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "ENDING", 0.05)
    go_on = threading.Event()

    def hangs(*_: object) -> None:
        go_on.wait(60)

    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        monkeypatch.setattr(captures._filing, "write", hangs)
        task = child(captures.run(lambda: NOW))
        for number in range(3):
            put(captures, f"req_{number}")
        await until(lambda: len(captures._waiting) == 2, 20.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert captures.lost == 1  # of the other two each has a thread
        go_on.set()

    asyncio.run(scenario())


def test_a_folder_that_cannot_be_written_costs_captures_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "captures").write_text("a file stands in the way")

    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        for number in range(3):
            put(captures, f"req_{number}")
        await written(captures, 3)
        assert (captures.kept, captures.lost) == (0, 3)
        (tmp_path / "captures").unlink()
        put(captures, "req_4")
        await written(captures)
        assert (captures.kept, captures.lost) == (1, 3)

    asyncio.run(scenario())
    assert caplog.text.count("a capture could not be kept: File exists") == 1
    assert caplog.text.count("captures are kept again") == 1


def test_a_capture_that_cannot_be_made_costs_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        captures.put("laptop", "req_1", 1, lambda: {"x": object()})
        put(captures, "req_2")
        await written(captures, 2)
        assert (captures.kept, captures.lost) == (1, 1)

    asyncio.run(scenario())


def test_old_files_go_while_nothing_new_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SWEEP", 0.001)
    (tmp_path / "captures").mkdir()
    old = tmp_path / "captures" / f"req_1{SUFFIX}"
    old.touch()
    os.utime(old, (NOW - 3601, NOW - 3601))

    async def scenario() -> None:
        captures = Captures(terms(tmp_path, ttl=3600.0))
        task = child(captures.run(lambda: NOW))
        await until(lambda: not old.exists(), 20.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
