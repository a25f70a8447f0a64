"""Judging an answer by what its page promises: status, shape, stream.

A shape is what the page's clients read of an answer, and what its format cannot be without. What is
wrong is told in a sentence; `problem` returns the first, or None.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

import orjson

from benchmarks.seeds.play import Answer
from benchmarks.seeds.printed import OTHERS, Promise, Seed
from relayd.demo.pixels import SIGNATURE, is_picture, pixels_of


class Wrong(Exception):
    """The answer is not what was promised; the message says how."""


def problem(seed: Seed, path: str, answer: Answer) -> str | None:
    """What is wrong with the answer to this seed, asked at this path; None when all is right."""
    promise = seed.promise
    if not is_status(answer.status, promise.status):
        return f"status {answer.status}, not {promise.status}: {answer.body[:200]!r}"
    try:
        _judge(promise, asked_model(seed, path), answer)
    except Wrong as wrong:
        return f"{wrong}: {answer.body[:200]!r}"
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return f"not the shape {promise.shape!r} ({error!r}): {answer.body[:200]!r}"
    return None


def is_status(status: int, promised: int | str) -> bool:
    """Whether a status is the one that was promised; "5xx" is any of its hundred."""
    return 500 <= status < 600 if promised == "5xx" else status == promised


def asked_model(seed: Seed, path: str) -> str:
    """The model that the request names, which the answer has to name as well."""
    if seed.promise.model:
        return seed.promise.model
    if "/models/" in path:
        return path.partition("/models/")[2].rpartition(":")[0].removesuffix(OTHERS)
    return str((seed.body or {}).get("model", ""))


def _judge(promise: Promise, model: str, answer: Answer) -> None:
    if promise.stream:
        demand(answer.content_type == "text/event-stream", "the answer is no event stream")
        document: Any = events(answer.body)
        demand(len(document) > 1, "the stream is a single event")
    else:
        demand(answer.content_type == "application/json", "the answer is no JSON")
        document = orjson.loads(answer.body)
    kind = promise.shape + ("_stream" if promise.stream else "")
    SHAPES[kind](document, model, promise)


def demand(holds: bool, wrong: str) -> None:
    """Raise Wrong unless something holds."""
    if not holds:
        raise Wrong(wrong)


def _demand_model(named: str, asked: str) -> None:
    """The answer names the model that was asked, or a dated edition of it."""
    demand(asked in named, f"the model is {named!r}, not {asked!r}")


def events(body: bytes) -> list[Any]:
    """The documents of an event stream; `[DONE]` is the text."""
    found = []
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            data = line[5:].strip()
            found.append("[DONE]" if data == b"[DONE]" else orjson.loads(data))
    return found


# --- OpenAI's shapes ------------------------------------------------------------------------------


def _chat(document: Any, model: str, promise: Promise) -> None:
    """The page's own example: id, object, created, model, choices, usage."""
    demand(document["id"] != "" and isinstance(document["created"], int), "no id or no time")
    demand(document["object"] == "chat.completion", "the object is no chat.completion")
    _demand_model(document["model"], model)
    (choice,) = document["choices"]
    demand(choice["index"] == 0 and choice["finish_reason"] == "stop", "the choice has no end")
    demand(choice["message"]["role"] == "assistant", "the role is not the assistant's")
    demand(choice["message"]["content"].strip() != "", "the message says nothing")
    usage = document["usage"]
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    demand(usage["total_tokens"] == total > 0, "the usage does not add up")


def _chat_stream(documents: list[Any], model: str, promise: Promise) -> None:
    demand(documents.pop() == "[DONE]", "the stream does not end with [DONE]")
    choices = [choice for document in documents for choice in document["choices"]]
    demand({d["object"] for d in documents} == {"chat.completion.chunk"}, "other objects in it")
    for document in documents:
        _demand_model(document["model"], model)
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    demand(text.strip() != "", "the stream says nothing")
    demand(choices[-1]["finish_reason"] == "stop", "the last choice has no end")


def _responses(document: Any, model: str, promise: Promise) -> None:
    demand(document["object"] == "response", "the object is no response")
    demand(document["status"] == "completed", f"the status is {document['status']!r}")
    _demand_model(document["model"], model)
    parts = [p for item in document["output"] if item["type"] == "message" for p in item["content"]]
    demand(any(part["text"].strip() for part in parts), "the response says nothing")
    demand(document["usage"]["total_tokens"] > 0, "the usage is nothing")


def _responses_stream(documents: list[Any], model: str, promise: Promise) -> None:
    kinds = [document["type"] for document in documents]
    demand(kinds[0] == "response.created", f"the first event is {kinds[0]}")
    demand(kinds[-1] == "response.completed", f"the last event is {kinds[-1]}")
    demand("response.output_text.delta" in kinds, "the stream says nothing")
    _responses(documents[-1]["response"], model, promise)


def _embeddings(document: Any, model: str, promise: Promise) -> None:
    (entry,) = document["data"]
    demand(document["object"] == "list" and entry["object"] == "embedding", "no embedding")
    demand(all(isinstance(value, float) for value in entry["embedding"]), "no list of numbers")
    demand(len(entry["embedding"]) > 1, "the vector is empty")
    demand(document["usage"]["total_tokens"] > 0, "the usage is nothing")


def _images(document: Any, model: str, promise: Promise) -> None:
    demand(isinstance(document["created"], int), "no time")
    (entry,) = document["data"]
    if "url" in entry:
        demand(entry["url"].startswith("http"), "the link is none")
    else:
        _demand_picture(entry["b64_json"], promise)


def _demand_picture(text: str, promise: Promise) -> None:
    data = base64.b64decode(text, validate=True)
    demand(is_picture(data), "the data is no picture")
    if promise.pixels and data.startswith(SIGNATURE):
        pixels = pixels_of(data)
        demand(pixels == promise.pixels, f"the picture is {pixels}, not {promise.pixels}")


def _models(document: Any, model: str, promise: Promise) -> None:
    demand(document["object"] == "list", "no list")
    demand(all(entry["id"] and entry["object"] == "model" for entry in document["data"]), "no id")
    demand(len(document["data"]) > 0, "the list is empty")


# --- Anthropic's and Google's ---------------------------------------------------------------------


def _messages(document: Any, model: str, promise: Promise) -> None:
    demand(document["type"] == "message" and document["role"] == "assistant", "no message")
    _demand_model(document["model"], model)
    demand(document["stop_reason"] == "end_turn", f"it stopped for {document['stop_reason']!r}")
    texts = [block["text"] for block in document["content"] if block["type"] == "text"]
    demand(any(text.strip() for text in texts), "the message says nothing")
    usage = document["usage"]
    demand(usage["input_tokens"] > 0 and usage["output_tokens"] > 0, "the usage is nothing")


def _messages_stream(documents: list[Any], model: str, promise: Promise) -> None:
    kinds = [document["type"] for document in documents if document["type"] != "ping"]
    demand(kinds[0] == "message_start", f"the first event is {kinds[0]}")
    demand(kinds[-2:] == ["message_delta", "message_stop"], f"the last events are {kinds[-2:]}")
    _demand_model(documents[0]["message"]["model"], model)
    deltas = [d["delta"] for d in documents if d["type"] == "content_block_delta"]
    demand(any(d.get("text", "").strip() for d in deltas), "the stream says nothing")


def _gemini(document: Any, model: str, promise: Promise) -> None:
    (candidate,) = document["candidates"]
    demand(candidate["content"]["role"] == "model", "the role is not the model's")
    demand(candidate["finishReason"] == "STOP", f"it ended for {candidate['finishReason']!r}")
    demand(any(part.get("text", "").strip() for part in _parts([document])), "it says nothing")
    demand(document["usageMetadata"]["totalTokenCount"] > 0, "the usage is nothing")


def _gemini_stream(documents: list[Any], model: str, promise: Promise) -> None:
    last = documents[-1]["candidates"][0]
    demand(last["finishReason"] == "STOP", f"it ended for {last['finishReason']!r}")
    demand(any(part.get("text", "").strip() for part in _parts(documents)), "it says nothing")
    demand(documents[-1]["usageMetadata"]["totalTokenCount"] > 0, "the usage is nothing")


def _parts(documents: list[Any]) -> list[Any]:
    candidates = [c for document in documents for c in document.get("candidates", ())]
    return [part for c in candidates for part in c.get("content", {}).get("parts", ())]


def _gemini_picture(document: Any, model: str, promise: Promise) -> None:
    _gemini_picture_stream([document], model, promise)


def _gemini_picture_stream(documents: list[Any], model: str, promise: Promise) -> None:
    drawn = [part["inlineData"] for part in _parts(documents) if "inlineData" in part]
    demand(len(drawn) > 0, "there is no picture in it")
    demand(all(one["mimeType"].startswith("image/") for one in drawn), "the type is no picture's")
    for one in drawn:
        _demand_picture(one["data"], promise)
    ends = [c.get("finishReason") for d in documents for c in d.get("candidates", ())]
    demand(ends[-1] == "STOP", f"it ended for {ends[-1]!r}")


def _gemini_models(document: Any, model: str, promise: Promise) -> None:
    demand(len(document["models"]) > 0, "the list is empty")
    names = [entry["name"] for entry in document["models"]]
    demand(all(name.startswith("models/") for name in names), "names without models/")


# --- the relay's own ------------------------------------------------------------------------------


def _credits(document: Any, model: str, promise: Promise) -> None:
    data = document["data"]
    demand(all(isinstance(data[name], int | float) for name in ("balance", "amount")), "no numbers")
    demand(data["balance"] <= data["amount"], "there is more left than there was")


def _status(document: Any, model: str, promise: Promise) -> None:
    demand(document["success"] is True, "the status is no success")
    demand(document["data"]["version"] != "", "there is no version")
    demand(document["data"]["start_time"] > 0, "there is no uptime")


def _error(document: Any, model: str, promise: Promise) -> None:
    """The standard OpenAI error format, as the page calls it."""
    error = document["error"]
    demand(error["message"].strip() != "" and error["type"] != "", "the error says nothing")
    demand(error.keys() >= {"message", "type", "param", "code"}, "fields of the error are missing")


def _text(document: Any, model: str, promise: Promise) -> None:
    """What a program prints is judged where it runs."""


Shape = Callable[[Any, str, Promise], None]
SHAPES: Final[dict[str, Shape]] = {
    "chat": _chat,
    "chat_stream": _chat_stream,
    "responses": _responses,
    "responses_stream": _responses_stream,
    "embeddings": _embeddings,
    "images": _images,
    "models": _models,
    "messages": _messages,
    "messages_stream": _messages_stream,
    "gemini": _gemini,
    "gemini_stream": _gemini_stream,
    "gemini_picture": _gemini_picture,
    "gemini_picture_stream": _gemini_picture_stream,
    "gemini_models": _gemini_models,
    "credits": _credits,
    "status": _status,
    "error": _error,
    "text": _text,
}
