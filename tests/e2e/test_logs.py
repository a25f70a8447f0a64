"""What a daemon tells its operator, as a process: each line of its own, with the request's id; and
that a log which cannot be written costs no request."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.answering import AnsweringUpstream
from tests.support.kept_log import Watched
from tests.support.process import command
from tests.support.scripted_upstream import dead_port, reply
from tests.support.speech import SPEECHES

CHAT = SPEECHES["chat"]
WELL = reply(CHAT.reply)
CONFIG = """\
demo: "off"
logs: {{format: json, level: {level}}}
routing: {{retries: {{attempts: 1}}, breaker: {{consecutive: 2, open_for: 50ms}}}}
upstreams:
  up: {{dialect: relay, base_url: "{url}", keys: [{keys}], models: [{models}]}}
  down:
    dialect: relay
    base_urls: ["http://127.0.0.1:{dead}", "{url}"]
    key: sk-of-down
    models: [far]
"""
DEMO = 'demo: "on"\nlogs: {format: json}\n'


class Scene:
    """A daemon before an upstream that answers as it is told."""

    def __init__(self, folder: Path, dead: int) -> None:
        self.answer = WELL
        self.upstream = AnsweringUpstream(lambda asked: self.answer)
        self._dead = dead
        try:
            self.relay = Watched(folder, self.config())
        except BaseException:
            self.upstream.close()
            raise

    def config(
        self, keys: str = "{key: sk-a, name: a}", models: str = "m", level: str = "info"
    ) -> str:
        told = {"url": self.upstream.url, "dead": self._dead, "keys": keys, "models": models}
        return CONFIG.format(level=level, **told)

    def ask(self, model: str = "m", answer: bytes = WELL) -> tuple[int, str]:
        """Its status, and the request's id."""
        self.answer = answer
        path, body = CHAT.ask(model)
        answered = self.relay.ask(path, body)
        return answered.status, answered.headers["x-request-id"]

    def says(self, words: str, **fields: object) -> dict[str, Any]:
        """The first line with these words and fields, without what is always there."""
        line = self.relay.said(words, **fields)
        return {name: line[name] for name in line.keys() - {"time", "message", "upstream", "key"}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    kept, dead = dead_port()
    with kept:
        scene = Scene(tmp_path_factory.mktemp("relayd"), dead)
        with contextlib.closing(scene.upstream), scene.relay:
            yield scene


def failing(status: int, *headers: str) -> bytes:
    text = b"You said: the butler hid the emerald; your key is sk-a1234567890"
    return reply(b'{"error": {"message": "%b"}}' % text, *headers, status=f"{status} X")


def test_a_breaker_that_opens_is_probed_and_closes_has_a_line_each(scene: Scene) -> None:
    asked = [scene.ask(answer=failing(500))[1] for _ in range(2)]
    opens = scene.says("up/a: model m: breaker opens")
    assert 0.04 < opens.pop("again_s") < 0.06
    assert opens == {
        "level": "warning",
        "request": asked[1],
        "model": "m",
        "why": "It answered with status 500.",
        "failures": 2,
    }
    first = {"level": "warning", "request": asked[0], "reason": "upstream_500"}
    assert scene.says("upstream key up/a fails: upstream_500") == first
    status, id = 503, ""
    while status == 503:  # until the open time is over
        status, id = scene.ask()
    half_open = scene.says("up/a: model m: breaker is half open")
    assert half_open == {"level": "info", "request": id, "model": "m"}
    closes = scene.says("up/a: model m: breaker closes")
    assert closes == {"level": "warning", "request": id, "model": "m"}


def test_a_base_url_that_cannot_be_reached_has_a_line_with_the_one_that_takes_over(
    scene: Scene,
) -> None:
    status, id = scene.ask("far")
    line = scene.says("upstream down: base URL")
    assert (status, line["request"], line["instead"]) == (502, id, scene.upstream.url)


def test_a_rate_limit_has_one_line_however_many_requests_meet_it(scene: Scene) -> None:
    scene.relay.wait(lambda: scene.ask()[0] == 200)
    asked = [scene.ask(answer=failing(429, "retry-after: 1"))[1] for _ in range(3)]
    line = scene.says("up/a: model m: rate limit", request=asked[0])
    assert 0.9 < line["again_s"] <= 1.0
    id = scene.ask()[1]
    scene.relay.said("request", id=id)
    assert scene.relay.text().count("rate limit of the provider") == 1


def test_a_key_that_its_provider_refuses_and_a_probe_takes_back_has_its_lines(
    scene: Scene,
) -> None:
    scene.relay.wait(lambda: scene.ask()[0] == 200)  # the rate limit is over
    id = scene.ask(answer=failing(401))[1]
    line = scene.says("upstream key up/a is taken out")
    assert (line["level"], line["request"]) == ("error", id)
    scene.answer = reply(b'{"object": "list", "data": []}')
    assert command("upstream", "probe", "up/a", "--config", str(scene.relay.config)).returncode == 0
    assert scene.says("upstream key up/a is back")["level"] == "warning"
    admin = scene.says("admin: probe up/a")
    assert re.fullmatch("req_[0-9a-f]{28}", admin["request"]) and admin["by"] == "control"


def test_a_reload_tells_what_it_changed_and_a_refused_one_why(scene: Scene) -> None:
    relay = scene.relay
    relay.write(scene.config(keys="{key: sk-new, name: a}, {key: sk-b, name: b}", models="m, n"))
    relay.reload()
    line = relay.said("reloaded")
    assert line["upstreams"] == ["up", "down"] and line["upstreams_changed"] == ["up"]
    assert line["keys_added"] == ["up/b"] and line["keys_changed"] == ["up/a"]
    relay.write("upstreams: 5\nno_such_line: 1\n")
    relay.reload()
    refused = relay.said("reload refused, the old configuration stays")
    assert refused["level"] == "error" and len(refused["problems"]) == 2


def test_a_wrong_token_has_a_line_with_the_id_of_its_request(scene: Scene) -> None:
    wrong = {"Authorization": "Bearer wrong-token"}
    answered = scene.relay.ask("/admin/api/keys", b"", wrong)
    line = scene.relay.said("admin: a wrong token")
    assert (answered.status, line["request"]) == (401, answered.headers["x-request-id"])


def test_names_that_clients_choose_stay_in_their_line(scene: Scene) -> None:
    path, body = CHAT.ask("m")
    evil = orjson.dumps('m "{' + "x" * 240)
    answered = scene.relay.ask(path, body.replace(b'"m"', evil))
    line = scene.relay.said("request", id=answered.headers["x-request-id"])
    assert line["model"] == 'm?"{' + "x" * 196 + "~"


def test_level_and_form_follow_a_reload(scene: Scene) -> None:
    relay = scene.relay
    relay.write(scene.config(level="error") + "public: {name: silent}\n")
    relay.reload()
    relay.wait(lambda: b"silent" in relay.status())  # no line says that it is read now
    id = scene.ask("nobody")[1]
    relay.write(scene.config().replace("format: json", "format: text"))
    relay.reload()
    relay.wait(lambda: re.search(r"(?m)^20.* info reloaded .*logs\.format", relay.text()))
    assert id not in relay.text()


# --- a log that cannot be written ---------------------------------------------------------------


def is_served(relay: Watched) -> bool:
    """Requests are answered as ever."""
    path, body = CHAT.ask("demo")
    return all(relay.ask(path, body).status == 200 for _ in range(20))


def test_a_disk_that_is_full_costs_lines_and_no_request(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, Watched(tmp_path, DEMO, stderr=full.fileno()) as relay:
        assert is_served(relay)
        relay.wait(lambda: relay.lost() >= 20)
        assert relay.stop() == 0


def test_a_pipe_that_nobody_reads_costs_lines_and_no_request(tmp_path: Path) -> None:
    read, write = os.pipe()
    with open(read, "rb"), open(write, "wb", buffering=0) as pipe:
        os.set_blocking(write, False)
        while pipe.write(b"x" * 1000):  # None where it is full
            pass
        os.set_blocking(write, True)
        with Watched(tmp_path, DEMO, stderr=write) as relay:
            assert is_served(relay) and is_served(relay)
            assert relay.stop() == 0


def test_a_closed_stderr_costs_lines_and_its_number_is_no_files(tmp_path: Path) -> None:
    with Watched(tmp_path, DEMO, through='exec "$@" 2>&-') as relay:
        assert is_served(relay)
        relay.wait(lambda: relay.lost() >= 20)
        assert os.readlink(f"/proc/{relay.process.pid}/fd/2") == "/dev/null"
        assert relay.stop() == 0


def test_a_reader_that_comes_back_is_told_how_many_lines_it_missed(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with open(fifo, "wb") as log, Watched(tmp_path, DEMO, stderr=log.fileno()) as relay:
        os.close(reader)
        assert is_served(relay)
        relay.wait(lambda: relay.lost() >= 20)
        with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as again:
            read = b""

            def told() -> bool:
                nonlocal read
                read += again.read(65536) or b""
                return b" are lost" in read and read.endswith(b"\n")

            relay.wait(told)
            [line] = [orjson.loads(one) for one in read.splitlines() if b" are lost" in one]
            assert line["level"] == "warning" and line["lines"] >= 20
            assert line["lines"] == line["in_all"] == relay.lost()
            assert relay.stop() == 0
