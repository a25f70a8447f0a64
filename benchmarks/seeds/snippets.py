"""The programs of the pages, run as they are printed, with the address and the key put in.

Each runs in a process of its own with a bound on its time and a home of its own: Python with the
OpenAI SDK of this environment, JavaScript with node's own fetch. Where a program is missing, the
snippet is skipped, and says why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.seeds.printed import SNIPPETS

PATIENCE: Final = 120.0
_ADDRESS: Final = re.compile(r"https://[\w.-]+(?=/)")
_KEY: Final = re.compile(r"sk-your-api-key|YOUR_API_KEY")


def missing(snippet: str) -> str:
    """Why a snippet cannot run here; "" when it can."""
    if ".js" in snippet:
        return "" if shutil.which("node") else "node is not installed"
    return "" if find_spec("openai") else "the OpenAI SDK is not installed"


def prepared(snippet: str, base: str, key: str) -> str:
    """A snippet with the relay's address and key in it."""
    text = (SNIPPETS / snippet).read_text()
    return _KEY.sub(lambda _: key, _ADDRESS.sub(lambda _: base.rstrip("/"), text))


def run(snippet: str, base: str, key: str) -> str | None:
    """Run a snippet; what is wrong with how it ended, or None when it printed an answer."""
    program = "node" if ".js" in snippet else sys.executable
    # `.mjs`: the page awaits at the top of the file, as only modules may.
    name = "snippet.mjs" if program == "node" else "snippet.py"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(prepared(snippet, base, key))
        kept = {one: os.environ[one] for one in ("PATH", "LANG") if one in os.environ}
        try:
            ended = subprocess.run(
                [program, str(file)],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
                env={**kept, "HOME": folder},
            )
        except subprocess.TimeoutExpired:
            return f"did not end within {PATIENCE:.0f} s"
    if ended.returncode:
        return f"ended with {ended.returncode}: {ended.stderr.strip()[-300:]}"
    return None if ended.stdout.strip() else "printed nothing"
