"""Every SDK against a provider of every format: the table of `make clients`, cell by cell.

The Python half is quick. The Node half wants node and its packages, which `make clients` fetches
into a folder aside; where they are not, it is skipped and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.clients.install import Absent
from relayd.model import FormatName
from tests.clients import matrix, nodes
from tests.clients.matrix import Cell, Stage, Told
from tests.conftest import Daemons

pytestmark = pytest.mark.sdk


@pytest.fixture(scope="module")
def stage(start: Daemons, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with matrix.stage(tmp_path_factory.mktemp("matrix"), start) as made:
        yield made


@pytest.fixture(scope="module")
def clients(stage: Stage) -> Iterator[dict[FormatName, Any]]:
    made = matrix.connect(stage.relay)
    yield made
    for client in made.values():
        client.close()


@pytest.mark.parametrize("there", matrix.FORMATS)
@pytest.mark.parametrize("client", matrix.FORMATS)
def test_a_python_sdk_understands_a_provider_of_any_format(
    stage: Stage, clients: dict[FormatName, Any], client: FormatName, there: FormatName
) -> None:
    cells = [c for c in matrix.cells("python") if (c.client, c.there) == (client, there)]
    told = [matrix.speak(clients[client], cell) for cell in cells]

    assert problems(stage, cells, told) == {}


@pytest.fixture(scope="module")
def packages() -> Path:
    try:
        return nodes.packages(fetch=False)
    except Absent as absent:
        pytest.skip(str(absent))


@pytest.mark.slow
@pytest.mark.parametrize("client", matrix.FORMATS)
def test_a_node_sdk_understands_providers_of_all_formats(
    stage: Stage, packages: Path, client: FormatName
) -> None:
    cells = [cell for cell in matrix.cells("node") if cell.client == client]

    assert problems(stage, cells, nodes.speak(stage.relay, cells, packages)) == {}


def test_the_node_script_is_written_for_the_packages_that_are_pinned() -> None:
    """Names in its imports, names in package.json, and a lock of the same versions."""
    folder = nodes.HERE
    wanted = orjson.loads((folder / "package.json").read_bytes())["dependencies"]
    lock = orjson.loads((folder / "package-lock.json").read_bytes())["packages"]
    script = (folder / "speak.mjs").read_text()

    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(f'from "{name}' in script for name in wanted)
    assert not [name for name, one in lock.items() if "resolved" in one]


def problems(stage: Stage, cells: list[Cell], told: list[Told]) -> dict[str, str]:
    """What is wrong, by cell."""
    found = {
        cell.tag: matrix.judge(cell, one, stage.asked(cell))
        for cell, one in zip(cells, told, strict=True)
    }
    return {tag: problem for tag, problem in found.items() if problem}
