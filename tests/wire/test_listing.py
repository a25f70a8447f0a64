"""Model lists: three clients, three shapes."""

from __future__ import annotations

import orjson
import pytest

from relayd.model import FormatName
from relayd.wire import listing

MODELS = [("gpt-4o", "relayd", 1_700_000_000), ("org/x", "relayd", 0)]


def test_openai_clients_get_a_list_object() -> None:
    page = orjson.loads(listing.many("chat", MODELS))
    assert page["object"] == "list"
    assert page["data"][0] == {
        "id": "gpt-4o",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "relayd",
    }


def test_anthropic_clients_get_one_complete_page() -> None:
    page = orjson.loads(listing.many("messages", MODELS))
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("gpt-4o", "org/x", False)
    assert page["data"][0]["created_at"] == "2023-11-14T22:13:20Z"
    empty = orjson.loads(listing.many("messages", []))
    assert empty == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_google_clients_get_names_with_their_collection() -> None:
    page = orjson.loads(listing.many("gemini", MODELS))
    assert [row["name"] for row in page["models"]] == ["models/gpt-4o", "models/org/x"]
    assert "generateContent" in page["models"][0]["supportedGenerationMethods"]


@pytest.mark.parametrize("shape", listing.SHAPES)
def test_one_model_is_a_row_of_the_list(shape: FormatName) -> None:
    found = listing.one(shape, MODELS, "org/x")
    assert found is not None
    assert found in listing.many(shape, MODELS)
    assert listing.one(shape, MODELS, "gpt") is None
