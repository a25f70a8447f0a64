"""What lists of models hold: what this key may use and may buy, with what is known of it."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.running import Running

CONFIG = """\
demo: "off"
groups:
  default: {}
  dear: {multiplier: 1.5, rpm: 1}
  talkers: {endpoints: [chat]}
  painters: {endpoints: [images]}
  embedders: {endpoints: [embeddings]}
unpriced: refuse
prices:
  claude-sonnet-4-5: {input: 3, output: 15, cache_read: 0.3, cache_write_5m: 3.75}
  gemini-2.5-pro: {input: 1.25, output: 10, tiers: [{above: 200000, input: 2.5, output: 15}]}
  gpt-image-2: {input: 5, output: 40, image_in: 10, request: 0.01, image: 0.04}
  text-embedding-3-small: {input: 0.02, output: 0}
  "house-*": {input: 0, output: 0}
  "native-*": {input: 0, output: 0}
upstreams:
  anthropic:
    dialect: anthropic
    key: k
    base_url: "http://127.0.0.1:9"
    models: {claude: claude-sonnet-4-5, not-for-sale: not-for-sale}
  others:
    dialect: relay
    key: k
    base_url: "http://127.0.0.1:9"
    models: [gemini-2.5-pro, gpt-image-2, text-embedding-3-small, house-model, "house-*"]
    capabilities: {house-model: {context: 4096}}
  silent:
    dialect: relay
    key: k
    base_url: "http://127.0.0.1:9"
    models: [native-model, native-two]
    formats: [messages]
    translate: false
"""
ALL = [
    *("claude", "gemini-2.5-pro", "gpt-image-2", "text-embedding-3-small"),
    *("house-model", "native-model", "native-two"),
]


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


def rows(customer: Customer) -> list[Any]:
    """The rows of a list."""
    answer = customer.get("/v1/models")
    assert answer.status == 200, answer.body
    found: list[Any] = answer.document["data"]
    return found


def row(customer: Customer, name: str) -> Any:
    """The row of a model, which is the same alone and in the list."""
    alone = customer.get(f"/v1/models/{name}")
    assert alone.status == 200, alone.body
    assert alone.document in rows(customer)
    return alone.document


def test_a_list_has_what_is_offered_and_for_sale(relay: Running) -> None:
    customer = Customer(relay)

    assert [one["id"] for one in rows(customer)] == ALL
    assert customer.get("/v1/models/not-for-sale").status == 404


def test_prices_are_what_the_group_pays(relay: Running) -> None:
    usual, dear = row(Customer(relay), "claude"), row(Customer(relay, "dear"), "claude")

    assert usual["pricing"] == {
        "prompt": "0.000003",
        "completion": "0.000015",
        "request": "0",
        "input_cache_read": "0.0000003",
        "input_cache_write": "0.00000375",
        "internal_reasoning": "0.000015",
    }
    assert dear["pricing"]["prompt"] == "0.0000045"
    assert dear["pricing"]["input_cache_write"] == "0.000005625"


def test_long_prompts_and_pictures_have_prices_of_their_own(relay: Running) -> None:
    customer = Customer(relay)

    (tier,) = row(customer, "gemini-2.5-pro")["pricing_tiers"]
    assert (tier["above"], tier["pricing"]["prompt"]) == (200_000, "0.0000025")
    pricing = row(customer, "gpt-image-2")["pricing"]
    assert (pricing["image_token"], pricing["request"]) == ("0.00001", "0.01")
    assert pricing["per_image"] == "0.04"


def test_a_row_tells_what_the_upstreams_own_model_takes(relay: Running) -> None:
    customer = Customer(relay)

    mapped = row(customer, "claude")
    assert (mapped["context_length"], mapped["max_output_tokens"]) == (200_000, 64_000)
    assert mapped["architecture"]["modality"] == "text+image+file->text"
    own = row(customer, "house-model")
    assert own["context_length"] == 4096
    assert "architecture" not in own
    assert own["supported_endpoint_types"] == ["openai", "openai-response", "anthropic", "gemini"]
    assert row(customer, "native-model")["supported_endpoint_types"] == ["anthropic"]
    assert "max_output_tokens" not in own


def test_a_model_by_a_wildcard_is_told_of_and_stands_in_no_list(relay: Running) -> None:
    answer = Customer(relay).get("/v1/models/house-of-cards")

    assert (answer.status, answer.document["id"]) == (200, "house-of-cards")


@pytest.mark.parametrize(
    ("group", "absent"),
    [
        ("talkers", {"gpt-image-2", "text-embedding-3-small"}),
        ("painters", {"claude", "gemini-2.5-pro", "text-embedding-3-small"}),
        ("embedders", {"claude", "gemini-2.5-pro", "gpt-image-2"}),
    ],
)
def test_a_model_for_what_the_group_may_not_do_is_not_there(
    relay: Running, group: str, absent: set[str]
) -> None:
    customer = Customer(relay, group)

    assert {one["id"] for one in rows(customer)} == set(ALL) - absent
    for name in absent:
        assert customer.get(f"/v1/models/{name}").status == 404


def test_a_list_costs_nothing_and_is_no_request_of_the_limits(relay: Running) -> None:
    customer = Customer(relay, "dear")
    for _ in range(3):
        assert customer.get("/v1/models").status == 200


def test_a_list_is_made_anew_when_the_upstreams_change(start: Daemons) -> None:
    relay = start(CONFIG)
    customer = Customer(relay)
    assert len(rows(customer)) == len(ALL)
    text = relay.config_path.read_text()
    changed = text.replace("house-model,", "house-new,").replace("native-model, ", "")
    relay.config_path.write_text(changed)

    relay.call(relay.daemon.reload)

    assert customer.get("/v1/models/native-model").status == 404
    assert "house-new" in [one["id"] for one in rows(customer)]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?limit=0", {"anthropic-version": "2023-06-01"}),
        ("?after_id=nobody", {"anthropic-version": "2023-06-01"}),
        ("?pageToken=%25", {"x-goog-api-key": "x"}),
    ],
)
def test_a_page_that_cannot_be_is_refused_in_the_clients_words(
    relay: Running, query: str, headers: dict[str, str]
) -> None:
    answer = relay.ask(f"/v1/models{query}", headers=headers, method="GET")

    assert answer.status == 400
    assert answer.document["error"]["message"]


def test_a_parameter_that_only_ends_on_key_is_no_gemini_client(relay: Running) -> None:
    answer = Customer(relay).get("/v1/models?monkey=1")

    assert answer.document["object"] == "list"


# --- what clients ask at their start --------------------------------------------------------------


def test_codex_asks_with_its_version_and_finds_a_catalogue(relay: Running) -> None:
    answer = Customer(relay).get("/v1/models?client_version=0.169.0")

    assert (answer.status, answer.document["models"]) == (200, [])


def test_claude_code_looks_whether_somebody_is_there(relay: Running) -> None:
    answer = relay.ask("/", method="HEAD", headers={"user-agent": "Bun/1.4.0"})
    assert (answer.status, answer.body) == (200, b"")

    headers = {"anthropic-version": "2023-06-01", "x-app": "cli"}
    answer = relay.ask("/v1/models?limit=1000", headers=headers, method="GET")
    assert [one["id"] for one in answer.document["data"]] == ALL


@pytest.mark.sdk
def test_the_openai_sdk_reads_the_list(relay: Running) -> None:
    with openai.OpenAI(base_url=f"{relay.url}/v1", api_key=relay.key, max_retries=0) as client:
        found = list(client.models.list())
        one = client.models.retrieve("claude")

    assert [model.id for model in found] == ALL
    assert (one.owned_by, (one.model_extra or {})["context_length"]) == ("anthropic", 200_000)


@pytest.mark.sdk
def test_the_anthropic_sdk_reads_the_list_page_by_page(relay: Running) -> None:
    with anthropic.Anthropic(base_url=relay.url, api_key=relay.key, max_retries=0) as client:
        found = list(client.models.list(limit=2))
        backwards = client.models.list(limit=2, before_id="gpt-image-2")
        one = client.models.retrieve("claude")

    assert [model.id for model in found] == ALL
    assert [model.id for model in backwards.data] == ["claude", "gemini-2.5-pro"]
    assert (one.max_input_tokens, one.max_tokens) == (200_000, 64_000)


@pytest.mark.sdk
def test_the_google_sdk_reads_the_list_page_by_page(relay: Running) -> None:
    options = types.HttpOptions(base_url=relay.url)
    with genai.Client(api_key=relay.key, http_options=options) as client:
        found = list(client.models.list(config={"page_size": 2}))
        one = client.models.get(model="claude")

    assert [model.name for model in found] == [f"models/{name}" for name in ALL]
    assert (one.input_token_limit, one.output_token_limit) == (200_000, 64_000)
