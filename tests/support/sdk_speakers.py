"""The official clients of the four formats, told apart by nothing but their name.

A `Speaker` holds one conversation with one model, in the words of its SDK: it asks, whole or by the
SDK's own helper for streams, declares one tool or two, sends results back, and remembers the
history as its users do: what the SDK gave it, sent back as it is. What it heard is told as `Heard`,
the same for all four, so that a test can be about a crossing rather than about a client.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import anthropic
import openai
import orjson
from google import genai
from google.genai import types
from pydantic import BaseModel

from relayd.model import FormatName

Reason = Literal["stop", "calls", "length", "other"]

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CLOSE: Final = {"Connection": "close"}
TOOLS: Final = ("weather", "news")


@dataclass
class Called:
    """A tool call."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass
class Heard:
    """What a client was told.

    Attributes:
        usage: tokens in, cached ones included, and out, thinking included.
        turn: the answer as the SDK has it, for the history.
    """

    text: str
    reason: Reason
    usage: tuple[int, int]
    calls: list[Called] = field(default_factory=list)
    thinking: str = ""
    turn: Any = None


class Speaker(ABC):
    """One conversation.

    Arguments:
        client: of the SDK, made by `connect`; conversations may share one.
        model: what is asked for.
        tools: how many tools are declared.
        thinks: the model is asked to think, and to show it.
    """

    errors: type[Exception] | tuple[type[Exception], ...]

    def __init__(self, client: Any, model: str, *, tools: int = 0, thinks: bool = False) -> None:
        self.client, self.model = client, model
        self.tools, self.thinks = TOOLS[:tools], thinks
        self.history: list[Any] = []

    @staticmethod
    @abstractmethod
    def connect(url: str, key: str) -> Any:
        """A client of the SDK that tries once, and keeps no connection."""

    @abstractmethod
    def say(self, text: str) -> None:
        """The user says something."""

    def ask(self, *, stream: bool, limit: int = 500) -> Heard:
        """Ask for the next turn, and keep it in the history."""
        heard = self.streamed(limit) if stream else self.whole(limit)
        self.keep(heard)
        return heard

    @abstractmethod
    def whole(self, limit: int) -> Heard:
        """Ask for a whole reply."""

    @abstractmethod
    def streamed(self, limit: int) -> Heard:
        """Ask for a stream, gathered by the SDK."""

    @abstractmethod
    def show(self, text: str, picture: bytes) -> None:
        """The user says something about a PNG."""

    @abstractmethod
    def shaped(self, shape: type[BaseModel], *, stream: bool = False) -> Any:
        """Ask for an answer of that shape, as the SDK parses it."""

    @abstractmethod
    def keep(self, heard: Heard) -> None:
        """Put what was heard into the history."""

    @abstractmethod
    def results(self, calls: list[Called], result: str) -> None:
        """Every call came to `result`."""


class ChatSpeaker(Speaker):
    """openai, chat completions."""

    errors = openai.APIError

    @staticmethod
    def connect(url: str, key: str) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=url + "/v1", api_key=key, max_retries=0, timeout=30, default_headers=CLOSE
        )

    def say(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def _asked(self, limit: int) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": self.history,
            "max_completion_tokens": limit,
        }
        if self.tools:
            asked["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
                for name in self.tools
            ]
        if self.thinks:
            asked["reasoning_effort"] = "low"
        return asked

    def whole(self, limit: int) -> Heard:
        return self._heard(self.client.chat.completions.create(**self._asked(limit)))

    def streamed(self, limit: int) -> Heard:
        asked = self._asked(limit) | {"stream_options": {"include_usage": True}}
        with self.client.chat.completions.stream(**asked) as stream:
            try:
                for _ in stream:
                    pass
                return self._heard(stream.get_final_completion())
            except openai.LengthFinishReasonError as cut:  # which the helper takes for an error
                return self._heard(cut.completion)

    def show(self, text: str, picture: bytes) -> None:
        shown = {"type": "image_url", "image_url": {"url": _data_url(picture)}}
        self.history.append({"role": "user", "content": [{"type": "text", "text": text}, shown]})

    def shaped(self, shape: type[BaseModel], *, stream: bool = False) -> Any:
        asked = {"model": self.model, "messages": self.history, "response_format": shape}
        if not stream:
            return self.client.chat.completions.parse(**asked).choices[0].message.parsed
        with self.client.chat.completions.stream(**asked) as events:
            return events.get_final_completion().choices[0].message.parsed

    def _heard(self, answer: Any) -> Heard:
        choice = answer.choices[0]
        message = choice.message
        calls = [
            Called(call.id, call.function.name, _parsed(call.function.arguments))
            for call in message.tool_calls or ()
        ]
        reasons: dict[str, Reason] = {"stop": "stop", "tool_calls": "calls", "length": "length"}
        return Heard(
            message.content or "",
            reasons.get(choice.finish_reason, "other"),
            (answer.usage.prompt_tokens, answer.usage.completion_tokens),
            calls,
            getattr(message, "reasoning_content", None) or "",
            message.model_dump(exclude_none=True, exclude={"parsed"}),
        )

    def keep(self, heard: Heard) -> None:
        for call in heard.turn.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)  # which the helper for streams leaves there
        self.history.append(heard.turn)

    def results(self, calls: list[Called], result: str) -> None:
        self.history += [
            {"role": "tool", "tool_call_id": call.id, "content": result} for call in calls
        ]


class ResponsesSpeaker(Speaker):
    """openai, responses, without state at the provider."""

    errors = (openai.APIError, RuntimeError)  # the latter says that there is no final answer

    connect = staticmethod(ChatSpeaker.connect)
    say = ChatSpeaker.say

    def _asked(self, limit: int) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "model": self.model,
            "input": self.history,
            "max_output_tokens": limit,
            "store": False,
        }
        if self.tools:
            asked["tools"] = [
                {"type": "function", "name": name, "parameters": SCHEMA, "strict": True}
                for name in self.tools
            ]
        if self.thinks:
            asked["reasoning"] = {"effort": "low", "summary": "auto"}
            asked["include"] = ["reasoning.encrypted_content"]
        return asked

    def whole(self, limit: int) -> Heard:
        return self._heard(self.client.responses.create(**self._asked(limit)))

    def streamed(self, limit: int) -> Heard:
        with self.client.responses.stream(**self._asked(limit)) as stream:
            told = list(stream)
            if told[-1].type == "response.incomplete":  # for which the helper has no final answer
                return self._heard(told[-1].response)
            return self._heard(stream.get_final_response())

    def show(self, text: str, picture: bytes) -> None:
        shown = {"type": "input_image", "image_url": _data_url(picture), "detail": "auto"}
        content = [{"type": "input_text", "text": text}, shown]
        self.history.append({"role": "user", "content": content})

    def shaped(self, shape: type[BaseModel], *, stream: bool = False) -> Any:
        asked = {"model": self.model, "input": self.history, "text_format": shape}
        if not stream:
            return self.client.responses.parse(**asked).output_parsed
        with self.client.responses.stream(**asked) as events:
            return events.get_final_response().output_parsed

    def _heard(self, answer: Any) -> Heard:
        items = answer.output
        calls = [
            Called(item.call_id, item.name, _parsed(item.arguments))
            for item in items
            if item.type == "function_call"
        ]
        thinking = [
            part.text for item in items if item.type == "reasoning" for part in item.summary
        ]
        cut = answer.status == "incomplete"
        return Heard(
            answer.output_text,
            "length" if cut else "calls" if calls else "stop",
            (answer.usage.input_tokens, answer.usage.output_tokens),
            calls,
            "".join(thinking),
            [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in items],
        )

    def keep(self, heard: Heard) -> None:
        for item in heard.turn:
            for part in item.get("content") or ():
                part.pop("parsed", None)  # which the helper leaves there
        self.history += heard.turn

    def results(self, calls: list[Called], result: str) -> None:
        self.history += [
            {"type": "function_call_output", "call_id": call.id, "output": result} for call in calls
        ]


class MessagesSpeaker(Speaker):
    """anthropic."""

    errors = anthropic.APIError

    @staticmethod
    def connect(url: str, key: str) -> anthropic.Anthropic:
        return anthropic.Anthropic(
            base_url=url, api_key=key, max_retries=0, timeout=30, default_headers=CLOSE
        )

    say = ChatSpeaker.say

    def _asked(self, limit: int) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": self.history,
            "max_tokens": limit,
        }
        if self.tools:
            asked["tools"] = [{"name": name, "input_schema": SCHEMA} for name in self.tools]
        if self.thinks:
            asked |= {
                "max_tokens": 4000,
                "thinking": {"type": "enabled", "budget_tokens": 1024},
            }
        return asked

    def whole(self, limit: int) -> Heard:
        return self._heard(self.client.messages.create(**self._asked(limit)))

    def streamed(self, limit: int) -> Heard:
        with self.client.messages.stream(**self._asked(limit)) as stream:
            for _ in stream:
                pass
            return self._heard(stream.get_final_message())

    def show(self, text: str, picture: bytes) -> None:
        data = b64encode(picture).decode()
        source = {"type": "base64", "media_type": "image/png", "data": data}
        content = [{"type": "image", "source": source}, {"type": "text", "text": text}]
        self.history.append({"role": "user", "content": content})

    def shaped(self, shape: type[BaseModel], *, stream: bool = False) -> Any:
        asked = self._asked(500) | {"output_format": shape}
        if not stream:
            return self.client.messages.parse(**asked).parsed_output
        with self.client.messages.stream(**asked) as events:
            return events.get_final_message().parsed_output

    def _heard(self, answer: Any) -> Heard:
        blocks = answer.content
        calls = [
            Called(block.id, block.name, block.input)
            for block in blocks
            if block.type == "tool_use"
        ]
        usage = answer.usage
        into = usage.input_tokens + (usage.cache_read_input_tokens or 0)
        reasons: dict[str, Reason] = {
            "end_turn": "stop",
            "tool_use": "calls",
            "max_tokens": "length",
        }
        return Heard(
            "".join(block.text for block in blocks if block.type == "text"),
            reasons.get(answer.stop_reason, "other"),
            (into + (usage.cache_creation_input_tokens or 0), usage.output_tokens),
            calls,
            "".join(block.thinking for block in blocks if block.type == "thinking"),
            {
                "role": "assistant",
                "content": [
                    block.model_dump(exclude_none=True, exclude={"parsed_output"})
                    for block in blocks
                ],
            },
        )

    def keep(self, heard: Heard) -> None:
        self.history.append(heard.turn)

    def results(self, calls: list[Called], result: str) -> None:
        blocks = [
            {"type": "tool_result", "tool_use_id": call.id, "content": result} for call in calls
        ]
        self.history.append({"role": "user", "content": blocks})


class GeminiSpeaker(Speaker):
    """google-genai."""

    errors = genai.errors.APIError

    @staticmethod
    def connect(url: str, key: str) -> genai.Client:
        options = types.HttpOptions(
            base_url=url, api_version="v1beta", timeout=30_000, headers=dict(CLOSE)
        )
        return genai.Client(api_key=key, http_options=options)

    def say(self, text: str) -> None:
        self.history.append(types.UserContent(text))

    def _asked(self, limit: int) -> dict[str, Any]:
        config = types.GenerateContentConfig(max_output_tokens=limit)
        if self.tools:
            declared = [
                types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA)
                for name in self.tools
            ]
            config.tools = [types.Tool(function_declarations=declared)]
        if self.thinks:
            config.thinking_config = types.ThinkingConfig(include_thoughts=True)
        return {"model": self.model, "contents": self.history, "config": config}

    def whole(self, limit: int) -> Heard:
        return self._heard([self.client.models.generate_content(**self._asked(limit))])

    def streamed(self, limit: int) -> Heard:
        return self._heard(list(self.client.models.generate_content_stream(**self._asked(limit))))

    def show(self, text: str, picture: bytes) -> None:
        shown = types.Part.from_bytes(data=picture, mime_type="image/png")
        self.history.append(types.UserContent([text, shown]))

    def shaped(self, shape: type[BaseModel], *, stream: bool = False) -> Any:
        asked = self._asked(500)
        asked["config"].response_mime_type = "application/json"
        asked["config"].response_schema = shape
        if not stream:
            return self.client.models.generate_content(**asked).parsed
        chunks = self.client.models.generate_content_stream(**asked)
        return shape.model_validate_json("".join(chunk.text or "" for chunk in chunks))

    def _heard(self, chunks: list[Any]) -> Heard:
        parts = [
            part
            for chunk in chunks
            for candidate in chunk.candidates or ()
            for part in (candidate.content and candidate.content.parts) or ()
        ]
        calls = [
            Called(part.function_call.id or "", part.function_call.name, part.function_call.args)
            for part in parts
            if part.function_call
        ]
        last, usage = chunks[-1].candidates[0], chunks[-1].usage_metadata
        cut = last.finish_reason == types.FinishReason.MAX_TOKENS
        stopped = last.finish_reason == types.FinishReason.STOP
        return Heard(
            "".join(part.text or "" for part in parts if not part.thought),
            "length" if cut else "calls" if calls else "stop" if stopped else "other",
            (
                usage.prompt_token_count,
                (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
            ),
            calls,
            "".join(part.text or "" for part in parts if part.thought),
            types.ModelContent(
                parts=[part for part in parts if part.model_dump(exclude_none=True)]
            ),
        )

    def keep(self, heard: Heard) -> None:
        self.history.append(heard.turn)

    def results(self, calls: list[Called], result: str) -> None:
        parts = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"output": result}
                )
            )
            for call in calls
        ]
        self.history.append(types.UserContent(parts))


def _data_url(picture: bytes) -> str:
    return f"data:image/png;base64,{b64encode(picture).decode()}"


def _parsed(arguments: str) -> dict[str, Any]:
    value = orjson.loads(arguments)
    assert isinstance(value, dict)
    return value


SPEAKERS: Final[dict[FormatName, type[Speaker]]] = {
    "chat": ChatSpeaker,
    "responses": ResponsesSpeaker,
    "messages": MessagesSpeaker,
    "gemini": GeminiSpeaker,
}
