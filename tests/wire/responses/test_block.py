"""The block that is open: how each kind grows and ends."""

from __future__ import annotations

from dataclasses import replace

from relayd.wire import envelope
from relayd.wire.events import Cite, Close, Delta, End, Event, Finish, Logprob, Open, Seal, Start
from relayd.wire.parts import (
    Audio,
    Carrier,
    Citation,
    Image,
    Item,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from relayd.wire.responses.block import OpenBlock
from relayd.wire.responses.output import Output
from relayd.wire.responses.writer import ResponsesWriter
from relayd.wire.setting import Coming
from tests.wire.grammar import responses as grammar
from tests.wire.responses.streams import Json, told
from tests.wire.ways import coming

CLIENT = coming("responses")
NATIVE = replace(CLIENT, sealed=False)
SIGNED = Carrier("gemini-signature", "c2ln")


def stream(*events: Event, to: Coming = CLIENT) -> list[Json]:
    """A stream of these blocks. What its own format says is the upstream's business."""
    data = ResponsesWriter(to).write([Start("", ""), *events, Finish("stop"), End()])
    if to.sealed:
        grammar.stream(data)
    return told(data)


def items(*events: Event, to: Coming = CLIENT) -> list[Json]:
    output: list[Json] = stream(*events, to=to)[-1]["response"]["output"]
    return output


def block(part: Part, *said: str) -> list[Event]:
    return [Open(0, part), *(Delta(0, each) for each in said), Close(0)]


def opened(item: Json) -> Carrier | None:
    """What is in an item's envelope."""
    return envelope.unwrap(item["encrypted_content"])


def test_a_refusal_is_a_part_of_a_message() -> None:
    values = stream(*block(Refusal(""), "N", "o."))
    assert [v["type"] for v in values if "refusal" in v["type"]] == [
        "response.refusal.delta",
        "response.refusal.delta",
        "response.refusal.done",
    ]
    (item,) = values[-1]["response"]["output"]
    assert item["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_custom_call_has_its_own_events_and_may_be_empty() -> None:
    part = ToolCall("c1", "exec", custom=True, namespace="shell")
    (item,) = items(*block(part, "ls"))
    assert (item["type"], item["input"], item["namespace"]) == ("custom_tool_call", "ls", "shell")
    assert item["id"].startswith("ctc_")
    assert items(*block(ToolCall("c1", "exec", custom=True)))[0]["input"] == ""


def test_a_calls_signature_travels_right_before_it() -> None:
    sealed, call = items(*block(ToolCall("c1", "f", carrier=SIGNED), "{}"))
    assert (sealed["type"], sealed["summary"]) == ("reasoning", [])
    assert opened(sealed) == replace(SIGNED, scope="acc1", call_id="c1")
    assert call["type"] == "function_call"


def test_a_signature_that_comes_late_travels_behind_what_it_stands_on() -> None:
    late: list[Event] = [Open(0, ToolCall("c1", "f")), Seal(0, SIGNED), Close(0)]
    call, sealed = items(*late)
    assert call["type"] == "function_call"
    assert opened(sealed) == replace(SIGNED, scope="acc1", call_id="c1")
    text, sealed = items(Open(0, Text("")), Delta(0, "x"), Seal(0, SIGNED), Close(0))
    assert text["type"] == "message"
    assert opened(sealed) == replace(SIGNED, scope="acc1")


def test_a_picture_is_what_a_tool_drew() -> None:
    (added, done) = [v["item"] for v in stream(*block(Image("image/png", "AA=="))) if "item" in v]
    assert (added["status"], added["result"]) == ("in_progress", None)
    assert (done["status"], done["result"]) == ("completed", "AA==")


def test_a_pictures_signature_is_bound_to_its_item() -> None:
    sealed, drawn = items(*block(Image("image/png", "AA==", carrier=SIGNED)))
    assert opened(sealed) == replace(SIGNED, scope="acc1", call_id=drawn["id"])


def test_what_has_no_item_is_not_told() -> None:
    assert items(*block(Audio("audio/wav", "AA=="))) == []
    assert items(*block(Opaque("messages", "server_tool_use", {}))) == []
    foreign = Opaque("responses", "mcp_call", {"type": "mcp_call", "id": "m"})
    assert items(*block(foreign)) == []
    assert items(Open(0, Audio("audio/wav")), Delta(0, "x"), Close(0)) == []


def test_a_hosted_tools_item_is_told_to_its_own_format_as_it_came() -> None:
    item = {"type": "mcp_call", "id": "m", "status": "failed"}
    assert items(*block(Opaque("responses", "mcp_call", item)), to=NATIVE) == [item]


def test_how_probable_tokens_were_is_told_with_them_and_at_the_end() -> None:
    known = [Logprob("Hi", -0.5, [72, 105])]
    values = stream(Open(0, Text("")), Delta(0, "Hi", known), Delta(0, "!"), Close(0))
    deltas = [v for v in values if v["type"] == "response.output_text.delta"]
    assert [len(v["logprobs"]) for v in deltas] == [1, 0]
    assert values[-1]["response"]["output"][0]["content"][0]["logprobs"] == deltas[0]["logprobs"]


def test_probabilities_of_other_things_than_text_are_not_told() -> None:
    values = stream(Open(0, ToolCall("c", "f")), Delta(0, "{}", [Logprob("{}", 0.0)]), Close(0))
    (delta,) = [v for v in values if v["type"].endswith("arguments.delta")]
    assert "logprobs" not in delta


def test_sources_are_told_at_the_end_of_their_text() -> None:
    cited = Cite(0, Citation("https://a", "A"))
    values = stream(Open(0, Text("")), cited, Delta(0, "Hi"), Close(0))
    (annotated,) = [v for v in values if "annotation_index" in v]
    assert annotated["annotation"]["end_index"] == 2
    assert annotated["annotation_index"] == 0


def test_thinking_and_its_summary_are_one_item_again() -> None:
    item = Item("rs_1")
    carrier = Carrier("openai-encrypted", "gAAA")
    both: list[Event] = [
        Open(0, Reasoning([], item=item)),
        Delta(0, "sum"),
        Close(0),
        Open(1, Reasoning([], raw=True, item=item)),
        Delta(1, "raw"),
        Seal(1, carrier),
        Close(1),
    ]
    (found,) = items(*both, to=NATIVE)
    assert found["summary"] == [{"type": "summary_text", "text": "sum"}]
    assert found["content"] == [{"type": "reasoning_text", "text": "raw"}]
    assert found["encrypted_content"] == "gAAA"


def test_empty_thinking_of_its_own_format_stays_an_item() -> None:
    (found,) = items(*block(Reasoning([], item=Item("rs_1"))), to=NATIVE)
    assert found == {"type": "reasoning", "id": "rs_1", "summary": []}


def test_a_block_says_how_far_it_is() -> None:
    found = OpenBlock(CLIENT, Output(CLIENT))
    assert repr(found) == "<OpenBlock -1 NoneType pieces=0>"
    found.open(Open(3, Text("")))
    found.say("x")
    assert repr(found) == "<OpenBlock 3 Text pieces=1>"


def test_thinking_that_nobody_sealed_is_told_from_the_formats_own() -> None:
    """Without it OpenAI would look for an item that it never had."""
    (found,) = items(Open(0, Reasoning([])), Delta(0, "hm"), Close(0))
    assert envelope.unwrap(found["encrypted_content"]) == envelope.UNSEALED


def test_many_sources_take_no_more_than_their_number() -> None:
    """Each is told once, in one piece of bytes."""
    cites: list[Event] = [Cite(0, Citation(f"https://a/{n}")) for n in range(10_000)]
    (message,) = items(Open(0, Text("")), Delta(0, "x"), *cites, Close(0))
    assert len(message["content"][0]["annotations"]) == 10_000
