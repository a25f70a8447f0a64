"""One piece of work that is no conversation: a picture, a sound, a file, a stored response.

A `Task` is everything that such a route may look at. A form and a JSON document read alike: fields
of a form are texts, so numbers and flags are read through `number` and `flag`, which know both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from relayd.demo.ask import Document
from relayd.demo.events import SSE
from relayd.demo.form import Upload
from relayd.demo.names import Name
from relayd.demo.refusal import Refusal
from relayd.demo.script import TURN, Headers, Kind, Script, Send, Step, Wait, document
from relayd.demo.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Task:
    """What a route is asked to do.

    Arguments:
        asked: the JSON document, or the text fields of the form.
        files: the files of the form.
        query: the query of the path.
        rest: what the path has after the route's own name, cut at its slashes.
        seed: hexadecimal digits that identify the request.
        moment: seconds since the epoch, for `created`.
        headers: those by which the vendor identifies its replies.
        owner: the credential: what one key keeps, another never sees.
        shelf: what is kept from one request to the next.
    """

    method: str
    asked: Document
    files: tuple[Upload, ...]
    query: dict[str, str]
    rest: tuple[str, ...]
    name: Name
    seed: str
    moment: float
    headers: Headers
    owner: str
    shelf: Shelf

    def text(self, field: str, default: str = "") -> str:
        """A text; anything else reads as absent."""
        value = self.asked.get(field)
        return value if isinstance(value, str) else default

    def number(self, field: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`, or a Refusal."""
        value = self.asked.get(field)
        if value is None:
            return default
        if isinstance(value, str) and value.isdecimal() and len(value) < 9:
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refusal(400, f"Invalid type for '{field}': expected an integer.", param=field)
        if not 1 <= value <= most:
            raise Refusal(400, f"Invalid '{field}': expected 1 to {most}.", param=field)
        return value

    def flag(self, field: str) -> bool:
        """A flag: JSON's own, or `true` in a form."""
        return self.asked.get(field) in (True, "true")

    def demand(self, field: str) -> str:
        """A text that must be there."""
        if not (value := self.text(field)):
            code = "missing_required_parameter"
            raise Refusal(400, f"Missing required parameter: '{field}'.", code=code, param=field)
        return value

    def whole(self, body: Document) -> Script:
        """A reply that is one JSON document."""
        return document(200, orjson.dumps(body), self.headers)

    def plain(self, text: str, content_type: str = "text/plain; charset=utf-8") -> Script:
        """A reply that is text."""
        return Script(200, [("content-type", content_type), *self.headers], [Send(text.encode())])

    def stream(self, events: Sequence[bytes], closing: int = 1) -> Script:
        """A reply of server-sent events, paced as the model's name asks."""
        return self.paced(events, SSE, "sse", closing)

    def paced(self, sends: Sequence[bytes], content_type: str, kind: Kind, closing: int) -> Script:
        """A reply in several writes: a turn of the loop apart, or as `-at-R` asks.

        Arguments:
            closing: how many of the last writes are the terminal event.
        """
        rate = self.name.number("at", 0, float("inf"))
        gap = Wait(1 / rate) if rate else TURN
        body: list[Step] = []
        for data in sends:
            body += (Send(data), gap)
        headers = [("content-type", content_type), ("cache-control", "no-cache"), *self.headers]
        count = 2 * closing - 1 if closing else 0
        return Script(200, headers, body[:-1], framing="chunked", kind=kind, closing=count)


Work = Callable[[Task], Script]


def usage_of(task: Task, usage: Document) -> dict[str, Any]:
    """The `usage` field, unless the model is told to report none."""
    return {} if task.name.has("no-usage") else {"usage": usage}
