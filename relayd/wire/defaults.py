"""What a request is taken to say where it says nothing, at endpoints whose fields are optional.

The operator decides, by endpoint: which model answers, and with what limits. A field that is
missing, or null, is written into the body before anything else reads it; what the client did send
stays as it is, to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from relayd.wire import splice
from relayd.wire.head import read_object
from relayd.wire.splice import Edit

Fields = Mapping[str, str | int | float]
NOTHING: Mapping[str, Fields] = {}
# Who says the one says the other.
_SAME: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}


class Defaults:
    """The defaults of all endpoints that have some.

    Arguments:
        fields: by the name in `Target.defaults`: fields and their values.
    """

    __slots__ = ("_fields", "_models")

    def __init__(self, fields: Mapping[str, Fields] = NOTHING) -> None:
        self._models = {name: values.get("model") for name, values in fields.items()}
        self._fields = {
            name: {field: orjson.dumps(value) for field, value in values.items()}
            for name, values in fields.items()
        }

    def __repr__(self) -> str:
        return f"Defaults({', '.join(self._fields)})"

    def model(self, name: str) -> str | None:
        """The model that answers where a form names none."""
        model = self._models.get(name)
        return model if isinstance(model, str) else None

    def filled(self, body: bytes, name: str) -> bytes:
        """The body with what it leaves out; BadCall where it is no request at all."""
        values = self._fields.get(name)
        if not values:
            return body
        value = read_object(body)
        start = splice.object_start(body)
        edits: list[Edit] = []
        added = b""
        for field, text in values.items():
            if value.get(_SAME.get(field, field)) is not None or value.get(field) is not None:
                continue
            if field in value:
                spans = splice.values(body, start, field)
                edits += [Edit(span.start, span.end, text) for span in spans]
            else:
                added += b"%b:%b," % (orjson.dumps(field), text)
        if added:
            edits.append(Edit(start + 1, start + 1, added if value else added[:-1]))
        return b"".join(splice.apply(body, tuple(edits), "")) if edits else body
