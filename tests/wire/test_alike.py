"""Events that differ in their text only: what is cut out says what parsing would."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.wire import OPENINGS
from relayd.model import FormatName
from relayd.wire.alike import LARGEST, MOST_LESSONS, PAID, Alike, Plain
from relayd.wire.events import Close, Delta, End, Events, Finish, Open, Start
from relayd.wire.formats import FORMATS
from relayd.wire.gemini.reader import COUNTED_EVERY
from relayd.wire.names import Names
from relayd.wire.neutral import Custom
from relayd.wire.parts import Part, Reasoning, Refusal, Text, ToolCall
from relayd.wire.restore import Restore
from relayd.wire.transcode import Transcode
from tests.wire.cuts import cut
from tests.wire.strategies import NAMES, coming, examples

TEXT = b'"text":'


class Host(NamedTuple):
    """How a host writes what goes on: around text that is JSON already, with a number that changes
    from event to event; and what it says before, behind the usual opening."""

    format: FormatName
    say: Callable[[bytes, int], bytes]
    key: bytes
    before: bytes = b""


def sse(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def chunk(delta: bytes) -> bytes:
    return b'data: {"id":"c","choices":[{"index":0,"delta":{%b}}]}\n\n' % delta


def block_delta(index: int, delta: bytes, padding: int = 0) -> bytes:
    data = b'{"type":"content_block_delta","index":%d,"delta":{%b}%b}'
    return sse("content_block_delta", data % (index, delta, b" " * padding))


def block_begins(block: bytes) -> bytes:
    ends = sse("content_block_stop", b'{"type":"content_block_stop","index":0}')
    data = b'{"type":"content_block_start","index":1,"content_block":%b}'
    return ends + sse("content_block_start", data % block)


def item_begins(item: bytes) -> bytes:
    data = b'{"type":"response.output_item.added","output_index":1,"item":%b}'
    return sse("response.output_item.added", data % item)


def google(text: bytes, out: int) -> bytes:
    counts = b'"promptTokenCount": 3,"candidatesTokenCount": %d,"promptTokensDetails": ' % out
    counts += b'[{"modality": "TEXT","tokenCount": 3}]'
    part = b'{"content": {"parts": [{"text": %b}],"role": "model"},"index": 0}' % text
    data = b'{"candidates": [%b],"usageMetadata": {%b},"modelVersion": "m","responseId": "r1"}'
    return b"data: " + data % (part, counts) + b"\r\n\r\n"


HOSTS = {
    "openai chat": Host(
        "chat",
        lambda text, n: (
            b'data: {"id":"c","choices":[{"index":0,"delta":{"content":%b},'
            b'"finish_reason":null}],"usage":null,"obfuscation":"%b"}\n\n' % (text, b"x%d" % n**5)
        ),
        b'"content":',
    ),
    "spaced chat": Host(
        "chat",
        lambda text, n: (
            b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": %b}}]}\r\n\r\n' % text
        ),
        b'"content":',
    ),
    "chat thinking": Host(
        "chat",
        lambda text, n: chunk(b'"content":null,"reasoning_content":%b' % text),
        b'"reasoning_content":',
        chunk(b'"reasoning_content":"Hm"'),
    ),
    "chat arguments": Host(
        "chat",
        lambda text, n: chunk(b'"tool_calls":[{"index":0,"function":{"arguments":%b}}]' % text),
        b'"arguments":',
        chunk(b'"tool_calls":[{"index":0,"id":"c1","function":{"name":"f","arguments":""}}]'),
    ),
    "openai responses": Host(
        "responses",
        lambda text, n: sse(
            "response.output_text.delta",
            b'{"type":"response.output_text.delta","content_index":0,"delta":%b,"item_id":"m",'
            b'"logprobs":[],"obfuscation":"y%d","output_index":0,"sequence_number":%d}'
            % (text, n**7, n),
        ),
        b'"delta":',
    ),
    "number first": Host(
        "responses",
        lambda text, n: sse(
            "response.output_text.delta",
            b'{"type":"response.output_text.delta","sequence_number": %d,"item_id":"m",'
            b'"output_index":0,"content_index":0,"delta":%b}' % (n, text),
        ),
        b'"delta":',
    ),
    "responses thinking": Host(
        "responses",
        lambda text, n: sse(
            "response.reasoning_summary_text.delta",
            b'{"type":"response.reasoning_summary_text.delta","delta":%b,"item_id":"rs",'
            b'"output_index":1,"sequence_number":%d,"summary_index":0}' % (text, n),
        ),
        b'"delta":',
        item_begins(b'{"type":"reasoning","id":"rs","summary":[]}'),
    ),
    "responses arguments": Host(
        "responses",
        lambda text, n: sse(
            "response.function_call_arguments.delta",
            b'{"type":"response.function_call_arguments.delta","delta":%b,"item_id":"fc",'
            b'"output_index":1,"sequence_number":%d}' % (text, n),
        ),
        b'"delta":',
        item_begins(b'{"type":"function_call","call_id":"c1","name":"f","arguments":""}'),
    ),
    "anthropic": Host(
        "messages",
        lambda text, n: block_delta(0, b'"type":"text_delta","text":%b' % text, n * 7 % 5),
        b'"text":',
    ),
    "anthropic thinking": Host(
        "messages",
        lambda text, n: block_delta(1, b'"type":"thinking_delta","thinking":%b' % text, n * 7 % 5),
        b'"thinking":',
        block_begins(b'{"type":"thinking","thinking":"","signature":""}'),
    ),
    "anthropic arguments": Host(
        "messages",
        lambda text, n: block_delta(1, b'"type":"input_json_delta","partial_json":%b' % text),
        b'"partial_json":',
        block_begins(b'{"type":"tool_use","id":"t1","name":"f","input":{}}'),
    ),
    "google": Host("gemini", google, b'"text":'),
    "without counts": Host(
        "gemini",
        lambda text, n: b'data: {"candidates":[{"content":{"parts":[{"text":%b}]}}]}\n\n' % text,
        b'"text":',
    ),
}
# Of their own, and what no host would write the same way twice.
TRICKS = ['"}', '"}  }', '","item_id":"m"', '"}],"role": "model"},"index": 0}],"usageMetadata": {']
TEXTS = st.lists(st.text(max_size=9) | st.sampled_from(TRICKS), max_size=30)
each_host = pytest.mark.parametrize("host", HOSTS)


def escaped(said: str) -> bytes:
    """As hosts write it that do not trust in anything but ASCII."""
    units = said.encode("utf-16-be")
    codes = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
    return b'"%b"' % "".join(f"\\u{code}" for code in codes).encode()


def quoted(said: str) -> bytes:
    return orjson.dumps(said)


def event(host: str, said: str, number: int = 0) -> bytes:
    return HOSTS[host].say(quoted(said), number)


def taught(host: str, number: int = 1) -> Alike:
    """One that has seen an event of the host."""
    alike = Alike()
    alike.learn(event(host, "a", number), Plain(Delta(3, "a"), HOSTS[host].key), 0)
    return alike


def pipe(host: str, client: FormatName, restore: Restore | None = None) -> Transcode:
    """The way from a host to a client, begun."""
    there, here = FORMATS[HOSTS[host].format].codec, FORMATS[client].codec
    assert there is not None and here is not None
    made = Transcode(there.reader(), here.writer(coming(client)), restore)
    made.feed(OPENINGS[HOSTS[host].format])
    made.feed(HOSTS[host].before)
    return made


class Deaf(Alike):
    """One that learns nothing."""

    def learn(self, event: bytes, plain: Plain, seen: int) -> None:
        pass


def unlearned(host: str, client: FormatName) -> Transcode:
    """A pipe that reads every event."""
    made = pipe(host, client)
    made._alike = Deaf()
    return made


def told(pipe: Transcode, pieces: Iterable[bytes]) -> tuple[object, ...]:
    out = b"".join(map(pipe.feed, pieces))
    state = pipe.usage, pipe.failed, pipe.seen, pipe.estimate_output()
    return out, pipe.finish(), *state, pipe.usage


# --- a whole stream -------------------------------------------------------------------------------


@each_host
@pytest.mark.parametrize("client", NAMES)
def test_a_stream_that_is_cut_out_is_one_that_is_parsed(host: str, client: FormatName) -> None:
    @examples(8)
    @given(texts=TEXTS, spelled=st.booleans(), where=st.lists(st.integers(1, 4000), max_size=4))
    def holds(texts: list[str], spelled: bool, where: list[int]) -> None:
        spell = escaped if spelled else quoted
        events = [HOSTS[host].say(spell(said), n) for n, said in enumerate(texts, 9)]
        one_by_one = told(pipe(host, client), events)
        assert told(unlearned(host, client), events) == one_by_one
        whole = told(pipe(host, client), cut(b"".join(events), where))
        assert whole == one_by_one

    holds()


@each_host
@pytest.mark.parametrize("client", NAMES)
def test_most_of_a_stream_is_not_parsed(host: str, client: FormatName) -> None:
    watch = pipe(host, client)
    for number in range(8):
        watch.feed(event(host, f"a{number}", number))
    produced = watch._produced
    watch._reader = None  # type: ignore[assignment]  # nobody reads any more
    watch.feed(event(host, "b9", 9))
    watch.feed(event(host, "b10", 10) + event(host, "b11", 11))
    assert watch._produced == produced + 8


def test_what_is_kept_until_it_is_whole_is_read() -> None:
    names = Names([Custom(name="f")], "chat")
    watch = pipe("chat arguments", "responses", Restore(names))
    outs = [watch.feed(event("chat arguments", said)) for said in ('{"input":', '"x"', "}")]
    assert outs == [b"", b"", b""]
    assert b'"delta":"x"' in watch.feed(b"data: [DONE]\n\n")


def test_counts_are_told_again_and_again_while_nothing_is_parsed() -> None:
    watch = pipe("google", "responses")
    counted = []
    for number in range(3 * COUNTED_EVERY):
        watch.feed(event("google", "a", number))
        counted.append(watch.usage.out_total if watch.usage is not None else None)
    assert sorted({each or 0 for each in counted}) == [0, 125, 253, 381]


def test_a_reply_that_is_too_long_ends_while_nothing_is_parsed() -> None:
    there, here = FORMATS["messages"].codec, FORMATS["chat"].codec
    assert there is not None and here is not None
    watch = Transcode(there.reader(), here.writer(coming("chat")), None, 3000)
    watch.feed(OPENINGS["messages"])
    outs = [watch.feed(event("anthropic", "a" * 100)) for _ in range(60)]
    assert watch.failed and not watch.complete
    assert sum(b'"error"' in out for out in outs) == 1 and outs[-1] == b""


# --- one event ------------------------------------------------------------------------------------


@each_host
def test_of_an_event_like_the_one_before_only_the_text_is_read(host: str) -> None:
    alike = taught(host)
    assert alike.block == 3
    for number, said in enumerate(["b\n", 'quotes " and \\', "ü", *TRICKS], 2):
        assert alike.said(event(host, said, number)) == said


@each_host
def test_an_event_that_differs_in_more_is_not_read_so(host: str) -> None:
    good = event(host, "b", 2)
    for at in range(len(good)):
        other = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        found = taught(host).said(other)
        assert found == "" or other.count(quoted(found)) or host == "anthropic", other
        assert taught(host).said(good[:at]) == ""


@pytest.mark.parametrize(
    "other",
    [b"17", b"null", b'["b"]', b'"b', b"", b'"b" ', b' "b"', b'"b","c":"d"', b'""', b'"\x01"'],
)
@each_host
def test_what_is_no_text_is_for_the_parser(host: str, other: bytes) -> None:
    assert taught(host).said(HOSTS[host].say(other, 2)) == ""


def test_an_event_that_lacks_a_byte_between_two_gaps_is_not_read_so() -> None:
    alike = taught("anthropic")
    good = event("anthropic", "b", 1)
    assert alike.said(good) == "b"
    assert alike.said(good.replace(b" ", b"").replace(b"data:", b"data: ")) == ""
    assert alike.said(good.replace(b'"}', b'"', 1)) == ""


def test_the_counts_are_kept_as_they_stand() -> None:
    alike = taught("google")
    alike.said(event("google", "b", 1234))
    assert orjson.loads(alike.counts)["candidatesTokenCount"] == 1234


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"text":"a","d":{"text":"a"}}\n\n',
        b'data: {"t":"a"}\n\n',
        b'data: {"text":17}\n\n',
        b'data: {"text":""}\n\n',
        b'data: {"text":"a","more":"%b"}\n\n' % (b"x" * LARGEST),
    ],
)
def test_nothing_is_learnt_where_it_is_not_sure(data: bytes) -> None:
    alike = Alike()
    alike.learn(data, Plain(Delta(3, "a"), TEXT), 0)
    assert alike.said(data) == ""


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        (b'"usageMetadata": {"a":{"b":1', False),  # without its end
        (b'"usageMetadata": [1]', False),
        (b'"usageMetadata": {"a":1},"x":{"usageMetadata":{"a":1}}', False),
        (b'"usageMetadata": {"sequence_number":1,"b":[{"obfuscation":"x2"}]}', True),
    ],
)
def test_counts_that_are_not_clear_are_no_gap(counts: bytes, kept: bool) -> None:
    alike = Alike()
    data = b'data: {"text":"a",%b}\n\n' % counts
    alike.learn(data, Plain(Delta(3, "a"), TEXT), 0)
    assert alike.said(data) == "a"
    assert bool(alike.counts) == kept
    assert bool(alike.said(data.replace(b"1", b"27"))) == kept


def test_what_was_forgotten_is_learned_again() -> None:
    alike = taught("anthropic")
    alike.forget()
    assert alike.said(event("anthropic", "b")) == ""
    alike.learn(event("anthropic", "b"), Plain(Delta(3, "b"), TEXT), 0)
    assert alike.said(event("anthropic", "c")) == "c"


def test_a_host_that_is_never_alike_is_given_up() -> None:
    alike, seen = Alike(), 0
    for number in range(MOST_LESSONS + 1):
        assert alike.said(b'data: {"n":%d,"text":"b"}\n\n' % (number - 1)) == "b" * bool(number)
        data = b'data: {"n":%d,"text":"a"}\n\n' % number
        seen += len(data)
        alike.learn(data, Plain(Delta(0, "a"), TEXT), seen)
    assert alike.said(data) == ""
    assert repr(alike) == "<Alike 0+4 bytes, 0 gaps, 0 lessons left>"


def test_a_lesson_that_has_paid_costs_nothing() -> None:
    alike, seen = Alike(), 0
    for number in range(5 * MOST_LESSONS):
        data = b'data: {"created":%d,"text":"a"}\n\n' % number
        seen += PAID * len(data)
        alike.learn(data, Plain(Delta(0, "a"), TEXT), seen)
        assert alike.said(data) == "a"


@pytest.mark.parametrize("part", [Text(""), Reasoning([]), Refusal(""), ToolCall("c", "f")])
@pytest.mark.parametrize("client", NAMES)
def test_saying_is_writing_a_delta_whichever_block_is_open(client: FormatName, part: Part) -> None:
    codec = FORMATS[client].codec
    assert codec is not None
    said, written = codec.writer(coming(client)), codec.writer(coming(client))
    for writer in (said, written):
        writer.write([Start("s", "m"), Open(0, part), Open(1, part)])
    for block in (0, 0, 1, 7, 1, 0):
        assert said.say(block, '{"a"') == written.write([Delta(block, '{"a"')])
    ends: Events = [Close(0), Close(1), Finish("stop"), End()]
    assert said.write(ends) == written.write(ends)


# --- what comes around it -------------------------------------------------------------------------

CITED = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"annotations":[{"type":"url_citation",'
    b'"url_citation":{"url":"https://a.example","title":"A"}}]},"finish_reason":"stop"}]}\n\n'
)
DONE = sse(
    "response.content_part.done",
    b'{"type":"response.content_part.done","output_index":0,"content_index":0,"item_id":"m",'
    b'"part":{"type":"output_text","text":"%b.","annotations":[]}}' % (b"say " * 12),
)
GROUNDED = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"."}]},"index":0,"finishReason":"STOP",'
    b'"groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://a.example","title":"A"}}],'
    b'"groundingSupports":[{"segment":{"startIndex":30,"endIndex":33,"text":"say"},'
    b'"groundingChunkIndices":[0]}]}}]}\r\n\r\n'
)


@pytest.mark.parametrize(
    ("host", "behind"),
    [("openai chat", CITED), ("openai responses", DONE), ("google", GROUNDED)],
)
@pytest.mark.parametrize("client", NAMES)
def test_what_comes_behind_is_told_as_if_all_had_been_parsed(
    host: str, behind: bytes, client: FormatName
) -> None:
    stream = [*(event(host, "say ", number) for number in range(12)), behind]
    assert told(pipe(host, client), stream) == told(unlearned(host, client), stream)


def test_a_comment_that_holds_an_event_says_nothing() -> None:
    watch = pipe("openai chat", "messages")
    for number in range(3):
        watch.feed(event("openai chat", "a", number))
    assert watch.feed(b": note ") + watch.feed(event("openai chat", "b", 3)) == b""
    assert b'"c"' in watch.feed(event("openai chat", "c", 4))


@pytest.mark.parametrize(
    ("host", "here", "there"),
    [
        ("anthropic", b"}  }", b"}"),
        ("number first", b'"sequence_number": 2', b'"sequence_number": 2,"output_index":1'),
        ("openai responses", b'"obfuscation":"', b'"obfuscation":"x","output_index":1,"x":"'),
        ("openai responses", b"}\n\n", b',"output_index":1}\n\n'),
        ("google", b'"candidatesTokenCount"', b'"x":1,"candidatesTokenCount"'),
    ],
)
def test_what_no_gap_may_hold_is_for_the_parser(host: str, here: bytes, there: bytes) -> None:
    number = 1 if host == "anthropic" else 2
    good = event(host, "b", number)
    assert taught(host, number).said(good) == "b"
    assert good.count(here) == 1
    assert taught(host, number).said(good.replace(here, there)) == ""
