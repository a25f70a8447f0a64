"""`make programs`: every client program, installed and run, against a provider of each format.

Strategy: one run is a client in one of its setups, one format that the provider speaks, and a plain
prompt or one that wants a tool. It has a home folder of its own, the settings of clients.yaml with
a key of its own in them, and a network that ends at this machine. It went well when the program
ended well and showed what the provider or the tool said, when the provider was spoken to in its
format, and when the relay has a row for every request, all of them good and with reported usage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.clients import install, report
from benchmarks.clients.provider import Playing, Task, format_of
from benchmarks.clients.recipes import Installed, Recipe, installed, recipes
from benchmarks.clients.report import Ended, Run
from relayd import clients
from relayd.clients import Client, Setup
from relayd.model import Entry, FormatName
from relayd.store.questions import NewKey
from tests.clients.matrix import FORMATS
from tests.support.running import Running

HELLO: Final = "Hi"  # what the settings' own commands and snippets say
# The provider has one model of its format; whatever a client asks for is this one.
MODELS: Final[dict[FormatName, str]] = {
    "chat": "gpt-4.1",
    "responses": "gpt-5.4",
    "messages": "claude-sonnet-4-6",
    "gemini": "gemini-2.5-pro",
}
CONFIG: Final = """\
demo: "off"
upstreams:
  only:
    {{dialect: relay, base_url: "{url}", key: demo-key, formats: [{name}],
    models: {{"*": "{model}"}}}}
"""
NOWHERE: Final = "http://127.0.0.1:9"  # a proxy that is none: nothing leaves this machine
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


class House(NamedTuple):
    """Relays by the format of what stands behind them, and that provider."""

    relays: dict[FormatName, Running]
    provider: Playing


def options(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("names", nargs="*", help="only these clients", metavar="CLIENT")
    parser.add_argument("--model", default="", help="another model than each client's own")
    parser.add_argument("--workers", type=int, default=2, help="programs at one time")
    parser.add_argument("--keep", type=Path, help="keep homes and outputs in this folder")


def main(options: argparse.Namespace) -> int:
    """Install, run, print; returns the exit status."""
    known = recipes()
    strange = [name for name in options.names if name not in known]
    if strange:
        print(f"programs: no {', '.join(strange)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    names = [name for name in known if name in options.names or not options.names]
    here, absent = _installed(names)
    runs = [run for name in here for run in report.runs(name)]
    with tempfile.TemporaryDirectory() as folder, _house(Path(folder)) as house:
        kept = options.keep or Path(folder) / "runs"

        def play(run: Run) -> Ended:
            ended = _played(run, here[run.client], house, kept / run.tag, options.model)
            print(f"{ended.problem[:1500] or 'ok':<4} {run.tag} {ended.seconds:.1f} s", flush=True)
            return ended

        with ThreadPoolExecutor(options.workers) as pool:
            ended = dict(zip(runs, pool.map(play, runs), strict=True))
    print("\n".join(["", *report.lines(ended, absent)]))
    if not options.model:
        report.remember(ended)
    return 1 if absent or any(one.problem for one in ended.values()) else 0


def _installed(names: Sequence[str]) -> tuple[dict[str, Installed], dict[str, str]]:
    here, absent = {}, {}
    for name in names:
        try:
            here[name] = installed(name, recipes()[name])
        except install.Absent as exc:
            absent[name] = str(exc)
    return here, absent


@contextmanager
def _house(folder: Path) -> Iterator[House]:
    provider = Playing("demo-key")
    relays: dict[FormatName, Running] = {}
    try:
        for name in FORMATS:
            (folder / name).mkdir()
            config = CONFIG.format(url=provider.url, name=name, model=MODELS[name])
            relays[name] = Running(folder / name, config)
        yield House(relays, provider)
    finally:
        for relay in relays.values():
            relay.stop()
        provider.stop()


def _played(run: Run, where: Installed, house: House, home: Path, model: str) -> Ended:
    recipe = recipes()[run.client]
    relay = house.relays[run.there]
    project = home / "project"
    project.mkdir(parents=True)
    key_id, key = _new_key(relay, run.tag)
    place = clients.Place(relay.url, key, run.model or model)
    client = clients.filled(clients.shipped()[run.client], place)
    setup = client.setups[run.setup]
    task = _task(run, recipe, project)
    house.provider.agent.tasks[run.tag] = task
    _write(setup, home, project, where)
    command = _command(run, client, setup, recipe, project)
    begun = time.monotonic()
    status, said = _ran(command, project, _environment(home, where, setup, recipe, task), recipe)
    seconds = time.monotonic() - begun
    (home / "output.txt").write_bytes(said)
    problem = _problem(run, task, status, said.decode(errors="replace"), client)
    return Ended(problem or _rows_problem(relay, key_id, task), seconds)


def _new_key(relay: Running, name: str) -> tuple[int, str]:
    async def make() -> tuple[int, str]:
        books = relay.daemon.books.store
        record, secret = await books.create_key(NewKey(name, "tests"), now=1.0, actor="test")
        await relay.daemon.refresh_keys()
        return record.id, secret

    return relay.call(make)


def _task(run: Run, recipe: Recipe, project: Path) -> Task:
    secret = f"secret-{abs(hash(run.tag)):x}"
    note = project / "note.txt"
    note.write_text(f"The word is {secret}\n")
    tool = recipe.models[run.model] if run.model else recipe.tool
    if run.act == "plain" or tool is None:
        return Task(run.tag, secret, None, {})
    filling = {"file": str(note), "secret": secret}
    arguments = {name: one.format(**filling) for name, one in tool.arguments.items()}
    return Task(run.tag, secret, tool.name, arguments)


def _write(setup: Setup, home: Path, project: Path, where: Installed) -> None:
    for file in setup.files:
        at_home = file.path.startswith("~/")
        path = home / file.path.removeprefix("~/") if at_home else project / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    if where.packages is not None:  # a module finds its packages above itself
        (project / "node_modules").symlink_to(where.packages)


def _command(run: Run, client: Client, setup: Setup, recipe: Recipe, project: Path) -> list[str]:
    if run.act == "tool" and recipe.scripts:
        text = recipe.scripts.get(setup.format) or recipe.scripts["any"]
        program = setup.run.split()[0]
        script = "turn" + Path(setup.files[0].path).suffix
        (project / script).write_text(text)
        return [program, script]
    more = [*recipe.more, *(recipe.turn if run.act == "tool" else ())]
    line = setup.run.rstrip("\n")
    if client.kind == "terminal":
        line = line.replace(f'"{HELLO}"', f'"{_prompt(run)}"')
    return ["sh", "-c", f'{line} "$@"', "sh", *more]


def _prompt(run: Run) -> str:
    if run.act == "plain":
        return f"Say the word {run.tag}"
    return f"Find the secret with your tool and say it, {run.tag}"


def _environment(
    home: Path, where: Installed, setup: Setup, recipe: Recipe, task: Task
) -> dict[str, str]:
    node = shutil.which("node")
    usual = [Path(node).parent] if node else []
    path = [*where.programs, *usual, Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin")]
    temporary = home / "tmp"
    temporary.mkdir()
    env = {
        "PATH": ":".join(map(str, path)),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict.fromkeys(PROXIES, NOWHERE),
        **recipe.env,
        **(setup.env or {}),
    }
    if task.tool and "{file}" not in str(recipe.tool):
        env |= {"SECRET": task.secret, "PROMPT": f"Look the word up, {task.tag}"}
    return env


def _ran(
    command: list[str], project: Path, env: dict[str, str], recipe: Recipe
) -> tuple[int | None, bytes]:
    """Exit status and all output; None where it took too long, and it and its children are gone."""
    process = subprocess.Popen(
        command,
        cwd=project,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=recipe.timeout)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return None, said


def _problem(run: Run, task: Task, status: int | None, said: str, client: Client) -> str:
    """What is wrong with what the program did."""
    end = f": {' '.join(said[-900:].split())}"
    if status is None:
        return "took too long" + end
    if status:
        return f"ended with {status}" + end
    wrong = [path for path in task.asked if format_of(path) != run.there]
    if wrong:
        return f"the provider was asked at {wrong[0]}"
    if run.act == "plain":
        expected = task.tag if client.kind == "terminal" else _greeting(run.client)
        return "" if expected in said else "the answer is not shown" + end
    if not task.called:
        return f"the provider was not asked with the tool {task.tool}" + end
    heard = [line for line in said.splitlines() if line.startswith("HEARD")] or [said]
    return "" if all(task.secret in one for one in heard) else "the secret is not shown" + end


def _greeting(client: str) -> str:
    return "name=" if client == "instructor" else f"You said: {HELLO}."


def _rows_problem(relay: Running, key_id: int, task: Task) -> str:
    """What is wrong with the relay's rows of a run."""

    def rows() -> list[Entry]:
        return [row for row in relay.rows() if row.key_id == key_id]

    least = max(1, len(task.asked))
    found = relay.wait_for(lambda: rows() if len(rows()) >= least else None) or rows()
    if len(found) < least:
        return f"{len(found)} rows for {least} requests"
    bad = [row for row in found if row.outcome != "ok" or row.usage_source != "reported"]
    return f"row {_worded(bad[0])}" if bad else ""


def _worded(row: Entry) -> str:
    told: dict[str, Any] = {
        "operation": row.operation,
        "status": row.status,
        "outcome": row.outcome,
        "error": row.error_code,
        "usage": row.usage_source,
    }
    return ", ".join(f"{name} {value}" for name, value in told.items())
