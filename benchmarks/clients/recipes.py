"""How to get each client program and how to have it use a tool: `programs.yaml`, read."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from benchmarks.clients import install
from tests.clients import nodes

FILE: Final = Path(__file__).with_name("programs.yaml")


class Tool(NamedTuple):
    """What the provider calls; {file} and {secret} may stand in the arguments."""

    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One client; what the lines mean stands at the head of the file."""

    npm: Mapping[str, str] = field(default_factory=dict)
    pip: tuple[str, ...] = ()
    sdks: str = ""
    path: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    more: tuple[str, ...] = ()
    tool: Tool | None = None
    models: Mapping[str, Tool | None] = field(default_factory=dict)
    turn: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0


@cache
def recipes() -> Mapping[str, Recipe]:
    """By the client's name, in the order of the file."""
    return {name: _recipe(**entry) for name, entry in yaml.safe_load(FILE.read_text()).items()}


def _recipe(**entry: Any) -> Recipe:
    for several in ("pip", "path", "more", "turn"):
        entry[several] = tuple(entry.get(several, ()))
    tool = _tool(entry.pop("tool", None))
    others = entry.pop("models", {})
    models = {name: _tool(other) or tool for name, other in others.items()}
    return Recipe(tool=tool, models=models, **entry)


def _tool(entry: dict[str, Any] | None) -> Tool | None:
    return Tool(**entry) if entry else None


class Installed(NamedTuple):
    """Where a client's programs are, and the packages that its snippets import, if Node's."""

    programs: tuple[Path, ...]
    packages: Path | None = None


def installed(name: str, recipe: Recipe) -> Installed:
    """Fetch what the recipe wants; raises install.Absent."""
    if recipe.sdks == "python":
        return Installed((Path(sys.executable).parent,))
    if recipe.sdks == "node":
        return Installed((), nodes.packages() / "node_modules")
    if recipe.pip:
        return Installed((install.pip_packages(name, recipe.pip) / "bin",))
    folder = install.npm_packages(name, recipe.npm)
    return Installed(tuple(folder / one for one in recipe.path), folder / "node_modules")
