"""The official SDKs are happy with the demo provider, each feature and each kind of error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from tests.demo.serving import Serving

pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TOOL: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
USER: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def keyed() -> Iterator[Serving]:
    serving = Serving(uvloop.new_event_loop, "sk-demo")
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def openai_client(keyed: Serving) -> Iterator[Any]:
    import openai

    with openai.OpenAI(api_key="sk-demo", base_url=keyed.url + "/v1", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def anthropic_client(keyed: Serving) -> Iterator[Any]:
    import anthropic

    with anthropic.Anthropic(api_key="sk-demo", base_url=keyed.url, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def gemini_client(keyed: Serving) -> Iterator[Any]:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=keyed.url)
    client = genai.Client(api_key="sk-demo", http_options=options)
    yield client
    client.close()


# chat


def test_openai_chats(openai_client: Any) -> None:
    reply = openai_client.chat.completions.create(model="gpt-5.4", messages=USER, n=2)
    assert reply.choices[0].message.content.startswith("You said: Hi. ")
    assert len(reply.choices) == 2
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


@pytest.mark.parametrize("asked", [True, False])
def test_openai_chat_streams_report_usage_only_when_asked(openai_client: Any, asked: bool) -> None:
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    create = openai_client.chat.completions.create
    chunks = list(create(model="demo", messages=USER, stream=True, **more))
    whole = create(model="demo", messages=USER)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.usage for chunk in chunks if chunk.usage] == ([whole.usage] if asked else [])


def test_openai_chat_helper_accumulates_the_stream(openai_client: Any) -> None:
    with openai_client.chat.completions.stream(model="demo-reasoning", messages=USER, n=2) as s:
        final = s.get_final_completion()
    assert final.choices[0].message.content.startswith("You said: Hi.")
    assert final.choices[1].finish_reason == "stop"


def test_openai_chat_calls_a_tool_and_quotes_its_result(openai_client: Any) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": TOOL, "strict": True}}
    chat = openai_client.chat.completions
    message = chat.create(model="demo", messages=USER, tools=[tool]).choices[0].message
    with chat.stream(model="demo", messages=USER, tools=[tool]) as stream:
        streamed = stream.get_final_completion().choices[0].message
    assert streamed.tool_calls[0].function.arguments == message.tool_calls[0].function.arguments
    assert streamed.tool_calls[0].function.parsed_arguments == {"city": "demo", "days": 1}
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
    messages = [*USER, message, result]
    reply = chat.create(model="demo", messages=messages, tools=[tool])
    assert "sunny" in reply.choices[0].message.content


def test_openai_chat_parses_structured_output(openai_client: Any) -> None:
    from pydantic import BaseModel

    class Place(BaseModel):
        name: str
        tags: list[str]
        size: float

    reply = openai_client.chat.completions.parse(model="demo", messages=USER, response_format=Place)
    assert reply.choices[0].message.parsed.name == "demo"


@pytest.mark.parametrize("streaming", [True, False])
def test_openai_says_when_the_length_ended_an_answer(openai_client: Any, streaming: bool) -> None:
    create = openai_client.chat.completions.create
    reply = create(model="demo", messages=USER, max_completion_tokens=3, stream=streaming)
    choices = [c.choices[0] for c in reply if c.choices] if streaming else reply.choices
    assert choices[-1].finish_reason == "length"


# responses


def test_openai_responds(openai_client: Any) -> None:
    reply = openai_client.responses.create(model="demo", input="Hi")
    assert reply.output_text.startswith("You said: Hi.")
    assert reply.usage.input_tokens_details.cached_tokens == 0


def test_openai_response_streams_pass_the_helper(openai_client: Any) -> None:
    with openai_client.responses.stream(
        model="demo", input="Hi", reasoning={"effort": "low", "summary": "auto"}
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text.startswith("You said: Hi.")
    assert final.usage.output_tokens_details.reasoning_tokens > 0


def test_openai_responses_call_tools(openai_client: Any) -> None:
    tools = [
        {"type": "function", "name": "weather", "parameters": TOOL, "strict": True},
        {"type": "custom", "name": "shell"},
    ]
    with openai_client.responses.stream(model="demo-tools", input="Hi", tools=tools) as stream:
        final = stream.get_final_response()
    call, shell = final.output
    assert call.parsed_arguments == {"city": "demo", "days": 1}
    assert (shell.type, shell.input) == ("custom_tool_call", "Hi")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items = [{"role": "user", "content": "Hi"}, call.to_dict(), result]
    reply = openai_client.responses.create(model="demo", input=items, tools=tools)
    assert "sunny" in reply.output_text


def test_openai_responses_parse_structured_output(openai_client: Any) -> None:
    from pydantic import BaseModel

    class Place(BaseModel):
        name: str

    reply = openai_client.responses.parse(model="demo", input="Hi", text_format=Place)
    assert reply.output_parsed.name == "demo"


def test_openai_responses_are_incomplete_when_cut_by_length(openai_client: Any) -> None:
    reply = openai_client.responses.create(model="demo", input="Hi", max_output_tokens=2)
    assert reply.incomplete_details.reason == "max_output_tokens"
    stream = openai_client.responses.create(
        model="demo", input="Hi", max_output_tokens=2, stream=True
    )
    assert list(stream)[-1].type == "response.incomplete"


def test_openai_counts_input_tokens(openai_client: Any) -> None:
    count = openai_client.responses.input_tokens.count(model="demo", input="Hi")
    reply = openai_client.responses.create(model="demo", input="Hi")
    assert count.input_tokens == reply.usage.input_tokens


# embeddings and lists


def test_openai_embeds_alike_as_base64_and_as_floats(openai_client: Any) -> None:
    create = openai_client.embeddings.create
    packed = create(model="demo-embedding", input=["a", "b"], dimensions=8)
    plain = create(model="demo-embedding", input=["a", "b"], dimensions=8, encoding_format="float")
    assert [d.embedding for d in packed.data] == [d.embedding for d in plain.data]
    assert len(plain.data[1].embedding) == 8
    assert create(model="demo", input="a").data[0].embedding != plain.data[0].embedding


def test_every_sdk_lists_and_finds_models(
    openai_client: Any, anthropic_client: Any, gemini_client: Any
) -> None:
    names = [model.id for model in openai_client.models.list()]
    assert "demo" in names
    assert [model.id for model in anthropic_client.models.list()] == names
    assert [model.name for model in gemini_client.models.list()] == [f"models/{n}" for n in names]
    assert openai_client.models.retrieve("demo").id == "demo"
    assert anthropic_client.models.retrieve("demo").type == "model"
    assert gemini_client.models.get(model="demo").name == "models/demo"


# messages


def test_anthropic_answers(anthropic_client: Any) -> None:
    reply = anthropic_client.messages.create(model="claude-x", max_tokens=100, messages=USER)
    assert reply.content[0].text.startswith("You said: Hi.")
    assert reply.stop_reason == "end_turn"
    count = anthropic_client.messages.count_tokens(model="claude-x", messages=USER)
    assert count.input_tokens == reply.usage.input_tokens


def test_anthropic_streams_with_thinking(anthropic_client: Any) -> None:
    with anthropic_client.messages.stream(
        model="demo-cached", max_tokens=100, messages=USER, thinking={"type": "adaptive"}
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[0].signature
    assert final.content[1].text == text
    assert final.usage.cache_read_input_tokens > 0


def test_anthropic_calls_tools(anthropic_client: Any) -> None:
    tools: list[Any] = [{"name": "weather", "input_schema": TOOL}]
    with anthropic_client.messages.stream(
        model="demo", max_tokens=100, messages=USER, tools=tools
    ) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert final.content[0].input == {"city": "demo", "days": 1}
    result = {"type": "tool_result", "tool_use_id": final.content[0].id, "content": "sunny"}
    messages = [
        *USER,
        {"role": "assistant", "content": final.content},
        {"role": "user", "content": [result]},
    ]
    reply = anthropic_client.messages.create(
        model="demo", max_tokens=100, messages=messages, tools=tools
    )
    assert "sunny" in reply.content[0].text


def test_anthropic_parses_structured_output(anthropic_client: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"]}
    reply = anthropic_client.messages.create(
        model="demo",
        max_tokens=100,
        messages=USER,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert reply.content[0].text == '{"a":"x"}'


def test_anthropic_says_why_it_stopped(anthropic_client: Any) -> None:
    create = anthropic_client.messages.create
    assert create(model="demo", max_tokens=2, messages=USER).stop_reason == "max_tokens"
    reply = create(model="demo", max_tokens=99, messages=USER, stop_sequences=["relayd", "demo"])
    assert (reply.stop_reason, reply.stop_sequence) == ("stop_sequence", "relayd")


# gemini


def test_gemini_generates(gemini_client: Any) -> None:
    models = gemini_client.models
    reply = models.generate_content(model="gemini-x", contents="Hi")
    assert reply.text.startswith("You said: Hi.")
    assert models.count_tokens(model="gemini-x", contents="Hi").total_tokens == (
        reply.usage_metadata.prompt_token_count
    )


def test_gemini_streams_with_thoughts(gemini_client: Any) -> None:
    config = {"thinking_config": {"include_thoughts": True}}
    chunks = list(
        gemini_client.models.generate_content_stream(model="demo", contents="Hi", config=config)
    )
    assert chunks[0].candidates[0].content.parts[0].thought
    assert "".join(chunk.text or "" for chunk in chunks).startswith("You said: Hi.")
    last = chunks[-1]
    assert last.candidates[0].content.parts[0].thought_signature
    assert last.usage_metadata.thoughts_token_count > 0


def test_gemini_calls_tools(gemini_client: Any) -> None:
    from google.genai import types

    calls = []

    def weather(city: str, days: int) -> str:
        calls.append((city, days))
        return "sunny"

    config = types.GenerateContentConfig(tools=[weather])
    reply = gemini_client.models.generate_content(model="demo", contents="Hi", config=config)
    assert calls == [("demo", 1)]
    assert "sunny" in reply.text


def test_gemini_parses_structured_output(gemini_client: Any) -> None:
    from pydantic import BaseModel

    class Place(BaseModel):
        name: str
        size: int | None

    config = {"response_mime_type": "application/json", "response_schema": Place}
    reply = gemini_client.models.generate_content(model="demo", contents="Hi", config=config)
    assert reply.parsed == Place(name="demo", size=1)


def test_gemini_embeds(gemini_client: Any) -> None:
    reply = gemini_client.models.embed_content(
        model="demo", contents=["a", "b"], config={"output_dimensionality": 4}
    )
    assert [len(embedding.values) for embedding in reply.embeddings] == [4, 4]


# errors

OPENAI_ERRORS = {
    "400": "BadRequestError",
    "401": "AuthenticationError",
    "403": "PermissionDeniedError",
    "404": "NotFoundError",
    "429": "RateLimitError",
    "500": "InternalServerError",
    "503": "InternalServerError",
    "error-in-stream": "APIError",
}


@pytest.mark.parametrize(("part", "name"), OPENAI_ERRORS.items())
def test_openai_raises_its_own_errors(openai_client: Any, part: str, name: str) -> None:
    import openai

    with pytest.raises(getattr(openai, name)):
        list(
            openai_client.chat.completions.create(model=f"demo-{part}", messages=USER, stream=True)
        )


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *[(part, name) for part, name in OPENAI_ERRORS.items() if part != "error-in-stream"],
        ("529", "OverloadedError"),
        ("error-in-stream", "APIStatusError"),
        ("error-first", "APIStatusError"),
    ],
)
def test_anthropic_raises_its_own_errors(anthropic_client: Any, part: str, name: str) -> None:
    import anthropic

    kind = getattr(anthropic, name, anthropic.APIStatusError)
    with pytest.raises(kind):
        list(
            anthropic_client.messages.create(
                model=f"demo-{part}", messages=USER, max_tokens=99, stream=True
            )
        )


@pytest.mark.parametrize(
    ("part", "code"), [("400", 400), ("429", 429), ("500", 500), ("error-in-stream", 503)]
)
def test_gemini_raises_its_own_errors(gemini_client: Any, part: str, code: int) -> None:
    from google.genai import errors

    with pytest.raises(errors.APIError) as raised:
        list(gemini_client.models.generate_content_stream(model=f"demo-{part}", contents="Hi"))
    assert raised.value.code == code


def test_every_sdk_is_told_that_its_key_is_wrong(keyed: Serving) -> None:
    import anthropic
    import openai
    from google import genai
    from google.genai import errors, types

    with (
        openai.OpenAI(api_key="x", base_url=keyed.url + "/v1", max_retries=0) as one,
        pytest.raises(openai.AuthenticationError),
    ):
        one.responses.create(model="demo", input="Hi")
    with (
        anthropic.Anthropic(api_key="x", base_url=keyed.url, max_retries=0) as two,
        pytest.raises(anthropic.AuthenticationError),
    ):
        two.messages.create(model="demo", max_tokens=9, messages=USER)
    with (
        genai.Client(api_key="x", http_options=types.HttpOptions(base_url=keyed.url)) as three,
        pytest.raises(errors.ClientError, match="API key not valid"),
    ):
        three.models.generate_content(model="demo", contents="Hi")
