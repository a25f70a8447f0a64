"""The grammar of Gemini streams, and the shape of whole replies (wire-formats 5.2, 5.3, 9.3).

Two framings of the same objects: events whose lines end with CRLF, without names, comments or a
terminator; and one JSON array. Arguments are objects, signatures are base64, an error's object
stands first and its code is a whole number, because Google's clients check just that.
"""

from __future__ import annotations

import orjson

from tests.wire.grammar.frames import (
    Broken,
    Document,
    Ending,
    Frame,
    a_base64,
    broken,
    count,
    member,
    need,
    only,
    said,
)

FINISH = frozenset("STOP MAX_TOKENS SAFETY MALFORMED_FUNCTION_CALL OTHER".split())
HELD = frozenset("text inlineData functionCall fileData executableCode codeExecutionResult".split())
PART = HELD | {"thought", "thoughtSignature"}
REPLY = frozenset("candidates promptFeedback usageMetadata modelVersion responseId".split())
CANDIDATE = frozenset(
    "content finishReason index groundingMetadata citationMetadata avgLogprobs logprobsResult "
    "finishMessage safetyRatings".split()
)


class GeminiStream:
    """A stream as far as it was checked.

    Arguments:
        thoughts: the client asked for them.
    """

    def __init__(self, *, thoughts: bool = True) -> None:
        self.thoughts = thoughts
        self.same: Document = {}
        self.begun: dict[int, str] = {}  # by candidate: its finish reason
        self.ending: Ending = "open"

    def check(self, data: bytes) -> Ending:
        """Check a stream of events; returns how it ended."""
        need(data.endswith(b"\r\n\r\n") or not data, "the last blank line is sent", data[-60:])
        need(b"\n" not in data.replace(b"\r\n", b""), "lines end with CRLF", data[:60])
        for line in data.split(b"\r\n"):
            if line:
                need(line.startswith(b"data: "), "only data behind a space", line[:80])
                self.chunk(Frame(None, line.removeprefix(b"data: ")))
        need(data.count(b"data: {") <= data.count(b"\r\n\r\n"), "each has its blank line")
        return self.end()

    def check_array(self, data: bytes) -> Ending:
        """Check a stream that is one array; returns how it ended."""
        try:
            each = orjson.loads(data)
        except orjson.JSONDecodeError as exc:
            raise Broken(f"the array is JSON ({exc}): {data[-200:]!r}") from None
        need(isinstance(each, list), "the array is an array", data[:80])
        for value in each:
            self.chunk(Frame(None, orjson.dumps(value)))
        return self.end()

    def end(self) -> Ending:
        """How it ended."""
        if self.ending == "open" and self.begun and all(self.begun.values()):
            self.ending = "complete"
        return self.ending

    def chunk(self, frame: Frame) -> None:
        """One reply object of the stream."""
        need(self.ending == "open", "nothing comes behind the end", frame)
        if "error" in frame.value:
            need(next(iter(frame.value)) == "error", "an error stands first", frame)
            error(frame.value)
            self.ending = "failed"
            return
        reply = frame.value
        only(reply, REPLY, "a reply")
        same = {name: said(reply, name, "reply") for name in ("modelVersion", "responseId")}
        self.same = self.same or same
        need(same == self.same, "model and id are the same in all", reply)
        if "usageMetadata" in reply:
            usage(reply["usageMetadata"])
        for each in member(reply, "candidates", list, "reply") if "candidates" in reply else ():
            self._candidate(each)
        if "promptFeedback" in reply:
            said(reply["promptFeedback"], "blockReason", "feedback")
            need(not self.begun, "feedback stands alone", reply)
            self.ending = "complete"

    def _candidate(self, each: Document) -> None:
        only(each, CANDIDATE, "a candidate")
        index = each.get("index", 0)
        need(not self.begun.get(index), "nothing comes behind a finish", each)
        self.begun[index] = candidate(each, thoughts=self.thoughts)


def stream(data: bytes, *, array: bool = False, thoughts: bool = True) -> Ending:
    """Check a stream; returns how it ended. Raises Broken."""
    found = GeminiStream(thoughts=thoughts)
    return found.check_array(data) if array else found.check(data)


# --- pieces -------------------------------------------------------------------------------------


def candidate(each: Document, *, thoughts: bool = True) -> str:
    """One answer, or a piece of it; returns its finish reason, "" where it has none."""
    reason = each.get("finishReason", "")
    need(reason == "" or reason in FINISH, "a known finish reason", each)
    if "content" in each:
        content = member(each, "content", dict, "candidate")
        need(content.get("role") == "model", "the role is there", each)
        parts = member(content, "parts", list, "content") if "parts" in content else []
        need(parts or reason, "a content has parts", each)
        for part in parts:
            _part(part, thoughts=thoughts, last=bool(reason))
    else:
        need(reason, "a candidate says something", each)
    return str(reason)


def _part(part: Document, *, thoughts: bool, last: bool) -> None:
    only(part, PART, "a part")
    held = part.keys() & HELD
    need(len(held) == 1, "a part holds one thing", part)
    if "thoughtSignature" in part:
        a_base64(said(part, "thoughtSignature", "part"), "a signature")
    if "thought" in part:
        need(part["thought"] is True and "text" in part, "a thought is a text", part)
        need(thoughts, "thoughts are for who asked", part)
    if "text" in part:
        text = member(part, "text", str, "part")
        need(text or last or "thoughtSignature" in part, "no text is empty", part)
    elif "functionCall" in part:
        call = part["functionCall"]
        only(call, {"id", "name", "args"}, "a call")
        said(call, "name", "call")
        member(call, "args", dict, "call")
        if "id" in call:
            said(call, "id", "call")
    elif "inlineData" in part:
        said(part["inlineData"], "mimeType", "data")
        a_base64(said(part["inlineData"], "data", "data"), "data")


def usage(document: Document) -> None:
    """A `usageMetadata` object: whole numbers that add up."""
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    parts = [*names, "toolUsePromptTokenCount"]
    total = count(document, "totalTokenCount")
    found = [count(document, name) for name in parts if name in document]
    need(total == sum(found), "the total is the sum of the four", document)
    if "cachedContentTokenCount" in document:
        cached = count(document, "cachedContentTokenCount")
        need(cached <= document.get("promptTokenCount", 0), "part of the prompt", document)


def error(document: Document) -> None:
    """An error that Google's clients raise."""
    inner = member(document, "error", dict, "failure")
    member(inner, "code", int, "error")
    said(inner, "message", "error")
    said(inner, "status", "error")


# --- whole --------------------------------------------------------------------------------------


def whole(document: Document, *, thoughts: bool = True) -> None:
    """Check a whole reply. Raises Broken."""
    only(document, REPLY, "a reply")
    for name in ("modelVersion", "responseId"):
        said(document, name, "reply")
    if "usageMetadata" in document:
        usage(document["usageMetadata"])
    if "promptFeedback" in document:
        said(document["promptFeedback"], "blockReason", "feedback")
        return
    for each in member(document, "candidates", list, "reply"):
        only(each, CANDIDATE, "a candidate")
        if not candidate(each, thoughts=thoughts):
            broken("an answer has a finish reason", each)
