"""Client programs from the registries that npm and pip are set up with, kept in a folder aside.

Strategy: a recipe (files for npm, or requirements for pip) is installed once into a folder of its
own name, in `.clients/` of the checkout or where RELAYD_CLIENTS says. It is stamped with its recipe
when it is whole: a folder without the stamp, half-made or of an old recipe,
is made anew. Install scripts are never run; what needs them is not needed here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

ROOT: Final = Path(__file__).parents[2]
TIMEOUT: Final = 540.0
STAMP: Final = ".installed"


class Absent(Exception):
    """Something is not here and could not be fetched; the message says what."""


def cache() -> Path:
    """Where everything is kept."""
    return Path(os.environ.get("RELAYD_CLIENTS", ROOT / ".clients"))


def node() -> str:
    """The program; raises Absent."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise Absent("node and npm are not here")
    return found


def npm_project(name: str, folder: Path, *, fetch: bool = True) -> Path:
    """A project with a lockfile, its packages installed, if need be now; raises Absent."""
    files = {one: (folder / one).read_bytes() for one in ("package.json", "package-lock.json")}
    return _npm(name, files, "ci", fetch=fetch)


def npm_packages(name: str, packages: Mapping[str, str]) -> Path:
    """Packages by name and exact version, without a lockfile; raises Absent."""
    project = {"name": f"relayd-{name}", "private": True, "dependencies": dict(packages)}
    return _npm(name, {"package.json": orjson.dumps(project)}, "install")


def pip_packages(name: str, requirements: Sequence[str]) -> Path:
    """A virtual environment with these; raises Absent."""

    def make(folder: Path) -> None:
        print(f"installing {name} …", file=sys.stderr)
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", "--only-binary", ":all:", *requirements])

    return _kept(name, orjson.dumps([sys.version, *requirements]), make)


def _npm(name: str, files: Mapping[str, bytes], verb: str, *, fetch: bool = True) -> Path:
    node()

    def make(folder: Path) -> None:
        if not fetch:
            raise Absent(
                f"the packages of {name} are not in {folder}: `make clients` puts them there"
            )
        print(f"installing {name} …", file=sys.stderr)
        folder.mkdir(parents=True)
        for one, content in files.items():
            (folder / one).write_bytes(content)
        _run(["npm", verb, "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    return _kept(name, b"\0".join(files.values()), make)


def _kept(name: str, recipe: bytes, make: Callable[[Path], None]) -> Path:
    """The folder of a recipe, made where it is not there."""
    folder = cache() / name
    digest = hashlib.sha256(recipe).hexdigest()
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    make(folder)
    stamp.write_text(digest)
    return folder


def _run(command: Sequence[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Absent(f"`{' '.join(command[:4])}`: {exc}") from None
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise Absent(f"`{' '.join(command[:4])}` failed:\n{said[-1000:]}")
