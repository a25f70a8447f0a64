"""Chunks that differ in their text and counts only: what is cut says what parsing would."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.wire.events import Counted, Delta, Events
from relayd.wire.gemini.alike import MOST_LESSONS, Alike
from relayd.wire.gemini.reader import COUNTED_EVERY, GeminiReader

TEXTS = st.lists(st.text(max_size=12) | st.sampled_from(['"}],"role":', '{"text":', "}}"]))


def chunk(said: str, out: int = 1, *, spaced: bool = True, nested: bool = True) -> bytes:
    """As Google writes it."""
    usage: dict[str, object] = {"promptTokenCount": 3, "candidatesTokenCount": out}
    if nested:
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": 3}]
    document = {
        "candidates": [{"content": {"parts": [{"text": said}], "role": "model"}, "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "m",
        "responseId": "r1",
    }
    data = orjson.dumps(document)
    keys = (b'"text":', b'"usageMetadata":', b'"role":')
    for key in keys if spaced else ():
        data = data.replace(key, key + b" ")
    return data


def read(reader: GeminiReader, chunks: list[bytes]) -> Events:
    events = [event for data in chunks for event in reader.read(b"", data)]
    return events + reader.end()


def told(events: Events) -> list[object]:
    """Texts put together, and the last counts: how often counts are told is nobody's matter."""
    text = "".join(event.text for event in events if isinstance(event, Delta))
    counted = [event for event in events if isinstance(event, Counted)]
    others = [event for event in events if not isinstance(event, Delta | Counted)]
    return [text, counted[-1:], others]


def taught(said: str = "a") -> Alike:
    alike = Alike()
    alike.learn(chunk(said), said)
    return alike


@pytest.mark.parametrize("spaced", [False, True])
@given(texts=TEXTS)
def test_a_stream_that_is_cut_is_one_that_is_parsed(spaced: bool, texts: list[str]) -> None:
    chunks = [chunk(text, out, spaced=spaced) for out, text in enumerate(texts, 1)]
    cut, parsed = GeminiReader(), GeminiReader()
    parsed._alike._left = 0  # it learns nothing
    assert told(read(cut, chunks)) == told(read(parsed, chunks))


def test_most_of_a_stream_is_not_parsed() -> None:
    reader = GeminiReader()
    for number in range(5):
        reader.read(b"", chunk(f"a{number}", number))
    assert reader._alike.usage  # as bytes, which nobody has looked at


def test_counts_are_told_again_and_again_while_nothing_is_parsed() -> None:
    reader = GeminiReader()
    events = [e for n in range(3 * COUNTED_EVERY) for e in reader.read(b"", chunk("a", n))]
    outputs = [event.usage.out_total for event in events if isinstance(event, Counted)]
    assert outputs == [0, 127, 255, 383]
    assert reader._alike._left > MOST_LESSONS - 3


def test_a_text_is_cut_out_whatever_it_holds() -> None:
    said = 'quotes " and }],"role": "model"},"index":0}],"usageMetadata": {'
    assert taught().said(chunk(said, 99)) == said


def test_the_counts_are_kept_as_they_stand() -> None:
    alike = taught()
    alike.said(chunk("b", 1234))
    assert orjson.loads(alike.usage)["candidatesTokenCount"] == 1234


@pytest.mark.parametrize(
    "other",
    [
        chunk("b").replace(b'"modelVersion":"m"', b'"modelVersion":"n"'),
        chunk("b").replace(b"candidatesTokenCount", b"thoughtsTokenCount"),
        chunk("b").replace(b'"index":0', b'"index":1'),
        chunk("b").replace(b'"candidates"', b'"candidatez"'),
        chunk("b").replace(b'"b"', b"17"),
        chunk("b").replace(b'"b"', b'"b'),
        chunk("b")[:-1],
        b"",
    ],
)
def test_any_other_difference_is_for_the_parser(other: bytes) -> None:
    assert taught().said(other) is None


def test_what_was_forgotten_is_learned_again() -> None:
    alike = taught()
    alike.forget()
    assert alike.said(chunk("b")) is None
    alike.learn(chunk("a"), "a")
    assert alike.said(chunk("b")) == "b"


@pytest.mark.parametrize(
    "data",
    [
        chunk("a").replace(b'"usageMetadata": {', b'"usageMetadata": [{'),
        chunk("a").replace(b'"usageMetadata"', b'"usage"'),
        chunk("a").replace(b'"text"', b'"tekst"'),
        chunk("a").replace(b'"role"', b'"text": "a", "role"'),
        chunk("a")[: chunk("a").index(b"}]", chunk("a").index(b"usage"))],
    ],
)
def test_what_is_not_clear_is_not_learned(data: bytes) -> None:
    alike = Alike()
    alike.learn(data, "a")
    assert alike.said(chunk("b")) is None
    assert repr(alike) == f"<Alike (0, 0, 0) bytes, {MOST_LESSONS - 1} lessons left>"


def test_a_host_that_is_never_alike_is_given_up() -> None:
    alike = Alike()
    for number in range(MOST_LESSONS):
        alike.learn(chunk(f"{number}"), f"{number}")
    alike.learn(chunk("another", nested=False), "another")
    assert alike.said(chunk("b", nested=False)) is None


def test_chunks_without_counts_go_on_as_well() -> None:
    plain = b'{"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"},"index":0}]}'
    events = read(GeminiReader(), [plain] * 3)
    assert told(events)[:2] == ["aaa", []]


def test_a_host_that_is_never_alike_has_its_counts_told_as_well() -> None:
    reader = GeminiReader()
    chunks = [
        chunk("a", number).replace(b'"r1"', b'"r%s"' % bytes([97 + number % 26]))
        for number in range(COUNTED_EVERY + 1)
    ]
    events = [event for data in chunks for event in reader.read(b"", data)]
    outputs = [event.usage.out_total for event in events if isinstance(event, Counted)]
    assert outputs[-1] == COUNTED_EVERY - 1
