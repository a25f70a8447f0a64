"""OpenAI's image endpoints are worded as wire-formats 13.1 says."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from relayd.demo.pixels import pixels_of, png
from tests.demo.serving import data_of, script_of, script_of_form

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"
PICTURE = png(64, 64, "abcdef")


def draw(**asked: Any) -> Any:
    script = script_of(GENERATIONS, {"model": "demo-image", "prompt": "a cat", **asked})
    return orjson.loads(script.whole)


def edit(*files: tuple[str, str, bytes], **fields: Any) -> Any:
    script = script_of_form(EDITS, {"model": "demo-image", "prompt": "a hat", **fields}, *files)
    return orjson.loads(script.whole)


def test_pictures_have_the_pixels_that_were_asked() -> None:
    reply = draw(n=2, size="1536x1024")
    pictures = [base64.b64decode(entry["b64_json"]) for entry in reply["data"]]
    assert [pixels_of(picture) for picture in pictures] == [(1536, 1024)] * 2
    assert pictures[0] != pictures[1]
    assert reply["size"] == "1536x1024"


def test_usage_adds_up_and_goes_by_number_and_quality() -> None:
    usage = draw()["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert draw(n=3)["usage"]["output_tokens"] == 3 * usage["output_tokens"]
    assert draw(quality="low")["usage"]["output_tokens"] < usage["output_tokens"]
    assert "usage" not in draw(model="demo-image-no-usage")


def test_a_link_is_given_when_it_is_asked() -> None:
    (entry,) = draw(response_format="url")["data"]
    assert entry["url"].startswith("https://")
    assert "b64_json" not in entry
    old = draw(model="dall-e-3")
    assert "url" in old["data"][0]
    assert "usage" not in old


def test_a_stream_has_partial_pictures_and_one_completed_event_each() -> None:
    asked = {"model": "demo-image", "prompt": "x", "stream": True, "partial_images": 2, "n": 2}
    script = script_of(GENERATIONS, asked)
    assert script.whole.startswith(b"event: image_generation.partial_image\n")
    events = data_of(script.whole)
    kinds = [event["type"].rpartition(".")[2] for event in events]
    assert kinds == ["partial_image", "partial_image", "completed"] * 2
    done = [event["usage"]["total_tokens"] for event in events if "usage" in event]
    assert sum(done) == draw(n=2, prompt="x")["usage"]["total_tokens"]


def test_an_edit_takes_files_and_tells_their_tokens() -> None:
    one = edit(("image", "a.png", PICTURE))
    two = edit(("image[]", "a.png", PICTURE), ("image[]", "b.png", PICTURE))
    assert two["usage"]["input_tokens_details"]["image_tokens"] == 646
    assert one["usage"]["input_tokens_details"]["image_tokens"] == 323


def test_an_edit_streams_events_of_its_own() -> None:
    fields = {"model": "demo-image", "prompt": "x", "stream": "true", "partial_images": "1"}
    events = data_of(script_of_form(EDITS, fields, ("image", "a.png", PICTURE)).whole)
    assert [event["type"] for event in events] == [
        "image_edit.partial_image",
        "image_edit.completed",
    ]


def test_an_edit_may_be_asked_in_json() -> None:
    url = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    asked = {"model": "m", "prompt": "x", "images": [{"image_url": url}, {"file_id": "file-1"}]}
    assert script_of(EDITS, asked).status == 200
    asked["images"] = [{"image_url": "data:image/png;base64,aGVsbG8="}]
    assert orjson.loads(script_of(EDITS, asked).whole)["error"]["code"] == "invalid_image_file"


@pytest.mark.parametrize(
    ("data", "code"), [(b"", "empty_image_file"), (b"no picture", "invalid_image_file")]
)
@pytest.mark.parametrize("field", ["image", "mask"])
def test_a_file_that_is_no_picture_is_refused(data: bytes, code: str, field: str) -> None:
    other = {"image": "mask", "mask": "image"}[field]
    error = edit((field, "a.png", data), (other, "b.png", PICTURE))["error"]
    assert (error["code"], error["param"]) == (code, field)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"size": "huge"}, "size"),
        ({"size": "90000x2"}, "size"),
        ({"n": 11}, "n"),
        ({"n": "many"}, "n"),
    ],
)
def test_a_wrong_field_is_named(asked: dict[str, Any], param: str) -> None:
    assert draw(**asked)["error"]["param"] == param


def test_generations_take_no_form_and_edits_need_a_picture() -> None:
    assert script_of_form(GENERATIONS, {"prompt": "x"}).status == 400
    assert edit()["error"]["param"] == "image"


def test_a_variation_needs_one_picture_and_nothing_else() -> None:
    script = script_of_form("/v1/images/variations", {"n": 2}, ("image", "a.png", PICTURE))
    assert len(orjson.loads(script.whole)["data"]) == 2
    assert script_of_form("/v1/images/variations", {}).status == 400


def test_the_safety_system_refuses_on_request() -> None:
    error = draw(model="demo-image-blocked")["error"]
    assert error["code"] == "moderation_blocked"
    assert error["type"] == "image_generation_user_error"


def test_a_picture_can_be_large() -> None:
    (entry,) = draw(model="demo-image-size-300000")["data"]
    assert len(base64.b64decode(entry["b64_json"])) == 300_000


def test_imagen_draws_by_prediction() -> None:
    asked = {"instances": [{"prompt": "x"}], "parameters": {"sampleCount": 2}}
    script = script_of("/v1beta/models/demo:predict", asked)
    predictions = orjson.loads(script.whole)["predictions"]
    assert len(predictions) == 2
    assert pixels_of(base64.b64decode(predictions[0]["bytesBase64Encoded"])) == (1024, 1024)
    assert script_of("/v1beta/models/demo:predict", {}).status == 400
