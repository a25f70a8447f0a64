"""The grammar of chat streams, and the shape of whole chat replies (wire-formats 2.2, 2.3, 9.3).

What the SDKs' accumulators trip over is an error here: a role, an id or a name that is said twice,
an index that is missing or not dense, a chunk behind the usage.
"""

from __future__ import annotations

from tests.wire.grammar.frames import (
    Broken,
    Document,
    Ending,
    an_object,
    broken,
    count,
    frames,
    member,
    need,
    only,
    said,
)

FINISH = frozenset({"stop", "length", "tool_calls", "content_filter"})
DELTA = frozenset(
    "role content refusal reasoning_content reasoning_details tool_calls images annotations "
    "audio".split()
)
MESSAGE = DELTA


class _Choice:
    """One answer as far as it came."""

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self.kinds: list[str] = []
        self.sealed: set[int] = set()
        self.finish = ""


class ChatStream:
    """A stream as far as it was checked.

    Arguments:
        usage: the client asked for it.
        arguments: those of calls are JSON objects, as far as the upstream's were.
    """

    def __init__(self, *, usage: bool = True, arguments: bool = True) -> None:
        self.usage = usage
        self.arguments = arguments
        self.choices: dict[int, _Choice] = {}
        self.same: Document = {}
        self.counted = False
        self.ending: Ending = "open"

    def check(self, data: bytes) -> Ending:
        """Check a whole stream; returns how it ended."""
        for frame in frames(data, named=False, comments=True):
            need(self.ending == "open", "nothing comes behind the end", frame)
            if frame.data == b"[DONE]":
                self._done()
            elif "error" in frame.value:
                error(frame.value)
                self.ending = "failed"
            else:
                self._chunk(frame.value)
        return self.ending

    def _done(self) -> None:
        need(self.same, "[DONE] does not come alone")
        for index, choice in self.choices.items():
            need(choice.finish, "each choice that began has a finish chunk", index)
            self._calls(choice)
        self.ending = "complete"

    def _calls(self, choice: _Choice) -> None:
        for kind, text in zip(choice.kinds, choice.arguments, strict=True):
            whole = an_object(text) or not self.arguments or choice.finish == "length"
            need(kind == "custom" or (text and whole), "arguments are a JSON object", text)
        if choice.finish == "tool_calls":
            need(choice.kinds, "tool_calls says that there are calls")
        need(choice.finish != "stop" or not choice.kinds, "calls do not end with stop")

    def _chunk(self, chunk: Document) -> None:
        known = "id object created model choices usage service_tier system_fingerprint".split()
        only(chunk, frozenset(known), "a chunk")
        said(chunk, "id", "chunk")
        need(chunk.get("object") == "chat.completion.chunk", "object is exact", chunk)
        member(chunk, "created", int, "chunk")
        said(chunk, "model", "chunk")
        same = {name: chunk[name] for name in ("id", "created", "model")}
        self.same = self.same or same
        need(same == self.same, "id, created and model are the same in all chunks", chunk)
        need(not self.counted, "nothing but the end comes behind the usage", chunk)
        choices = member(chunk, "choices", list, "chunk")
        need("usage" in chunk if self.usage else "usage" not in chunk, "usage where asked", chunk)
        if choices:
            need(chunk.get("usage") is None, "usage has a chunk of its own", chunk)
            for each in choices:
                self._choice(each)
        else:
            need(all(each.finish for each in self.choices.values()), "usage is last", chunk)
            usage(member(chunk, "usage", dict, "chunk"))
            self.counted = True

    def _choice(self, each: Document) -> None:
        only(each, {"index", "delta", "logprobs", "finish_reason"}, "a choice")
        index = count(each, "index", "choice")
        delta = member(each, "delta", dict, "choice")
        need("finish_reason" in each and "logprobs" in each, "both are there", each)
        if each["logprobs"] is not None:
            logprobs(each["logprobs"])
        if index not in self.choices:
            need(self.choices or index == 0, "choice 0 opens first", each)
            need(delta.get("role") == "assistant", "the first chunk has the role", each)
            self.choices[index] = _Choice()
        else:
            need("role" not in delta, "the role is said once", each)
        choice = self.choices[index]
        need(not choice.finish, "nothing comes behind a finish", each)
        self._delta(choice, delta)
        if each["finish_reason"] is not None:
            need(each["finish_reason"] in FINISH, "a known finish reason", each)
            choice.finish = each["finish_reason"]

    def _delta(self, choice: _Choice, delta: Document) -> None:
        only(delta, DELTA, "a delta")
        opener = "role" in delta
        for name in ("content", "refusal", "reasoning_content"):
            if name in delta and not (opener and delta[name] in ("", None)):
                said(delta, name, "delta")
        for call in delta.get("tool_calls", ()):
            self._call(choice, call)
        for detail in delta.get("reasoning_details", ()):
            count(detail, "index", "reasoning detail")
            said(detail, "type", "reasoning detail")
        for each in delta.get("images", ()):
            image(each)
        for each in delta.get("annotations", ()):
            annotation(each)

    def _call(self, choice: _Choice, call: Document) -> None:
        index = count(call, "index", "call")
        new = index == len(choice.arguments)
        need(new or index < len(choice.arguments), "indexes of calls are dense from 0", call)
        if new:
            said(call, "id", "call")
            choice.kinds.append(said(call, "type", "call"))
            choice.arguments.append("")
        else:
            need("id" not in call and "type" not in call, "id and type are said once", call)
        only(call, {"index", "id", "type", "function", "custom", "extra_content"}, "a call")
        if "extra_content" in call:
            need(index not in choice.sealed, "a signature is said once", call)
            choice.sealed.add(index)
        kind = choice.kinds[index]
        need(kind in ("function", "custom"), "a known kind of call", call)
        if new or kind in call:
            choice.arguments[index] += _called(member(call, kind, dict, "call"), kind, new=new)


def _called(function: Document, kind: str, *, new: bool) -> str:
    says = "arguments" if kind == "function" else "input"
    only(function, {"name", says}, "a function")
    need(("name" in function) == new, "a name is said once", function)
    if new:
        said(function, "name", "function")
    return str(member(function, says, str, "function")) if new or says in function else ""


def stream(data: bytes, *, usage: bool = True, arguments: bool = True) -> Ending:
    """Check a stream; returns how it ended. Raises Broken."""
    return ChatStream(usage=usage, arguments=arguments).check(data)


# --- pieces -------------------------------------------------------------------------------------


def usage(document: Document) -> None:
    """A `usage` object: whole numbers that add up."""
    prompt, completion = count(document, "prompt_tokens"), count(document, "completion_tokens")
    need(count(document, "total_tokens") == prompt + completion, "the total is the sum", document)
    into = member(document, "prompt_tokens_details", dict, "usage")
    out = member(document, "completion_tokens_details", dict, "usage")
    need(count(into, "cached_tokens") <= prompt, "cached is part of the prompt", document)
    need(count(out, "reasoning_tokens") <= completion, "reasoning is part of it", document)


def error(document: Document) -> None:
    """An error that the SDKs raise."""
    inner = member(document, "error", dict, "failure")
    said(inner, "message", "error")
    said(inner, "type", "error")
    need("param" in inner and "code" in inner, "param and code are there", inner)


def logprobs(document: Document) -> None:
    """The `logprobs` of a choice."""
    need("content" in document and "refusal" in document, "both lists are there", document)
    for each in document["content"] or ():
        member(each, "token", str, "logprob")
        member(each, "logprob", (float, int), "logprob")
        member(each, "top_logprobs", list, "logprob")
        need("bytes" in each, "bytes are there", each)


def image(document: Document) -> None:
    """A picture, as OpenRouter began to tell them."""
    need(document.get("type") == "image_url", "a picture is an image_url", document)
    url = said(member(document, "image_url", dict, "image"), "url", "image")
    need(url.startswith(("data:", "http")), "a picture is a URL", url[:80])


def annotation(document: Document) -> None:
    """A citation."""
    need(document.get("type") == "url_citation", "a citation is a url_citation", document)
    inner = member(document, "url_citation", dict, "annotation")
    for name in ("url", "title"):
        member(inner, name, str, "url_citation")
    for name in ("start_index", "end_index"):
        count(inner, name, "url_citation")


# --- whole --------------------------------------------------------------------------------------


def whole(document: Document, *, arguments: bool = True) -> None:
    """Check a whole reply. Raises Broken."""
    said(document, "id", "reply")
    need(document.get("object") == "chat.completion", "object is exact", document)
    member(document, "created", int, "reply")
    said(document, "model", "reply")
    choices = member(document, "choices", list, "reply")
    need([each.get("index") for each in choices] == list(range(len(choices))), "dense", choices)
    for each in choices:
        _whole(each, arguments=arguments)
    if document.get("usage") is not None:
        usage(document["usage"])


def _whole(choice: Document, *, arguments: bool) -> None:
    message = member(choice, "message", dict, "choice")
    only(message, MESSAGE, "a message")
    need(choice.get("finish_reason") in FINISH, "a known finish reason", choice)
    need("logprobs" in choice, "logprobs are there", choice)
    need(message.get("role") == "assistant", "the role is there", message)
    for name in ("content", "refusal"):
        need(name in message, f"{name} is there, if null", message)
        need(message[name] is None or isinstance(message[name], str), "a text or null", message)
    if "tool_calls" in message:
        need(message["tool_calls"], "no empty list of calls", message)
        need(choice["finish_reason"] != "stop", "calls do not end with stop", choice)
    else:
        need(choice["finish_reason"] != "tool_calls", "tool_calls says that there are", choice)
    for call in message.get("tool_calls", ()):
        said(call, "id", "call")
        kind = said(call, "type", "call")
        if kind not in ("function", "custom"):
            broken("a known kind of call", call)
        text = _called(member(call, kind, dict, "call"), kind, new=True)
        cut = choice["finish_reason"] == "length" or not arguments
        need(kind == "custom" or (text and (cut or an_object(text))), "arguments", call)
    for each in message.get("images", ()):
        image(each)
    for each in message.get("annotations", ()):
        annotation(each)


__all__ = ["Broken", "ChatStream", "stream", "whole"]
