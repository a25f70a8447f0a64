"""Legacy completions: requests read, replies worded. Chat without messages, and without tools."""

from __future__ import annotations

from functools import lru_cache

from relayd.demo.answer import Reply, Tokens
from relayd.demo.ask import Ask, Document, count, demand_bool, strings, table, weigh
from relayd.demo.events import Stream, data_event
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal

_FINISH = {"stop": "stop", "stop_text": "stop", "length": "length", "tools": "stop"}


def read(document: Document, name: Name) -> Ask:
    """What a request for a completion asks; of several prompts each gets its own choice."""
    asked = document.get("prompt", "<|endoftext|>")
    prompts = strings(asked) if isinstance(asked, list) else (asked,)
    if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        prompts = (_token_text(asked),)
    demand_bool(document, "stream")
    stop = document.get("stop")
    return Ask(
        text=prompts[-1],
        prompt_tokens=weigh(list(prompts)),
        max_tokens=count(document.get("max_tokens")),
        stops=strings(stop) or strings([stop]),
        choices=(count(document.get("n")) or 1) * len(prompts),
    )


def _token_text(asked: object) -> str:
    numbers = isinstance(asked, list) and asked and all(count(n) is not None for n in asked)
    if not numbers:
        message = "Invalid type for 'prompt': expected a string, array of strings or of tokens."
        raise Refusal(400, message, code="invalid_type", param="prompt")
    return f"tokens {asked}"


def whole(document: Document, reply: Reply) -> Document:
    """The reply as one document."""
    choices = [
        _choice(index, answer.text, _FINISH[answer.finish])
        for index, answer in enumerate(reply.choices)
    ]
    body = {**_envelope(reply), "choices": choices}
    return body | {"usage": _usage(reply.tokens)} if reply.tokens else body


def _envelope(reply: Reply) -> Document:
    return {
        "id": f"cmpl-{reply.seed}",
        "object": "text_completion",
        "created": int(reply.moment),
        "model": reply.model,
        "system_fingerprint": "fp_demo",
    }


def _choice(index: int, text: str, finish: str | None) -> Document:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def _usage(tokens: Tokens) -> Document:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.total,
    }


def stream(document: Document, reply: Reply) -> Stream:
    """The reply as events: texts, each choice's end, usage if asked, `[DONE]`."""
    asked = table(document.get("stream_options")).get("include_usage") is True
    envelope = _envelope(reply)

    @lru_cache(maxsize=256)
    def spoken(index: int, piece: str, finish: str | None = None) -> bytes:
        return data_event({**envelope, "choices": [_choice(index, piece, finish)]})

    choices = list(enumerate(reply.choices))
    events = [spoken(index, piece) for index, answer in choices for piece in answer.pieces]
    content = len(events)
    events += [spoken(index, "", _FINISH[answer.finish]) for index, answer in choices]
    if asked and reply.tokens:
        events.append(data_event({**envelope, "choices": [], "usage": _usage(reply.tokens)}))
    events.append(b"data: [DONE]\n\n")
    return Stream(events, (0, content), len(events) - content)
