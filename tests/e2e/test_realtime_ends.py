"""How realtime sessions end: by whom, with which code, and what the row says of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from relayd.accounts import Limits
from relayd.realtime import tunnel
from relayd.wire.websocket import Ended, Frames
from tests.conftest import Daemons
from tests.support.running import Running
from tests.support.scripted_upstream import ScriptedUpstream
from tests.support.sessions import (
    BY_HAND,
    MASK,
    Talk,
    accept,
    close,
    event,
    frame,
    handshake,
    last_words,
    opened,
    rows,
)


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start()


@pytest.fixture(scope="module")
def by_hand(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    return start(BY_HAND.format(url=upstream_of_module.url))


# --- how sessions end -----------------------------------------------------------------------------


def test_the_upstreams_close_code_reaches_the_client(relay: Running) -> None:
    before = relay.mark()
    with Talk(relay, "demo-closes-4321") as talk:
        talk.respond()
        assert talk.ending() == (4321, [])

    row = rows(relay, before, 2)[1]
    assert (row.outcome, row.error_code) == ("ok", "closed_4321")


def test_a_close_code_of_a_broken_upstream_is_its_failure(relay: Running) -> None:
    before = relay.mark()
    with Talk(relay, "demo-closes-1011") as talk:
        talk.respond()
        assert talk.ending()[0] == 1011

    row = rows(relay, before, 2)[1]
    assert (row.outcome, row.error_code) == ("upstream_error", "closed_1011")


def begin(by_hand: Running, upstream: ScriptedUpstream) -> tuple[Any, Any]:
    """A session whose both sides are bare sockets."""
    opening: list[Any] = []
    thread = threading.Thread(target=lambda: opening.append(opened(by_hand, "fast")))
    thread.start()
    peer = upstream.accept()
    accept(peer)
    thread.join()
    return opening[0], peer


def test_the_clients_close_code_reaches_the_upstream(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    with client:
        client.send(close(4007, mask=MASK))
        assert peer.read_exactly(8) == close(4007, mask=MASK)
        peer.send(close(4007))
        peer.close()
        assert client.read_all() == close(4007)

    [row] = by_hand.new_rows(before)
    assert (row.outcome, row.error_code, row.status) == ("ok", "closed_4007", 101)


def test_once_both_have_said_the_last_word_both_are_hung_up_on(
    by_hand: Running, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "CLOSE_GRACE", 3600.0)
    client, peer = begin(by_hand, upstream)
    with client:
        peer.send(close(1000))
        client.read_until(close(1000))
        client.send(close(1000, mask=MASK))
        assert client.read_all() == b""
        assert peer.read_exactly(8) == close(1000, mask=MASK)
        assert peer.hung_up(within=30)


def test_who_does_not_answer_a_close_frame_is_not_waited_for(
    by_hand: Running, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "CLOSE_GRACE", 0.05)
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    with client:
        client.send(close(1000, mask=MASK))
        assert client.read_all() == b""
    assert peer.hung_up(within=30)
    [row] = by_hand.new_rows(before)
    assert (row.outcome, row.error_code) == ("ok", "")


def test_a_client_that_hangs_up_is_taken_leave_of_at_the_upstream(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    peer.send(event("response.created", response={"id": "r"}))
    peer.send(event("response.output_text.delta", delta="x" * 400))
    client.read_until(b"xxx")
    client.close()

    assert peer.read_exactly(2) == b"\x88\x82"
    assert peer.hung_up()
    row, session = rows(by_hand, before, 2)
    assert (row.outcome, row.usage_source, row.status) == ("client_gone", "estimated", 200)
    assert row.usage.out_total == 100
    assert (session.outcome, session.usage_source, session.status) == ("client_gone", "none", 101)


def test_an_upstream_that_hangs_up_is_told_of_in_an_event(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    peer.send(event("response.created", response={"id": "r"}))
    client.read_until(b'"r"}}')
    peer.close()
    with client:
        assert last_words(client) == ("upstream_bad_reply", 1011)
        client.send(close(1011, mask=MASK))
        assert client.read_all() == b""

    for row in rows(by_hand, before, 2):
        assert (row.outcome, row.cost, row.usage_source) == ("broken_stream", 0, "none")


def begun(name: str) -> bytes:
    return event("response.created", response={"id": name})


def said(name: str, tokens: int) -> bytes:
    text = "x" * tokens * 4
    return event("response.output_text.delta", response_id=name, delta=text)


def sounded(name: str, tokens: int) -> bytes:
    sound = "A" * tokens * 3200
    return event("response.output_audio.delta", response_id=name, delta=sound)


def test_responses_beside_each_other_are_charged_one_by_one(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    usage = {"input_tokens": 30, "output_tokens": 5, "total_tokens": 35}
    done = event("response.done", response={"id": "b", "status": "completed", "usage": usage})
    peer.send(begun("a") + begun("b") + begun("c") + said("a", 100) + said("b", 70))
    peer.send(sounded("c", 12) + said("a", 11) + done + said("c", 1))
    client.read_until(b'"x')
    client.read_until(done[-60:])
    client.read_until(said("c", 1)[-20:])
    client.close()

    assert peer.hung_up(within=30)
    found = {row.upstream_request_id: row for row in rows(by_hand, before, 4)}
    assert found["b"].usage_source == "reported" and found["b"].usage.out_total == 5
    for name, tokens in (("a", 111), ("c", 13)):
        assert (found[name].usage_source, found[name].usage.out_total) == ("estimated", tokens)
        assert found[name].usage.in_uncached == 1000


def test_a_response_beside_another_needs_leave_of_its_own(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    by_hand.change_key(limits=Limits(concurrency=2))
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    peer.send(begun("a") + said("a", 50) + begun("b") + said("b", 60) + begun("c"))
    with client:
        assert last_words(client) == ("rate_limit_exceeded", 1008)
    assert peer.hung_up(within=30)
    by_hand.change_key(limits=Limits())

    first, second, session = rows(by_hand, before, 3)
    assert (first.usage.out_total, second.usage.out_total) == (50, 60)
    assert (session.status, session.outcome) == (429, "refused")


def test_an_upstream_that_falls_silent_in_a_response_is_given_up(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    peer.send(event("response.created", response={"id": "r"}))
    with client:
        client.read_until(b'"r"}}')
        assert last_words(client) == ("upstream_timeout", 1011)

    assert peer.hung_up()
    for row in rows(by_hand, before, 2):
        assert (row.outcome, row.error_code) == ("broken_stream", "upstream_timeout")


@pytest.mark.filterwarnings("ignore")
def test_a_bug_of_ours_in_a_session_ends_it(
    by_hand: Running, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    monkeypatch.setattr("relayd.wire.realtime.read", broken)
    with client:
        peer.send(event("session.created"))
        assert last_words(client)[1] == 1011
    assert peer.hung_up(within=30)
    [row] = by_hand.new_rows(before)
    assert (row.status, row.outcome) == (101, "broken_stream")


NONSENSE = {
    "a bad frame": b"\xff\xff nonsense",
    "a masked frame": frame(1, b"x", mask=MASK),
    "a message that is too large": frame(2, bytes(70_000)),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_an_upstream_that_speaks_nonsense_is_cut_off(
    by_hand: Running, upstream: ScriptedUpstream, name: str
) -> None:
    client, peer = begin(by_hand, upstream)
    good = event("session.created")
    peer.send(good + NONSENSE[name])
    with client:
        assert client.read_until(good) == good
        assert last_words(client) == ("upstream_bad_reply", 1011)
    assert peer.hung_up()


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(1, b"not masked"), 1002),
        (frame(2, bytes(70_000), mask=MASK), 1009),
        (b"\xff\xff\xff\xff\xff\xff", 1002),
    ],
)
def test_a_client_that_speaks_nonsense_is_told_so(
    by_hand: Running, upstream: ScriptedUpstream, bad: bytes, code: int
) -> None:
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    with client:
        client.send(bad)
        assert last_words(client) == ("invalid_frame", code)
    assert peer.read_exactly(2) == b"\x88\x82"
    assert peer.hung_up()
    [row] = by_hand.new_rows(before)
    assert (row.outcome, row.error_code) == ("bad_request", "invalid_frame")


SHORT = """\
demo: "on"
realtime: {idle_timeout: 1s, max_session: 3s}
limits: {write_timeout: 1s}
"""


@pytest.fixture(scope="module")
def short(start: Daemons) -> Running:
    return start(SHORT)


def test_a_session_in_which_nobody_speaks_is_closed(short: Running) -> None:
    before = short.mark()
    with Talk(short) as talk:
        code, events = talk.ending()
    assert (code, events[-1]["error"]["code"]) == (1001, "idle_timeout")
    [row] = short.new_rows(before)
    assert (row.outcome, row.error_code, row.usage_source) == ("ok", "idle_timeout", "none")


def test_a_session_does_not_last_for_ever(short: Running) -> None:
    before = short.mark()
    with Talk(short, "demo-chunks-100000-at-20") as talk:
        talk.say("response.create")
        code, events = talk.ending()
    assert (code, events[-1]["error"]["code"]) == (1001, "session_expired")
    row, session = rows(short, before, 2)
    assert (row.outcome, row.usage_source) == ("no_upstream", "estimated")
    assert (session.outcome, session.error_code) == ("ok", "session_expired")


# --- floods ---------------------------------------------------------------------------------------


def memory_of(relay: Running) -> int:
    """Bytes that wait in the daemon's own buffers for either side of its sessions."""

    async def count() -> int:
        found = 0
        for session in relay.daemon.realtime._open:
            for end in (session.client, session.upstream):
                found += end.transport.get_write_buffer_size()
        return found

    return relay.call(count)


def test_a_client_that_does_not_read_holds_a_flood_back_and_is_cut(short: Running) -> None:
    before = short.mark()
    client = opened(short, "demo-flood-chunks-4")
    with client:
        client.send(frame(1, b'{"type":"response.create"}', mask=MASK))
        # Nothing is read: the daemon holds no more than its bound, and then gives up.
        short.wait_for(lambda: memory_of(short) > 0)
        most = 0
        while short.daemon.realtime.sessions:
            most = max(most, memory_of(short))
        assert most < 2**20

    assert [row.outcome for row in rows(short, before, 2)] == ["client_gone"] * 2


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_many_small_frames_pass_no_faster_than_they_may(
    patient: Running, upstream: ScriptedUpstream, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    feed = Frames.feed

    def watched(frames: Frames, data: bytes, most: int = 2**31) -> list[Ended]:
        found = feed(frames, data, most)
        steps.append(frames.frames)
        return found

    monkeypatch.setattr(Frames, "feed", watched)
    client, peer = begin(patient, upstream)
    mask = MASK if side == "client" else b""
    flood, number = frame(9, mask=mask) * 5000, 5000
    with client:
        (client if side == "client" else peer).send(flood)
        got = (peer if side == "client" else client).read_exactly(len(flood))
        assert got == flood
        client.send(close(1000, mask=MASK))
        assert peer.read_exactly(8) == close(1000, mask=MASK)
        peer.send(close(1000))
        client.read_until(close(1000))
    assert max(steps) <= tunnel.STEP
    assert sum(steps) == number + 2


def test_what_was_said_fast_before_hanging_up_is_still_heard(
    patient: Running, upstream: ScriptedUpstream
) -> None:
    before = patient.mark()
    client, peer = begin(patient, upstream)
    usage = {"input_tokens": 30, "output_tokens": 5, "total_tokens": 35}
    done = event("response.done", response={"id": "a", "status": "completed", "usage": usage})
    peer.send(begun("a") + frame(9) * 5000 + done)
    peer.close()
    with client:
        assert last_words(client) == ("upstream_bad_reply", 1011)

    row = rows(patient, before, 2)[0]
    assert (row.usage_source, row.usage.out_total, row.outcome) == ("reported", 5, "ok")


@pytest.fixture(scope="module")
def patient(start: Daemons, upstream_of_module: ScriptedUpstream) -> Running:
    """With patience for whoever reads late."""
    return start(BY_HAND.format(url=upstream_of_module.url).replace("500ms", "60s"))


def test_an_upstream_that_does_not_read_holds_a_client_back(
    patient: Running, upstream: ScriptedUpstream
) -> None:
    client, peer = begin(patient, upstream)
    raw: socket.socket = client._socket
    raw.settimeout(1.0)
    piece, sent = frame(2, bytes(60_000), mask=MASK), 0
    with client, contextlib.suppress(TimeoutError):
        while sent < 64 * 2**20:
            raw.sendall(piece)
            sent += len(piece)
    assert sent < 64 * 2**20
    assert peer.hung_up(within=30)


def test_an_upstream_that_does_not_read_is_given_up(
    by_hand: Running, upstream: ScriptedUpstream
) -> None:
    before = by_hand.mark()
    client, peer = begin(by_hand, upstream)
    piece = frame(2, bytes(60_000), mask=MASK) * 400
    with client:
        sending = threading.Thread(target=lambda: client.try_send(piece))
        sending.start()
        assert last_words(client) == ("upstream_timeout", 1011)
        client.close()
        sending.join()
    [row] = by_hand.new_rows(before)
    assert (row.outcome, row.error_code) == ("broken_stream", "upstream_timeout")
    peer.close()


def test_who_reads_late_gets_all_of_it(patient: Running, upstream: ScriptedUpstream) -> None:
    client, peer = begin(patient, upstream)
    downwards = b"".join(frame(2, bytes([at % 256]) * 60_000) for at in range(600))
    sending = threading.Thread(target=lambda: peer.send(downwards))
    with client:
        sending.start()
        patient.wait_for(lambda: memory_of(patient) > 2**18)
        assert memory_of(patient) < 2**20
        assert client.read_exactly(len(downwards)) == downwards
        sending.join()
        client.send(close(1000, mask=MASK))
        assert peer.read_exactly(8) == close(1000, mask=MASK)
        peer.send(close(1000))
        client.read_until(close(1000))


def test_an_upstream_that_reads_late_gets_all_of_it(
    patient: Running, upstream: ScriptedUpstream
) -> None:
    client, peer = begin(patient, upstream)
    upwards = b"".join(frame(2, bytes([at]) * 60_000, mask=MASK) for at in range(6)) * 100
    sending = threading.Thread(target=lambda: client.send(upwards))
    with client:
        sending.start()
        patient.wait_for(lambda: memory_of(patient) > 2**18)
        assert memory_of(patient) < 2**20
        assert peer.read_exactly(len(upwards)) == upwards
        sending.join()
        peer.send(close(1000))
        client.read_until(close(1000))
        client.send(close(1000, mask=MASK))
        assert peer.read_exactly(8) == close(1000, mask=MASK)


# --- stopping -------------------------------------------------------------------------------------


def test_a_daemon_that_stops_closes_the_silent_and_waits_for_responses(tmp_path: Path) -> None:
    relay = Running(tmp_path, 'demo: "on"\ndrain_timeout: 20s\n')
    with Talk(relay) as silent, Talk(relay, "demo-chunks-10-at-20") as speaking:
        silent.respond()
        speaking.say("response.create")
        speaking.hear_until("response.output_text.delta")
        stopping = threading.Thread(target=relay.stop)
        stopping.start()
        code, events = silent.ending()
        assert (code, events[-1]["error"]["code"]) == (1001, "shutting_down")
        assert speaking.hear_until("response.done")["response"]["status"] == "completed"
        assert speaking.ending()[0] == 1001
        stopping.join()


def test_a_session_that_is_let_in_while_the_daemon_stops_is_closed(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    relay = Running(tmp_path, BY_HAND.format(url=upstream.url))
    before = relay.mark()
    client, stopping = relay.connect(), threading.Thread(target=relay.stop)
    with client:
        client.send(handshake(relay, "fast"))
        peer = upstream.accept()
        stopping.start()
        relay.wait_for(lambda: relay.daemon.front.draining)
        accept(peer)
        client.read_until(b"\r\n\r\n")
        assert last_words(client) == ("shutting_down", 1001)
        assert before == 0 and peer.read_exactly(2) == b"\x88\x82"
    stopping.join()


def test_a_daemon_that_waited_long_enough_cuts_sessions_with_a_word(tmp_path: Path) -> None:
    relay = Running(tmp_path, 'demo: "on"\ndrain_timeout: 300ms\n')
    with Talk(relay, "demo-stall") as talk:
        talk.say("response.create")
        talk.hear_until("response.output_text.delta")
        stopping = threading.Thread(target=relay.stop)
        stopping.start()
        code, events = talk.ending()
        assert (code, events[-1]["error"]["code"]) == (1001, "shutting_down")
        stopping.join()
