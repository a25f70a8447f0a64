"""A multipart form as it comes in, piece by piece: where its parts are, what the small ones say.

Strategy: the bytes are the caller's to keep (see `Spool`); the parser only remembers where each
part starts and ends, so a form of any size costs it a few kilobytes. In a file, a piece is searched
for the next boundary with the end of the line before it: a boundary has no such end within, so the
search is linear whatever a client chose for a boundary and filled a file with. Nothing is copied
but the few last bytes, where a boundary may have begun. What is not a file is kept, up to
`TEXT_LIMIT` for all of them together.

One form, one reading: what two parsers could read in two ways (two fields `model` or `n`, names in
odd spellings, a boundary after a bare line feed, text around the form) is refused, so that what is
paid for is what is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from relayd.errors import BadCall
from relayd.wire import part_head
from relayd.wire.part_head import CODE, PartHead

MOST_PARTS: Final = 128
HEAD_LIMIT: Final = (
    8 * 1024
)  # bytes of the headers of one part, and of what stands before the first
TEXT_LIMIT: Final = 1024 * 1024  # bytes of all text fields together
_LONGEST_BOUNDARY = 200  # RFC 2046 has 70; some clients have never read it
_MALFORMED = "The form has a malformed boundary."
_PADDING = 256  # white space that may stand between a boundary and the end of its line
_BOUNDARY = re.compile(r';[ \t]*boundary[ \t]*=[ \t]*(?:"([^"\\]*)"|([^\s;"]*))', re.IGNORECASE)


class Spool(Protocol):
    """The bytes of a body, wherever they are kept."""

    @property
    def size(self) -> int:
        """How many there are."""

    def read(self, start: int, end: int) -> bytes:
        """Those from `start` up to `end`."""

    async def load(self, start: int, end: int) -> bytes:
        """The same, without holding up anybody."""

    @property
    def whole(self) -> bytes | None:
        """All of them, where they are in memory."""


class File(NamedTuple):
    """One file of a form: `name` is the field's; from `start` up to `end` are its bytes."""

    name: str
    filename: str
    content_type: str
    start: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.end - self.start


@dataclass(slots=True)
class Form:
    """A form that was read to its end.

    Attributes:
        content_type: as the client sent it, with the boundary.
        spool: the whole body.
        fields: the text fields; of those that may repeat, the last.
        files: in their order.
        model: what the field `model` says; None where there is no such field.
        model_span: where that stands in the body.
        first: where the first boundary starts.
    """

    content_type: str
    spool: Spool
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    files: list[File] = field(default_factory=list, repr=False)
    model: str | None = None
    model_span: tuple[int, int] | None = None
    first: int = 0

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return self.spool.size

    def read(self, file: File) -> bytes:
        """The bytes of a file."""
        return self.spool.read(file.start, file.end)

    def with_model(self, model: str) -> list[bytes | tuple[int, int]]:
        """The body with another name of the model, as new bytes and spans of the old ones. Where it
        has no such field it gets one, before all others."""
        name = model.encode()
        if self.model_span is not None:
            if model == self.model:
                return [(0, self.size)]
            start, end = self.model_span
        else:
            start = end = self.first
            disposition = b'content-disposition: form-data; name="model"'
            boundary = boundary_of(self.content_type)
            name = b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, disposition, name)
        return [span for span in ((0, start), name, (end, self.size)) if span != (0, 0)]


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that is passed on unread."""

    content_type: str
    spool: Spool

    def with_model(self, model: str) -> list[bytes | tuple[int, int]]:
        """The body as it is: nobody knows what names a model in it."""
        return [(0, self.spool.size)]


def is_form(content_type: str) -> bool:
    """Whether a body of this type is a multipart form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def boundary_of(content_type: str) -> bytes:
    """What separates the parts; BadCall where the type does not say, or not clearly."""
    found = _BOUNDARY.findall(content_type)
    if not found:
        message = "The Content-Type of the form names no boundary."
        raise BadCall(message, code="missing_boundary")
    boundary = "".join(found[0])
    sane = boundary.isascii() and boundary.isprintable() and not boundary.endswith(" ")
    clear = len(found) == 1 and "boundary*" not in content_type.lower()
    if not (clear and sane and 0 < len(boundary) <= _LONGEST_BOUNDARY):
        raise BadCall("The boundary in the Content-Type of the form is malformed.", code=CODE)
    return boundary.encode()


def form_of(content_type: str, body: bytes) -> Form:
    """The form in a body that is there whole; BadCall where it is none."""
    reader = FormReader(content_type)
    reader.feed(body)
    return reader.finish(Held(body))


class Held:
    """A body in memory."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __repr__(self) -> str:
        return f"<Held {self.size} bytes>"

    @property
    def size(self) -> int:
        return len(self._body)

    def read(self, start: int, end: int) -> bytes:
        return self._body[start:end]

    async def load(self, start: int, end: int) -> bytes:
        return self._body[start:end]

    @property
    def whole(self) -> bytes:
        return self._body


class FormReader:
    """Reads one form. Every error is a BadCall, raised by the piece that shows it.

    Arguments:
        content_type: of the body.
    """

    __slots__ = (
        "_bare",
        "_base",
        "_dashes",
        "_form",
        "_head",
        "_line",
        "_parts",
        "_rest",
        "_start",
        "_step",
        "_text",
        "_text_size",
    )

    def __init__(self, content_type: str) -> None:
        self._dashes = b"--" + boundary_of(content_type)
        self._line, self._bare = b"\n" + self._dashes, b"\r" + self._dashes
        self._form = Form(content_type, Held(b""))
        # The first boundary needs no line before it: as if there were one.
        self._rest = b"\r\n"  # read, and not understood yet
        self._base = -2  # where that stands in the body
        self._head: PartHead | None = None
        self._start = 0  # of the part's content
        self._parts = 0
        self._text: list[bytes] = []
        self._text_size = 0
        # What comes next. Takes the bytes and a position, returns the next position; -1 for more.
        self._step: Callable[[bytes, int], int] = self._content

    def __repr__(self) -> str:
        return f"<FormReader parts={self._parts} at={self._base}>"

    def feed(self, data: bytes) -> None:
        """The next piece of the body."""
        data = self._joined(data)
        at = 0
        while at >= 0:
            at = self._step(data, at)

    def finish(self, spool: Spool) -> Form:
        """The body has ended: the form, with the bytes that were kept of it."""
        if self._step != self._epilogue:
            raise BadCall("The form ends before its last boundary.", code=CODE)
        self._form.spool = spool
        return self._form

    def _joined(self, data: bytes) -> bytes:
        """The piece behind what is left of the last one: copied only where they belong together."""
        rest, reach = self._rest, len(self._dashes) + 2
        if not rest:
            return data
        if self._step == self._content and len(data) >= reach:
            if self._line_in(rest + data[:reach], 0) < 0:
                self._keep(rest, 0, len(rest))
                self._base += len(rest)
                return data
        return rest + data

    def _leave(self, data: bytes, at: int) -> int:
        """Wait for more: what stands from `at` on is not understood yet."""
        self._base += at
        self._rest = data[at:]
        return -1

    # --- the steps ------------------------------------------------------------------------------

    def _opening(self, data: bytes, at: int) -> int:
        """The first bytes of a part: no boundary, as that would have no line of its own."""
        first = data[at : at + len(self._dashes)]
        if first == self._dashes:
            raise BadCall(_MALFORMED, code=CODE)
        if self._dashes.startswith(first):
            return self._leave(data, at)
        self._step = self._content
        return at

    def _content(self, data: bytes, at: int) -> int:
        """A part's content, or what stands before the first boundary."""
        found = self._line_in(data, at)
        if found < 0:
            # In the last few bytes a boundary may have begun, or the end of the line before it.
            known = max(at, len(data) - len(self._line))
            self._keep(data, at, known)
            return self._leave(data, known)
        self._keep(data, at, found)
        self._end_part(self._base + found)
        self._step = self._after_boundary
        return found + 2 + len(self._dashes)

    def _line_in(self, data: bytes, at: int) -> int:
        """Where the end of the line before the next boundary is; -1 where there is none.

        What is looked for begins with what it has nowhere else, so it is not found half again and
        again: the search looks at no byte more than a few times.
        """
        found = data.find(self._line, at)
        bare = data.find(self._bare, at, len(data) if found < 0 else found)
        if bare >= 0 or (found >= 0 and data[max(found - 1, 0) : found] != b"\r"):
            raise BadCall(_MALFORMED, code=CODE)
        return found if found < 0 else found - 1

    def _after_boundary(self, data: bytes, at: int) -> int:
        """The rest of the boundary's line: `--` for the last one, else nothing but white space."""
        if data.startswith(b"--", at):
            self._step = self._epilogue
            return at + 2
        end = data.find(b"\r\n", at, at + _PADDING)
        padding = data[at : len(data) if end < 0 else end]
        if end < 0 and len(padding) < _PADDING and not padding.strip(b" \t-\r"):
            return self._leave(data, at)
        if end < 0 or padding.strip(b" \t"):
            raise BadCall(_MALFORMED, code=CODE)
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadCall(f"The form has more than {MOST_PARTS} parts.", code=CODE)
        self._step = self._headers
        return end + 2

    def _headers(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n\r\n", at, at + HEAD_LIMIT)
        if end < 0:
            if len(data) - at >= HEAD_LIMIT:
                raise BadCall("The headers of a part of the form are too long.", code=CODE)
            return self._leave(data, at)
        self._head = part_head.read(data[at:end])
        part_head.check_repeated(self._head, self._form.fields)
        self._start = self._base + end + 4
        self._step = self._opening
        return end + 4

    def _epilogue(self, data: bytes, at: int) -> int:
        """Nothing but white space follows the last boundary."""
        if data[at:].strip(b" \t\r\n"):
            raise BadCall("Something follows the last boundary of the form.", code=CODE)
        return self._leave(data, len(data))

    # --- what is known of a part ----------------------------------------------------------------

    def _keep(self, data: bytes, start: int, end: int) -> None:
        """Note what a field says; a file is not looked at, and before the form there is nothing."""
        if start == end or (self._head is not None and self._head.filename is not None):
            return
        text = data[start:end]
        if self._head is None:
            if text.strip(b" \t\r\n"):
                raise BadCall("The form does not begin with its boundary.", code=CODE)
            return
        self._text.append(text)
        self._text_size += len(text)
        if self._text_size > TEXT_LIMIT:
            raise BadCall(
                f"The text fields of the form are longer than {TEXT_LIMIT} bytes.",
                status=413,
                code="request_too_large",
                param=self._head.name,
            )

    def _end_part(self, end: int) -> None:
        head, start = self._head, self._start
        if head is None:
            self._form.first = end + 2
        elif head.filename is None:
            self._end_field(head.name, (start, end))
        elif start == end:
            message = f"The file in `{head.name}` is empty."
            raise BadCall(message, code="empty_file", param=head.name)
        else:
            file = File(head.name, head.filename, head.content_type, start, end)
            self._form.files.append(file)
        self._text.clear()

    def _end_field(self, name: str, span: tuple[int, int]) -> None:
        form = self._form
        try:
            value = b"".join(self._text).decode()
        except UnicodeDecodeError:
            message = f"The field `{name}` is not UTF-8."
            raise BadCall(message, code="invalid_value", param=name) from None
        if name == "model":
            form.model, form.model_span = value, span
        form.fields[name] = value
