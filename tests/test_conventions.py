"""The conventions' words for what relayd does."""

from __future__ import annotations

from relayd.conventions import LONGEST, of_place, of_request, operation_of, provider_of
from relayd.model import Entry, UpstreamSpec, Usage
from relayd.tracing import Place


def entry(operation: str = "generate", format_in: str = "chat", model: str = "m") -> Entry:
    return Entry("req_1", 0.0, operation=operation, model_asked=model, format_in=format_in)


def test_operations_have_the_conventions_names_and_else_ours() -> None:
    def name(operation: str, format_in: str = "chat", verb: str = "") -> str:
        return operation_of(entry(operation, format_in), verb)

    assert name("generate", "messages") == "chat"
    assert name("generate", verb="completions") == "text_completion"
    assert name("generate", "gemini") == "generate_content"
    assert name("embed") == "embeddings"
    assert name("image") == name("speech") == "generate_content"
    assert name("transcribe") == "transcribe"
    assert name("") == "request"


def test_providers_have_the_conventions_names_and_else_ours() -> None:
    assert provider_of("gemini") == "gcp.gemini"
    assert provider_of("openai") == "openai"


def test_a_place_has_the_port_that_its_address_means() -> None:
    spec = UpstreamSpec(
        "up", "openai", ("https://a.example", "http://b.example"), (), (), ("chat",)
    )
    secure, plain = (of_place(Place(spec, "1", site, "m" * 1000)) for site in (0, 1))
    assert (secure["server.address"], secure["server.port"]) == ("a.example", 443)
    assert (plain["server.address"], plain["server.port"]) == ("b.example", 80)
    assert secure["gen_ai.request.model"] == "m" * LONGEST


def test_the_input_is_whole_where_it_is_known_and_else_absent() -> None:
    row = entry(model="m" * 1000)
    said = of_request(row, "", "chat")
    assert "gen_ai.usage.input_tokens" not in said and "relayd.key" not in said
    assert said["gen_ai.request.model"] == "m" * LONGEST
    row.usage = Usage(in_uncached=1, cache_read=2, cache_write_5m=4, tool_prompt=8)
    assert of_request(row, "k", "chat")["gen_ai.usage.input_tokens"] == 15
