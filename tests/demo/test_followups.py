"""Stored responses are read, streamed anew, gone on from and forgotten, by whoever made them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.demo.reply import reply_to
from relayd.demo.routes import Request
from relayd.demo.script import Script
from relayd.demo.shelf import Shelf
from tests.demo.serving import data_of


class Desk:
    """A provider's shelf, asked with one key or another."""

    def __init__(self) -> None:
        self.shelf = Shelf()

    def ask(
        self, method: str, path: str, document: object = None, key: str = "k", **headers: str
    ) -> Script:
        body = b"" if document is None else orjson.dumps(document)
        credentials = {"authorization": f"Bearer {key}", **headers}
        return reply_to(Request(method, path, credentials, body), None, 5.0, self.shelf)

    def make(self, **more: Any) -> Any:
        asked = {"model": "demo", "input": "First things", **more}
        return orjson.loads(self.ask("POST", "/v1/responses", asked).whole)

    def get(self, path: str, **more: Any) -> Any:
        return orjson.loads(self.ask("GET", path, **more).whole)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_response_is_read_as_it_was_made(desk: Desk) -> None:
    made = desk.make()
    assert desk.get(f"/v1/responses/{made['id']}") == made


def test_another_key_and_an_unknown_id_find_nothing(desk: Desk) -> None:
    path = f"/v1/responses/{desk.make()['id']}"
    for script in (desk.ask("GET", path, key="other"), desk.ask("GET", path + "0")):
        assert script.status == 404
        assert b"not found" in script.whole


def test_what_is_not_stored_is_not_found(desk: Desk) -> None:
    assert desk.ask("GET", f"/v1/responses/{desk.make(store=False)['id']}").status == 404


def test_a_response_that_is_deleted_is_gone(desk: Desk) -> None:
    path = f"/v1/responses/{desk.make()['id']}"
    assert orjson.loads(desk.ask("DELETE", path).whole)["deleted"] is True
    assert desk.ask("DELETE", path).status == 404


def test_its_events_are_streamed_anew_from_where_it_is_asked(desk: Desk) -> None:
    path = f"/v1/responses/{desk.make()['id']}?stream=true"
    events = data_of(desk.ask("GET", path).whole)
    assert events[-1]["type"] == "response.completed"
    later = data_of(desk.ask("GET", f"{path}&starting_after=3").whole)
    assert later == events[4:]
    assert data_of(desk.ask("GET", f"{path}&starting_after=999").whole) == []


def test_a_conversation_goes_on_with_its_memory(desk: Desk) -> None:
    first = desk.make()
    second = desk.make(input="On", previous_response_id=first["id"])
    assert "You said: On (before that: First things)" in second["output"][0]["content"][0]["text"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]


def test_an_unknown_conversation_is_refused(desk: Desk) -> None:
    error = desk.make(previous_response_id="resp_none")["error"]
    assert error["code"] == "previous_response_not_found"
    assert error["param"] == "previous_response_id"


def test_a_background_response_is_done_at_the_second_look(desk: Desk) -> None:
    made = desk.make(background=True)
    assert (made["status"], made["output"], made["usage"]) == ("queued", [], None)
    path = f"/v1/responses/{made['id']}"
    assert desk.get(path)["status"] == "in_progress"
    done = desk.get(path)
    assert done["status"] == "completed"
    assert done["usage"]["total_tokens"] > 0
    assert desk.get(path) == done
    assert desk.make(background=True)["id"] != made["id"]


def test_only_a_background_response_can_be_cancelled(desk: Desk) -> None:
    path = f"/v1/responses/{desk.make(background=True)['id']}"
    assert orjson.loads(desk.ask("POST", f"{path}/cancel").whole)["status"] == "cancelled"
    assert desk.get(path)["status"] == "cancelled"
    assert desk.ask("POST", f"/v1/responses/{desk.make()['id']}/cancel").status == 400


def test_input_items_are_paged(desk: Desk) -> None:
    items = [{"role": "user", "content": str(n)} for n in range(3)]
    path = f"/v1/responses/{desk.make(input=items)['id']}/input_items"
    page = desk.get(f"{path}?limit=2&order=asc")
    assert [item["content"][0]["text"] for item in page["data"]] == ["0", "1"]
    assert page["has_more"]
    rest = desk.get(f"{path}?order=asc&after={page['last_id']}")
    assert [item["content"][0]["text"] for item in rest["data"]] == ["2"]
    assert not rest["has_more"]
    assert desk.get(path)["data"][0]["content"][0]["text"] == "2"


def test_a_compaction_keeps_the_users_words(desk: Desk) -> None:
    asked = {"model": "demo", "previous_response_id": desk.make()["id"], "input": "More"}
    made = orjson.loads(desk.ask("POST", "/v1/responses/compact", asked).whole)
    assert [item["type"] for item in made["output"]] == ["message", "message", "compaction"]
    assert made["usage"]["total_tokens"] > 0
    empty = {"model": "demo", "input": []}
    assert desk.ask("POST", "/v1/responses/compact", empty).status == 400
    unknown = {"model": "demo", "previous_response_id": "resp_none"}
    assert b"previous_response" in desk.ask("POST", "/v1/responses/compact", unknown).whole


def test_a_later_misbehaviour_spares_the_making(desk: Desk) -> None:
    made = desk.make(model="demo-later-503")
    assert made["status"] == "completed"
    assert desk.ask("GET", f"/v1/responses/{made['id']}").status == 503


@pytest.mark.parametrize(
    ("method", "tail"), [("PUT", ""), ("POST", ""), ("GET", "/x"), ("GET", "/input_items/x")]
)
def test_other_methods_and_paths_are_refused(desk: Desk, method: str, tail: str) -> None:
    assert desk.ask(method, f"/v1/responses/{desk.make()['id']}{tail}").status == 405
