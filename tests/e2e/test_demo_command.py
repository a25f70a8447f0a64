"""`relayd demo`: what it prints works when it is pasted, and scripts get one line of JSON."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import orjson
import pytest

from tests.support.process import Demo, Process, command
from tests.support.raw_client import request_bytes
from tests.support.speech import FORMATS, SPEECHES, events_of


def test_demo_once_shows_a_url_a_key_and_each_format_answered() -> None:
    shown = command("demo", "--once", "--listen", "127.0.0.1:0")

    assert shown.returncode == 0, shown.stderr
    assert re.search(r"http://127\.0\.0\.1:\d+", shown.stdout)
    assert re.search(r"sk-relayd-[\w-]{43}", shown.stdout)
    assert shown.stdout.count("curl ") == len(FORMATS)
    for name in FORMATS:
        [line] = re.findall(rf"^\s+{name}\s+(.*)$", shown.stdout, re.MULTILINE)
        assert "You said: Hi." in line


def curls_of(text: str) -> list[str]:
    """The printed commands: from `curl` to the first line that does not go on."""
    found, lines = [], iter(text.splitlines())
    for line in lines:
        if line.startswith("curl "):
            whole = [line]
            while whole[-1].endswith("\\"):
                whole.append(next(lines))
            found.append("\n".join(whole))
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_printed_curl_works_as_it_is_printed() -> None:
    with Process("demo", "--listen", "127.0.0.1:0") as demo:
        text = ""
        while "Ctrl-C" not in text:
            line = demo.line()
            assert line, text
            text += line
        curls = curls_of(text)
        assert len(curls) == len(FORMATS)
        for curl in curls:
            done = subprocess.run(
                ["sh", "-c", curl + " -sS --fail"], capture_output=True, timeout=10, check=False
            )
            assert done.returncode == 0, done.stderr
            assert len(events_of(done.stdout)) > 3
        seen = dict(re.findall(r"^(Watch|What)[^:]*: +(.*)$", text, re.M))
        assert seen["What"].endswith("/api/status")
        watch = shlex.split(seen["Watch"])[1:]
        shown = command(*watch, "--times", "1", "--every", "0.1")
        assert shown.returncode == 0 and "demo/1" in shown.stdout, shown.stderr
        for page in re.findall(r"curl (http\S+)$", text, re.M):
            fetched = subprocess.run(["curl", "-sS", "--fail", page], capture_output=True)
            assert fetched.returncode == 0, page
        demo.signal(signal.SIGINT)
        assert demo.exit_code() == 0


def test_demo_json_is_one_line_and_serves_until_sigterm() -> None:
    with Demo() as demo:
        assert demo.base_url.startswith("http://127.0.0.1:")
        assert demo.key.startswith("sk-relayd-")
        assert len(demo.admin_token) > 30
        with demo.connect() as client:
            for name in FORMATS:
                path, body = SPEECHES[name].ask("gpt-5.4", stream=True)
                client.send(request_bytes(path, body, demo.auth))
                assert client.reply().status == 200
            token = {"Authorization": f"Bearer {demo.admin_token}", "X-Forwarded-For": "9.9.9.9"}
            client.send(request_bytes("/metrics", b"", token, method="GET"))
            assert client.reply().status == 200
        demo.signal(signal.SIGTERM)
        assert demo.exit_code() == 0
        assert demo.line() == ""


def test_demo_listens_where_it_is_told_or_says_why_not(tmp_path: Path) -> None:
    with Demo() as demo:
        port = demo.base_url.rpartition(":")[2]
        again = command("demo", "--listen", f"127.0.0.1:{port}", "--json")
        assert again.returncode == 1
        assert "already in use" in again.stderr
        assert "Traceback" not in again.stderr


def test_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    done = command("demo", "--once", "--listen", "127.0.0.1:0", environ={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_two_demos_run_side_by_side() -> None:
    with Demo() as one, Demo() as other:
        assert one.base_url != other.base_url
        assert one.key != other.key
        path, body = SPEECHES["chat"].ask("demo")
        with one.connect() as client:
            client.send(request_bytes(path, body, other.auth))
            assert client.reply().status == 401


def test_demo_speaks_the_formats_at_once() -> None:
    with Demo() as demo:
        answers: list[bytes] = []

        def ask(name: str) -> None:
            path, body = SPEECHES[name].ask("demo")
            with demo.connect() as client:
                client.send(request_bytes(path, body, demo.auth))
                answers.append(client.reply().body)

        threads = [threading.Thread(target=ask, args=(name,)) for name in FORMATS * 5]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 20
        assert all(orjson.loads(answer) for answer in answers)
