"""Scripts are framed as HTTP wants it."""

from __future__ import annotations

from relayd.demo.script import TURN, Close, Script, Send, Step, Wait, document, frame


def test_a_document_is_one_write_with_its_length() -> None:
    (only,) = frame(document(200, b"{}", [("x-a", "1")]))
    assert only == Send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        b"x-a: 1\r\ncontent-length: 2\r\n\r\n{}"
    )


def test_events_are_chunks_and_neighbours_are_joined() -> None:
    body: list[Step] = [Send(b"one"), TURN, Send(b"two"), Send(b"three")]
    first, turn, second = frame(Script(200, [], body, framing="chunked"))
    assert isinstance(first, Send)
    assert first.data.endswith(b"\r\n\r\n3\r\none\r\n")
    assert turn == Wait(0)
    assert second == Send(b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")


def test_a_script_that_breaks_off_has_no_last_chunk() -> None:
    steps = frame(Script(200, [], [Send(b"one"), Close()], framing="chunked"))
    assert steps[-1] == Close()
    assert not any(isinstance(step, Send) and b"0\r\n\r\n" in step.data for step in steps)


def test_the_answer_to_a_head_request_has_no_body() -> None:
    (head,) = frame(document(200, b"{}", []), bodiless=True)
    assert isinstance(head, Send)
    assert head.data.endswith(b"content-length: 2\r\n\r\n")
