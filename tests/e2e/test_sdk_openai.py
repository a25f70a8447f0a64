"""The official OpenAI SDK against the daemon with its demo provider: chat, responses,
embeddings, models.

What the SDK shows its user is what counts: text, usage, parsed objects, and its own exception
types, with its retries switched off so that one call is one row of the usage log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.conftest import Daemons
from tests.support.running import Running

pytestmark = pytest.mark.sdk

HI: list[Any] = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
RESPONSES_TOOL: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
# An upstream with names of its own, so that not every name is known.
CONFIG = """\
demo: "on"
limits: {max_body: 100kB}
upstreams:
  other: {dialect: openai-compatible, base_url: "http://127.0.0.1:9", models: [other-model]}
"""


class City(BaseModel):
    """What structured output is parsed into."""

    name: str
    people: int


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


@pytest.fixture
def client(relay: Running) -> Iterator[openai.OpenAI]:
    with make_client(relay) as client:
        yield client


def make_client(relay: Running, **more: Any) -> openai.OpenAI:
    options = {"base_url": relay.url + "/v1", "api_key": relay.key, "max_retries": 0, "timeout": 10}
    return openai.OpenAI(**{**options, **more})


def chat(client: openai.OpenAI, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=HI)


# --- chat -------------------------------------------------------------------------------


def test_chat_answers(relay: Running, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=HI)

    assert "You said: Hi." in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    row = relay.rows()[0]
    assert answer.usage is not None
    assert (row.usage.in_uncached, row.usage.out_total) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert (row.outcome, row.usage_source, row.stream) == ("ok", "reported", False)


def test_chat_streams_and_hides_the_usage_nobody_asked_for(
    relay: Running, client: openai.OpenAI
) -> None:
    with client.chat.completions.create(model="demo", messages=HI, stream=True) as stream:
        chunks = list(stream)

    assert "You said: Hi." in "".join(c.choices[0].delta.content or "" for c in chunks)
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    row = relay.rows()[0]
    assert row.usage_source == "reported"
    assert row.usage.out_total


def test_chat_streams_the_usage_that_was_asked_for(relay: Running, client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="demo", messages=HI, stream=True, stream_options={"include_usage": True}
    ) as stream:
        last = list(stream)[-1]

    assert last.choices == []
    assert last.usage is not None
    assert relay.rows()[0].usage.out_total == last.usage.completion_tokens


def test_chat_stream_helper_collects_the_answer(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="demo", messages=HI) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()

    assert "You said: Hi." in (final.choices[0].message.content or "")


@pytest.mark.parametrize("stream", [False, True])
def test_chat_calls_a_tool_and_takes_its_result(client: openai.OpenAI, stream: bool) -> None:
    if stream:
        with client.chat.completions.stream(model="demo", messages=HI, tools=[CHAT_TOOL]) as events:
            message: Any = events.get_final_completion().choices[0].message
    else:
        answer = client.chat.completions.create(model="demo", messages=HI, tools=[CHAT_TOOL])
        message = answer.choices[0].message

    call = message.tool_calls[0]
    assert call.function.name == "weather"
    assert "city" in call.function.arguments
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    history = [*HI, message.model_dump(exclude_none=True, exclude={"parsed"}), result]
    again = client.chat.completions.create(model="demo", messages=history, tools=[CHAT_TOOL])
    assert "sunny" in (again.choices[0].message.content or "")


def test_chat_parses_structured_output(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="demo", messages=HI, response_format=City)

    assert isinstance(answer.choices[0].message.parsed, City)


def test_reasoning_tokens_reach_client_and_log(relay: Running, client: openai.OpenAI) -> None:
    answer = chat(client, "demo-reasoning")

    reasoning = answer.usage.completion_tokens_details.reasoning_tokens
    assert reasoning > 0
    assert relay.rows()[0].usage.reasoning == reasoning


# --- responses --------------------------------------------------------------------------


def test_responses_answers(relay: Running, client: openai.OpenAI) -> None:
    answer = client.responses.create(model="demo", input="Hi")

    assert "You said: Hi." in answer.output_text
    assert answer.status == "completed"
    assert answer.usage is not None
    assert relay.rows()[0].usage.out_total == answer.usage.output_tokens


def test_responses_streams(relay: Running, client: openai.OpenAI) -> None:
    with client.responses.create(model="demo", input="Hi", stream=True) as stream:
        events = list(stream)

    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert "You said: Hi." in text
    assert relay.rows()[0].usage_source == "reported"


def test_responses_stream_helper_parses_structured_output(client: openai.OpenAI) -> None:
    with client.responses.stream(model="demo", input="Hi", text_format=City) as stream:
        final = stream.get_final_response()

    assert isinstance(final.output_parsed, City)


@pytest.mark.parametrize("stream", [False, True])
def test_responses_calls_a_tool_and_takes_its_result(client: openai.OpenAI, stream: bool) -> None:
    if stream:
        with client.responses.stream(model="demo", input="Hi", tools=[RESPONSES_TOOL]) as events:
            answer: Any = events.get_final_response()
    else:
        answer = client.responses.create(model="demo", input="Hi", tools=[RESPONSES_TOOL])

    call = next(item for item in answer.output if item.type == "function_call")
    assert call.name == "weather"
    history: Any = [
        {"role": "user", "content": "Hi"},
        {
            "type": "function_call",
            "call_id": call.call_id,
            "name": "weather",
            "arguments": call.arguments,
        },
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    again = client.responses.create(model="demo", input=history, tools=[RESPONSES_TOOL])
    assert "sunny" in again.output_text


def test_responses_counts_input_tokens_without_billing(
    relay: Running, client: openai.OpenAI
) -> None:
    counted = client.responses.input_tokens.count(model="demo", input="Hi")

    assert counted.input_tokens > 0
    row = relay.rows()[0]
    assert (row.operation, row.usage.total, row.outcome) == ("count_tokens", 0, "ok")


# --- embeddings and models --------------------------------------------------------------


def test_embeddings_are_the_same_as_base64_and_as_floats(
    relay: Running, client: openai.OpenAI
) -> None:
    packed = client.embeddings.create(model="demo-embedding", input=["a", "b"])
    plain = client.embeddings.create(
        model="demo-embedding", input=["a", "b"], encoding_format="float"
    )

    assert [d.index for d in packed.data] == [0, 1]
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    row = relay.rows()[0]
    assert (row.operation, row.usage.in_uncached) == ("embed", plain.usage.prompt_tokens)


def test_models_are_listed_and_found_one_by_one(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]

    assert {"demo", "demo-tools", "other-model"} <= set(names)
    assert not [name for name in names if "*" in name]
    assert client.models.retrieve("other-model").id == "other-model"


def test_an_unlisted_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody-offers-this")
    assert caught.value.code == "model_not_found"


# --- the client itself ------------------------------------------------------------------


def test_the_request_id_is_that_of_the_usage_log(relay: Running, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="demo", messages=HI)

    assert raw.request_id == relay.rows()[0].request_id
    assert raw.parse().choices
    assert chat(client, "demo")._request_id.startswith("req_")


def test_the_async_client_runs_many_at_once(relay: Running) -> None:
    async def ask(client: openai.AsyncOpenAI, text: str) -> str:
        messages: Any = [{"role": "user", "content": text}]
        found = []
        async with await client.chat.completions.create(
            model="demo", messages=messages, stream=True
        ) as stream:
            async for chunk in stream:
                found.append(chunk.choices[0].delta.content or "")
        return "".join(found)

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(
            base_url=relay.url + "/v1", api_key=relay.key, max_retries=0, timeout=10
        ) as client:
            plain = await client.responses.create(model="demo", input="first")
            streamed = await asyncio.gather(*(ask(client, f"word{i}") for i in range(20)))
            return [plain.output_text, *streamed]

    answers = asyncio.run(run())
    assert "first" in answers[0]
    assert all(f"word{i}" in answer for i, answer in enumerate(answers[1:]))


def test_the_sdk_retries_a_rate_limit_and_each_try_is_a_row(relay: Running) -> None:
    before = relay.mark()
    with make_client(relay, max_retries=1) as client, pytest.raises(openai.RateLimitError):
        chat(client, "demo-429-0")
    relay.new_rows(before, 2)


# --- errors -----------------------------------------------------------------------------

ERRORS: list[tuple[str, type[openai.APIStatusError], int]] = [
    ("nobody-offers-this", openai.NotFoundError, 404),
    ("demo-400", openai.BadRequestError, 400),
    ("demo-404", openai.NotFoundError, 404),
    ("demo-429", openai.RateLimitError, 429),
    ("demo-401", openai.InternalServerError, 502),
    ("demo-403", openai.InternalServerError, 502),
    ("demo-500", openai.InternalServerError, 502),
    ("demo-503", openai.InternalServerError, 503),
    ("demo-529", openai.InternalServerError, 503),
    ("demo-html", openai.InternalServerError, 502),
    ("demo-refused", openai.InternalServerError, 502),
    ("demo-garbage", openai.InternalServerError, 502),
    ("demo-half-head", openai.InternalServerError, 502),
    ("demo-big-headers", openai.InternalServerError, 502),
    ("demo-malformed", openai.InternalServerError, 502),
    ("demo-error-in-stream", openai.InternalServerError, 502),
    ("demo-reset", openai.InternalServerError, 502),
    ("demo-cut", openai.InternalServerError, 502),
    ("other-model", openai.InternalServerError, 502),
]


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
@pytest.mark.parametrize(("model", "kind", "status"), ERRORS)
def test_an_error_is_the_sdks_own_exception(
    relay: Running,
    client: openai.OpenAI,
    endpoint: str,
    model: str,
    kind: type[openai.APIStatusError],
    status: int,
) -> None:
    if endpoint == "responses" and model == "other-model":
        pytest.skip("that upstream speaks chat only")
    before = relay.mark()
    with pytest.raises(kind) as caught:
        if endpoint == "chat":
            chat(client, model)
        else:
            client.responses.create(model=model, input="Hi")

    assert caught.value.status_code == status
    assert caught.value.type
    [row] = relay.new_rows(before)
    assert caught.value.request_id == row.request_id
    assert (row.status, row.usage.total) == (status, 0)
    assert row.outcome != "ok"


def test_a_rate_limit_says_when_to_come_back(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client, "demo-429-7")
    assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("key", ["sk-relayd-nobody-has-this-key", "x"])
def test_an_unknown_key_is_an_authentication_error(relay: Running, key: str) -> None:
    with make_client(relay, api_key=key) as client:
        for call in (lambda: chat(client, "demo"), lambda: client.models.list()):
            with pytest.raises(openai.AuthenticationError) as caught:
                call()
            assert caught.value.code == "invalid_api_key"


def test_a_body_over_the_limit_is_a_413(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="demo", input="x" * 200_000)
    assert caught.value.status_code == 413


def test_an_unknown_route_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.post("/nothing/here", cast_to=object, body={})


MID_STREAM = ["demo-error-in-stream", "demo-error-first", "demo-cut", "demo-reset", "demo-no-done"]


@pytest.mark.parametrize("model", MID_STREAM)
@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_a_failure_in_mid_stream_is_an_api_error(
    relay: Running, client: openai.OpenAI, endpoint: str, model: str
) -> None:
    if (endpoint, model) == ("chat", "demo-no-done"):
        pytest.skip("a chat stream with a finish_reason is whole (wire-formats 9.2)")
    before = relay.mark()
    make: dict[str, Callable[[], Any]] = {
        "chat": lambda: client.chat.completions.create(model=model, messages=HI, stream=True),
        "responses": lambda: client.responses.create(model=model, input="Hi", stream=True),
    }
    with pytest.raises(openai.APIError), make[endpoint]() as stream:
        kinds = [getattr(event, "type", "") for event in stream]
        # The responses API tells of a failure with an event of its own, without an exception.
        if "response.failed" in kinds:
            raise openai.APIError("response.failed", request=Any, body=None)  # type: ignore[arg-type]

    [row] = relay.new_rows(before)
    assert row.outcome in ("broken_stream", "upstream_error")
