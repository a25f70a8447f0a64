"""WebSocket frames (RFC 6455): read without touching them, and the few that a relay says itself.

Strategy: a relay passes frames as the bytes that they are. `Frames` walks along one direction of a
connection: it reads every header, holds it to the rules and to a bound, says where messages end,
and keeps the text of those that somebody wants to read. Of a text beyond `HELD` bytes only the
start and the end are kept, so that a flood costs no memory. Nothing is unmasked but a close code,
and what is kept. Pure: masks are arguments.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, Literal, NamedTuple

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

HELD: Final = 256 * 1024  # bytes of one text that are kept whole
HEAD_KEPT: Final = 1024  # of a longer one: so much of its start ...
TAIL_KEPT: Final = 64 * 1024  # ... and so much of its end
LONGEST_CONTROL: Final = 125

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005  # a close frame that names none
REFUSED: Final = 1008
TOO_LARGE: Final = 1009
BROKEN: Final = 1011

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTROL: Final = frozenset({CLOSE, PING, PONG})
_DATA: Final = frozenset({0, TEXT, BINARY})

Kind = Literal["text", "binary", "close"]


class FrameError(ValueError):
    """What came breaks the rules.

    Arguments:
        code: what to close with.
        reason: why, for whoever sent it.
        at: where in the fed bytes the bad frame begins; None where that was in earlier ones.

    `ended` is what had ended before it in the same bytes.
    """

    def __init__(self, code: int, reason: str, at: int | None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.at = at
        self.ended: list[Ended] = []


class Ended(NamedTuple):
    """A message, or the close frame, that ended in the bytes that were fed.

    Arguments:
        end: where in these bytes it ended.
        text: of a text: what was kept of it.
        start: of one that was too long to keep whole: its first bytes; `text` is then its last.
        code: of a close frame.
        size: bytes of the whole message.
    """

    kind: Kind
    end: int
    text: bytes = b""
    start: bytes = b""
    code: int = 0
    size: int = 0


class Frames:
    """One direction of a connection. Owns what is known of the frame and the message under way.

    Arguments:
        masked: whether frames must be masked, as a client's are; else they must not be.
        largest: bytes of one message.
        keeps: whether texts are kept for who reads them.
    """

    __slots__ = (
        "_code",
        "_final",
        "_head",
        "_keeps",
        "_kept",
        "_largest",
        "_left",
        "_mask",
        "_masked",
        "_opcode",
        "_open",
        "_size",
        "_start",
        "_taken",
        "closed",
        "fed",
        "frames",
    )

    def __init__(self, *, masked: bool, largest: int, keeps: bool = False) -> None:
        self._masked = masked
        self._largest = largest
        self._keeps = keeps
        self._head = b""  # of the next frame, as far as it came
        self._left: int | None = None  # bytes of the present frame to come; None between frames
        self._opcode = 0
        self._final = True
        self._mask = b""
        self._code = b""
        self._taken = 0  # bytes of the present frame that were kept: where its mask stands
        self._open = 0  # the opcode of the message under way
        self._size = 0
        self.closed = False  # a close frame came: nothing more may
        self.fed = self.frames = 0
        # The text of the message under way, as far as it is kept.
        self._kept = bytearray()
        self._start = b""  # of one that is too long

    def __repr__(self) -> str:
        state = "closed" if self.closed else "in a frame" if self._left is not None else "between"
        return f"<Frames {state} message={self._size}>"

    @property
    def at_frame(self) -> bool:
        """Whether a control frame may be put in here."""
        return self._left is None and not self._head

    @property
    def at_message(self) -> bool:
        """Whether a message may be put in here."""
        return self.at_frame and not self._open

    def feed(self, data: bytes, most: int = 2**31) -> list[Ended]:
        """Walk on; what ended in `data`, in order. Raises FrameError.

        Arguments:
            most: frames after which to stop: `fed` is then how many of the bytes were read, and
                `frames` how many frames ended in them.
        """
        ended: list[Ended] = []
        at, size = 0, len(data)
        self.frames = 0
        try:
            while at < size and self.frames < most:
                if self._left is None:
                    at = self._read_head(data, at)
                if self._left is not None:
                    at = self._read_payload(data, at, ended)
        except FrameError as exc:
            exc.ended, self._head = ended, b""
            raise
        self.fed = at
        return ended

    # --- a frame's head ---------------------------------------------------------------------------

    def _read_head(self, data: bytes, at: int) -> int:
        """Read on in a head, and begin its frame once it is whole; returns where it ended."""
        began = None if self._head else at
        if self.closed:
            raise FrameError(PROTOCOL_ERROR, "Bytes follow the close frame.", began)
        while len(self._head) < (need := _head_size(self._head)):
            piece = data[at : at + need - len(self._head)]
            if not piece:
                return at
            self._head += piece
            at += len(piece)
            if len(self._head) == 2 and (problem := self._problem(*self._head)):
                raise FrameError(PROTOCOL_ERROR, problem, began)
        head, self._head = self._head, b""
        self._begin_frame(head, began)
        return at

    def _begin_frame(self, head: bytes, began: int | None) -> None:
        opcode, length = head[0] & 0x0F, _length(head)
        if opcode not in _CONTROL and self._size + length > self._largest:
            raise FrameError(TOO_LARGE, f"A message is larger than {self._largest} bytes.", began)
        self._opcode, self._final, self._left = opcode, bool(head[0] & 0x80), length
        self._mask = head[-4:] if self._masked else b""
        self._code, self._taken = b"", 0
        if opcode in (TEXT, BINARY):
            self._open = opcode
        if opcode not in _CONTROL:
            self._size += length

    def _problem(self, first: int, second: int) -> str:
        """What is wrong with a frame, by its first two bytes; "" where it is as it should be."""
        opcode, final, length = first & 0x0F, bool(first & 0x80), second & 0x7F
        if first & 0x70:
            return "A frame uses an extension that was not agreed on."
        if bool(second & 0x80) is not self._masked:
            return f"A frame is {'not masked' if self._masked else 'masked'}."
        if opcode in _CONTROL:
            right = final and length <= LONGEST_CONTROL
            return "" if right else "A control frame is too long, or in pieces."
        if opcode not in _DATA:
            return f"A frame has the unknown kind {opcode}."
        if (opcode == 0) is not bool(self._open):
            return "A frame is out of order: a message was not begun, or not ended."
        return ""

    # --- a frame's payload ------------------------------------------------------------------------

    def _read_payload(self, data: bytes, at: int, ended: list[Ended]) -> int:
        assert self._left is not None
        end = min(at + self._left, len(data))
        if end > at:
            self._take(data, at, end)
            self._left -= end - at
        if not self._left:
            self._end_frame(ended, end)
        return end

    def _take(self, data: bytes, at: int, end: int) -> None:
        if self._opcode == CLOSE:
            self._code += data[at : at + 2 - len(self._code)]
        elif self._keeps and self._open == TEXT and self._opcode in _DATA:
            kept, piece = self._kept, data[at:end]
            kept += _masked(piece, self._mask, self._taken) if self._mask else piece
            self._taken += end - at
            if len(kept) > HELD:
                self._start = self._start or bytes(kept[:HEAD_KEPT])
                del kept[:-TAIL_KEPT]

    def _end_frame(self, ended: list[Ended], at: int) -> None:
        self._left = None
        self.frames += 1
        if self._opcode == CLOSE:
            self.closed = True
            ended.append(Ended("close", at, code=self._close_code()))
        elif self._opcode in _DATA and self._final:
            kind: Kind = "text" if self._open == TEXT else "binary"
            ended.append(Ended(kind, at, bytes(self._kept), self._start, size=self._size))
            self._open = self._size = 0
            self._kept, self._start = bytearray(), b""

    def _close_code(self) -> int:
        if len(self._code) < 2:
            return NO_CODE
        return int.from_bytes(_masked(self._code, self._mask) if self._mask else self._code, "big")


# --- what a relay says itself ---------------------------------------------------------------------


def text_frame(text: bytes) -> bytes:
    """A text as one frame of a server's."""
    return _frame(TEXT, text, b"")


def close_frame(code: int, reason: str = "", mask: bytes = b"") -> bytes:
    """A close frame; a client's has a mask of four bytes. A long reason is cut."""
    words = reason.encode()[: LONGEST_CONTROL - 2].decode(errors="ignore").encode()
    return _frame(CLOSE, code.to_bytes(2, "big") + words, mask)


def _frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    size, flag = len(payload), 0x80 if mask else 0
    if size <= LONGEST_CONTROL:
        length = bytes([flag | size])
    elif size < 2**16:
        length = bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([flag | 127]) + size.to_bytes(8, "big")
    body = _masked(payload, mask) if mask else payload
    return bytes([0x80 | opcode]) + length + mask + body


def _masked(payload: bytes, mask: bytes, skip: int = 0) -> bytes:
    """`skip`: bytes of the frame that came before. As one large number, which takes a thousandth of
    the time that single bytes take."""
    size, skip = len(payload), skip % 4
    stream = ((mask[skip:] + mask[:skip]) * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")).to_bytes(
        size, "little"
    )


def _head_size(head: bytes) -> int:
    """How long a frame's head is, as far as its first bytes tell."""
    if len(head) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
    return 2 + extended + (4 if head[1] & 0x80 else 0)


def _length(head: bytes) -> int:
    short = head[1] & 0x7F
    if short == 126:
        return int.from_bytes(head[2:4], "big")
    return int.from_bytes(head[2:10], "big") if short == 127 else short


# --- the handshake --------------------------------------------------------------------------------


def is_key(text: str) -> bool:
    """Whether a Sec-WebSocket-Key is one: 16 bytes in base64."""
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def key_of(nonce: bytes) -> bytes:
    """The Sec-WebSocket-Key of 16 random bytes."""
    return base64.b64encode(nonce)


def accept_of(key: bytes) -> bytes:
    """What a server answers to a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
