"""The checkers themselves: each takes a stream as its provider sends it, and no broken one.

A checker that lets everything pass proves nothing; so here each rule is broken once, by changing a
few bytes of a good stream.
"""

from __future__ import annotations

import pytest

from relayd.model import FormatName
from relayd.wire.events import Close, Delta, End, Events, Failure, Finish, Open, Start
from relayd.wire.parts import Image, Text, ToolCall
from tests.wire.grammar import chat, events, gemini, messages, responses
from tests.wire.grammar.frames import Broken
from tests.wire.grammar.table import STREAMS, WHOLES

HEAD = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m"'


def _chunk(delta: str, finish: str = "null") -> str:
    choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}'
    return f'data: {{{HEAD},"choices":[{choice}],"usage":null}}\n\n'


CHAT = "".join(
    [
        ": keep-alive\n\n",
        _chunk('{"role":"assistant","content":"","refusal":null}'),
        _chunk('{"content":"Hi"}'),
        _chunk(
            '{"tool_calls":[{"index":0,"id":"c0","type":"function",'
            '"function":{"name":"f","arguments":""}}]}'
        ),
        _chunk('{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}'),
        _chunk("{}", '"tool_calls"'),
        f'data: {{{HEAD},"choices":[],"usage":{{"prompt_tokens":1,"completion_tokens":1,'
        '"total_tokens":2,"prompt_tokens_details":{"cached_tokens":0},'
        '"completion_tokens_details":{"reasoning_tokens":0}}}\n\n',
        "data: [DONE]\n\n",
    ]
)

USAGE = '"usage":{"input_tokens":3,"output_tokens":1}'


def _event(kind: str, rest: str) -> str:
    return f'event: {kind}\ndata: {{"type":"{kind}"{rest}}}\n\n'


MESSAGES = "".join(
    [
        _event("ping", ""),
        _event(
            "message_start",
            ',"message":{"id":"msg_1","type":"message","role":"assistant","model":"m",'
            f'"content":[],"stop_reason":null,"stop_sequence":null,{USAGE}}}',
        ),
        _event(
            "content_block_start",
            ',"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}',
        ),
        _event(
            "content_block_delta",
            ',"index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}',
        ),
        _event(
            "content_block_delta",
            ',"index":0,"delta":{"type":"signature_delta","signature":"c2ln"}',
        ),
        _event("content_block_stop", ',"index":0'),
        _event(
            "content_block_start",
            ',"index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}',
        ),
        _event(
            "content_block_delta",
            ',"index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}',
        ),
        _event("content_block_stop", ',"index":1'),
        _event(
            "message_delta",
            f',"delta":{{"stop_reason":"tool_use","stop_sequence":null}},{USAGE}',
        ),
        _event("message_stop", ""),
    ]
)

_BODY = (
    '"id":"resp_1","object":"response","created_at":7,"model":"m","parallel_tool_calls":true,'
    '"tool_choice":"auto","tools":[],"error":null,"incomplete_details":null'
)
_PART = '{"type":"output_text","text":"Hi","annotations":[]}'
_MESSAGE = '"type":"message","id":"msg_1","role":"assistant"'
_DONE = f'{{{_MESSAGE},"status":"completed","content":[{_PART}]}}'
_CALL = '"type":"function_call","id":"fc_1","call_id":"c1","name":"f"'
_CALLED = f'{{{_CALL},"status":"completed","arguments":"{{}}"}}'


def _numbered(*told: tuple[str, str]) -> str:
    return "".join(
        _event(kind, f',"sequence_number":{number}{rest}')
        for number, (kind, rest) in enumerate(told)
    )


def _of(index: int, rest: str, item: str = "msg_1") -> str:
    return f',"output_index":{index},"item_id":"{item}"{rest}'


_OPENING = f',"response":{{{_BODY},"status":"in_progress","output":[]}}'
RESPONSES = _numbered(
    ("response.created", _OPENING),
    ("response.in_progress", _OPENING),
    (
        "response.output_item.added",
        f',"output_index":0,"item":{{{_MESSAGE},"status":"in_progress","content":[]}}',
    ),
    (
        "response.content_part.added",
        _of(0, ',"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}'),
    ),
    ("response.output_text.delta", _of(0, ',"content_index":0,"delta":"Hi","logprobs":[]')),
    ("response.output_text.done", _of(0, ',"content_index":0,"text":"Hi","logprobs":[]')),
    ("response.content_part.done", _of(0, f',"content_index":0,"part":{_PART}')),
    ("response.output_item.done", f',"output_index":0,"item":{_DONE}'),
    (
        "response.output_item.added",
        f',"output_index":1,"item":{{{_CALL},"status":"in_progress","arguments":""}}',
    ),
    ("response.function_call_arguments.delta", _of(1, ',"delta":"{}"', "fc_1")),
    ("response.function_call_arguments.done", _of(1, ',"arguments":"{}"', "fc_1")),
    ("response.output_item.done", f',"output_index":1,"item":{_CALLED}'),
    (
        "response.completed",
        f',"response":{{{_BODY},"status":"completed","output":[{_DONE},{_CALLED}],'
        '"usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":1,'
        '"output_tokens_details":{"reasoning_tokens":0},"total_tokens":2}}',
    ),
)

_IDS = '"modelVersion":"m","responseId":"r"'


def _parts(parts: str, more: str = "") -> str:
    content = f'{{"role":"model","parts":[{parts}]}}'
    return f'data: {{"candidates":[{{"content":{content},"index":0{more}}}],{_IDS}}}\r\n\r\n'


GEMINI = "".join(
    [
        "\r\n\r\n",
        _parts('{"text":"Hm","thought":true}'),
        _parts('{"text":"Hi","thoughtSignature":"c2ln"}'),
        _parts('{"functionCall":{"id":"c1","name":"f","args":{}}}'),
        'data: {"candidates":[{"index":0,"finishReason":"STOP"}],'
        '"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2},'
        f"{_IDS}}}\r\n\r\n",
    ]
)
GOOD: dict[FormatName, str] = {
    "chat": CHAT,
    "messages": MESSAGES,
    "responses": RESPONSES,
    "gemini": GEMINI,
}

# What is changed in a good stream; every one of these must be seen.
BREAKS: dict[FormatName, list[tuple[str, str]]] = {
    "chat": [
        ("data: {", "data:{"),
        ("data: {", "id: 1\ndata: {"),
        ("data: {", "event: x\ndata: {"),
        ("\n\n", "\r\n\r\n"),
        (": keep-alive\n\n", "retry: 1\n\n"),
        (": keep-alive\n\n", "\ufeff"),
        ('"role":"assistant",', ""),
        ('{"content":"Hi"}', '{"role":"assistant","content":"Hi"}'),
        ('{"content":"Hi"}', '{"content":""}'),
        ('{"content":"Hi"}', '{"content":["Hi"]}'),
        ('{"content":"Hi"}', '{"reasoning_details":[{"type":"x"}]}'),
        ('"index":0,"id":"c0"', '"index":1,"id":"c0"'),
        ('"index":0,"id":"c0"', '"id":"c0"'),
        ('"index":0,"function":{"arg', '"index":0,"id":"c0","function":{"arg'),
        ('"function":{"arguments":"{}"', '"function":{"name":"f","arguments":"{}"'),
        ('"function":{"arguments":"{}"', '"function":{"arguments":"{"'),
        ('"finish_reason":"tool_calls"', '"finish_reason":"stop"'),
        ('"finish_reason":"tool_calls"', '"finish_reason":"odd"'),
        ('"finish_reason":"tool_calls"', '"finish_reason":null'),
        ('"choices":[],"usage"', '"usage"'),
        ('"total_tokens":2', '"total_tokens":3'),
        ('"created":7,"model":"m","choices":[]', '"created":8,"model":"m","choices":[]'),
        ('"created":7', '"created":7.5'),
        ('"index":0,"delta":{"role"', '"index":1,"delta":{"role"'),
        ("data: [DONE]\n\n", "data: [DONE]\n\n" + _chunk("{}")),
        ('"logprobs":null,', ""),
        (',"usage":null', ""),
        ("data: [DONE]\n\n", "data: [DONE]"),
        ("data: [DONE]\n\n", 'data: {"error":"flat"}\n\n'),
    ],
    "messages": [
        ("event: ping\n", ""),
        ("event: ping\n", "event: pong\n"),
        ("event: ping\n", ": ping\n"),
        ("event: message_start\n", "event: message_stop\n"),
        (USAGE, '"usage":null'),
        ('"stop_sequence":null,', ""),
        ('"thinking":"","signature":""', '"signature":""'),
        ('"index":1,"content_block"', '"index":2,"content_block"'),
        ('"index":0,"delta"', '"index":1,"delta"'),
        ('"thinking":"Hm"', '"thinking":""'),
        ('"type":"thinking_delta","thinking":"Hm"', '"type":"text_delta","text":"Hm"'),
        ('"partial_json":"{}"', '"partial_json":"{"'),
        ('"input":{}', '"input":""'),
        ('"id":"toolu_1"', '"id":"too lu"'),
        ('"stop_reason":"tool_use"', '"stop_reason":"end_turn"'),
        ('"stop_reason":"tool_use"', '"stop_reason":null'),
        (_event("content_block_stop", ',"index":0'), ""),
        (_event("message_stop", ""), _event("message_stop", "") * 2),
        (_event("message_stop", ""), _event("message_stop", "") + "data: [DONE]\n\n"),
        (f'null}},{USAGE}}}\n\nevent: message_stop\ndata: {{"type":"message_stop"}}\n\n', "null}}"),
        (
            '"stop_sequence":null},"usage":{"input_tokens":3,',
            '"stop_sequence":null},"usage":{"input_tokens":0,',
        ),
    ],
    "responses": [
        ("event: response.created\n", ""),
        ('"sequence_number":3', '"sequence_number":4'),
        ('"resp_1","object":"response","created_at":7,"model":"m"', '"r"'),
        ('"tools":[]', '"tools":null'),
        ('"output_index":1,"item":{"type":"function_call"', '"output_index":2,"item":{"type":"x"'),
        ('"content_index":0,"delta"', '"content_index":1,"delta"'),
        ('"delta":"Hi"', '"delta":""'),
        ('"delta":"Hi"', '"delta":"Ho"'),
        ('"text":"Hi","logprobs"', '"text":"H","logprobs"'),
        ('"item_id":"fc_1","delta"', '"item_id":"fc_2","delta"'),
        ('"id":"fc_1","call_id":"c1","name":"f","status":"completed"', '"id":"fc_2"'),
        ('"arguments":"{}"', '"arguments":"{}  "'),
        ('"status":"completed","output"', '"status":"in_progress","output"'),
        (f'"output":[{_DONE},{_CALLED}]', '"output":[]'),
        ('"output_tokens_details":{"reasoning_tokens":0},', ""),
        ("event: response.completed", "event: response.done"),
        (',"annotations":[]}', "}"),
        ('"status":"in_progress","content":[]', '"status":"completed","content":[]'),
    ],
    "gemini": [
        ("data: {", "data:{"),
        ("\r\n\r\n", "\n\n"),
        ("\r\n\r\ndata", ": keep-alive\r\n\r\ndata"),
        ("data: {", "event: x\r\ndata: {"),
        ('"args":{}', '"args":"{}"'),
        ('"c2ln"', '"rly1.x"'),
        ('"text":"Hi"', '"text":"Hi","inlineData":{}'),
        ('{"text":"Hm","thought":true}', '{"text":""}'),
        ('"role":"model",', ""),
        ('"finishReason":"STOP"', '"finishReason":"stop"'),
        ('"totalTokenCount":2', '"totalTokenCount":3'),
        ('"responseId":"r"}\r\n\r\n', '"responseId":"r"}'),
        (',"responseId":"r"', ""),
        ('"index":0,"finishReason":"STOP"', '"index":0'),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_stream_is_complete(name: FormatName) -> None:
    assert STREAMS[name](GOOD[name].encode()) == "complete"


@pytest.mark.parametrize(
    ("name", "was", "becomes"),
    [(name, *change) for name, changes in BREAKS.items() for change in changes],
)
def test_a_broken_stream_is_found_out(name: FormatName, was: str, becomes: str) -> None:
    changed = GOOD[name].replace(was, becomes)
    if changed == GOOD[name]:
        pytest.fail(f"{was!r} is not in the stream")
    with pytest.raises(Broken):
        STREAMS[name](changed.encode())


@pytest.mark.parametrize("name", GOOD)
def test_a_stream_that_was_cut_is_open(name: FormatName) -> None:
    data = GOOD[name].encode()
    blank = b"\r\n\r\n" if name == "gemini" else b"\n\n"
    cut = data[: data.rindex(blank, 0, len(data) - 4) + len(blank)]
    assert STREAMS[name](cut) == "open"


def test_failures_end_a_stream_where_they_are_worded_as_the_clients_know_them() -> None:
    """wire-formats, traps 28, 79, 105."""
    error = '{"error":{"message":"No.","type":"server_error","param":null,"code":null}}'
    assert chat.stream(f"data: {error}\n\n".encode()) == "failed"
    error = '{"type":"error","error":{"type":"api_error","message":"No."}}'
    assert messages.stream(f"event: error\ndata: {error}\n\n".encode()) == "failed"
    error = '{"error":{"code":503,"message":"No.","status":"UNAVAILABLE"}}'
    assert gemini.stream(f"data: {error}\r\n\r\n".encode()) == "failed"
    assert gemini.stream(f"[{error}]".encode(), array=True) == "failed"
    with pytest.raises(Broken, match="first"):
        gemini.stream(b'data: {"x":1,' + error[1:].encode() + b"\r\n\r\n")
    body = _BODY.replace('"error":null', '"error":{"code":"server_error","message":"No."}')
    end = f',"response":{{{body},"status":"failed","output":[]}}'
    told = _numbered(
        ("response.created", _OPENING), ("response.in_progress", _OPENING), ("response.failed", end)
    )
    assert responses.stream(told.encode()) == "failed"


@pytest.mark.parametrize("name", WHOLES)
def test_an_empty_object_is_no_whole_reply(name: FormatName) -> None:
    with pytest.raises(Broken):
        WHOLES[name]({})


TEXT = Text("")
HUB: list[Events] = [
    [Open(0, TEXT)],
    [Start("", ""), Start("", "")],
    [Start("", ""), Open(1, TEXT)],
    [Start("", ""), Open(0, Text("said"))],
    [Start("", ""), Open(0, TEXT), Delta(0, "")],
    [Start("", "", created=True)],
    [Start("", ""), Open(0, Image())],
    [Start("", ""), Open(0, Image(data="QUJD")), Delta(0, "x")],
    [Start("", ""), Open(0, TEXT), Close(0), Close(0)],
    [Start("", ""), Open(0, TEXT), Finish("stop")],
    [Start("", ""), Open(0, TEXT), Close(0), End()],
    [Start("", ""), Finish("stop"), Finish("stop")],
    [Start("", ""), Finish("stop", 10**9)],
    [Start("", ""), Finish("tool_calls")],
    [Start("", ""), Open(0, ToolCall("c", "f")), Close(0), Finish("stop")],
    [Failure("No."), End()],
    [Failure("")],
]


@pytest.mark.parametrize("told", HUB, ids=repr)
def test_events_out_of_order_are_found_out(told: Events) -> None:
    with pytest.raises(Broken):
        events.check(told)
