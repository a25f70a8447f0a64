"""Model lists come in three shapes."""

from __future__ import annotations

from typing import Any

import orjson

from relayd.demo.listing import models
from relayd.demo.reply import reply_to
from relayd.demo.routes import Request
from tests.demo.serving import VERSION


def test_lists_have_the_shape_of_their_client() -> None:
    def listed(path: str, headers: dict[str, str]) -> Any:
        return orjson.loads(reply_to(Request("GET", path, headers, b""), None, 0).whole)

    assert listed("/v1/models", {})["object"] == "list"
    assert listed("/v1/models?limit=2", VERSION)["last_id"] == "demo-tools"
    assert listed("/v1/models", {"x-goog-api-key": "k"})["models"]
    assert listed("/v1beta/models?pageSize=3", {})["nextPageToken"] == "3"
    assert listed("/v1/models/gpt-x", {})["id"] == "gpt-x"
    assert listed("/v1beta/models/gpt-x", {})["name"] == "models/gpt-x"
    assert listed("/v1/models/demo-404", {})["error"]["code"] == "model_not_found"


def test_pages_add_up_to_the_list() -> None:
    names: list[str] = []
    token = "0"
    while token:
        page = models("gemini", {"pageSize": "7", "pageToken": token})
        names += [model["displayName"] for model in page["models"]]
        token = page.get("nextPageToken", "")
    assert names == [model["id"] for model in models("chat", {})["data"]]
