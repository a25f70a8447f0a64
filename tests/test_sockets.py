"""Pieces go out joined when they are small, as they are when they are not."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.sockets import SMALL, send


class NotingTransport:
    """Notes each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def write(self, data: Any) -> None:
        self.calls.append(("write", data))

    def writelines(self, pieces: Any) -> None:
        self.calls.append(("writelines", list(pieces)))


LARGE = b"x" * SMALL


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([LARGE + b"y"], ("write", LARGE + b"y")),
        ([b"a", memoryview(b"b"), b"c"], ("write", b"abc")),
        ([b"a", LARGE], ("writelines", [b"a", LARGE])),
        ([LARGE], ("write", LARGE)),
    ],
)
def test_one_call_carries_all_pieces(pieces: list[Any], expected: tuple[str, Any]) -> None:
    transport: Any = NotingTransport()
    send(transport, pieces)
    assert transport.calls == [expected]
