"""The official Anthropic SDK against the daemon with its demo provider: messages, counts,
models, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from pydantic import BaseModel

from tests.conftest import Daemons
from tests.support.running import Running

pytestmark = pytest.mark.sdk

HI: list[Any] = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
CONFIG = """\
demo: "on"
limits: {max_body: 100kB}
upstreams:
  other: {dialect: relay, base_url: "http://127.0.0.1:9", models: [other-model]}
"""


class City(BaseModel):
    """What structured output is parsed into."""

    name: str
    people: int


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@pytest.fixture
def client(relay: Running) -> Iterator[anthropic.Anthropic]:
    with make_client(relay) as client:
        yield client


def make_client(relay: Running, **more: Any) -> anthropic.Anthropic:
    options = {"base_url": relay.url, "api_key": relay.key, "max_retries": 0, "timeout": 10}
    return anthropic.Anthropic(**{**options, **more})


def ask(client: anthropic.Anthropic, model: str, **more: Any) -> Any:
    return client.messages.create(model=model, max_tokens=200, messages=HI, **more)


def test_messages_answers(relay: Running, client: anthropic.Anthropic) -> None:
    answer = ask(client, "demo")

    assert "You said: Hi." in answer.content[0].text
    assert answer.stop_reason == "end_turn"
    row = relay.rows()[0]
    assert (row.usage.in_uncached, row.usage.out_total) == (
        answer.usage.input_tokens,
        answer.usage.output_tokens,
    )
    assert (row.outcome, row.usage_source) == ("ok", "reported")


def test_messages_streams_raw_events(relay: Running, client: anthropic.Anthropic) -> None:
    with ask(client, "demo", stream=True) as stream:
        events = list(stream)

    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    row = relay.rows()[0]
    assert (row.outcome, row.usage_source) == ("ok", "reported")


def test_the_stream_helper_collects_text_and_usage(
    relay: Running, client: anthropic.Anthropic
) -> None:
    with client.messages.stream(model="demo", max_tokens=200, messages=HI) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()

    assert "You said: Hi." in text
    assert final.stop_reason == "end_turn"
    assert relay.rows()[0].usage.out_total == final.usage.output_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_messages_calls_a_tool_and_takes_its_result(
    client: anthropic.Anthropic, stream: bool
) -> None:
    if stream:
        with client.messages.stream(
            model="demo", max_tokens=200, messages=HI, tools=[WEATHER]
        ) as events:
            answer: Any = events.get_final_message()
    else:
        answer = ask(client, "demo", tools=[WEATHER])

    assert answer.stop_reason == "tool_use"
    call = next(block for block in answer.content if block.type == "tool_use")
    assert (call.name, list(call.input)) == ("weather", ["city"])
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turn = {"role": "assistant", "content": [block.model_dump() for block in answer.content]}
    history: Any = [*HI, turn, {"role": "user", "content": [result]}]
    again: Any = client.messages.create(
        model="demo", max_tokens=200, messages=history, tools=[WEATHER]
    )
    assert "sunny" in again.content[0].text


def test_structured_output_is_parsed(client: anthropic.Anthropic) -> None:
    answer = client.messages.parse(model="demo", max_tokens=200, messages=HI, output_format=City)

    assert isinstance(answer.parsed_output, City)


def test_thinking_comes_as_a_block_with_its_signature(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(
        model="demo-reasoning",
        max_tokens=4000,
        messages=HI,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )

    assert [block.type for block in answer.content] == ["thinking", "text"]


def test_cached_tokens_are_logged_apart(relay: Running, client: anthropic.Anthropic) -> None:
    usage = ask(client, "demo-cached").usage

    row = relay.rows()[0]
    assert (row.usage.in_uncached, row.usage.cache_read) == (
        usage.input_tokens,
        usage.cache_read_input_tokens,
    )


def test_tokens_are_counted_without_max_tokens(relay: Running, client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="demo", messages=HI)

    assert counted.input_tokens > 0
    row = relay.rows()[0]
    assert (row.operation, row.usage.total, row.outcome) == ("count_tokens", 0, "ok")


def test_beta_calls_pass_with_their_query_and_header(
    relay: Running, client: anthropic.Anthropic
) -> None:
    answer: Any = client.beta.messages.create(
        model="demo", max_tokens=200, messages=HI, betas=["one-2026", "two-2026"]
    )

    assert "You said: Hi." in answer.content[0].text
    demo: Any = relay.daemon._demo
    seen = demo.provider.seen[-1].headers
    assert "one-2026" in seen["anthropic-beta"]
    assert "two-2026" in seen["anthropic-beta"]
    assert seen["anthropic-version"]


def test_models_are_listed_and_found_one_by_one(client: anthropic.Anthropic) -> None:
    names = [model.id for model in client.models.list()]

    assert {"demo", "other-model"} <= set(names)
    assert client.models.retrieve("demo").display_name
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nobody-offers-this")


def test_models_are_listed_page_by_page(client: anthropic.Anthropic) -> None:
    every = [model.id for model in client.models.list()]

    assert [model.id for model in client.models.list(limit=2)] == every


def test_the_request_id_is_that_of_the_usage_log(
    relay: Running, client: anthropic.Anthropic
) -> None:
    raw = client.messages.with_raw_response.create(model="demo", max_tokens=20, messages=HI)

    assert raw.headers["request-id"] == relay.rows()[0].request_id
    assert raw.parse()._request_id == relay.rows()[0].request_id


def test_the_async_client_streams(relay: Running) -> None:
    async def run() -> list[str]:
        async with anthropic.AsyncAnthropic(
            base_url=relay.url, api_key=relay.key, max_retries=0, timeout=10
        ) as client:

            async def one(number: int) -> str:
                messages: Any = [{"role": "user", "content": f"word{number}"}]
                async with client.messages.stream(
                    model="demo", max_tokens=200, messages=messages
                ) as stream:
                    return await stream.get_final_text()

            return await asyncio.gather(*(one(number) for number in range(20)))

    assert all(f"word{number}" in text for number, text in enumerate(asyncio.run(run())))


def test_both_ways_to_send_a_key_are_taken(relay: Running) -> None:
    with make_client(relay, api_key=None, auth_token=relay.key) as client:
        assert ask(client, "demo").content
    old = {"x-api-key": relay.key, "Authorization": ""}
    with make_client(relay, api_key="replaced", default_headers=old) as client:
        assert ask(client, "demo").content


ERRORS: list[tuple[str, type[anthropic.APIStatusError], int, str]] = [
    ("nobody-offers-this", anthropic.NotFoundError, 404, "not_found_error"),
    ("demo-400", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("demo-404", anthropic.NotFoundError, 404, "not_found_error"),
    ("demo-429", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("demo-401", anthropic.InternalServerError, 502, "api_error"),
    ("demo-500", anthropic.InternalServerError, 502, "api_error"),
    ("demo-503", anthropic.InternalServerError, 529, "overloaded_error"),
    ("demo-529", anthropic.InternalServerError, 529, "overloaded_error"),
    ("demo-html", anthropic.InternalServerError, 502, "api_error"),
    ("demo-refused", anthropic.InternalServerError, 502, "api_error"),
    ("demo-garbage", anthropic.InternalServerError, 502, "api_error"),
    ("demo-half-head", anthropic.InternalServerError, 502, "api_error"),
    ("demo-malformed", anthropic.InternalServerError, 502, "api_error"),
    ("demo-cut", anthropic.InternalServerError, 502, "api_error"),
    ("other-model", anthropic.InternalServerError, 502, "api_error"),
]


@pytest.mark.parametrize(("model", "kind", "status", "error"), ERRORS)
def test_an_error_is_the_sdks_own_exception(
    relay: Running,
    client: anthropic.Anthropic,
    model: str,
    kind: type[anthropic.APIStatusError],
    status: int,
    error: str,
) -> None:
    before = relay.mark()
    with pytest.raises(kind) as caught:
        ask(client, model)

    [row] = relay.new_rows(before)
    assert (caught.value.status_code, caught.value.type) == (status, error)
    assert caught.value.request_id == row.request_id
    assert row.status == status
    assert row.outcome != "ok"


def test_an_unknown_key_is_an_authentication_error(relay: Running) -> None:
    with make_client(relay, api_key="sk-relayd-nobody") as client:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            ask(client, "demo")
        assert caught.value.type == "authentication_error"
        with pytest.raises(anthropic.AuthenticationError):
            client.models.list()


def test_a_body_over_the_limit_is_too_large(client: anthropic.Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "x" * 200_000}]
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(model="demo", max_tokens=20, messages=messages)
    assert (caught.value.status_code, caught.value.type) == (413, "request_too_large")


@pytest.mark.parametrize(
    "model",
    ["demo-error-in-stream", "demo-error-first", "demo-cut", "demo-reset", "demo-no-done"],
)
def test_a_failure_in_mid_stream_is_a_status_error(
    relay: Running, client: anthropic.Anthropic, model: str
) -> None:
    before = relay.mark()
    with (
        pytest.raises(anthropic.APIStatusError),
        client.messages.stream(model=model, max_tokens=200, messages=HI) as stream,
    ):
        stream.until_done()

    [row] = relay.new_rows(before)
    assert row.outcome in ("broken_stream", "upstream_error")
