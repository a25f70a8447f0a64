"""Gemini streams: events and the JSON array alike."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import BrokenStream
from relayd.model import Usage
from relayd.wire.alike import Alike, Plain
from relayd.wire.gemini.stream import GeminiArray, GeminiPassthrough
from tests.wire.cuts import cut, every_way, observer, places, run


def element(text: str, finish: str | None = None, **usage: object) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": [{"text": text}], "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    value: dict[str, object] = {"candidates": [candidate], "responseId": "g1"}
    return {**value, "usageMetadata": usage} if usage else value


ELEMENTS = [
    element("a", promptTokenCount=5),
    element("}],é"),
    element("", "STOP", promptTokenCount=5, candidatesTokenCount=3, totalTokenCount=8),
]
READ = Usage(in_uncached=5, out_total=3, total_reported=8)


def events(elements: list[dict[str, object]]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(each) + b"\r\n\r\n" for each in elements)


def array(elements: list[dict[str, object]], end: bytes = b"\n]") -> bytes:
    return b"[" + b"\n,\r\n".join(orjson.dumps(each) for each in elements) + end


def test_events_pass_and_the_usage_is_right_however_they_are_cut() -> None:
    stream = events(ELEMENTS)
    for pieces in every_way(stream):
        watch = observer("gemini")
        assert run(watch, pieces) == stream
        assert (watch.usage, watch.complete, watch.failed) == (READ, True, None)
        assert watch.response_id == "g1"


def test_the_array_passes_and_the_usage_is_right_however_it_is_cut() -> None:
    stream = array(ELEMENTS)
    for pieces in every_way(stream):
        watch = observer("gemini", sse=False)
        assert run(watch, pieces) == stream
        assert (watch.usage, watch.complete, watch.failed) == (READ, True, None)
        assert watch.response_id == "g1"


def test_the_last_value_of_each_field_counts() -> None:
    watch = observer("gemini")
    watch.feed(events([element("a", promptTokenCount=5, cachedContentTokenCount=2)]))
    watch.feed(events([element("b", candidatesTokenCount=4, cachedContentTokenCount=None)]))
    assert watch.usage == Usage(in_uncached=3, cache_read=2, out_total=4)


@pytest.mark.parametrize(
    "odd",
    [
        {"candidates": []},
        {"candidates": 7},
        {"candidates": [{}]},
        {"candidates": [{"content": {}}]},
        {"promptFeedback": {}},
        {"usageMetadata": None},
    ],
)
def test_what_may_be_missing_does_no_harm(odd: dict[str, object]) -> None:
    watch = GeminiPassthrough()
    run(watch, [events([odd])])
    assert not watch.complete
    assert watch.usage is None
    assert watch.estimate_output() == 0


def test_a_blocked_prompt_completes_the_stream() -> None:
    watch = observer("gemini")
    watch.feed(events([{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}}]))
    assert watch.complete


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error":{"code":503,"message":"no"}}\r\n\r\n',
        b'{\n  "error": {\n    "message": "no"\n  }\n}\n',
        b'[{"error":{"message":"no"}}]',
    ],
)
def test_an_error_of_any_shape_is_a_failure(body: bytes) -> None:
    watch = observer("gemini")
    assert run(watch, cut(body, [7])) == body
    assert watch.failed == "no"


def test_an_error_in_the_array_is_a_failure() -> None:
    watch = observer("gemini", sse=False)
    run(watch, [b'[{"error":{"code":503,"message":"no"}}]'])
    assert watch.failed == "no"


def test_only_white_space_keeps_the_stream_alive() -> None:
    watch = observer("gemini")
    assert watch.keepalive == b"\r\n"
    pieces = [watch.keepalive, *map(events, ([each] for each in ELEMENTS)), watch.keepalive]
    for piece in pieces:
        watch.feed(piece)
        assert watch.at_boundary
    assert watch.usage == READ


def test_the_array_is_kept_alive_between_elements_only() -> None:
    watch = observer("gemini", sse=False)
    assert watch.keepalive == b"\n"
    assert watch.at_boundary
    for piece, boundary in [(b"[", True), (b'{"a":', False), (b"1}", True), (b"\n,", True)]:
        watch.feed(piece)
        assert watch.at_boundary == boundary


@pytest.mark.parametrize(
    ("given_out", "count"), [(b"", 1), (b"[", 1), (b"[{}", 2), (b"[{}\n,\r\n", 2), (b"[{},{}", 3)]
)
def test_an_error_closes_the_array_wherever_it_stands(given_out: bytes, count: int) -> None:
    watch = observer("gemini", sse=False)
    watch.feed(given_out)
    whole = orjson.loads(given_out + watch.error_event(BrokenStream("gone"), "r"))
    assert len(whole) == count
    assert list(whole[-1]) == ["error"]
    assert whole[-1]["error"]["code"] == 502


def test_a_closed_array_takes_no_error_and_a_torn_one_gets_it_apart() -> None:
    closed = observer("gemini", sse=False)
    closed.feed(b"[]")
    assert closed.error_event(BrokenStream("gone"), "r") == b""
    torn = observer("gemini", sse=False)
    torn.feed(b'[{"a":')
    assert torn.error_event(BrokenStream("gone"), "r").startswith(b'\n,\r\n{"error":')


def test_the_error_event_has_its_space_and_the_error_first() -> None:
    watch = observer("gemini")
    watch.feed(events(ELEMENTS[:1]))
    written = watch.error_event(BrokenStream("gone"), "r")
    assert written.startswith(b'data: {"error":{"code":502,')
    assert written.endswith(b"\r\n\r\n")


def test_each_kind_knows_how_it_begins() -> None:
    assert GeminiPassthrough().begins(b"d")
    assert not GeminiPassthrough().begins(b"[")
    assert GeminiArray().begins(b"[")
    assert not GeminiArray().begins(b"{")


@given(places)
def test_both_kinds_estimate_the_same_output(cuts: list[int]) -> None:
    some = [element("word")] * 30
    one, other = observer("gemini"), observer("gemini", sse=False)
    run(one, cut(events(some), cuts))
    run(other, cut(array(some), cuts))
    assert other.estimate_output() == 30
    assert 25 <= one.estimate_output() <= 40


def counted(said: str, out: int, **more: object) -> bytes:
    """As Google writes it."""
    return events([element(said, promptTokenCount=5, candidatesTokenCount=out) | more])


class Deaf(Alike):
    """One that learns nothing."""

    def learn(self, event: bytes, plain: Plain, seen: int) -> None:
        pass


@pytest.mark.parametrize("sse", [True, False])
@given(texts=st.lists(st.text(max_size=6), max_size=12), where=places)
def test_what_is_not_parsed_is_counted_all_the_same(
    sse: bool, texts: list[str], where: list[int]
) -> None:
    many = [
        element(each, promptTokenCount=5, totalTokenCount=5 + n) for n, each in enumerate(texts)
    ]
    stream = events(many) if sse else array(many)
    quick, slow = observer("gemini", sse=sse), observer("gemini", sse=sse)
    assert isinstance(slow, GeminiPassthrough)
    slow._alike = Deaf()
    pieces = [*cut(stream, where)]
    assert run(quick, pieces) == run(slow, pieces) == stream
    assert quick.usage == slow.usage
    assert quick.estimate_output() == slow.estimate_output()
    assert (quick.events, quick.complete) == (slow.events, slow.complete)


def test_a_chunk_that_only_goes_on_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = GeminiPassthrough()
    watch.feed(counted("a", 1))
    with monkeypatch.context() as patch:
        patch.setattr(GeminiPassthrough, "_inspect", None)
        watch.feed(counted("b", 2))
        watch.feed(counted("c", 30))
    assert watch.usage == Usage(in_uncached=5, out_total=30)
    watch.feed(counted("d", 31, error={"message": "no"}))
    assert (watch.failed, watch.usage) == ("no", Usage(in_uncached=5, out_total=31))


@pytest.mark.parametrize(
    "more", [{"error": {"message": "no"}}, {"promptFeedback": {"blockReason": "SAFETY"}}]
)
def test_nothing_is_learned_of_a_chunk_that_says_more(more: dict[str, object]) -> None:
    watch = GeminiPassthrough()
    watch.feed(counted("a", 1, **more))
    assert watch._alike.said(counted("b", 1, **more)) == ""
    finished = events([element("a", "STOP", promptTokenCount=5)])
    watch.feed(finished)
    assert watch._alike.said(finished) == ""
