"""Pictures in another format: whom the relay asks, how often, and what the client is told."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
import pytest

from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.relay.drawing import MOST_UPLOADED, Drawing, Order, drawing_of
from relayd.relay.fetching import Fetcher, remote_images
from relayd.relay.translation import Translator
from relayd.routing import Routing
from relayd.wire.capabilities import Capabilities
from relayd.wire.formats import FORMATS
from relayd.wire.multipart import File, Form, form_of
from relayd.wire.neutral import Request
from relayd.wire.paths import TAILS
from relayd.wire.setting import Fetching, Translating
from tests.support.crossings import lease, translation
from tests.support.relay_parts import NotingClient, Stage, settled
from tests.support.waiting import until

JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
GENERATE = "/v1beta/models/public:generateContent"
PNG = b64encode(b"\x89PNG\r\n\x1a\n").decode()
DRAWS = Translator(capabilities=Capabilities({"*": {"outputs": ("image",)}}))
GOOGLE: dict[str, tuple[FormatName, ...]] = {"up": ("gemini",)}
OPENAI: dict[str, tuple[FormatName, ...]] = {"up": ("chat",)}


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def candidate(*parts: Any, finish: str = "STOP") -> Any:
    return {
        "candidates": [{"content": {"parts": list(parts)}, "finishReason": finish}],
        "usageMetadata": {
            "promptTokenCount": 5,
            "candidatesTokenCount": 7,
            "totalTokenCount": 12,
        },
    }


DRAWN = candidate({"inlineData": {"mimeType": "image/png", "data": PNG}})


def begin(stage: Stage, path: str = GENERATIONS, **more: Any) -> tuple[NotingClient, Any]:
    body = {"model": "public", "prompt": "A cat"} | more
    client = stage.client(orjson.dumps(body))
    return client, stage.serve(client, path)


def answer(sink: Any, document: Any, status: int = 200) -> None:
    sink.on_head(status, JSON)
    sink.on_body(orjson.dumps(document))
    sink.on_end()


async def asked(stage: Stage, number: int) -> list[Any]:
    await until(lambda: len(stage.pool.sinks) == number)
    return stage.pool.sinks


def ended_well(stage: Stage) -> None:
    assert len(stage.ledger.rows) == 1
    assert stage.in_flight == 0
    assert not any(watch._live for watch in stage.relay.asking.watches.values())


# --- who is asked ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "formats", "rows", "kind"),
    [
        (GENERATIONS, ("gemini",), {}, Drawing),
        (GENERATIONS, ("gemini", "messages"), {}, Drawing),
        (GENERATIONS, ("chat", "gemini"), {}, None),
        (GENERATIONS, ("chat", "gemini"), {"endpoints": ("gemini",)}, Drawing),
        (GENERATIONS, ("messages", "responses"), {}, None),
        ("/v1/chat/completions", ("gemini",), {"outputs": ("image",)}, None),
        ("/v1/embeddings", ("gemini",), {}, None),
    ],
)
def test_image_endpoints_are_answered_by_models_that_talk(
    path: str, formats: tuple[FormatName, ...], rows: Any, kind: type | None
) -> None:
    translator = Translator(capabilities=Capabilities({"*": rows}))
    body = {"model": "m", "prompt": "A cat", "messages": [], "input": "x"}
    asking = translation("chat", path, body, translator=translator)
    found = drawing_of(asking, lease(*formats))
    assert found is None if kind is None else type(found) is kind


@pytest.mark.parametrize(
    ("formats", "rows", "kind"),
    [
        (("chat",), {"outputs": ("image",)}, Order),
        (("responses", "chat"), {"outputs": ("image",)}, Order),
        (("gemini", "chat"), {"outputs": ("image",)}, None),
        (("responses",), {"outputs": ("image",)}, None),
        (("chat",), {"outputs": ("text", "image")}, None),
    ],
)
def test_conversations_are_answered_by_models_that_only_draw(
    formats: tuple[FormatName, ...], rows: Any, kind: type | None
) -> None:
    translator = Translator(capabilities=Capabilities({"*": rows}))
    asking, place = translation("gemini", translator=translator), lease(*formats)
    place.translated = "gemini" not in formats
    found = drawing_of(asking, place)
    assert found is None if kind is None else type(found) is kind


def test_nothing_is_drawn_where_nothing_is_translated() -> None:
    off = Translator(Translating(enabled=False))
    asking = translation("chat", GENERATIONS, {"model": "m", "prompt": "x"}, translator=off)
    assert drawing_of(asking, lease("gemini")) is None


def test_an_upstream_that_draws_nothing_is_no_upstream() -> None:
    async def work() -> None:
        stage = Stage(formats={"up": ("messages",)})
        client, task = begin(stage)
        await settled(task)
        assert (client.status, stage.pool.requests) == (400, [])
        assert orjson.loads(client.received)["error"]["param"] == "model"
        ended_well(stage)

    run(work)


# --- image endpoints ------------------------------------------------------------------------------


def test_each_picture_is_asked_for_by_itself_and_they_are_one_reply() -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage, n=3)
        for sink in await asked(stage, 3):
            answer(sink, DRAWN)
        await settled(task)
        assert client.status == 200
        told = orjson.loads(client.received)
        assert told["data"] == [{"b64_json": PNG}] * 3
        assert told["usage"]["total_tokens"] == 36
        assert len(set(stage.pool.requests)) == 1
        row = stage.row
        assert (row.usage.images, row.usage.total, row.attempts) == (3, 36, 1)
        ended_well(stage)

    run(work)


def test_a_picture_that_was_not_allowed_is_missing_among_the_others() -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage, n=2)
        one, other = await asked(stage, 2)
        answer(one, candidate(finish="IMAGE_SAFETY"))
        answer(other, DRAWN)
        await settled(task)
        assert len(orjson.loads(client.received)["data"]) == 1
        assert (stage.row.usage.images, stage.row.usage.total) == (1, 24)
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_where_nothing_was_allowed_the_client_hears_why(stream: bool, number: int) -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage, n=number, stream=stream)
        for sink in await asked(stage, number):
            answer(sink, candidate(finish="IMAGE_SAFETY"))
        await settled(task)
        error = orjson.loads(client.received)["error"]
        assert (client.status, error["code"]) == (400, "moderation_blocked")
        assert error["type"] == "image_generation_user_error"
        assert "IMAGE_SAFETY" in error["message"]
        row = stage.row
        assert (row.status, row.outcome, row.error_code) == (
            400,
            "bad_request",
            "moderation_blocked",
        )
        assert (row.usage.total, row.usage.images) == (12 * number, 0)
        ended_well(stage)

    run(work)


def test_a_stream_that_ends_without_a_picture_is_refused_before_it_begins() -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage, stream=True)
        (sink,) = await asked(stage, 1)
        sink.on_head(200, SSE)
        event = orjson.dumps(candidate({"text": "What cat?"}))
        sink.on_body(b"data: " + event + b"\r\n\r\n")
        sink.on_end()
        await settled(task)
        assert client.status == 400
        error = orjson.loads(client.received)["error"]
        assert error["code"] == "image_generation_user_error"
        assert "What cat?" in error["message"]
        row = stage.row
        assert (row.outcome, row.usage.total, row.usage.images) == ("bad_request", 12, 0)
        ended_well(stage)

    run(work)


def test_a_stream_that_breaks_before_its_picture_can_be_asked_for_elsewhere() -> None:
    async def work() -> None:
        formats: Any = {"up": ("gemini",), "spare": ("gemini",)}
        stage = Stage(routing=Routing(), names=("up", "spare"), formats=formats)
        client, task = begin(stage, stream=True)
        (sink,) = await asked(stage, 1)
        sink.on_head(200, SSE)
        sink.on_body(b"data: " + orjson.dumps(candidate({"text": "x"}, finish="")) + b"\n\n")
        sink.on_end()
        answer(await stage.connections["spare"].next_sink(), DRAWN)
        await settled(task)
        assert client.status == 200
        assert client.received.startswith(b"event: image_generation.completed\n")
        assert (stage.row.upstream, stage.row.attempts) == ("spare", 2)
        ended_well(stage)

    run(work)


@pytest.mark.parametrize("status", [400, 429])
def test_a_refusal_is_told_once(status: int) -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage, n=3)
        sinks = await asked(stage, 3)
        answer(sinks[0], {"error": {"code": status, "message": "It is wrong."}}, status)
        await settled(task)
        assert client.status == status
        assert orjson.loads(client.received)["error"]["message"] == "It is wrong."
        assert stage.happened.count("upstream: aborted") == 2
        ended_well(stage)

    run(work)


def test_an_upstream_that_speaks_of_signatures_is_not_asked_again() -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage)
        (sink,) = await asked(stage, 1)
        answer(sink, {"error": {"code": 400, "message": "Thought signature is bad."}}, 400)
        await settled(task)
        assert (client.status, len(stage.pool.requests)) == (400, 1)
        ended_well(stage)

    run(work)


def test_the_failure_of_one_is_the_failure_of_all() -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage, n=3)
        one, other, third = await asked(stage, 3)
        answer(one, DRAWN)
        answer(other, {"error": {"code": 500, "message": "It broke."}}, 500)
        answer(third, DRAWN)
        await settled(task)
        assert client.status == 502
        assert (stage.row.outcome, stage.row.cost) == ("upstream_error", 0)
        ended_well(stage)

    run(work)


def test_a_client_that_leaves_breaks_all_of_them_off() -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage, n=3)
        await asked(stage, 3)
        client.gone = True
        task.cancel()
        await settled(task)
        assert stage.happened.count("upstream: aborted") == 3
        assert stage.row.outcome == "client_gone"
        ended_well(stage)

    run(work)


def test_a_reply_that_is_none_is_the_upstreams_failure() -> None:
    async def work() -> None:
        stage = Stage(formats=GOOGLE)
        client, task = begin(stage)
        (sink,) = await asked(stage, 1)
        sink.on_head(200, JSON)
        sink.on_body(b"<html>")
        sink.on_end()
        await settled(task)
        assert client.status == 502
        ended_well(stage)

    run(work)


def test_pictures_that_are_too_large_for_a_request_are_refused_unread() -> None:
    async def work() -> None:
        head = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
        form = form_of("multipart/form-data; boundary=b", head)
        form.files.append(File("image", "a.png", "image/png", 0, MOST_UPLOADED + 1))
        asking = translation("chat", GENERATIONS, {"model": "m", "prompt": "x"})
        asking.head = _head(form)
        found = drawing_of(asking, lease("gemini"))
        assert found is not None
        with pytest.raises(BadCall) as caught:
            await found.fetch()
        assert (caught.value.param, caught.value.code) == ("image", "image_too_large")

    run(work)


def _head(form: Form) -> Any:
    read = FORMATS["chat"].read_form
    assert read is not None
    return read(form, TAILS["images/edits"], None)


# --- conversations --------------------------------------------------------------------------------


def test_an_order_is_answered_with_what_was_drawn() -> None:
    async def work() -> None:
        stage = Stage(formats=OPENAI, translator=DRAWS)
        body = {"contents": [{"parts": [{"text": "A cat"}]}]}
        client = stage.client(orjson.dumps(body))
        task = stage.serve(client, GENERATE)
        (sink,) = await asked(stage, 1)
        usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
        answer(sink, {"created": 1, "data": [{"b64_json": PNG}], "usage": usage})
        await settled(task)
        told = orjson.loads(client.received)
        (part,) = told["candidates"][0]["content"]["parts"]
        assert part == {"inlineData": {"mimeType": "image/png", "data": PNG}}
        assert told["usageMetadata"]["totalTokenCount"] == 12
        assert b"POST /v1/images/generations " in stage.pool.requests[0]
        assert b'{"model":"private","prompt":"A cat"}' in stage.pool.requests[0]
        assert (stage.row.usage.images, stage.row.usage.total) == (1, 12)
        ended_well(stage)

    run(work)


def test_a_picture_from_the_web_is_fetched_for_who_only_draws() -> None:
    class Web(Fetcher):
        async def inline(self, request: Request, rules: Fetching, account: int = 0) -> None:
            for image in remote_images(request):
                image.mime, image.data, image.url = "image/png", PNG, ""

    async def work() -> None:
        terms = Translating(remote_images=Fetching())
        table = Capabilities({"*": {"outputs": ("image",)}})
        stage = Stage(formats=OPENAI, translator=Translator(terms, table, Web()))
        picture = {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b.png"}}
        body = {"contents": [{"parts": [{"text": "More"}, picture]}]}
        client = stage.client(orjson.dumps(body))
        task = stage.serve(client, GENERATE)
        (sink,) = await asked(stage, 1)
        answer(sink, {"data": [{"b64_json": PNG}]})
        await settled(task)
        assert client.status == 200
        assert stage.pool.requests[0].startswith(b"POST /v1/images/edits ")
        ended_well(stage)

    run(work)


def test_a_picture_in_an_order_goes_out_in_a_form() -> None:
    async def work() -> None:
        stage = Stage(formats=OPENAI, translator=DRAWS)
        picture = {"inlineData": {"mimeType": "image/png", "data": PNG}}
        body = {"contents": [{"parts": [{"text": "More"}, picture]}]}
        client = stage.client(orjson.dumps(body))
        task = stage.serve(client, GENERATE)
        (sink,) = await asked(stage, 1)
        answer(sink, {"error": {"message": "Not this."}}, 400)
        await settled(task)
        (request,) = stage.pool.requests
        head, _, body_sent = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/images/edits ")
        assert head.count(b"content-type: ") == 1
        kind = head.partition(b"content-type: ")[2].partition(b"\r\n")[0].decode()
        assert form_of(kind, body_sent).fields == {"model": "private", "prompt": "More"}
        assert orjson.loads(client.received)["error"]["message"] == "Not this."
        ended_well(stage)

    run(work)
