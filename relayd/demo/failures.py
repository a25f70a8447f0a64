"""Misbehaviours in which a failure is answered: error statuses, broken JSON, errors inside a 200.

Each is a transformation of a script, like those in `misbehave`, whose table holds them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import orjson

from relayd.demo.events import data_event, named_event
from relayd.demo.refusal import (
    Refusal,
    anthropic_error,
    error_body,
    google_error,
    openai_error,
)
from relayd.demo.script import TURN, Headers, Script, Send, Step, document
from relayd.model import FormatName

_HTML: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>demo</center>\r\n</body>\r\n</html>"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an act is played.

    Arguments:
        seed: hexadecimal digits that identify the request.
        headers: those by which the vendor identifies its replies.
        model: the model's name as asked.
        number: the number that the act's part of the name carries, if any.
    """

    format: FormatName
    seed: str
    headers: Headers
    model: str = ""
    number: float | None = None


Act = Callable[[Script, Scene], Script]


def refused(
    scene: Scene, refusal: Refusal, in_array: bool = False, retry_after: float | None = None
) -> Script:
    """A refusal in the words of the scene's format.

    Arguments:
        in_array: wrap it into an array of one, as Google does when an array was going to be
        streamed. retry_after: seconds, for the header and for Google's RetryInfo.
    """
    body = error_body(scene.format, refusal, scene.seed, retry_after)
    headers = list(scene.headers)
    if retry_after is not None:
        headers.append(("retry-after", f"{retry_after:g}"))
    return document(refusal.status, b"[" + body + b"]" if in_array else body, headers)


_REFUSALS: Final[dict[int, tuple[str, str | None]]] = {
    400: ("The demo provider was asked to find this request invalid.", None),
    401: ("Incorrect API key provided.", "invalid_api_key"),
    403: ("You are not allowed to use this model.", "unsupported_country_region_territory"),
    404: ("The model `{model}` does not exist or you do not have access to it.", "model_not_found"),
    429: ("Rate limit reached for {model}. Please try again later.", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request. Sorry about that!", None),
    503: ("The engine is currently overloaded, please try again later.", "server_is_overloaded"),
    529: ("Overloaded", "server_is_overloaded"),
}


def status(code: int) -> Act:
    """An act that answers with this status, as the scene's vendor words it."""

    def answer_with_status(script: Script, scene: Scene) -> Script:
        message, word = _REFUSALS[code]
        refusal = Refusal(code, message.replace("{model}", scene.model), code=word)
        retry_after = (1 if scene.number is None else scene.number) if code == 429 else None
        return refused(scene, refusal, script.kind == "array", retry_after)

    return answer_with_status


def html(script: Script, scene: Scene) -> Script:
    """Answer the HTML page of some proxy in between."""

    return Script(502, [("content-type", "text/html")], [Send(_HTML)])


def malformed(script: Script, scene: Scene) -> Script:
    """Break the JSON of the document, or of one event in the middle."""

    sends = [(at, step) for at, step in enumerate(script.body) if isinstance(step, Send)]
    at, (data,) = next((s for s in sends if s[0] >= script.middle), sends[0])
    end = b"\r\n\r\n" if data.endswith(b"\r\n\r\n") else b"\n\n"
    broken = data[: len(data) * 2 // 3] + (end if script.kind == "sse" else b"")
    return replace(script, body=[*script.body[:at], Send(broken), *script.body[at + 1 :]])


_FAILURE: Final = Refusal(503, "The demo provider failed on request.", code="server_is_overloaded")


def error_in_stream(script: Script, scene: Scene) -> Script:
    """End a stream after some text with an error event; answer any other with an error body."""

    if script.kind in ("json", "bytes"):
        return _error_body(script, scene)
    said = script.body[: script.middle]
    if script.kind == "array":
        last: list[Step] = [Send(b",\r\n" + error_body("gemini", _FAILURE, "")), Send(b"]")]
    elif scene.format == "responses":
        last = [Send(_failed_response(script, said))]
    else:
        last = [Send(_error_event(scene))]
    return replace(script, body=[*said, TURN, *last], closing=0)


def error_first(script: Script, scene: Scene) -> Script:
    """Make an error the only event of a stream; answer any other with an error body."""

    if script.kind in ("json", "bytes"):
        return _error_body(script, scene)
    body = error_body("gemini", _FAILURE, "")
    event = b"[" + body + b"]" if script.kind == "array" else _error_event(scene)
    return replace(script, body=[Send(event)], closing=0)


def _error_body(script: Script, scene: Scene) -> Script:
    body = error_body(scene.format, _FAILURE, scene.seed)
    return replace(document(200, body, scene.headers), before=script.before)


def _error_event(scene: Scene) -> bytes:
    if scene.format == "messages":
        return named_event(anthropic_error(_FAILURE, f"req_{scene.seed}"))
    if scene.format == "gemini":
        return b"data: " + orjson.dumps(google_error(_FAILURE)) + b"\r\n\r\n"
    if scene.format == "responses":
        return named_event({"type": "error", "sequence_number": 0, **openai_error(_FAILURE)})
    return data_event(openai_error(_FAILURE))


def _failed_response(script: Script, said: list[Step]) -> bytes:
    """`response.failed`, with the response that the first event opened."""
    events = [step.data for step in said if isinstance(step, Send)]
    response = orjson.loads(events[0].partition(b"data: ")[2])["response"]
    response["status"] = "failed"
    response["error"] = {"code": "server_error", "message": _FAILURE.message}
    failed = {"type": "response.failed", "sequence_number": len(events), "response": response}
    return named_event(failed)
