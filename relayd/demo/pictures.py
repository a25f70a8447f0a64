"""OpenAI's image endpoints: generations, edits, variations (wire-formats 13.1).

Pictures have the pixels that were asked; tokens are counted as the real models count them: what an
image costs depends on its pixels and quality. Names with `dall-e` behave as the old models did:
links unless base64 is asked, no usage.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, Final

from relayd.demo.ask import Document, dicts, string, table, weigh
from relayd.demo.events import named_event
from relayd.demo.form import Upload
from relayd.demo.pixels import MOST_PIXELS, is_picture, png
from relayd.demo.refusal import Refusal
from relayd.demo.script import Script
from relayd.demo.task import Task, Work, usage_of

MOST_PICTURES: Final = 10
MOST_SOURCES: Final = 16
MOST_BYTES: Final = 48 * 1024 * 1024
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_QUALITY: Final = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 4160, "max": 6240}
_DATA_URL: Final = re.compile(r"data:[\w/+.-]*;base64,")


def _generations(task: Task) -> Script:
    task.demand("prompt")
    return _answered(task, "image_generation", ())


def _edits(task: Task) -> Script:
    task.demand("prompt")
    sources = [upload.data for upload in _uploads(task, "image")] or _linked(task.asked)
    if not 1 <= len(sources) <= MOST_SOURCES:
        code = "missing_required_parameter"
        raise Refusal(400, "Missing required parameter: 'image'.", code=code, param="image")
    for upload in _uploads(task, "mask"):
        _demand_picture(upload.data, "mask")
    return _answered(task, "image_edit", sources)


def _variations(task: Task) -> Script:
    sources = [upload.data for upload in _uploads(task, "image")]
    if len(sources) != 1:
        raise Refusal(400, "Missing required parameter: 'image'.", param="image")
    return _answered(task, "image_variation", sources)


def _uploads(task: Task, field: str) -> list[Upload]:
    """The files of a field, which several share as `image[]` or `image[0]`."""
    found = [u for u in task.files if u.field == field or u.field.startswith(f"{field}[")]
    for upload in found:
        _demand_picture(upload.data, field)
    return found


def _demand_picture(data: bytes, field: str) -> None:
    if not data:
        code = "empty_image_file"
        raise Refusal(400, f"The file in '{field}' is empty.", code=code, param=field)
    if not is_picture(data):
        message = "Invalid image file or mode, please check your image file."
        raise Refusal(400, message, code="invalid_image_file", param=field)


def _linked(asked: Document) -> list[bytes]:
    """The sources of the JSON form of an edit: links and data URLs; what a link holds is unseen."""
    sources = []
    for image in dicts(asked.get("images")):
        url = string(image.get("image_url"))
        if found := _DATA_URL.match(url):
            data = _decoded(url[found.end() :])
            _demand_picture(data, "images")
            sources.append(data)
        elif url or image.get("file_id"):
            sources.append(b"")
    return sources


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        code = "invalid_base64_image"
        raise Refusal(400, "Invalid base64 image.", code=code, param="images") from None


def _answered(task: Task, kind: str, sources: Sequence[bytes]) -> Script:
    if task.name.has("blocked"):
        raise Refusal(
            400,
            "Your request was rejected by the safety system.",
            code="moderation_blocked",
            type="image_generation_user_error",
        )
    size = _pixels(task.text("size", "auto"))
    number = task.number("n", 1, MOST_PICTURES)
    least = int(task.name.number("size", 0, MOST_BYTES))
    pictures = [png(*size, f"{task.seed}{n}"[n:], least) for n in range(number)]
    shared: dict[str, Any] = {
        "background": task.text("background", "opaque").replace("auto", "opaque"),
        "output_format": "png",
        "quality": task.text("quality", "medium").replace("auto", "medium"),
        "size": f"{size[0]}x{size[1]}",
    }
    usage = _usage(task, shared["quality"], size, number, len(sources))
    if task.flag("stream") and kind != "image_variation" and not task.name.has("json-on-stream"):
        return _streamed(task, kind, pictures, shared, usage)
    old = "dall-e" in task.name.model
    linked = task.text("response_format", "url" if old else "b64_json") == "url"
    data = [_entry(task, n, picture, linked) for n, picture in enumerate(pictures)]
    body = {"created": int(task.moment), "data": data}
    return task.whole(body if old else body | shared | usage_of(task, usage))


def _entry(task: Task, number: int, picture: bytes, linked: bool) -> Document:
    if linked:
        return {"url": f"https://pictures.example.com/{task.seed}/{number}.png"}
    return {"b64_json": base64.b64encode(picture).decode()}


def _pixels(size: str) -> tuple[int, int]:
    if size == "auto":
        return 1024, 1024
    found = _SIZE.fullmatch(size)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (16 <= width <= MOST_PIXELS and 16 <= height <= MOST_PIXELS):
        message = f"Invalid value: '{size}'. Supported values are WIDTHxHEIGHT and 'auto'."
        raise Refusal(400, message, code="invalid_value", param="size")
    return width, height


def _usage(task: Task, quality: str, size: tuple[int, int], number: int, sources: int) -> Document:
    text = weigh(task.text("prompt"))
    image = 323 * sources
    each = max(16, _QUALITY.get(quality, 1056) * size[0] * size[1] // (1024 * 1024))
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image},
        "output_tokens": each * number,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": each * number},
        "total_tokens": text + image + each * number,
    }


def _streamed(
    task: Task, kind: str, pictures: Sequence[bytes], shared: Document, usage: Document
) -> Script:
    """Partial pictures, then the whole one, for every picture; each tells its own usage."""
    partials = task.number("partial_images", 0, 3) if task.asked.get("partial_images") else 0
    shared = {"created_at": int(task.moment), **shared}
    events = []
    each = _share(usage, len(pictures))
    for number, picture in enumerate(pictures):
        for index in range(partials):
            early = base64.b64encode(png(64, 64, f"{task.seed}{index}"[index:])).decode()
            partial_event = {"type": f"{kind}.partial_image", "partial_image_index": index}
            events.append(named_event({**partial_event, "b64_json": early, **shared}))
        whole = base64.b64encode(picture).decode()
        own = usage_of(task, each if number else _first_share(usage, each, len(pictures)))
        done = {"type": f"{kind}.completed", "b64_json": whole, **shared, **own}
        events.append(named_event(done))
    return task.stream(events)


def _share(usage: Document, number: int) -> Document:
    """What every picture but the first tells: its own output, and none of the input."""
    output = usage["output_tokens"] // number
    return {
        "input_tokens": 0,
        "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output},
        "total_tokens": output,
    }


def _first_share(usage: Document, each: Document, number: int) -> Document:
    """The first picture's usage: the others' output left out, so that all sum up to the whole."""
    output = each["output_tokens"]
    total = usage["input_tokens"] + output
    return (
        {**usage, "output_tokens": output, "total_tokens": total}
        | {"output_tokens_details": each["output_tokens_details"]}
        if number > 1
        else usage
    )


def imagen(document: Document, name: Any) -> Document:
    """The reply of Gemini's `:predict`, by which Imagen models draw."""
    prompts = [string(entry.get("prompt")) for entry in dicts(document.get("instances"))]
    if not any(prompts):
        raise Refusal(400, "* PredictRequest.instances: prompt is not specified\n")
    wanted = table(document.get("parameters")).get("sampleCount")
    number = min(wanted, MOST_PICTURES) if isinstance(wanted, int) and wanted > 0 else 1
    picture = base64.b64encode(png(1024, 1024, prompts[0].encode().hex())).decode()
    return {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": picture}] * number}


WORKS: Final[dict[str, Work]] = {
    "/v1/images/generations": _generations,
    "/v1/images/edits": _edits,
    "/v1/images/variations": _variations,
}
