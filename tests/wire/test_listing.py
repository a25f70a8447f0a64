"""Model lists: three clients, three shapes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.accounts import UNIT
from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.wire import listing
from relayd.wire.listing import ALL, MOST, Model, Wanted, part, wanted

PLAIN = Model("org/x", "someone", 0)
FULL = Model(
    "gpt-4o",
    "relayd",
    1_700_000_000,
    formats=("chat", "responses", "messages", "gemini"),
    tasks=("chat", "images"),
    context=128_000,
    max_output=16_384,
    inputs=("text", "image"),
    outputs=("text",),
    rates={"prompt": 2_500_000 * UNIT, "completion": 10_000_000 * UNIT, "request": 0},
    tiers=((200_000, {"prompt": 5_000_000 * UNIT}),),
)
MODELS = [FULL, PLAIN]


def page(shape: FormatName, models: list[Model], asked: Wanted = ALL) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(listing.many(shape, models, asked))
    return found


def test_openai_clients_get_a_list_object_with_what_other_relays_say_there() -> None:
    found = page("chat", MODELS)
    assert found == page("responses", MODELS)
    assert found["object"] == "list"
    assert found["data"][0] == {
        "id": "gpt-4o",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "relayd",
        "name": "gpt-4o",
        "supported_endpoint_types": [
            *("openai", "openai-response", "anthropic", "gemini", "image-generation")
        ],
        "context_length": 128_000,
        "max_output_tokens": 16_384,
        "top_provider": {
            "context_length": 128_000,
            "max_completion_tokens": 16_384,
            "is_moderated": False,
        },
        "architecture": {
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "modality": "text+image->text",
        },
        "pricing": {"prompt": "0.0000025", "completion": "0.00001", "request": "0"},
        "pricing_tiers": [{"above": 200_000, "pricing": {"prompt": "0.000005"}}],
    }


def test_what_is_not_known_is_left_out() -> None:
    assert page("chat", [PLAIN])["data"] == [
        {"id": "org/x", "object": "model", "created": 0, "owned_by": "someone", "name": "org/x"}
    ]
    assert page("messages", [PLAIN])["data"][0].keys() == {
        *("type", "id", "display_name", "created_at")
    }
    assert page("gemini", [PLAIN])["models"][0].keys() == {
        *("name", "displayName", "supportedGenerationMethods")
    }
    half = Model("x", "y", 0, outputs=("image",), formats=("chat",))
    assert page("chat", [half])["data"][0]["architecture"] == {"output_modalities": ["image"]}


def test_a_model_is_listed_with_what_it_is_for() -> None:
    drawn = Model("x", "y", 0, formats=("chat",), tasks=("images",))
    assert page("chat", [drawn])["data"][0]["supported_endpoint_types"] == ["image-generation"]
    embedding = Model("x", "y", 0, tasks=("embeddings",))
    verbs = page("gemini", [embedding])["models"][0]["supportedGenerationMethods"]
    assert verbs == ["embedContent", "batchEmbedContents"]


def test_anthropic_clients_get_limits_where_they_are_known() -> None:
    found = page("messages", MODELS)
    assert (found["first_id"], found["last_id"], found["has_more"]) == ("gpt-4o", "org/x", False)
    assert found["data"][0] == {
        "type": "model",
        "id": "gpt-4o",
        "display_name": "gpt-4o",
        "created_at": "2023-11-14T22:13:20Z",
        "max_input_tokens": 128_000,
        "max_tokens": 16_384,
    }
    empty = page("messages", [])
    assert empty == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_google_clients_get_names_with_their_collection() -> None:
    found = page("gemini", MODELS)
    assert [row["name"] for row in found["models"]] == ["models/gpt-4o", "models/org/x"]
    first = found["models"][0]
    assert (first["inputTokenLimit"], first["outputTokenLimit"]) == (128_000, 16_384)
    assert first["supportedGenerationMethods"][0] == "generateContent"
    assert "nextPageToken" not in found


def test_codex_gets_a_catalogue_that_leaves_it_its_own() -> None:
    found = page("chat", MODELS, wanted("chat", "client_version=0.169.0"))
    assert found["models"] == []
    assert len(found["data"]) == 2


@pytest.mark.parametrize("shape", listing.SHAPES)
def test_one_model_is_a_row_of_the_list(shape: FormatName) -> None:
    found = listing.one(shape, MODELS, "org/x")
    assert found is not None
    assert found in listing.many(shape, MODELS)
    assert listing.one(shape, MODELS, "gpt") is None


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0"), (1, "0.000000000000000001"), (10**18, "1"), (25 * 10**17, "2.5"), (10**20, "100")],
)
def test_prices_are_exact(rate: int, text: str) -> None:
    assert listing.dollars(rate) == text


# --- pages ----------------------------------------------------------------------------------------

ROWS = [Model(f"m{number}", "up", 0) for number in range(5)]


def ids(found: listing.Page) -> list[str]:
    return [model.id for model in found.models]


def test_the_whole_list_is_one_page_unless_somebody_asks_for_less() -> None:
    for shape in listing.SHAPES:
        assert wanted(shape, "").most == MOST
        assert ids(part(ROWS, wanted(shape, "beta=true"), shape)) == [m.id for m in ROWS]


@pytest.mark.parametrize(
    ("query", "names", "goes_on"),
    [
        ("limit=2", ["m0", "m1"], True),
        ("limit=2&after_id=m1", ["m2", "m3"], True),
        ("limit=2&after_id=m3", ["m4"], False),
        ("after_id=m4", [], False),
        ("limit=2&before_id=m4", ["m2", "m3"], True),
        ("limit=2&before_id=m2", ["m0", "m1"], False),
        ("limit=1000&before_id=m1", ["m0"], False),
    ],
)
def test_anthropics_pages_go_on_after_a_model_or_end_before_one(
    query: str, names: list[str], goes_on: bool
) -> None:
    found = part(ROWS, wanted("messages", query))
    assert (ids(found), found.goes_on) == (names, goes_on)


def test_googles_pages_lead_through_the_list_by_their_tokens() -> None:
    for sizes in ("pageSize=2&pageToken={}", "page_size=2&page_token={}"):
        seen, token, rounds = [], "", 0
        while rounds == 0 or token:
            found = page("gemini", ROWS, wanted("gemini", sizes.format(token)))
            seen += [row["displayName"] for row in found["models"]]
            token, rounds = found.get("nextPageToken", ""), rounds + 1
        assert (seen, rounds) == ([model.id for model in ROWS], 3)


def test_google_takes_a_larger_page_for_the_largest_and_none_for_the_usual() -> None:
    assert wanted("gemini", "pageSize=5000").most == wanted("gemini", "pageSize=0").most == MOST


@pytest.mark.parametrize(
    ("shape", "query", "param"),
    [
        ("messages", "limit=0", "limit"),
        ("messages", "limit=1001", "limit"),
        ("messages", "limit=many", "limit"),
        ("messages", f"limit={'9' * 5000}", "limit"),
        ("messages", "after_id=a&before_id=b", "before_id"),
        ("messages", "after_id=nobody", "after_id"),
        ("messages", "before_id=nobody", "before_id"),
        ("gemini", "pageSize=-1", "pageSize"),
        ("gemini", "page_size=x", "page_size"),
        ("gemini", "pageToken=bm9ib2R5", "pageToken"),
        ("gemini", "pageToken=%C3%A9", "pageToken"),
        ("gemini", "pageToken=_w", "pageToken"),
        ("gemini", "pageToken=a", "pageToken"),
    ],
)
def test_a_part_that_cannot_be_is_the_clients_mistake(
    shape: FormatName, query: str, param: str
) -> None:
    with pytest.raises(BadCall) as caught:
        listing.many(shape, ROWS, wanted(shape, query))
    assert caught.value.param == param
