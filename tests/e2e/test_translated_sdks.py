"""All twelve crossings with the official clients: each SDK against each other format's provider.

The provider is the demo in a thread of its own, entered four times, each time with one format; so
`demo-chat` can only be reached by chat, whatever the client speaks. What counts is what an SDK
shows its user: text, calls, reason, usage, thinking, and its own exception where things go wrong.
Streams are gathered by the SDKs' own helpers, which are the strictest readers there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from relayd.model import FormatName
from tests.conftest import Daemons
from tests.demo.serving import Serving
from tests.support.running import Running
from tests.support.sdk_speakers import SPEAKERS, Called, Speaker

pytestmark = pytest.mark.sdk

NAMES: tuple[FormatName, ...] = ("chat", "responses", "messages", "gemini")
WAYS = [(client, there) for client in NAMES for there in NAMES if client != there]
CONFIG = 'demo: "off"\nupstreams:\n'
UPSTREAM = """\
  only-{name}:
    {{dialect: relay, base_url: "{url}", key: demo-key, formats: [{name}],
    models: ["demo-{name}*"]}}
"""


class City(BaseModel):
    """What structured output is parsed into."""

    name: str
    people: int


Speaks = Callable[..., Speaker]


@pytest.fixture(scope="module")
def provider() -> Iterator[Serving]:
    serving = Serving(asyncio.new_event_loop, key="demo-key")
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def relay(start: Daemons, provider: Serving) -> Running:
    lines = [UPSTREAM.format(name=name, url=provider.url) for name in NAMES]
    return start(CONFIG + "".join(lines))


@pytest.fixture(params=WAYS, ids=lambda way: "->".join(way))
def way(request: pytest.FixtureRequest) -> tuple[FormatName, FormatName]:
    found: tuple[FormatName, FormatName] = request.param
    return found


@pytest.fixture(scope="module")
def clients(relay: Running) -> Iterator[dict[FormatName, Any]]:
    """One client of each SDK: to make one costs more than to ask with it."""
    made = {name: SPEAKERS[name].connect(relay.url, relay.key) for name in NAMES}
    yield made
    for client in made.values():
        client.close()


@pytest.fixture
def speaks(clients: dict[FormatName, Any], way: tuple[FormatName, FormatName]) -> Speaks:
    """Begins a conversation between this client and a model of that provider."""
    client, there = way

    def begin(model: str = "", **more: Any) -> Speaker:
        name = f"demo-{there}" + (f"-{model}" if model else "")
        return SPEAKERS[client](clients[client], name, **more)

    return begin


both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@both
def test_a_text_is_heard_with_its_end_and_its_cost(
    relay: Running, way: tuple[FormatName, FormatName], speaks: Speaks, stream: bool
) -> None:
    speaker = speaks()
    speaker.say("Grüße 😀")
    heard = speaker.ask(stream=stream)

    assert heard.text.startswith("You said: Grüße 😀.")
    assert heard.text.endswith("👋")
    assert (heard.reason, heard.calls) == ("stop", [])
    row = relay.rows()[0]
    assert (row.format_in, row.format_out, row.outcome) == (*way, "ok")
    assert heard.usage == (row.usage.in_uncached, row.usage.out_total)
    assert row.usage_source == "reported"


@both
def test_a_tool_is_called_and_its_result_is_understood(speaks: Speaks, stream: bool) -> None:
    speaker = speaks(tools=1)
    speaker.say("How is the weather?")
    heard = speaker.ask(stream=stream)

    assert heard.reason == "calls"
    [call] = heard.calls
    assert call == Called(call.id, "weather", {"city": call.arguments["city"]})
    assert call.id
    speaker.results(heard.calls, "sunny")
    assert "The tool answered: sunny." in speaker.ask(stream=stream).text
    speaker.say("Thank you")
    again = speaker.ask(stream=stream)
    assert again.reason in ("stop", "calls")


@both
def test_two_tools_are_called_at_once(speaks: Speaks, stream: bool) -> None:
    speaker = speaks("tools", tools=2)
    speaker.say("How is the weather, and what is new?")
    heard = speaker.ask(stream=stream)

    assert [call.name for call in heard.calls] == ["weather", "news"]
    assert len({call.id for call in heard.calls}) == 2
    speaker.results(heard.calls, "nothing special")
    assert "nothing special" in speaker.ask(stream=stream).text


@both
def test_thinking_is_shown_and_may_be_sent_back(speaks: Speaks, stream: bool) -> None:
    speaker = speaks("reasoning", thinks=True, tools=1)
    speaker.say("Think about the weather")
    heard = speaker.ask(stream=stream)

    assert "The user said: Think about the weather." in heard.thinking
    assert heard.reason == "calls"
    speaker.results(heard.calls, "sunny")
    again = speaker.ask(stream=stream)
    assert "sunny" in again.text
    assert "The user said" not in again.text


def test_an_answer_has_the_shape_that_was_asked_for(speaks: Speaks) -> None:
    speaker = speaks()
    speaker.say("Where?")

    assert isinstance(speaker.shaped(City), City)


@both
def test_a_limit_ends_an_answer_as_length(
    way: tuple[FormatName, FormatName], speaks: Speaks, stream: bool
) -> None:
    speaker = speaks()
    speaker.say("Say a lot")

    assert speaker.ask(stream=stream, limit=4).reason == "length"


def test_cached_tokens_are_counted_once(relay: Running, speaks: Speaks) -> None:
    speaker = speaks("cached")
    speaker.say("Hi")
    heard = speaker.ask(stream=True)

    row = relay.rows()[0]
    assert row.usage.cache_read
    assert row.usage.in_uncached is not None
    assert heard.usage == (row.usage.in_uncached + row.usage.cache_read, row.usage.out_total)


@pytest.mark.parametrize("model", ["error-in-stream-chunks-40", "cut-chunks-40"])
def test_a_stream_that_breaks_raises_the_clients_own_error(speaks: Speaks, model: str) -> None:
    speaker = speaks(model)
    speaker.say("Hi")

    with pytest.raises(speaker.errors):
        speaker.ask(stream=True)


@both
@pytest.mark.parametrize("model", ["429", "503", "529", "400", "html", "error-first"])
def test_a_failure_raises_the_clients_own_error(speaks: Speaks, model: str, stream: bool) -> None:
    speaker = speaks(model)
    speaker.say("Hi")

    with pytest.raises(speaker.errors):
        speaker.ask(stream=stream)


@pytest.mark.parametrize(
    "model", ["split", "burst", "crlf", "no-space", "comments", "huge-event-1"]
)
def test_however_a_stream_was_written_it_is_heard(speaks: Speaks, model: str) -> None:
    speaker = speaks(model)
    speaker.say("Hi")
    heard = speaker.ask(stream=True)

    assert heard.reason == "stop"
    assert len(heard.text) >= (2**20 if "huge" in model else 20)


def test_a_whole_reply_to_a_stream_request_is_heard_as_a_stream(speaks: Speaks) -> None:
    """wire-formats, trap 10."""
    speaker = speaks("json-on-stream", tools=1)
    speaker.say("Hi")

    assert [call.name for call in speaker.ask(stream=True).calls] == ["weather"]


def test_a_stream_without_its_terminal_event_is_an_error(speaks: Speaks) -> None:
    speaker = speaks("no-done")
    speaker.say("Hi")

    with pytest.raises(speaker.errors):
        speaker.ask(stream=True)
