"""Recorded traffic, translated: within its format, to every other one, turn by turn.

The hand-made recordings and client requests of `tests/fixtures` always run, and must come through
without a failure; the real ones lie beside the checkout, on some machines only, and `make fidelity`
reads them. That the numbers can go down is shown with a codec that does a thing wrong.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.fidelity import aside, clients, crossing, hub, prefixes, roundtrip, translation
from benchmarks.fidelity.__main__ import main
from benchmarks.fidelity.clients import BY_HAND
from benchmarks.fidelity.recording import FIXTURE, SHARED, Recorded, read
from benchmarks.fidelity.verdicts import Verdict
from relayd.wire.events import Delta, Events
from relayd.wire.neutral import Request
from relayd.wire.setting import Going, Written

RECORDED = read(FIXTURE)
ASKED = clients.requests(BY_HAND)


def failures(verdicts: list[Verdict]) -> list[tuple[str, str, tuple[str, ...]]]:
    """What failed, and why."""
    return [(one.row, one.id, one.problems) for one in verdicts if one.outcome == "failed"]


def rows(verdicts: list[Verdict]) -> set[str]:
    """The lines of the table."""
    return {one.row for one in verdicts}


def test_every_request_reply_and_stream_survives_its_own_format() -> None:
    verdicts = list(roundtrip.check_all(RECORDED))

    assert failures(verdicts) == []
    assert rows(verdicts) == {
        f"{name} {kind}" for name in hub.NAMES for kind in ("request", "reply", "stream")
    }


def test_what_is_no_whole_reply_is_told_and_not_compared() -> None:
    verdicts = [one for one in roundtrip.check_all(RECORDED) if one.outcome == "malformed"]

    assert {(one.id, one.why) for one in verdicts} >= {
        ("chat/not-json", "no JSON object"),
        ("chat-stream/cut-before-the-end", "it has no terminal event"),
        ("chat-stream/error-event", "it ends in an error"),
        ("responses/queued", "it is not finished"),
    }


def test_every_request_is_valid_and_understood_in_each_other_format() -> None:
    verdicts = list(crossing.check_requests(RECORDED))

    assert failures(verdicts) == []
    assert len(rows(verdicts)) == 24
    assert all("`" in one.why for one in verdicts if one.outcome == "refused")


def test_every_reply_and_stream_reaches_a_client_of_each_other_format() -> None:
    verdicts = list(crossing.check_replies(RECORDED))

    assert failures(verdicts) == []
    assert len(rows(verdicts)) == 24


def test_codex_is_served_on_every_format() -> None:
    """wire-formats, trap 67: tools among the items, free text, replayed reasoning."""
    codex = [one for one in ASKED if one.id.startswith("codex")]
    verdicts = list(clients.check_all(codex))

    assert len(codex) == 3
    assert failures(verdicts) == []
    strict = [one.why for one in verdicts if one.outcome == "refused"]
    assert strict and all(why.startswith("codex: `") for why in strict)


def test_every_client_program_is_served_on_every_format() -> None:
    verdicts = list(clients.check_all(ASKED))

    assert failures(verdicts) == []
    assert all("strict" in one.row for one in verdicts if one.outcome == "refused")


def test_counts_and_vectors_come_through() -> None:
    verdicts = list(aside.check_all(RECORDED))

    assert failures(verdicts) == []
    assert {"embed chat -> gemini", "embed gemini -> chat", "count messages -> chat"} <= rows(
        verdicts
    )


def test_the_same_history_is_written_to_the_same_bytes() -> None:
    """wire-formats, trap 151: a prompt's beginning is what caches know it by."""
    first = next(one for one in RECORDED if one.format == "chat" and not one.stream)
    body = orjson.loads(first.request)
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"b":1,"a":2}'}}
    more = [
        {"role": "assistant", "content": "Hi.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    body["tools"] = [{"type": "function", "function": {"name": "f"}}]
    longer = body | {"messages": body["messages"] + more}
    turns = [
        replace(first, id=f"talk#{number}", request=orjson.dumps(asked))
        for number, asked in enumerate((body, longer))
    ]
    verdicts = list(prefixes.check_all(turns))

    assert [(one.row, one.outcome) for one in verdicts] == [
        (f"chat -> {to}", "equal") for to in ("responses", "messages", "gemini")
    ]


def test_the_report_explains_its_tolerances_and_fails_when_anything_failed() -> None:
    lines, wrong = translation.report(RECORDED[:40], ASKED[:2])

    assert not wrong
    assert any(line.startswith("  null_is_absent: A member that is null") for line in lines)


def test_the_command_takes_a_file_of_either_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(BY_HAND)]) == 0
    assert capsys.readouterr().out.startswith("client programs")
    assert main([str(FIXTURE), "--part", "translated", "--only", "gemini/"]) == 0
    assert capsys.readouterr().out.startswith("round trip")


def test_the_command_refuses_a_file_of_half_requests(tmp_path: Path) -> None:
    path = tmp_path / "clients.jsonl"
    path.write_text('{"client": "x"}\n')

    assert main([str(path)]) == 2


@pytest.mark.slow
def test_real_traffic_is_translated_without_a_failure() -> None:
    if not SHARED.exists():
        pytest.skip("no recorded provider traffic beside this checkout")
    asked = clients.requests(clients.usual_file())

    found = [one for _, table in translation.tables(read(SHARED), asked) for one in table]

    assert failures(found) == []


# --- a comparison that cannot fail proves nothing -------------------------------------------------


def spoilt(monkeypatch: pytest.MonkeyPatch, name: Any, **members: Any) -> None:
    """Let one format's codec do something wrong."""
    right = hub.codec
    wrong = right(name)._replace(**members)
    monkeypatch.setattr(hub, "codec", lambda asked: wrong if asked == name else right(asked))


def only(verdicts: list[Verdict]) -> str:
    """The problems of the first failure."""
    return "; ".join(failures(verdicts)[0][2])


def test_a_lost_field_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = hub.codec("messages").encode

    def forgetful(request: Request, going: Going) -> Written:
        written = encode(request, going)
        written.document.pop("max_tokens")
        return written

    spoilt(monkeypatch, "messages", encode=forgetful)

    assert "max_tokens: lost" in only(list(roundtrip.check_all(RECORDED, "messages")))
    crossed = list(crossing.check_requests(RECORDED, [("chat", "messages")]))
    assert "max_tokens: Field required" in only(crossed)


def test_a_lost_piece_of_a_stream_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = hub.codec("chat").reader

    class Careless:
        """Forgets the second piece of every text."""

        plain = None

        def __init__(self) -> None:
            self._inner = right()
            self._pieces = 0

        def read(self, name: bytes, data: bytes) -> Events:
            return [event for event in self._inner.read(name, data) if self._keeps(event)]

        def end(self) -> Events:
            return self._inner.end()

        def whole(self, document: dict[str, Any]) -> Events:
            return self._inner.whole(document)

        def _keeps(self, event: object) -> bool:
            self._pieces += isinstance(event, Delta)
            return not (isinstance(event, Delta) and self._pieces == 2)

    spoilt(monkeypatch, "chat", reader=Careless)
    streams = [one for one in RECORDED if one.stream and one.format == "chat"]
    verdicts = list(roundtrip.check_all(streams, "chat"))

    assert any(one.outcome == "failed" for one in verdicts if one.row == "chat stream")


def test_other_bytes_for_other_reads_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    piped = hub.piped

    def uneven(*arguments: Any) -> bytes:
        return piped(*arguments) + b": x\n\n" * len(list(arguments[-1]))

    monkeypatch.setattr(hub, "piped", uneven)
    streams = [one for one in RECORDED if one.stream and one.format == "messages"]

    assert "other bytes when read" in only(list(roundtrip.check_all(streams, "messages")))


def test_a_prefix_that_changes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [_turn("talk#0", 1), _turn("talk#1", 3)]
    encode = hub.codec("messages").encode

    def numbering(request: Request, going: Going) -> Written:
        written = encode(request, going)
        written.document["messages"][0]["content"] = f"{len(request.messages)} messages"
        return written

    spoilt(monkeypatch, "messages", encode=numbering)
    verdicts = [one for one in prefixes.check_all(turns) if one.row == "chat -> messages"]

    assert only(verdicts) == "the history was written otherwise"


def _turn(name: str, messages: int) -> Recorded:
    first = next(one for one in RECORDED if one.format == "chat" and not one.stream)
    talk = [{"role": ("user", "assistant")[n % 2], "content": f"{n}"} for n in range(messages)]
    return replace(first, id=name, request=orjson.dumps({"model": "m", "messages": talk}))
