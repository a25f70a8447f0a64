"""What a page promises is demanded: an answer that lacks it is told."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from benchmarks.seeds.checks import problem
from benchmarks.seeds.play import Answer
from benchmarks.seeds.printed import Promise, Seed
from relayd.demo.pixels import png
from tests.demo.serving import streamed, whole

PICTURE = base64.b64encode(png(64, 32, "abcdef")).decode()
GOOD: dict[str, Any] = {
    "chat": whole("chat"),
    "responses": whole("responses"),
    "messages": whole("messages"),
    "gemini": whole("gemini"),
    "gemini_picture": whole("gemini", generationConfig={"responseModalities": ["IMAGE"]}),
    "images": {"created": 1, "data": [{"b64_json": PICTURE}]},
    "embeddings": {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.1, 0.2]}],
        "usage": {"total_tokens": 1},
    },
    "models": {"object": "list", "data": [{"id": "m", "object": "model"}]},
    "gemini_models": {"models": [{"name": "models/m"}]},
    "credits": {"data": {"balance": 1, "amount": 2.5}},
    "status": {"success": True, "data": {"version": "1", "start_time": 5}},
    "error": {"error": {"message": "m", "type": "t", "param": None, "code": None}},
}
# Per shape: a field on the way to what matters, and what is not promised in its place.
BROKEN: dict[str, list[tuple[list[str | int], Any]]] = {
    "chat": [
        (["model"], "other"),
        (["object"], "x"),
        (["choices"], []),
        (["choices", 0, "message", "content"], " "),
        (["choices", 0, "finish_reason"], None),
        (["usage", "total_tokens"], 1),
    ],
    "responses": [(["status"], "failed"), (["output"], []), (["usage"], None), (["object"], "x")],
    "messages": [(["content"], []), (["usage", "output_tokens"], 0), (["stop_reason"], None)],
    "gemini": [(["candidates"], []), (["candidates", 0, "finishReason"], "OTHER")],
    "gemini_picture": [
        (["candidates", 0, "content", "parts"], []),
        (["candidates", 0, "content", "parts", 0, "inlineData", "data"], "aGVsbG8="),
        (["candidates", 0, "finishReason"], "NO_IMAGE"),
    ],
    "images": [(["data"], []), (["data", 0, "b64_json"], "?"), (["created"], None)],
    "embeddings": [(["data", 0, "embedding"], "AAAA"), (["usage", "total_tokens"], 0)],
    "models": [(["data"], []), (["object"], "x")],
    "gemini_models": [(["models"], []), (["models", 0, "name"], "m")],
    "credits": [(["data", "balance"], "1"), (["data", "balance"], 9)],
    "status": [(["success"], False), (["data", "version"], "")],
    "error": [(["error", "message"], ""), (["error"], {"message": "m", "type": "t"})],
}


def seed(shape: str, **promise: Any) -> Seed:
    body = {"model": "demo"}
    return Seed("n", "000", "", "/p", Promise(shape=shape, **promise), body=body)


def answer(document: Any, status: int = 200, kind: str = "application/json") -> Answer:
    return Answer(status, {"content-type": kind}, orjson.dumps(document), 0.0)


def changed(document: Any, way: list[str | int], value: Any) -> Any:
    copy = orjson.loads(orjson.dumps(document))
    place = copy
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    return copy


@pytest.mark.parametrize("shape", GOOD)
def test_an_answer_is_good_until_it_lacks_something(shape: str) -> None:
    assert problem(seed(shape), "/p", answer(GOOD[shape])) is None
    for way, value in BROKEN[shape]:
        assert problem(seed(shape), "/p", answer(changed(GOOD[shape], way, value))), way


def test_the_status_the_type_and_the_json_are_demanded() -> None:
    good = GOOD["error"]
    assert problem(seed("error", status="5xx"), "/p", answer(good, 503)) is None
    assert problem(seed("error", status="5xx"), "/p", answer(good, 404))
    assert problem(seed("error", status=404), "/p", answer(good, 403))
    assert problem(seed("error"), "/p", answer(good, kind="text/html"))
    broken = Answer(200, {"content-type": "application/json"}, b"{", 0.0)
    assert problem(seed("error"), "/p", broken)


@pytest.mark.parametrize("format", ["chat", "responses", "messages", "gemini"])
def test_a_stream_is_read_to_its_end(format: str) -> None:
    documents: list[Any] = streamed(format)
    if format == "chat":
        documents.append("[DONE]")

    def told(events: list[Any]) -> str | None:
        lines = [
            b"data: " + (b"[DONE]" if one == "[DONE]" else orjson.dumps(one)) for one in events
        ]
        body = b"\n\n".join(lines) + b"\n\n"
        got = Answer(200, {"content-type": "text/event-stream; charset=utf-8"}, body, 0.0)
        return problem(seed(format, stream=True), "/p", got)

    assert told(documents) is None
    assert told(documents[:-1])
    assert told(documents[-1:])
    speechless = {"chat": [0, -2, -1], "responses": [0, -1], "messages": [0, -2, -1]}
    assert told([documents[place] for place in speechless.get(format, [-1, -1])])


def test_pictures_have_the_pixels_that_the_page_asked() -> None:
    good = answer(GOOD["images"])
    assert problem(seed("images", pixels=(64, 32)), "/p", good) is None
    assert problem(seed("images", pixels=(64, 64)), "/p", good)
    link = {"created": 1, "data": [{"url": "https://example.com/a.png"}]}
    assert problem(seed("images", pixels=(64, 64)), "/p", answer(link)) is None


def test_the_model_of_the_path_is_the_one_that_is_named() -> None:
    document = changed(whole("chat"), ["model"], "gemini-x")
    path = "/v1beta/models/gemini-x:generateContent"
    assert problem(seed("chat"), path, answer(document)) is None
    assert problem(seed("chat", model="gemini-y"), path, answer(document))
