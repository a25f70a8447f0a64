"""What was logged, as an operator would read it."""

from __future__ import annotations

import pytest

from relayd.lines import Lines


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that were caught, without their time."""
    text = Lines("text")
    return [text.format(record).split(" ", 2)[2] for record in caplog.records]
