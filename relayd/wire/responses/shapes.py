"""What parts of a Responses reply look like as documents, and what a whole reply's events were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relayd.model import Usage
from relayd.wire.events import (
    Break,
    Choice,
    Cite,
    Close,
    Counted,
    Delta,
    End,
    Event,
    Finish,
    Logprob,
    Open,
    Reply,
    Start,
)
from relayd.wire.parts import Citation, Document, Part, Reasoning, Refusal, Text, ToolCall
from relayd.wire.setting import Coming


def call(part: ToolCall) -> tuple[str, str]:
    """The type of a call, and the member that says what it is called with."""
    return ("custom_tool_call", "input") if part.custom else ("function_call", "arguments")


def text(part: Text | Refusal, said: str) -> Document:
    """A part of a message."""
    if isinstance(part, Text):
        return {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    return {"type": "refusal", "refusal": said}


def annotation(citation: Citation, said: str, coming: Coming) -> Document | None:
    """A source of the text `said`; None for one that cannot be told."""
    if not coming.sealed:
        return citation.native
    if not citation.url or not coming.rules.citations:
        return None
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title,
        "start_index": citation.start or 0,
        "end_index": len(said) if citation.end is None else citation.end,
    }


def logprobs(found: list[Logprob]) -> list[Document]:
    """How probable the tokens were."""
    return [_token(each) | {"top_logprobs": [_token(top) for top in each.top]} for each in found]


def _token(value: Logprob) -> Document:
    raw: Any = value.bytes
    if raw is None:
        raw = list(value.token.encode("utf-8", "surrogatepass"))
    return {"token": value.token, "bytes": raw, "logprob": value.logprob}


def usage_document(usage: Usage) -> Document:
    """The `usage` object: all of the prompt, and what of it the cache gave and took."""
    prompt = (usage.in_uncached or 0) + (usage.cache_read or 0) + usage.cache_write
    output = usage.out_total or 0
    into: Document = {
        "cached_tokens": usage.cache_read or 0,
        "cache_write_tokens": usage.cache_write,
    }
    if usage.cache_write_30m is not None or usage.cache_write_12h is not None:
        into["cache_write_tokens_details"] = {
            "ttl_30m_tokens": usage.cache_write_30m or 0,
            "ttl_12h_tokens": usage.cache_write_12h or 0,
        }
    return {
        "input_tokens": prompt + (usage.tool_prompt or 0),
        "input_tokens_details": into,
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": min(usage.reasoning or 0, output)},
        "total_tokens": usage.total,
    }


# --- whole replies ------------------------------------------------------------------------------


def unfolded(reply: Reply) -> Iterator[Event]:
    """The events of a reply that is whole: each block in one piece."""
    yield reply.start or Start("", "")
    choice = reply.choices[0] if reply.choices else Choice()
    left = list(reversed(choice.logprobs or []))
    for block, part in enumerate(choice.parts):
        yield Open(block, part)
        yield from _grown(block, part, left)
        yield Close(block)
    if reply.usage is not None:
        yield Counted(reply.usage, reply.usage_rest)
    yield choice.finish or Finish("stop")
    yield End(reply.rest)


def _grown(block: int, part: Part, left: list[Logprob]) -> Iterator[Event]:
    match part:
        case Text() | Refusal():
            if part.text:
                yield Delta(block, part.text, _taken(left, len(part.text)))
            for citation in part.citations if isinstance(part, Text) else ():
                yield Cite(block, citation)
        case ToolCall():
            if part.arguments:
                yield Delta(block, part.arguments)
        case Reasoning():
            for place, paragraph in enumerate(part.text):
                if place:
                    yield Break(block)
                if paragraph:
                    yield Delta(block, paragraph)


def _taken(left: list[Logprob], size: int) -> list[Logprob] | None:
    """Those of the next `size` characters, off the end of `left`: a whole reply tells them of all
    its texts together."""
    taken: list[Logprob] = []
    while left and size > 0:
        taken.append(left.pop())
        size -= len(taken[-1].token)
    return taken or None
