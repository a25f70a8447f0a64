"""The machine and the versions, so that a table of figures says what it was measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.servers import nginx_program

PACKAGES = ("aiohttp", "uvloop", "httptools", "orjson", "aiosqlite")
COMMAND_TIMEOUT = 10.0


def describe() -> dict[str, str]:
    """What matters for the figures, ready to print."""
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "system": f"{_distribution()}, Linux {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "nginx": _said(nginx_program(), "-v").removeprefix("nginx version: ") or "not installed",
        "load generator": _said(shutil.which("wrk"), "-v").partition(" [")[0] or "own (no wrk)",
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def is_busy() -> bool:
    """Whether somebody else uses the machine, so that the figures mean little."""
    return os.getloadavg()[0] > 0.5


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / 2**30:.1f} GiB"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown distribution"


def _said(program: str | None, *arguments: str) -> str:
    """The first line that a program prints; "" when there is no such program."""
    if program is None:
        return ""
    done = subprocess.run([program, *arguments], capture_output=True, timeout=COMMAND_TIMEOUT)
    said = (done.stdout + done.stderr).decode(errors="replace").strip()
    return said.splitlines()[0] if said else ""
