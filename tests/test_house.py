"""The rules of the house that a tool can check: sizes, docstrings, mirrors, banned words.

The floors are import-linter's, the style is ruff's; here stands what neither of them knows. Every
module is read and parsed once for all tests, and not before the first of them runs: whoever only
collects tests does without.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import gc
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from relayd import accounts, model, routing
from relayd.config import config
from relayd.wire import setting

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 60
LONGEST_FILE = 400
MOST_PARAMETERS = 5

TRANSCRIPTS = "told by transcripts: tests/relay/test_relay*.py"

# Modules, or folders of them, without a test file of their own name, each with the reason.
TESTED_ELSEWHERE = {
    "relayd/cli/": "the commands are run as commands, in tests/cli and tests/e2e",
    "relayd/store/": "one contract suite for every backend, tests/store/test_contract.py",
    "relayd/accounts.py": "records without behaviour",
    "relayd/alerting.py": "records without behaviour",
    "relayd/capture_terms.py": "records without behaviour",
    "relayd/tracing.py": "Protocols, and records without behaviour",
    "relayd/relay/work.py": "records without behaviour",
    "relayd/relay/call.py": "records without behaviour",
    "relayd/relay/sides.py": "Protocols",
    "relayd/routing.py": "records without behaviour",
    "relayd/relay/watch.py": "with what it watches: tests/relay/test_forward.py",
    "relayd/relay/asking.py": TRANSCRIPTS,
    "relayd/relay/attempt.py": TRANSCRIPTS,
    "relayd/relay/hedge.py": TRANSCRIPTS,
    "relayd/relay/race.py": TRANSCRIPTS,
    "relayd/relay/replies.py": TRANSCRIPTS,
    "relayd/relay/settling.py": TRANSCRIPTS,
    "relayd/sockets.py": "seen through both sides: tests/upstream and tests/web",
    "relayd/upstream/sink.py": "Protocols",
    "relayd/wire/parts.py": "records without behaviour",
    "relayd/wire/codec.py": "Protocols",
    "relayd/wire/pipe.py": "Protocols",
    "relayd/relay/followups.py": "over real sockets: tests/e2e/test_followups.py",
    "relayd/relay/passing.py": "over real sockets: tests/e2e/test_passing.py",
    "relayd/relay/collecting.py": "with what it collects: tests/e2e/test_followups.py",
    "relayd/daemon/listening.py": "with what listens: tests/daemon/test_daemon.py",
    "relayd/daemon/reloading.py": "with what is reloaded: tests/daemon/test_daemon.py",
    "relayd/ends.py": "with who makes one: tests/upstream/test_handshake.py",
    "relayd/realtime/realtime.py": "over real sockets: tests/e2e/test_realtime.py",
    "relayd/realtime/switching.py": "over real sockets: tests/e2e/test_realtime.py",
    "relayd/realtime/sitting.py": "over real sockets: tests/e2e/test_realtime.py",
    "relayd/realtime/pace.py": "with what flows: tests/e2e/test_realtime_ends.py",
    "relayd/realtime/tunnel.py": "over real sockets: tests/e2e/test_realtime_ends.py",
    "relayd/daemon/embedded.py": "every test in tests/e2e talks to it",
}

# Source files over the limit, each with the reason why it is one piece.
KNOWN_LONG: dict[str, str] = {}

# The one place that may start a task: it keeps the reference.
STARTS_TASKS = "relayd/tasks.py"


def python_files(*folders: str) -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if (ROOT / folder).is_dir()
    )


SOURCES = python_files("relayd")
EVERYTHING = python_files("relayd", "tests", "benchmarks")

PARSER_CALLBACKS = (
    "message_begin url status header headers_complete body message_complete "
    "chunk_header chunk_complete"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(text(name))


@pytest.fixture(scope="module", autouse=True)
def trees() -> Iterator[None]:
    """Millions of nodes: the garbage collector keeps off, and nothing stays of them."""
    gc.disable()
    yield
    definitions.cache_clear()
    tree.cache_clear()
    gc.enable()


def nothing(found: Iterable[str]) -> None:
    """Fails with one line for each thing found."""
    lines = list(found)
    assert not lines, "\n" + "\n".join(lines)


@cache
def definitions(name: str) -> list[Function | ast.ClassDef]:
    """Functions and classes; they stand among statements, so no expression is looked into."""
    found: list[Function | ast.ClassDef] = []
    rest: list[ast.AST] = [tree(name)]
    while rest:
        node = rest.pop()
        if isinstance(node, Function | ast.ClassDef):
            found.append(node)
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            rest += getattr(node, field, ())
    return found


def functions(name: str) -> list[Function]:
    return [node for node in definitions(name) if isinstance(node, Function)]


def where(name: str, node: Any) -> str:
    return f"{name}:{node.lineno} {getattr(node, 'name', '')}".rstrip()


@cache
def promised() -> set[str]:
    """Methods whose meaning is told elsewhere: by asyncio, by the parser, by our own Protocols."""
    names = {name for name in dir(asyncio.Protocol) if not name.startswith("_")}
    names |= {f"on_{part}" for part in PARSER_CALLBACKS.split()}
    for path in EVERYTHING:
        for node in definitions(path):
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                names |= {one.name for one in node.body if isinstance(one, Function)}
    return names


def without_docstring(node: ast.Module | ast.ClassDef, path: str) -> Iterator[str]:
    """Public functions and classes without one; a method of one statement speaks for itself."""
    for child in node.body:
        if not isinstance(child, Function | ast.ClassDef) or child.name.startswith("_"):
            continue
        is_method = isinstance(node, ast.ClassDef)
        clear = is_method and (len(child.body) == 1 or child.name in promised())
        if ast.get_docstring(child) is None and not clear:
            yield where(path, child)
        if isinstance(child, ast.ClassDef):
            yield from without_docstring(child, path)


def test_every_module_opens_with_a_docstring() -> None:
    nothing(name for name in EVERYTHING if not ast.get_docstring(tree(name)))


def test_package_files_hold_a_docstring_and_no_imports() -> None:
    nothing(
        f"{where(name, node)}: {ast.unparse(node)}"
        for name in SOURCES
        if name.endswith("/__init__.py")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Import | ast.ImportFrom) and "__future__" not in ast.unparse(node)
    )


def test_public_names_have_a_docstring() -> None:
    nothing(line for name in SOURCES for line in without_docstring(tree(name), name))


def test_no_function_is_longer_than_a_screen() -> None:
    nothing(
        f"{where(name, function)}: {lines} lines"
        for name in EVERYTHING
        for function in functions(name)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    )


def test_no_source_file_is_longer_than_a_sitting() -> None:
    nothing(
        f"{name}: {lines} lines"
        for name in SOURCES
        if (lines := text(name).count("\n")) > LONGEST_FILE and name not in KNOWN_LONG
    )


def test_no_function_takes_more_than_five_positional_parameters() -> None:
    """Beyond that, a record; constructors of the objects that the daemon wires are keyword-only."""
    nothing(
        where(name, function)
        for name in SOURCES
        for function in functions(name)
        if function.name != "__init__"
        and len([a for a in function.args.args if a.arg not in ("self", "cls")]) > MOST_PARAMETERS
        and "click" not in "".join(map(ast.unparse, function.decorator_list))
    )


def test_annotations_are_postponed_everywhere() -> None:
    needed = "from __future__ import annotations"

    nothing(n for n in EVERYTHING if needed not in text(n) and len(tree(n).body) > 1)


@pytest.mark.parametrize(
    ("banned", "allowed"),
    [
        (r"\bimport json\b|\bfrom json import\b", ()),
        (r"\bcreate_task\(|\bensure_future\(", (STARTS_TASKS,)),
        (r"\bunittest\b|\bmock\b\.|\bmonkeypatch\.setattr\b", ()),
        (r"\bprint\(", ("relayd/cli", "relayd/demo/__main__.py")),
    ],
)
def test_what_is_banned_stands_nowhere_in_the_sources(
    banned: str, allowed: tuple[str, ...]
) -> None:
    names = [n for n in SOURCES if not n.startswith(allowed)] if allowed else SOURCES

    nothing(name for name in names if re.search(banned, text(name)))


def test_every_module_has_a_test_of_its_own_name() -> None:
    """`relayd/wire/chat/stream.py` wants `tests/wire/chat/test_stream*.py`; a module straight in
    `relayd/` may have a folder of its own name."""
    tests = [Path(test) for test in python_files("tests")]
    nothing(
        name
        for name in SOURCES
        if not name.endswith(("__init__.py", "__main__.py"))
        and not name.startswith(tuple(TESTED_ELSEWHERE))
        and not any(is_test_of(name, test) for test in tests)
    )


def is_test_of(name: str, path: Path) -> bool:
    if not path.name.startswith(f"test_{Path(name).stem}"):
        return False
    mirror = Path("tests", *Path(name).parts[1:-1])
    return path.parent == mirror or (path.parent.parent == mirror == Path("tests"))


def test_the_list_of_exceptions_has_no_dead_entries() -> None:
    nothing(
        listed
        for listed in (*TESTED_ELSEWHERE, *KNOWN_LONG)
        if not any(name.startswith(listed) for name in SOURCES)
    )


@pytest.mark.parametrize(
    "record",
    [
        config.Config,
        config.Limits,
        config.LedgerConfig,
        config.MetricsConfig,
        config.AdminConfig,
        model.Timeouts,
        model.UpstreamSpec,
        model.UpstreamKey,
        model.KeyLimits,
        model.Proxy,
        model.Edits,
        model.ProbeRules,
        routing.Routing,
        routing.BreakerRules,
        routing.RetryRules,
        routing.AffinityRules,
        routing.WaitingRules,
        routing.ModelRouting,
        setting.Translating,
        setting.Fetching,
        setting.Rules,
        accounts.Group,
    ],
)
def test_every_option_is_read_by_someone(record: type) -> None:
    """An option that nothing reads is a promise not kept."""
    elsewhere = "\n".join(text(name) for name in SOURCES if not name.startswith("relayd/config"))
    names = [field.name for field in dataclasses.fields(record)]

    nothing(name for name in names if not re.search(rf"\.{name}\b", elsewhere))
