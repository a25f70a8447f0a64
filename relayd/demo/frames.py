"""WebSocket frames of the demo provider: a server's side, plain and strict.

Written apart from the relay's own walk along frames: a mistake in one must not hide in the other.
"""

from __future__ import annotations

from typing import Final, NamedTuple

LARGEST: Final = 64 * 1024 * 1024  # of one message

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Message(NamedTuple):
    """A message, or a control frame, its payload unmasked."""

    opcode: int
    payload: bytes


class Broken(ValueError):
    """The client does not speak the protocol."""


class Incoming:
    """Frames of a client, put together to messages. Owns what came of the one under way."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._pieces: list[bytes] = []
        self._size = 0
        self._opcode = 0

    def __repr__(self) -> str:
        return f"Incoming({len(self._data)} bytes wait, {self._size} of a message)"

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now; raises Broken."""
        self._data += data
        whole: list[Message] = []
        while (frame := self._frame()) is not None:
            message = self._message(*frame)
            if message is not None:
                whole.append(message)
        return whole

    def _frame(self) -> tuple[int, bool, bytes] | None:
        """The next frame: its kind, whether it ends a message, and what it says."""
        data = self._data
        if len(data) < 2:
            return None
        if data[0] & 0x70 or not data[1] & 0x80:
            raise Broken("a frame has reserved bits, or no mask")
        length, at = data[1] & 0x7F, 2
        if length >= 126:
            at = 4 if length == 126 else 10
            if len(data) < at:
                return None
            length = int.from_bytes(data[2:at], "big")
        if self._size + length > LARGEST:
            raise Broken("a message is too large")
        end = at + 4 + length
        if len(data) < end:
            return None
        first, mask, masked = data[0], bytes(data[at : at + 4]), bytes(data[at + 4 : end])
        del data[:end]
        return first & 0x0F, bool(first & 0x80), unmasked(masked, mask)

    def _message(self, opcode: int, final: bool, payload: bytes) -> Message | None:
        if opcode in (CLOSE, PING, PONG):
            return Message(opcode, payload)
        if opcode not in (0, TEXT, BINARY) or (opcode == 0) is not bool(self._opcode):
            raise Broken("a frame is of an unknown kind, or out of order")
        self._opcode = opcode or self._opcode
        self._pieces.append(payload)
        self._size += len(payload)
        if not final:
            return None
        message = Message(self._opcode, b"".join(self._pieces))
        self._pieces, self._size, self._opcode = [], 0, 0
        return message


def unmasked(payload: bytes, mask: bytes) -> bytes:
    """The payload without its mask; all of it at once, for it may be long."""
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def frame(opcode: int, payload: bytes) -> bytes:
    """One frame of a server."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 2**16:
        return bytes([0x80 | opcode, 126]) + size.to_bytes(2, "big") + payload
    return bytes([0x80 | opcode, 127]) + size.to_bytes(8, "big") + payload


def closing(code: int, reason: str = "") -> bytes:
    """A close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
