"""`relayd alerts test`: a message to every webhook of a configuration, and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from tests.support.commands import relayd


class Receiver(TCPServer):
    """Takes messages at any path but `/no`, and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers one message."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Receiver)
        self.server.got.append(orjson.loads(body))
        self.send_response(404 if self.path == "/no-SECRET" else 204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def tried(folder: Path, text: str, *names: str) -> Result:
    (folder / "config.yaml").write_text(text)
    words = ["alerts", "test", *names, "--config", str(folder / "config.yaml")]
    return CliRunner().invoke(relayd, words)


def two(receiver: Receiver) -> str:
    return (
        "upstreams: {x: {dialect: openai, key: '${NOT_SET_HERE}', models: [a]}}\n"
        "alerts:\n"
        "  webhooks:\n"
        f"    - {{name: ops, url: '{receiver.url}/yes', kinds: [balance]}}\n"
        f"    - {{name: chat, url: '{receiver.url}/no-SECRET', form: slack}}\n"
    )


def test_a_message_goes_to_the_one_that_is_named(tmp_path: Path, receiver: Receiver) -> None:
    result = tried(tmp_path, two(receiver), "ops")

    assert (result.exit_code, result.output) == (0, "ops (json): sent\n")
    [message] = receiver.got
    [alert] = message["alerts"]
    assert (alert["kind"], alert["state"]) == ("test", "raised")
    assert "nothing is wrong" in alert["text"]


def test_it_comes_in_the_name_of_this_relay(tmp_path: Path, receiver: Receiver) -> None:
    tried(tmp_path, "public: {name: relay-eu}\n" + two(receiver), "ops")

    assert [message["source"] for message in receiver.got] == ["relay-eu"]


def test_who_does_not_take_it_is_said_without_its_address(
    tmp_path: Path, receiver: Receiver
) -> None:
    result = tried(tmp_path, two(receiver))

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "ops (json): sent",
        "chat (slack): not sent: it answered with status 404",
    ]
    assert "1 of 2 did not take it" in result.stderr
    assert "SECRET" not in result.output
    assert any("nothing is wrong" in message.get("text", "") for message in receiver.got)


def test_where_nobody_listens_the_message_is_not_sent(tmp_path: Path, receiver: Receiver) -> None:
    nobody = "alerts: {webhooks: [{url: 'http://127.0.0.1:9/SECRET'}]}\n"

    result = tried(tmp_path, nobody)

    assert result.exit_code == 1
    assert "1 (json): not sent: " in result.stdout
    assert "SECRET" not in result.output


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("listen: 127.0.0.1:8080\n", (), "has no webhooks"),
        (
            "alerts: {webhooks: [{name: a, url: 'http://h/'}]}\n",
            ("b",),
            "no webhook 'b'; there are",
        ),
        ("alerts: {webhooks: [{name: a}]}\n", (), "needs a url"),
    ],
)
def test_what_cannot_be_tried_is_said(
    tmp_path: Path, text: str, names: tuple[str, ...], said: str
) -> None:
    result = tried(tmp_path, text, *names)

    assert result.exit_code == 1
    assert said in result.output


def test_without_a_configuration_there_is_nothing_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELAYD_CONFIG", raising=False)

    result = CliRunner().invoke(relayd, ["alerts", "test"])

    assert (result.exit_code, "give --config" in result.output) == (2, True)
