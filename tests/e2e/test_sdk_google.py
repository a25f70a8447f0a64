"""The official Google SDK against the daemon with its demo provider: generate, embed, count,
models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from tests.conftest import Daemons
from tests.support.running import Running

pytestmark = pytest.mark.sdk

CONFIG = """\
demo: "on"
limits: {max_body: 100kB}
upstreams:
  other: {dialect: relay, base_url: "http://127.0.0.1:9", models: [other-model]}
"""
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            parameters_json_schema={
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        )
    ]
)


class City(BaseModel):
    """What structured output is parsed into."""

    name: str
    people: int


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@pytest.fixture
def client(relay: Running) -> Iterator[genai.Client]:
    client = make_client(relay)
    yield client
    client.close()


def make_client(relay: Running, key: str | None = None, version: str = "v1beta") -> genai.Client:
    options = types.HttpOptions(base_url=relay.url, api_version=version, timeout=10_000)
    return genai.Client(api_key=key or relay.key, http_options=options)


@pytest.mark.parametrize("version", ["v1beta", "v1"])
def test_gemini_answers_under_both_versions(relay: Running, version: str) -> None:
    client = make_client(relay, version=version)
    answer = client.models.generate_content(model="demo", contents="Hi")
    client.close()

    assert "You said: Hi." in (answer.text or "")
    assert answer.usage_metadata is not None
    row = relay.rows()[0]
    assert row.usage.in_uncached == answer.usage_metadata.prompt_token_count
    assert (row.outcome, row.usage_source, row.model_asked) == ("ok", "reported", "demo")


def test_gemini_streams(relay: Running, client: genai.Client) -> None:
    chunks = list(client.models.generate_content_stream(model="demo", contents="Hi"))

    assert "You said: Hi." in "".join(chunk.text or "" for chunk in chunks)
    row = relay.rows()[0]
    assert (row.outcome, row.usage_source, row.stream) == ("ok", "reported", True)


@pytest.mark.parametrize("model", ["demo-split", "demo-burst", "demo-comments-split"])
def test_odd_packets_do_not_disturb_the_sdk(client: genai.Client, model: str) -> None:
    if "comments" in model:
        pytest.skip("the SDK breaks on comments, whoever sends them; bytes pass untouched")
    chunks = list(client.models.generate_content_stream(model=model, contents="Hi"))
    assert "You said: Hi." in "".join(chunk.text or "" for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True])
def test_gemini_calls_a_tool_and_takes_its_result(client: genai.Client, stream: bool) -> None:
    config = types.GenerateContentConfig(
        tools=[WEATHER],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    ask: dict[str, Any] = {"model": "demo", "contents": "Hi", "config": config}
    if stream:
        found = list(client.models.generate_content_stream(**ask))
        calls = [call for chunk in found for call in chunk.function_calls or []]
    else:
        calls = client.models.generate_content(**ask).function_calls or []

    assert [(call.name, list(call.args or {})) for call in calls] == [("weather", ["city"])]
    history: Any = [
        types.Content(role="user", parts=[types.Part(text="Hi")]),
        types.Content(role="model", parts=[types.Part(function_call=calls[0])]),
        types.Content(
            role="user",
            parts=[types.Part.from_function_response(name="weather", response={"sky": "sunny"})],
        ),
    ]
    again = client.models.generate_content(model="demo", contents=history, config=config)
    assert "sunny" in (again.text or "")


def test_structured_output_is_parsed(client: genai.Client) -> None:
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=City
    )
    answer = client.models.generate_content(model="demo", contents="Hi", config=config)

    assert isinstance(answer.parsed, City)


def test_a_system_role_in_contents_is_hoisted(relay: Running, client: genai.Client) -> None:
    contents: Any = [
        {"role": "system", "parts": [{"text": "Be brief."}]},
        {"role": "user", "parts": [{"text": "Hi"}]},
    ]
    assert client.models.generate_content(model="demo", contents=contents).text
    demo: Any = relay.daemon._demo
    sent = demo.provider.seen[-1].body
    assert b'"system"' not in sent
    assert b"Be brief." in sent


def test_tokens_are_counted(relay: Running, client: genai.Client) -> None:
    counted = client.models.count_tokens(model="demo", contents="Hi")

    assert counted.total_tokens
    row = relay.rows()[0]
    assert (row.operation, row.usage.total, row.outcome) == ("count_tokens", 0, "ok")


@pytest.mark.parametrize("contents", ["one", ["one", "two"]])
def test_texts_are_embedded(relay: Running, client: genai.Client, contents: Any) -> None:
    answer = client.models.embed_content(model="demo-embedding", contents=contents)

    assert answer.embeddings
    assert answer.embeddings[0].values
    assert relay.rows()[0].operation == "embed"


def test_models_are_listed_and_found_one_by_one(client: genai.Client) -> None:
    names = [model.name for model in client.models.list()]

    assert {"models/demo", "models/other-model"} <= set(names)
    assert client.models.get(model="demo").name == "models/demo"
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="nobody-offers-this")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
def test_the_async_client_streams(relay: Running) -> None:
    async def run() -> list[str]:
        client = make_client(relay)

        async def one(number: int) -> str:
            stream = await client.aio.models.generate_content_stream(
                model="demo", contents=f"word{number}"
            )
            return "".join([chunk.text or "" async for chunk in stream])

        try:
            return await asyncio.gather(*(one(number) for number in range(10)))
        finally:
            await client.aio.aclose()
            client.close()

    assert all(f"word{number}" in text for number, text in enumerate(asyncio.run(run())))


ERRORS: list[tuple[str, type[errors.APIError], int, str]] = [
    ("nobody-offers-this", errors.ClientError, 404, "NOT_FOUND"),
    ("demo-400", errors.ClientError, 400, "INVALID_ARGUMENT"),
    ("demo-404", errors.ClientError, 404, "NOT_FOUND"),
    ("demo-429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
    ("demo-401", errors.ServerError, 502, "UNAVAILABLE"),
    ("demo-500", errors.ServerError, 502, "UNAVAILABLE"),
    ("demo-503", errors.ServerError, 503, "UNAVAILABLE"),
    ("demo-529", errors.ServerError, 503, "UNAVAILABLE"),
    ("demo-html", errors.ServerError, 502, "UNAVAILABLE"),
    ("demo-refused", errors.ServerError, 502, "UNAVAILABLE"),
    ("demo-garbage", errors.ServerError, 502, "UNAVAILABLE"),
    ("demo-malformed", errors.ServerError, 502, "UNAVAILABLE"),
    ("demo-cut", errors.ServerError, 502, "UNAVAILABLE"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "kind", "status", "word"), ERRORS)
def test_an_error_is_the_sdks_own_exception(
    relay: Running,
    client: genai.Client,
    model: str,
    kind: type[errors.APIError],
    status: int,
    word: str,
    stream: bool,
) -> None:
    if stream and model in ("demo-malformed", "demo-cut"):
        pytest.skip("in a stream this happens after the first byte")
    before = relay.mark()
    with pytest.raises(kind) as caught:
        if stream:
            list(client.models.generate_content_stream(model=model, contents="Hi"))
        else:
            client.models.generate_content(model=model, contents="Hi")

    [row] = relay.new_rows(before)
    assert (caught.value.code, caught.value.status) == (status, word)
    assert (row.status, row.usage.total) == (status, 0)


def test_an_unknown_key_is_a_client_error(relay: Running) -> None:
    client = make_client(relay, key="sk-relayd-nobody")
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="demo", contents="Hi")
    client.close()
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


def test_a_body_over_the_limit_is_a_client_error(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="demo", contents="x" * 200_000)
    assert caught.value.code == 413


@pytest.mark.parametrize(
    "model", ["demo-error-in-stream", "demo-cut", "demo-reset", "demo-no-done"]
)
def test_a_failure_in_mid_stream_is_an_api_error(
    relay: Running, client: genai.Client, model: str
) -> None:
    before = relay.mark()
    with pytest.raises(errors.APIError) as caught:
        list(client.models.generate_content_stream(model=model, contents="Hi"))

    assert caught.value.code >= 500
    [row] = relay.new_rows(before)
    assert row.outcome in ("broken_stream", "upstream_error")
