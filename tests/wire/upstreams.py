"""Streams and replies as upstreams send them, with the habits of hosts that readers have to know.

Short ones by hand, one habit each: the recordings prove the usual, these are what hypothesis
mutates and cuts.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from relayd.model import FormatName
from tests.wire.strategies import PIXEL, Frames

Document = dict[str, Any]


def _chat(*deltas: Document, finish: str | None = "stop", more: Document | None = None) -> Frames:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    found = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    if finish is not None:
        found.append(
            {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]} | (more or {})
        )
    return [*((b"", orjson.dumps(each)) for each in found), (b"", b"[DONE]")]


def _named(*events: Document) -> Frames:
    return [(str(each["type"]).encode(), orjson.dumps(each)) for each in events]


def _bare(*events: Document) -> Frames:
    return [(b"", orjson.dumps(each)) for each in events]


def _ended(*chunks: Document) -> Frames:
    return [*_bare(*chunks), (b"", b"[DONE]")]


def _call(index: int | None, name: str, said: Any, **more: Any) -> Document:
    call = {"id": f"c_{name}", "type": "function", "function": {"name": name, "arguments": said}}
    return call | ({} if index is None else {"index": index}) | more


USAGE: Final = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
_BASE: Final = {"id": "x", "object": "chat.completion.chunk", "created": 7.5, "model": "m"}

CHAT: Final[dict[str, Frames]] = {
    "text and usage": _chat(
        {"role": "assistant", "content": ""},
        {"content": "Grüße "},
        {"content": "😀\u2028"},
        more={"usage": USAGE},
    ),
    "calls": _chat(
        {"role": "assistant", "content": None},
        {"tool_calls": [_call(0, "f", "")]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [_call(1, "g", '{"b":')]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}]},
        finish="tool_calls",
    ),
    "calls of hosts": _chat(
        {"tool_calls": [_call(None, "f", {"a": 1})]},
        {"tool_calls": [_call(0, "g", None)]},
        {"tool_calls": [_call(0, "h", "{}"), _call(4, "i", "{}")]},
        {"function_call": {"name": "old", "arguments": "{}"}},
        {"tool_calls": [_call(5, "patch", '{"input":"a\\nb"}')]},
    ),
    "thinking": _chat(
        {"role": "assistant", "reasoning_content": "Let me"},
        {"reasoning": " see", "reasoning_details": [{"type": "reasoning.text", "text": " see"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz", "index": 0}]},
        {"content": [{"type": "text", "text": "Yes"}]},
        {"content": ""},
    ),
    "custom and refusal": _chat(
        {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "p"}}]},
        {"tool_calls": [{"index": 0, "custom": {"input": "raw text"}}]},
        {"refusal": "No."},
        finish="length",
    ),
    "two answers": _ended(
        _BASE | {"choices": [], "prompt_filter_results": []},
        _BASE | {"choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": "stop"}]},
        _BASE | {"choices": [{"index": 0, "delta": {"content": "A"}, "finish_reason": ""}]},
        _BASE | {"choices": [{"index": 0, "delta": {"content": "A"}, "finish_reason": "length"}]},
        _BASE | {"choices": None, "usage": USAGE, "x_groq": {"usage": USAGE}},
    ),
    "logprobs": _ended(
        _BASE
        | {
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "A"},
                    "logprobs": {
                        "content": [
                            {"token": "A", "logprob": -1, "bytes": [65], "top_logprobs": []}
                        ]
                    },
                    "finish_reason": "stop",
                }
            ]
        },
    ),
    "failure": [
        *_chat({"content": "So"}, finish=None)[:1],
        (b"", b'{"error":{"message":"overloaded","code":529}}'),
    ],
    "cut": _chat({"content": "So"}, finish=None)[:1],
}

_RESPONSE: Final = {
    "id": "resp_1",
    "object": "response",
    "created_at": 7.0,
    "status": "in_progress",
    "model": "m",
    "output": [],
    "usage": None,
    "error": None,
}
_COUNTS: Final = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 13,
}
_TEXT: Final = {"type": "output_text", "text": "Grüße 😀", "annotations": []}
_MESSAGE: Final = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [_TEXT],
}
_FUNCTION: Final = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a":1}',
    "status": "completed",
}
_REASONING: Final = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}],
    "encrypted_content": "sealed",
}


def _response(*events: Document, output: list[Document], status: str = "completed") -> Frames:
    last = _RESPONSE | {"status": status, "output": output, "usage": _COUNTS}
    if status == "incomplete":
        last["incomplete_details"] = {"reason": "max_output_tokens"}
    opening: list[Document] = [
        {"type": "response.created", "response": _RESPONSE},
        {"type": "response.in_progress", "response": _RESPONSE},
    ]
    told = [*opening, *events, {"type": f"response.{status}", "response": last}]
    return _named(*({**each, "sequence_number": n} for n, each in enumerate(told)))


def _of_item(kind: str, index: int, **more: Any) -> Document:
    return {"type": f"response.{kind}", "output_index": index, "item_id": "x", **more}


def _item(index: int, item: Document, *between: Document, **begins: Any) -> list[Document]:
    return [
        _of_item("output_item.added", index, item=item | {"status": "in_progress"} | begins),
        *between,
        _of_item("output_item.done", index, item=item),
    ]


RESPONSES: Final[dict[str, Frames]] = {
    "text": _response(
        *_item(
            0,
            _MESSAGE,
            _of_item("content_part.added", 0, content_index=0, part=_TEXT | {"text": ""}),
            _of_item("output_text.delta", 0, content_index=0, delta="Grüße ", logprobs=[]),
            _of_item("output_text.delta", 0, content_index=0, delta="😀", obfuscation="x"),
            _of_item(
                "output_text.annotation.added",
                0,
                content_index=0,
                annotation_index=0,
                annotation={"type": "url_citation", "url": "https://e.org", "title": "E"},
            ),
            _of_item("output_text.done", 0, content_index=0, text="Grüße 😀"),
            _of_item("content_part.done", 0, content_index=0, part=_TEXT),
            content=[],
        ),
        output=[_MESSAGE],
    ),
    "thinking and a call": _response(
        *_item(
            0,
            _REASONING,
            _of_item("reasoning_summary_part.added", 0, summary_index=0, part={}),
            _of_item("reasoning_summary_text.delta", 0, summary_index=0, delta="One"),
            _of_item("reasoning_summary_text.done", 0, summary_index=0, text="One"),
            _of_item("reasoning_summary_part.added", 0, summary_index=1, part={}),
            _of_item("reasoning_summary_text.delta", 0, summary_index=1, delta="Two"),
            summary=[],
            encrypted_content="other",
        ),
        *_item(
            1,
            _FUNCTION,
            _of_item("function_call_arguments.delta", 1, delta='{"a":'),
            _of_item("function_call_arguments.delta", 1, delta="1}"),
            _of_item("function_call_arguments.done", 1, arguments='{"a":1}'),
            arguments="",
        ),
        output=[_REASONING, _FUNCTION],
    ),
    "nothing but done": _response(
        _of_item("output_item.done", 0, item=_REASONING),
        _of_item("output_item.done", 1, item=_MESSAGE),
        _of_item("output_item.done", 2, item=_FUNCTION),
        output=[_REASONING, _MESSAGE, _FUNCTION],
    ),
    "nothing but the end": _response(output=[_MESSAGE, _FUNCTION], status="incomplete"),
    "hosted, custom, refused": _response(
        *_item(0, {"type": "web_search_call", "id": "ws_1", "action": {"query": "q"}}),
        *_item(
            1,
            {
                "type": "custom_tool_call",
                "id": "ct",
                "call_id": "c2",
                "name": "patch",
                "input": "raw",
            },
            _of_item("custom_tool_call_input.delta", 1, delta="raw"),
            _of_item("custom_tool_call_input.done", 1, input="raw"),
            input="",
        ),
        *_item(
            2,
            _MESSAGE | {"content": [{"type": "refusal", "refusal": "No."}]},
            _of_item("refusal.delta", 2, content_index=0, delta="No."),
            content=[],
        ),
        *_item(3, {"type": "image_generation_call", "id": "ig", "result": PIXEL}),
        output=[],
    ),
    "failed": _named(
        {"type": "response.created", "response": _RESPONSE, "sequence_number": 0},
        {
            "type": "response.failed",
            "response": _RESPONSE | {"error": {"code": "server_error", "message": "No."}},
        },
    ),
    "error": _named(
        {"type": "response.created", "response": _RESPONSE},
        {"type": "error", "error": {"type": "server_error", "message": "No."}},
    ),
    "cut": _response(output=[])[:2],
}

_STARTED: Final = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": None},
    },
}


def _block(index: int, begins: Document, *deltas: Document) -> list[Document]:
    return [
        {"type": "content_block_start", "index": index, "content_block": begins},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _message(*events: Document, reason: str = "end_turn") -> Frames:
    return _named(
        _STARTED,
        {"type": "ping"},
        *events,
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": 4, "output_tokens_details": {"thinking_tokens": 2}},
        },
        {"type": "message_stop"},
    )


MESSAGES: Final[dict[str, Frames]] = {
    "text": _message(
        *_block(
            0,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "Grüße "},
            {"type": "text_delta", "text": "😀"},
            {"type": "citations_delta", "citation": {"url": "https://e.org", "title": "E"}},
        )
    ),
    "thinking and calls": _message(
        *_block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm"},
            {"type": "signature_delta", "signature": "c2ln"},
        ),
        *_block(1, {"type": "redacted_thinking", "data": "sealed"}),
        *_block(
            2,
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"a":1}'},
        ),
        *_block(3, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {"b": 2}}),
        reason="tool_use",
    ),
    "hosted and unknown": _message(
        *_block(
            0,
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"query":"q"}'},
        ),
        *_block(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        *_block(2, {"type": "text", "text": "whole"}, {"type": "later_delta", "x": 1}),
        {"type": "later_event"},
        reason="later_reason",
    ),
    "error": [*_message()[:2], *_named({"type": "error", "error": {"message": "No."}})],
    "cut": _message(*_block(0, {"type": "text", "text": "So"}))[:3],
}


def _answer(*parts: Document, index: int = 0, **more: Any) -> Document:
    content = {"role": "model", "parts": list(parts)}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 2}
    return {
        "candidates": [{"content": content, "index": index, **more}],
        "usageMetadata": usage | {"totalTokenCount": 13},
        "modelVersion": "m",
        "responseId": "r",
    }


GEMINI: Final[dict[str, Frames]] = {
    "text": _bare(
        _answer({"text": "Grüße "}),
        _answer({"text": "😀"}),
        _answer({"text": "", "thoughtSignature": "c2ln"}, finishReason="STOP"),
    ),
    "thinking and calls": _bare(
        _answer({"text": "Hm", "thought": True}),
        _answer({"text": "!", "thought": True}),
        _answer(
            {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "f"}},
        ),
        _answer(finishReason="STOP"),
    ),
    "two answers and a picture": _bare(
        _answer({"text": "B"}, index=1, finishReason="MAX_TOKENS"),
        _answer(
            {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
        ),
        _answer({"text": "A"}, finishReason="STOP"),
    ),
    "blocked": _bare({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "m"}),
    "malformed": _bare({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}),
    "grounded": _bare(
        _answer({"text": "Ä fact."}),
        _answer(
            finishReason="STOP",
            groundingMetadata={
                "groundingChunks": [{"web": {"uri": "https://e.org", "title": "E"}}],
                "groundingSupports": [
                    {
                        "segment": {"startIndex": 0, "endIndex": 8, "text": "Ä fact."},
                        "groundingChunkIndices": [0, 7],
                    }
                ],
            },
        ),
    ),
    "error": _bare(
        _answer({"text": "So"}), {"error": {"code": 503, "message": "No.", "status": "UNAVAILABLE"}}
    ),
    "cut": _bare(_answer({"text": "So"})),
}

STREAMS: Final[dict[FormatName, dict[str, Frames]]] = {
    "chat": CHAT,
    "responses": RESPONSES,
    "messages": MESSAGES,
    "gemini": GEMINI,
}

WHOLES: Final[dict[FormatName, list[Document]]] = {
    "chat": [
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 7,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "Hi",
                        "reasoning_content": "Hm",
                        "refusal": None,
                        "tool_calls": [_call(None, "f", "{}")],
                        "annotations": [
                            {
                                "type": "url_citation",
                                "url_citation": {
                                    "url": "https://e.org",
                                    "title": "E",
                                    "start_index": 0,
                                    "end_index": 1,
                                },
                            }
                        ],
                        "images": [{"image_url": {"url": "data:image/png;base64,QUJD"}}],
                        "audio": {"id": "a", "data": "QUJD", "transcript": "Hi", "expires_at": 1},
                    },
                    "finish_reason": "tool_calls",
                    "logprobs": None,
                }
            ],
            "usage": USAGE,
        }
    ],
    "responses": [
        _RESPONSE
        | {
            "status": "completed",
            "output": [_REASONING, _MESSAGE, _FUNCTION],
            "usage": _COUNTS,
        }
    ],
    "messages": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
                {"type": "text", "text": "Hi", "citations": [{"cited_text": "x"}]},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
            ],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 4},
        }
    ],
    "gemini": [
        _answer(
            {"text": "Hm", "thought": True},
            {"text": "Hi"},
            {"functionCall": {"name": "f", "args": {}}},
            finishReason="STOP",
        )
    ],
}


def sent(frames: Frames, newline: bytes = b"\n") -> bytes:
    """The bytes of a stream."""
    return b"".join(
        (b"event: " + name + newline if name else b"") + b"data: " + data + newline * 2
        for name, data in frames
    )
