"""Files come back byte for byte, and batches refer to them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.demo.reply import reply_to
from relayd.demo.routes import Request
from relayd.demo.script import Script
from relayd.demo.shelf import Shelf
from tests.demo.serving import form_of

DATA = bytes(range(256)) * 1000


class Desk:
    """A provider's shelf, and the requests that it is asked."""

    def __init__(self) -> None:
        self.shelf = Shelf()

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Script:
        return reply_to(Request(method, path, {"content-type": kind}, body), None, 5.0, self.shelf)

    def read(self, method: str, path: str, document: object = None) -> Any:
        body = b"" if document is None else orjson.dumps(document)
        return orjson.loads(self.ask(method, path, body).whole)

    def upload(self, filename: str = "a.jsonl") -> Script:
        kind, body = form_of({"purpose": "batch"}, ("file", filename, DATA))
        return self.ask("POST", "/v1/files", body, kind)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_file_comes_back_as_it_was(desk: Desk) -> None:
    made = orjson.loads(desk.upload().whole)
    assert made["bytes"] == len(DATA)
    path = f"/v1/files/{made['id']}"
    assert desk.read("GET", path) == made
    content = desk.ask("GET", f"{path}/content")
    assert content.whole == DATA
    assert dict(content.headers)["content-disposition"] == 'attachment; filename="a.jsonl"'
    assert desk.read("GET", "/v1/files")["data"] == [made]
    assert desk.read("DELETE", path)["deleted"] is True
    assert desk.ask("GET", path).status == 404


def test_equal_files_have_ids_of_their_own(desk: Desk) -> None:
    assert orjson.loads(desk.upload().whole)["id"] != orjson.loads(desk.upload().whole)["id"]


def test_a_batch_refers_to_a_file(desk: Desk) -> None:
    file = orjson.loads(desk.upload().whole)["id"]
    asked = {"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"}
    batch = desk.read("POST", "/v1/batches", asked)
    assert batch["status"] == "completed"
    assert desk.read("GET", f"/v1/batches/{batch['id']}") == batch
    assert desk.read("GET", "/v1/batches")["data"] == [batch]
    assert desk.read("POST", f"/v1/batches/{batch['id']}/cancel")["status"] == "cancelled"
    assert desk.ask("POST", "/v1/batches", b'{"input_file_id": "file-x"}').status == 404


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/files"), ("PUT", "/v1/batches"), ("DELETE", "/v1/batches/x")]
)
def test_other_methods_are_refused(desk: Desk, method: str, path: str) -> None:
    assert desk.ask(method, path).status == 405


def test_a_file_needs_to_be_one(desk: Desk) -> None:
    assert desk.ask("POST", "/v1/files", b"{}").status == 400
    kind, body = form_of({}, ("file", "a", b"x"))
    assert desk.ask("POST", "/v1/files", body, kind).status == 400
    file = orjson.loads(desk.upload().whole)["id"]
    assert desk.ask("PUT", f"/v1/files/{file}").status == 405


def test_a_file_misbehaves_as_its_name_says(desk: Desk) -> None:
    assert desk.upload("demo-500.jsonl").status == 500
    made = orjson.loads(desk.upload("demo-later-429.jsonl").whole)
    assert desk.ask("GET", f"/v1/files/{made['id']}/content").status == 429
