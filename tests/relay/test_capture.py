"""What is kept of requests and replies: of whom, how much, how long."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
from pathlib import Path

import orjson
import pytest

from relayd.capture_terms import CaptureTerms
from relayd.model import Entry
from relayd.relay import capture
from relayd.relay.call import Call
from relayd.relay.capture import MOST_WAITING, SUFFIX, CapturedClient, Captures, Noted, sweep, write
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
    captures.put(name, {"text": "x" * size})


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
        captures = Captures(CaptureTerms())
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


def test_a_folder_that_cannot_be_written_costs_captures_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "captures").write_text("a file stands in the way")

    async def scenario() -> None:
        captures = Captures(terms(tmp_path))
        put(captures, "req_1")
        await written(captures)
        assert (captures.kept, captures.lost) == (0, 1)

    asyncio.run(scenario())
    assert "a capture could not be kept: File exists" in caplog.text


def test_a_name_that_is_there_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    folder = tmp_path / "captures"
    folder.mkdir()
    (folder / f"req_1{SUFFIX}").symlink_to(target)
    with pytest.raises(OSError):
        write(folder, "req_1", b"secret")
    assert not target.exists()


def aged(folder: Path, name: str, age: float, size: int = 100) -> Path:
    path = folder / "captures" / f"{name}{SUFFIX}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_what_is_too_old_is_deleted_whoever_made_it(tmp_path: Path) -> None:
    old, new = aged(tmp_path, "req_1", 3601), aged(tmp_path, "req_2", 3599)
    assert sweep(terms(tmp_path, ttl=3600.0), NOW) == 1
    assert not old.exists() and new.exists()


def test_beyond_the_bound_the_oldest_go_first(tmp_path: Path) -> None:
    files = [aged(tmp_path, f"req_{age}", age) for age in (50, 40, 30, 20)]
    assert sweep(terms(tmp_path, total=250), NOW) == 2
    assert [path.exists() for path in files] == [False, False, True, True]


def test_what_others_keep_in_the_folder_is_not_ours_to_delete(tmp_path: Path) -> None:
    aged(tmp_path, "req_1", 10)
    other = tmp_path / "captures" / "notes.txt"
    other.write_text("mine")
    os.utime(other, (0, 0))
    sweep(terms(tmp_path, ttl=1.0), NOW)
    assert kept(tmp_path) == [other]


def test_a_sweep_of_nothing_deletes_nothing(tmp_path: Path) -> None:
    assert sweep(terms(tmp_path), NOW) == 0


def test_old_files_go_while_nothing_new_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SWEEP", 0.001)
    old = aged(tmp_path, "req_1", 3601)

    async def scenario() -> None:
        captures = Captures(terms(tmp_path, ttl=3600.0))
        task = child(captures.run(lambda: NOW))
        await until(lambda: not old.exists(), 20.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
