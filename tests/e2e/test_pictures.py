"""Pictures through an upstream of the other kind: an image endpoint drawn by a model that talks,
and a conversation drawn by one that has an image endpoint.

The upstreams are the demo provider, spoken to in one format only, so that everything has to be
translated.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import openai
import orjson
import pytest
from google import genai
from google.genai import types as genai_types

from tests.conftest import Daemons
from tests.support.demo_server import DemoServer
from tests.support.raw_client import Reply
from tests.support.running import Running

Body = dict[str, Any]

CONFIG = """\
demo: "off"
routing: {{retries: {{attempts: 1}}, breaker: {{enabled: off}}, longest_cooldown: 0}}
upstreams:
  google:
    {{dialect: demo, base_url: "{url}", key: {key}, formats: [gemini],
    models: [gemini-3-pro-image, "demo-image-*"]}}
  openai:
    {{dialect: demo, base_url: "{url}", key: {key}, formats: [chat],
    models: {{gpt-image-1: gpt-image-1, gpt-image-2: demo-image}}}}
"""
PNG = b"\x89PNG\r\n\x1a\n"
GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
CHAT = "/v1beta/models/gpt-image-1:"


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Iterator[Running]:
    demo = DemoServer()
    yield start(CONFIG.format(url=demo.url, key=demo.key))
    demo.stop()


def ask(relay: Running, path: str, body: Body) -> tuple[Reply, Body]:
    reply = relay.ask(path, orjson.dumps(body))
    return reply, orjson.loads(reply.body)


def draw(relay: Running, **more: Any) -> tuple[Reply, Body]:
    return ask(relay, GENERATIONS, {"model": "gemini-3-pro-image", "prompt": "A cat"} | more)


def events(body: bytes) -> list[Body]:
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [orjson.loads(line.removeprefix(b"data: ")) for line in lines]


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(PNG)
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def form(fields: dict[str, str], *files: tuple[str, str, bytes]) -> tuple[str, bytes]:
    parts = [
        f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts += [
        f'--b\r\ncontent-disposition: form-data; name="{name}"; filename="a.png"\r\n'
        f"content-type: {kind}\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, kind, data in files
    ]
    return "multipart/form-data; boundary=b", b"".join([*parts, b"--b--\r\n"])


# --- an image endpoint, a model that talks --------------------------------------------------------


def test_a_picture_of_the_size_that_comes_nearest_is_drawn(relay: Running) -> None:
    reply, told = draw(relay, size="1536x1024")
    assert reply.status == 200, told
    (picture,) = told["data"]
    assert size_of(b64decode(picture["b64_json"])) == (1264, 848)
    assert (told["output_format"], told["size"]) == ("png", "1264x848")
    usage = told["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert usage["output_tokens_details"]["image_tokens"] > 0
    assert reply.headers["x-relayd-translated"] == "chat->gemini"
    row = relay.row(reply.headers["x-request-id"])
    assert (row.operation, row.format_in, row.format_out) == ("image", "chat", "gemini")
    assert (row.usage.images, row.usage_source, row.outcome) == (1, "reported", "ok")


def test_several_pictures_are_drawn_one_by_one_and_counted_together(relay: Running) -> None:
    _, one = draw(relay)
    reply, told = draw(relay, n=6)
    assert len(told["data"]) == 6
    assert told["usage"]["output_tokens"] == 6 * one["usage"]["output_tokens"]
    row = relay.row(reply.headers["x-request-id"])
    assert (row.usage.images, row.attempts) == (6, 1)
    assert row.usage.out_total == told["usage"]["output_tokens"]


@pytest.mark.parametrize("number", [1, 3])
def test_a_stream_has_an_event_for_each_picture(relay: Running, number: int) -> None:
    body = {"model": "gemini-3-pro-image", "prompt": "A cat", "n": number, "stream": True}
    reply = relay.ask(GENERATIONS, orjson.dumps(body))
    assert reply.headers["content-type"].startswith("text/event-stream")
    found = events(reply.body)
    assert [each["type"] for each in found] == ["image_generation.completed"] * number
    assert all(size_of(b64decode(each["b64_json"])) == (1024, 1024) for each in found)
    assert found[-1]["usage"]["total_tokens"] > 0
    row = relay.row(reply.headers["x-request-id"])
    assert (row.usage.images, row.outcome) == (number, "ok")


def test_the_files_of_a_form_are_changed(relay: Running) -> None:
    _, told = draw(relay)
    png = b64decode(told["data"][0]["b64_json"])
    fields = {"prompt": "Add a token", "model": "gemini-3-pro-image", "n": "1", "size": "auto"}
    kind, body = form(fields, ("image[]", "image/png", png), ("image[]", "image/png", png))
    reply = relay.ask(EDITS, body, {"Content-Type": kind})
    told = orjson.loads(reply.body)
    assert reply.status == 200, told
    assert size_of(b64decode(told["data"][0]["b64_json"]))[0] > 0
    alone = relay.row(reply.headers["x-request-id"])
    assert (alone.usage.in_uncached or 0) > 2 * 100  # a picture is no short word


def test_a_picture_inside_of_json_is_changed(relay: Running) -> None:
    _, told = draw(relay)
    url = "data:image/png;base64," + told["data"][0]["b64_json"]
    body = {"model": "gemini-3-pro-image", "prompt": "More", "images": [{"image_url": url}]}
    reply, told = ask(relay, EDITS, body)
    assert (reply.status, len(told["data"])) == (200, 1)
    found = events(relay.ask(EDITS, orjson.dumps(body | {"stream": True})).body)
    assert [each["type"] for each in found] == ["image_edit.completed"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"background": "transparent"}, "background"),
        ({"response_format": "url"}, "response_format"),
        ({"n": 11}, "n"),
        ({"size": "large"}, "size"),
        ({"prompt": None}, "prompt"),
        ({"output_compression": 50}, "output_compression"),
    ],
)
def test_what_cannot_be_said_is_refused_by_its_name(relay: Running, more: Body, param: str) -> None:
    reply, told = draw(relay, **more)
    assert (reply.status, told["error"]["param"]) == (400, param)


def test_a_mask_is_refused(relay: Running) -> None:
    fields = {"prompt": "Add a token", "model": "gemini-3-pro-image"}
    files = (("image", "image/png", PNG + bytes(99)), ("mask", "image/png", PNG + bytes(99)))
    kind, body = form(fields, *files)
    reply = relay.ask(EDITS, body, {"Content-Type": kind})
    assert (reply.status, orjson.loads(reply.body)["error"]["param"]) == (400, "mask")


def test_a_file_that_is_no_picture_is_refused(relay: Running) -> None:
    fields = {"prompt": "Add a token", "model": "gemini-3-pro-image"}
    kind, body = form(fields, ("image", "text/plain", b"No picture."))
    reply = relay.ask(EDITS, body, {"Content-Type": kind})
    assert (reply.status, orjson.loads(reply.body)["error"]["param"]) == (400, "image[0]")


def test_variations_have_no_translation(relay: Running) -> None:
    fields = {"model": "gemini-3-pro-image"}
    kind, body = form(fields, ("image", "image/png", PNG + bytes(99)))
    reply = relay.ask("/v1/images/variations", body, {"Content-Type": kind})
    assert (reply.status, orjson.loads(reply.body)["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_a_blocked_picture_is_a_refusal_that_costs_no_picture(
    relay: Running, number: int, stream: bool
) -> None:
    reply, told = draw(relay, model="demo-image-blocked", n=number, stream=stream)
    assert (reply.status, told["error"]["code"]) == (400, "moderation_blocked")
    row = relay.row(reply.headers["x-request-id"])
    assert (row.outcome, row.usage.images) == ("bad_request", 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["cut", "reset", "garbage", "error-first"])
def test_what_breaks_before_its_picture_is_an_error(relay: Running, how: str, stream: bool) -> None:
    reply, told = draw(relay, model=f"demo-image-{how}", stream=stream)
    assert reply.status in (502, 503)
    assert told["error"]["type"] in ("server_error", "service_unavailable_error")


@pytest.mark.parametrize("number", [1, 3])
def test_a_failure_of_the_upstream_is_no_picture(relay: Running, number: int) -> None:
    reply, told = draw(relay, model="demo-image-500", n=number)
    assert (reply.status, told["error"]["type"]) == (502, "server_error")
    assert relay.row(reply.headers["x-request-id"]).cost == 0


# --- a conversation, an image endpoint ------------------------------------------------------------


def contents(*parts: Body, **more: Any) -> Body:
    return {"contents": [{"role": "user", "parts": list(parts)}], **more}


def test_a_conversation_is_an_order_for_a_picture(relay: Running) -> None:
    config = {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "2:3", "imageSize": "1k"},
    }
    body = contents({"text": "A cat"}, generationConfig=config)
    reply, told = ask(relay, f"{CHAT}generateContent", body)
    assert reply.status == 200, told
    (candidate,) = told["candidates"]
    (part,) = candidate["content"]["parts"]
    assert part["inlineData"]["mimeType"] == "image/png"
    assert size_of(b64decode(part["inlineData"]["data"])) == (1024, 1536)
    assert candidate["finishReason"] == "STOP"
    assert told["usageMetadata"]["candidatesTokenCount"] > 0
    row = relay.row(reply.headers["x-request-id"])
    assert (row.operation, row.format_out, row.usage.images) == ("generate", "chat", 1)


def test_a_model_may_have_another_name_at_its_upstream(relay: Running) -> None:
    path = "/v1beta/models/gpt-image-2:generateContent"
    reply, told = ask(relay, path, contents({"text": "A cat"}))
    assert reply.status == 200, told


def test_a_picture_in_a_conversation_is_changed(relay: Running) -> None:
    _, told = ask(relay, f"{CHAT}generateContent", contents({"text": "A cat"}))
    drawn = told["candidates"][0]["content"]["parts"][0]
    reply, told = ask(relay, f"{CHAT}generateContent", contents({"text": "More"}, drawn))
    assert reply.status == 200, told
    assert told["candidates"][0]["content"]["parts"][0]["inlineData"]["data"]
    assert "TEXT" not in str(told["usageMetadata"].get("candidatesTokensDetails"))


def test_a_stream_has_the_picture_at_its_end(relay: Running) -> None:
    body = contents({"text": "A cat"})
    reply = relay.ask(f"{CHAT}streamGenerateContent?alt=sse", orjson.dumps(body))
    found = events(reply.body)
    parts = [
        part
        for each in found
        for candidate in each["candidates"]
        for part in candidate["content"]["parts"]
    ]
    assert [bool(part.get("inlineData")) for part in parts if part != {"text": ""}] == [True]
    assert found[-1]["usageMetadata"]["totalTokenCount"] > 0


# --- the same format ------------------------------------------------------------------------------


def test_googles_sizes_have_a_capital_letter(relay: Running) -> None:
    config = {"responseModalities": ["IMAGE"], "imageConfig": {"imageSize": "2k"}}
    body = contents({"text": "A cat"}, generationConfig=config)
    reply, told = ask(relay, "/v1beta/models/gemini-3-pro-image:generateContent", body)
    assert reply.status == 200, told
    parts = [part for part in told["candidates"][0]["content"]["parts"] if "inlineData" in part]
    assert size_of(b64decode(parts[-1]["inlineData"]["data"])) == (2048, 2048)


# --- the providers' own programs ------------------------------------------------------------------


def test_openais_sdk_draws_and_changes_googles_pictures(relay: Running) -> None:
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key=relay.key, max_retries=0) as client:
        made = client.images.generate(model="gemini-3-pro-image", prompt="A cat", n=2)
        assert made.data is not None
        first, _ = [b64decode(each.b64_json or "") for each in made.data]
        assert made.usage is not None
        assert made.usage.total_tokens > 0
        stream = client.images.generate(model="gemini-3-pro-image", prompt="A cat", stream=True)
        (event,) = stream
        assert event.type == "image_generation.completed"
        assert b64decode(event.b64_json).startswith(PNG)
        files = [("a.png", first, "image/png"), ("b.png", first, "image/png")]
        edit = client.images.edit(model="gemini-3-pro-image", prompt="More", image=files)
        assert edit.data is not None
        assert b64decode(edit.data[0].b64_json or "").startswith(PNG)
        with pytest.raises(openai.BadRequestError) as caught:
            client.images.generate(model="demo-image-blocked", prompt="A cat")
        assert caught.value.code == "moderation_blocked"


def test_googles_sdk_draws_and_changes_openais_pictures(relay: Running) -> None:
    options = genai_types.HttpOptions(base_url=relay.url)
    with genai.Client(api_key=relay.key, http_options=options) as client:
        made = client.models.generate_content(model="gpt-image-1", contents="A cat")
        assert made.parts
        (part,) = made.parts
        assert part.inline_data is not None
        assert (part.inline_data.data or b"").startswith(PNG)
        chunks = client.models.generate_content_stream(model="gpt-image-1", contents=["More", part])
        shown = [each for chunk in chunks for each in chunk.parts or [] if each.inline_data]
        assert len(shown) == 1
