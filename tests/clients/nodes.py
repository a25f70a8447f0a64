"""The Node half of the SDK matrix: one process plays cells and tells what it heard."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.clients import install
from tests.clients.matrix import PNG, RESULT, Cell, Told
from tests.support.running import Running

HERE: Final = Path(__file__).parent / "node"
PATIENCE: Final = 240.0


def packages(*, fetch: bool = True) -> Path:
    """The folder with the Node SDKs in it, if need be fetched now; raises install.Absent."""
    return install.npm_project("sdks", HERE, fetch=fetch)


def speak(relay: Running, cells: Sequence[Cell], folder: Path) -> list[Told]:
    """Play the cells with the Node SDKs of that folder."""
    node = install.node()
    script = shutil.copy(HERE / "speak.mjs", folder)  # it finds packages beside itself
    asked = orjson.dumps(
        {
            "base": relay.url,
            "key": relay.key,
            "picture": b64encode(PNG).decode(),
            "result": RESULT,
            "cells": [cell._asdict() | _words(cell) for cell in cells],
        }
    )
    done = subprocess.run([node, script], input=asked, capture_output=True, timeout=PATIENCE)
    lines = done.stdout.splitlines()
    assert len(lines) == len(cells), done.stderr.decode(errors="replace")[-2000:]
    return [_told(orjson.loads(line)) for line in lines]


def _words(cell: Cell) -> dict[str, str]:
    return {"model": cell.model, "question": cell.question}


def _told(line: dict[str, Any]) -> Told:
    if "trouble" in line:
        # What is none of the SDK's own errors is a crash of the SDK, whatever it was told.
        status = line["status"] if line["own"] else -1
        return Told(status=status, trouble=line["trouble"])
    calls = [(call["name"], call["arguments"]) for call in line.pop("calls")]
    usage = tuple(count or 0 for count in line.pop("usage"))
    return Told(**line, calls=calls, usage=(usage[0], usage[1]))
