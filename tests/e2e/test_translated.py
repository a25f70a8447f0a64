"""Any client, any model: requests that go to an upstream of another format, through a daemon.

What the formats say is tested in tests/wire; here it is what the daemon makes of it: who is asked,
what is billed, what the client is told of the translation, and what happens when it goes wrong.
Every upstream here is one server, spoken to in the format that the model's name says.
"""

from __future__ import annotations

import gzip
from array import array
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from relayd.model import Entry, FormatName
from tests.conftest import Daemons
from tests.support.answering import AnsweringUpstream, credential
from tests.support.exposition import Samples
from tests.support.raw_client import RawClient, Reply, request_bytes
from tests.support.running import Running
from tests.support.scripted_upstream import (
    LAST_CHUNK,
    Asked,
    Peer,
    ScriptedUpstream,
    chunk,
    reply,
    stream_head,
)
from tests.support.speech import SPEECHES, error_of
from tests.support.translated import IDS, PROVIDERS, TRANSLATED, WAYS, said

Body = dict[str, Any]

CONFIG = """\
demo: "off"
translation: {{largest_reply: 4 MiB}}
routing: {{retries: {{attempts: 3, floor: 1000}}, breaker: {{enabled: off}}, longest_cooldown: 0}}
upstreams:
"""
UPSTREAM = """\
  {name}:
    {{dialect: relay, base_url: "{url}", key: {name}-secret, formats: [{formats}],
    models: [{models}]{more}}}
"""
END = b"\r\n0\r\n\r\n"  # of a chunked body
GZIP = "content-encoding: gzip"


def upstream(name: str, url: str, formats: str, models: str, more: str = "") -> str:
    return UPSTREAM.format(name=name, url=url, formats=formats, models=models, more=more)


def models_of(name: FormatName) -> str:
    return f"to-{name}, shared{', pair' if name == 'chat' else ''}"


NO_REPLY = (b"", b"[]", b"<html>", b"null", b'{"a":', b"\xff\xfe")


@pytest.fixture(scope="module")
def provider() -> Iterator[AnsweringUpstream]:
    """The one server; it answers as the path's format has it, until a test has it do otherwise."""
    with AnsweringUpstream(well) as made:
        yield made


@pytest.fixture(scope="module")
def daemon(
    start: Daemons, provider: AnsweringUpstream, upstream_of_module: ScriptedUpstream
) -> Running:
    url, lines = provider.url, CONFIG
    for name in TRANSLATED:
        lines += upstream(f"only-{name}", url, name, models_of(name))
        lines += upstream(f"slow-{name}", upstream_of_module.url, name, f"slow-{name}")
    lines += upstream("closed", url, "chat", "closed", ", translate: off")
    lines += upstream("easy", url, "chat", "easy, pair", ", lenient: on, tier: 2")
    return start(lines.replace("{{", "{").replace("}}", "}"))


@pytest.fixture
def relay(daemon: Running, provider: AnsweringUpstream) -> Iterator[Running]:
    provider.asked.clear()
    yield daemon
    provider.answer = well


@pytest.fixture(params=WAYS, ids=IDS)
def way(request: pytest.FixtureRequest) -> tuple[FormatName, FormatName]:
    """A client's format and an upstream's, which differ."""
    found: tuple[FormatName, FormatName] = request.param
    return found


def always(said: bytes) -> Callable[[Asked], bytes]:
    """An answer that does not depend on what was asked."""
    return lambda asked: said


def format_of(asked: Asked) -> FormatName:
    names: tuple[FormatName, ...] = ("responses", "messages")
    found = next((name for name in names if name in asked.path), None)
    return found or ("gemini" if ":" in asked.path else "chat")


def well(asked: Asked) -> bytes:
    return PROVIDERS[format_of(asked)](asked)


def answering(body: bytes) -> Callable[[Asked], bytes]:
    """Whatever is asked, this is the answer."""
    return lambda asked: reply(body)


def ask(
    relay: Running, client: FormatName, model: str, *, stream: bool = False, **more: Any
) -> tuple[Reply, Entry]:
    """One request and its row. `headers` is not part of the body."""
    headers = more.pop("headers", None)
    path, body = SPEECHES[client].ask(model, stream=stream, **more)
    got = relay.ask(path, body, headers)
    return got, relay.row(got.headers["x-request-id"])


# --- what goes well ---------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_is_called_through_any_format(
    relay: Running, way: tuple[FormatName, FormatName], stream: bool
) -> None:
    client, there = way
    got, row = ask(relay, client, f"to-{there}", stream=stream)

    assert got.status == 200, got.body
    assert got.headers["x-relayd-translated"] == f"{client}->{there}"
    assert "x-relayd-dropped" not in got.headers
    kind = "text/event-stream" if stream else "application/json"
    assert got.headers["content-type"].startswith(kind)
    assert said(client, got.body, stream=stream) == ("hello", 5, 7)
    assert (row.outcome, row.status, row.usage_source) == ("ok", 200, "reported")
    assert (row.format_in, row.format_out) == (client, there)
    assert (row.usage.in_uncached, row.usage.out_total) == (5, 7)
    assert (row.upstream, row.model_used, row.attempts) == (f"only-{there}", f"to-{there}", 1)


def test_the_reply_names_the_model_as_it_was_asked_for(
    relay: Running, way: tuple[FormatName, FormatName]
) -> None:
    client, there = way
    got, _ = ask(relay, client, f"to-{there}")
    assert got.document["modelVersion" if client == "gemini" else "model"] == f"to-{there}"


def test_no_credential_and_no_header_of_the_clients_format_goes_up(
    relay: Running, provider: AnsweringUpstream, way: tuple[FormatName, FormatName]
) -> None:
    client, there = way
    sent = {
        "anthropic-beta": "context-1m-2025-08-07",
        "anthropic-version": "2026-10-21",
        "openai-beta": "assistants=v2",
        "x-goog-api-client": "genai",
        "x-stainless-lang": "python",
        "cookie": "a=b",
        "idempotency-key": "once",
    }
    ask(relay, client, f"to-{there}", headers=sent)

    [asked] = provider.asked
    assert credential(asked) == f"only-{there}-secret"
    known = {"host", "user-agent", "accept-encoding", "content-type", "content-length"}
    known |= {"authorization", "x-api-key", "x-goog-api-key", "idempotency-key", "accept"}
    assert asked.headers.keys() - known == ({"anthropic-version"} if there == "messages" else set())
    assert asked.headers.get("anthropic-version", "2023-06-01") == "2023-06-01"


def test_an_upstream_that_speaks_the_format_comes_before_all_that_do_not(
    relay: Running, provider: AnsweringUpstream
) -> None:
    for name in TRANSLATED:
        got, row = ask(relay, name, "shared")
        assert (row.upstream, row.format_out) == (f"only-{name}", name)
        assert "x-relayd-translated" not in got.headers
        assert got.body == PROVIDERS[name].whole


def test_where_the_native_upstream_fails_another_is_asked_in_its_own_format(
    relay: Running, provider: AnsweringUpstream
) -> None:
    provider.answer = lambda asked: (
        reply(b"{}", status="500 Oh") if format_of(asked) == "chat" else well(asked)
    )
    got, row = ask(relay, "chat", "shared")

    assert got.status == 200
    assert got.headers["x-relayd-attempts"] == str(row.attempts) == "2"
    assert got.headers["x-relayd-translated"] == f"chat->{row.format_out}"
    assert said("chat", got.body, stream=False)[0] == "hello"


def test_an_upstream_that_must_not_be_translated_to_is_not(relay: Running) -> None:
    got, row = ask(relay, "messages", "closed")
    assert (got.status, row.outcome) == (400, "bad_request")
    assert "is not offered in the messages format; it is offered in: chat" in got.body.decode()


def test_a_call_that_has_no_translation_is_refused(relay: Running) -> None:
    body = orjson.dumps({"model": "to-messages", "prompt": "Hi"})
    got = relay.ask("/v1/completions", body)
    assert got.status == 400
    assert got.document["error"]["param"] == "model"


# --- what cannot be said ----------------------------------------------------------------


def test_what_has_no_words_in_the_upstreams_format_is_a_400_that_names_the_field(
    relay: Running, provider: AnsweringUpstream
) -> None:
    got, row = ask(relay, "chat", "to-messages", n=2)
    assert (got.status, got.document["error"]["param"]) == (400, "n")
    assert (row.outcome, row.upstream, row.format_out) == ("bad_request", "", "")
    assert row.error_code == got.document["error"]["code"]
    assert (row.attempts, row.usage_source, row.cost) == (0, "none", 0)
    assert not provider.asked


def test_who_has_no_words_for_it_costs_nothing_and_another_is_asked(
    relay: Running, provider: AnsweringUpstream
) -> None:
    got, row = ask(relay, "messages", "pair", unheard_of=7)
    assert (got.status, got.headers["x-relayd-dropped"]) == (200, "unheard_of")
    assert (row.upstream, row.attempts) == ("easy", 1)
    assert [credential(asked) for asked in provider.asked] == ["easy-secret"]


def test_a_failure_weighs_more_than_that_others_have_no_words(
    relay: Running, provider: AnsweringUpstream
) -> None:
    provider.answer = lambda asked: reply(b"{}", status="500 Oh")
    got, row = ask(relay, "messages", "shared", unheard_of=7)
    assert (got.status, row.outcome, row.format_out) == (502, "upstream_error", "messages")


@pytest.mark.parametrize("agent", ["codex_cli_rs/1.0", "claude-cli/2.1 (external, cli)"])
def test_agents_are_served_leniently_and_told_what_was_dropped(relay: Running, agent: str) -> None:
    got, _ = ask(relay, "chat", "to-messages", headers={"user-agent": agent}, seed=7)
    assert got.status == 200
    assert got.headers["x-relayd-dropped"] == "seed"


def test_an_upstream_may_be_lenient(relay: Running) -> None:
    got, _ = ask(relay, "messages", "easy", unheard_of=7)
    assert (got.status, got.headers["x-relayd-dropped"]) == (200, "unheard_of")


# --- errors -----------------------------------------------------------------------------


STATUSES = (400, 404, 413, 422, 429)


@pytest.mark.parametrize("status", STATUSES)
def test_the_upstreams_refusal_is_told_in_the_clients_words(
    relay: Running, provider: AnsweringUpstream, way: tuple[FormatName, FormatName], status: int
) -> None:
    client, there = way
    body = b'{"error": {"message": "Too much of it.\\nsk-secret", "code": "odd", "param": "x"}}'
    provider.answer = lambda asked: reply(body, "retry-after: 7", status=f"{status} No")
    got, row = ask(relay, client, f"to-{there}")

    assert got.status == status
    assert error_of(client, got.document)[1].startswith("Too much of it.")
    assert b'"x"' not in got.body
    assert (row.status, row.error_code) == (status, f"upstream_{status}")
    assert row.outcome == ("upstream_error" if status == 429 else "bad_request")


def test_retry_after_comes_through_a_translation(
    relay: Running, provider: AnsweringUpstream, way: tuple[FormatName, FormatName]
) -> None:
    """wire-formats, trap 147"""
    client, there = way
    provider.answer = lambda asked: reply(b"{}", "retry-after: 7", status="429 No")
    got, _ = ask(relay, client, f"to-{there}")
    assert (got.status, got.headers["retry-after"]) == (429, "7")


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_body_instead_of_events_is_an_http_error(
    relay: Running, provider: AnsweringUpstream, way: tuple[FormatName, FormatName], stream: bool
) -> None:
    """wire-formats, trap 11"""
    client, there = way
    body = b'{"error": {"message": "overloaded", "type": "overloaded_error", "code": 529}}'
    provider.answer = lambda asked: reply(body)
    got, row = ask(relay, client, f"to-{there}", stream=stream)
    assert got.status == 502
    error_of(client, got.document)
    assert (row.outcome, row.status) == ("upstream_error", 502)


def test_what_is_no_reply_is_the_upstreams_failure(
    relay: Running, provider: AnsweringUpstream, way: tuple[FormatName, FormatName]
) -> None:
    client, there = way
    first = WAYS.index(way)  # each way has two of them, all ways together each of them four times
    for stream, number in ((False, first), (True, first + 3)):
        said = reply(NO_REPLY[number % len(NO_REPLY)])
        provider.answer = always(said)
        got, row = ask(relay, client, f"to-{there}", stream=stream)
        assert (got.status, row.outcome) == (502, "upstream_error"), got.body
        error_of(client, got.document)


def test_a_translated_success_is_always_200(relay: Running, provider: AnsweringUpstream) -> None:
    """wire-formats, trap 106"""
    for client, there in WAYS:
        provider.answer = lambda asked: reply(
            PROVIDERS[format_of(asked)].whole, status="201 Created"
        )
        got, row = ask(relay, client, f"to-{there}")
        assert (got.status, row.status, row.outcome) == (200, 200, "ok")


# --- streams ----------------------------------------------------------------------------


def test_a_whole_reply_to_a_stream_request_becomes_a_stream(
    relay: Running, provider: AnsweringUpstream
) -> None:
    """wire-formats, trap 10"""
    provider.answer = lambda asked: reply(PROVIDERS[format_of(asked)].whole)
    for client in TRANSLATED:
        for there in TRANSLATED:
            got, row = ask(relay, client, f"to-{there}", stream=True)
            assert got.headers["content-type"].startswith("text/event-stream")
            assert said(client, got.body, stream=True) == ("hello", 5, 7)
            assert (row.outcome, row.usage_source, row.usage.out_total) == ("ok", "reported", 7)


def test_a_compressed_stream_is_decoded_or_refused(
    relay: Running, provider: AnsweringUpstream, way: tuple[FormatName, FormatName]
) -> None:
    """wire-formats, trap 15"""
    client, there = way
    packed = gzip.compress(PROVIDERS[there].opening + PROVIDERS[there].ending)
    provider.answer = lambda asked: stream_head(GZIP) + chunk(packed) + LAST_CHUNK
    got, _ = ask(relay, client, f"to-{there}", stream=True)
    assert said(client, got.body, stream=True) == ("hello", 5, 7)

    provider.answer = lambda asked: stream_head("content-encoding: br") + chunk(b"x") + LAST_CHUNK
    got, _ = ask(relay, client, f"to-{there}", stream=True)
    assert got.status == 502


def begin(
    relay: Running, upstream: ScriptedUpstream, way: tuple[FormatName, FormatName]
) -> tuple[RawClient, Peer]:
    """A stream request that has reached the upstream."""
    client, there = way
    path, body = SPEECHES[client].ask(f"slow-{there}", stream=True)
    raw = relay.connect()
    raw.send(request_bytes(path, body, relay.auth))
    peer = upstream.accept()
    peer.read_request()
    return raw, peer


def test_text_goes_out_as_soon_as_it_comes_in(
    relay: Running, upstream: ScriptedUpstream, way: tuple[FormatName, FormatName]
) -> None:
    _, there = way
    raw, peer = begin(relay, upstream, way)
    with raw:
        peer.send(stream_head() + chunk(PROVIDERS[there].opening))
        raw.read_until(b'"he"')
        peer.send(chunk(PROVIDERS[there].ending) + LAST_CHUNK)
        assert b"llo" in raw.read_until(END)


def test_a_stream_that_dies_in_the_middle_ends_with_an_error_in_the_clients_format(
    relay: Running, upstream: ScriptedUpstream, way: tuple[FormatName, FormatName]
) -> None:
    _, there = way
    before = relay.mark()
    raw, peer = begin(relay, upstream, way)
    with raw:
        peer.send(stream_head() + chunk(PROVIDERS[there].opening))
        raw.read_until(b'"he"')
        peer.reset()
        body = raw.read_until(END)
    assert b"error" in body or b"response.failed" in body
    [row] = relay.new_rows(before)
    assert (row.outcome, row.format_out) == ("broken_stream", there)
    assert row.usage_source in ("partial", "estimated")


def test_who_leaves_a_translated_stream_pays_what_was_produced(
    relay: Running, upstream: ScriptedUpstream, way: tuple[FormatName, FormatName]
) -> None:
    """wire-formats, trap 149"""
    _, there = way
    before = relay.mark()
    raw, peer = begin(relay, upstream, way)
    long = PROVIDERS[there].opening.replace(b'"he"', b'"he' + b"l" * 400 + b'"')
    peer.send(stream_head() + chunk(long))
    raw.read_until(b"llllll")
    raw.close()

    assert peer.hung_up()
    [row] = relay.new_rows(before)
    assert (row.outcome, row.status, row.format_out) == ("client_gone", 499, there)
    assert row.usage_source in ("partial", "estimated")
    assert 90 < (row.usage.out_total or 0) < 120


def test_a_death_before_the_first_byte_is_healed_and_never_glued(
    relay: Running, provider: AnsweringUpstream
) -> None:
    """wire-formats, trap 150"""
    for client in TRANSLATED:

        def half_dead(asked: Asked, client: FormatName = client) -> bytes:
            if format_of(asked) == client:
                return stream_head() + LAST_CHUNK
            return well(asked)

        provider.answer = half_dead
        got, row = ask(relay, client, "shared", stream=True)
        assert said(client, got.body, stream=True) == ("hello", 5, 7)
        assert row.format_out != client
        assert row.attempts == 2


def test_both_credentials_and_versions_are_taken_and_betas_do_no_harm(relay: Running) -> None:
    """wire-formats, trap 81"""
    path, body = SPEECHES["messages"].ask("to-chat")
    both = {"x-api-key": relay.key, "anthropic-version": "2026-10-21", "anthropic-beta": "a,b"}
    got = relay.ask(path, body, both)
    assert said("messages", got.body, stream=False)[0] == "hello"


# --- what providers seal ----------------------------------------------------------------


SIGNED = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {"id": "c1", "name": "look", "args": {"at": "it"}},
                        "thoughtSignature": "c2lnbmVk",
                    }
                ],
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7},
}
TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {}}}}
UNREADABLE = (
    b'{"error": {"code": "invalid_encrypted_content", "message": "It cannot be verified."}}',
    b'{"error": {"code": 400, "message": "Thought signature is not valid."}}',
    b'{"type": "error", "error": {"message": "Invalid `signature` in `thinking` block"}}',
)


def second_turn(answer: Body) -> list[Body]:
    """The history behind a reply of the Messages API that called a tool."""
    [call] = [block for block in answer["content"] if block["type"] == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "seen"}
    return [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [result]},
    ]


def begin_sealed(relay: Running, provider: AnsweringUpstream) -> list[Body]:
    """A history whose second turn came from Gemini, signed, to a client of the Messages API."""
    provider.answer = lambda asked: reply(orjson.dumps(SIGNED))
    got, _ = ask(relay, "messages", "to-gemini", tools=[TOOL])
    assert got.status == 200, got.body
    provider.answer = well
    provider.asked.clear()
    return second_turn(got.document)


def test_a_signature_goes_back_to_who_made_it(relay: Running, provider: AnsweringUpstream) -> None:
    history = begin_sealed(relay, provider)
    got, _ = ask(relay, "messages", "to-gemini", tools=[TOOL], messages=history)
    assert got.status == 200
    assert b'"thoughtSignature":"c2lnbmVk"' in provider.asked[0].body


def test_a_signature_goes_to_nobody_else(relay: Running, provider: AnsweringUpstream) -> None:
    history = begin_sealed(relay, provider)
    for there in TRANSLATED:
        if there != "gemini":
            provider.asked.clear()
            got, row = ask(relay, "messages", f"to-{there}", tools=[TOOL], messages=history)
            assert (got.status, row.format_out) == (200, there)
            [asked] = provider.asked
            assert b"c2lnbmVk" not in asked.body
            assert b"rly1" not in asked.body
            assert b"look" in asked.body


def test_a_signature_that_the_client_lost_is_remembered(
    relay: Running, provider: AnsweringUpstream
) -> None:
    history = begin_sealed(relay, provider)
    history[1]["content"] = [b for b in history[1]["content"] if b["type"] == "tool_use"]
    ask(relay, "messages", "to-gemini", tools=[TOOL], messages=history)
    assert b'"thoughtSignature":"c2lnbmVk"' in provider.asked[0].body


@pytest.mark.parametrize("said_no", UNREADABLE)
def test_unreadable_reasoning_is_taken_out_and_asked_once_more(
    relay: Running, provider: AnsweringUpstream, said_no: bytes
) -> None:
    """wire-formats, trap 56"""
    history = begin_sealed(relay, provider)
    provider.answer = lambda asked: (
        reply(said_no, status="400 Bad") if b"c2lnbmVk" in asked.body else well(asked)
    )
    got, row = ask(relay, "messages", "to-gemini", tools=[TOOL], messages=history)
    assert said("messages", got.body, stream=False)[0] == "hello"
    assert (row.outcome, row.attempts, len(provider.asked)) == ("ok", 2, 2)
    assert b"c2lnbmVk" not in provider.asked[1].body

    provider.asked.clear()
    provider.answer = lambda asked: reply(said_no, status="400 Bad")
    got, row = ask(relay, "messages", "to-gemini", tools=[TOOL], messages=history)
    assert (got.status, row.outcome, len(provider.asked)) == (400, "bad_request", 2)


# --- counting and embeddings ------------------------------------------------------------


COUNTS: dict[FormatName, tuple[str, str, bytes]] = {
    "responses": ("/v1/responses/input_tokens", "input_tokens", b'{"input_tokens": 41}'),
    "messages": ("/v1/messages/count_tokens", "input_tokens", b'{"input_tokens": 41}'),
    "gemini": ("/v1beta/models/{}:countTokens", "totalTokens", b'{"totalTokens": 41}'),
}


def count(relay: Running, client: FormatName, model: str) -> tuple[Reply, Entry]:
    path, *_ = COUNTS[client]
    body = SPEECHES[client].body(model, False)
    body.pop("stream", None)
    got = relay.ask(path.format(model), orjson.dumps(body))
    assert got.status == 200, got.body
    return got, relay.row(got.headers["x-request-id"])


def test_tokens_are_counted_by_whoever_counts_them(
    relay: Running, provider: AnsweringUpstream
) -> None:
    for client in COUNTS:
        for there in COUNTS:
            path, _, answer = COUNTS[there]
            provider.answer = answering(answer)
            provider.asked.clear()
            got, row = count(relay, client, f"to-{there}")
            assert got.document[COUNTS[client][1]] == 41
            assert "x-relayd-estimated" not in got.headers
            assert provider.asked[0].path == path.format(f"to-{there}")
            assert (row.format_out, row.usage_source, row.cost) == (there, "none", 0)


@pytest.mark.parametrize("client", COUNTS)
def test_where_nobody_counts_tokens_they_are_estimated_and_the_reply_says_so(
    relay: Running, provider: AnsweringUpstream, client: FormatName
) -> None:
    got, row = count(relay, client, "to-chat")
    assert 0 < got.document[COUNTS[client][1]] < 50
    assert got.headers["x-relayd-estimated"] == "true"
    assert not provider.asked
    assert (row.outcome, row.status, row.upstream, row.attempts) == ("ok", 200, "", 0)


VECTORS = [[0.5, -1.0], [0.25, 2.0]]


def test_embeddings_are_base64_by_default_and_floats_when_asked(
    relay: Running, provider: AnsweringUpstream
) -> None:
    """wire-formats, trap 155"""
    answer = {"embeddings": [{"values": values} for values in VECTORS]}
    provider.answer = lambda asked: reply(orjson.dumps(answer))
    asked = {"model": "to-gemini", "input": ["a", "b"]}
    got = relay.ask("/v1/embeddings", orjson.dumps({**asked, "encoding_format": "float"}))
    assert [each["embedding"] for each in got.document["data"]] == VECTORS
    assert got.headers["x-relayd-translated"] == "chat->gemini"
    assert provider.asked[0].path == "/v1beta/models/to-gemini:batchEmbedContents"
    row = relay.row(got.headers["x-request-id"])
    assert (row.outcome, row.operation, row.format_out) == ("ok", "embed", "gemini")

    got = relay.ask("/v1/embeddings", orjson.dumps({**asked, "encoding_format": "base64"}))
    packed = [array("f", b64decode(each["embedding"])).tolist() for each in got.document["data"]]
    assert packed == VECTORS


@pytest.mark.parametrize("verb", ["embedContent", "batchEmbedContents"])
def test_both_verbs_of_embeddings_are_answered(
    relay: Running, provider: AnsweringUpstream, verb: str
) -> None:
    """wire-formats, trap 114"""
    data = [{"index": 0, "embedding": VECTORS[0], "object": "embedding"}]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    provider.answer = lambda asked: reply(orjson.dumps({"data": data, "usage": usage}))
    one = {"content": {"parts": [{"text": "a"}]}}
    asked = one if verb == "embedContent" else {"requests": [{**one, "model": "models/to-chat"}]}
    got = relay.ask(f"/v1beta/models/to-chat:{verb}", orjson.dumps(asked))
    found = got.document.get("embedding") or got.document["embeddings"][0]
    assert found["values"] == VECTORS[0]
    row = relay.row(got.headers["x-request-id"])
    assert (row.format_out, row.usage.in_uncached, row.usage_source) == ("chat", 3, "reported")


def test_who_has_no_embeddings_is_not_asked_for_any(
    relay: Running, provider: AnsweringUpstream
) -> None:
    for there in ("messages", "responses"):
        body = orjson.dumps({"model": f"to-{there}", "input": "a"})
        got = relay.ask("/v1/embeddings", body)
        assert (got.status, got.document["error"]["param"]) == (400, "model")
        assert "embeddings" in got.document["error"]["message"]
    assert not provider.asked


# --- bounds and books -------------------------------------------------------------------


def test_a_reply_that_is_too_large_to_be_translated_is_the_upstreams_failure(
    relay: Running, provider: AnsweringUpstream
) -> None:
    for size, status in ((2**21, 200), (2**23, 502)):
        whole = PROVIDERS["chat"].whole.replace(b'"hello"', b'"' + b"l" * size + b'"')
        provider.answer = answering(whole)
        got, row = ask(relay, "messages", "to-chat")
        assert (got.status, row.status) == (status, status)
    assert row.error_code == "upstream_bad_reply"


def test_a_reply_of_a_million_objects_is_the_upstreams_failure(
    relay: Running, provider: AnsweringUpstream
) -> None:
    many = PROVIDERS["chat"].whole.replace(b'"hello"', b"[" + b"{}," * 600_000 + b"{}]")
    provider.answer = answering(many)
    got, row = ask(relay, "messages", "to-chat")
    assert (got.status, row.error_code) == (502, "upstream_bad_reply")


def test_a_body_that_is_nested_too_deep_is_a_400(relay: Running) -> None:
    path, body = SPEECHES["chat"].ask("to-messages", metadata="x")
    got = relay.ask(path, body.replace(b'"x"', b"[" * 300 + b"]" * 300))
    assert got.status == 400
    assert "too deep" in got.document["error"]["message"]


def test_translations_and_what_they_dropped_are_counted(relay: Running) -> None:
    ask(relay, "messages", "easy", unheard_of=7)
    ask(relay, "chat", "to-messages", n=2)
    seen = Samples(relay.ask("/metrics", method="GET").body)
    name = "relayd_translations_total"
    assert seen.value(name, client="messages", upstream="chat", outcome="ok")
    assert seen.value(name, client="chat", upstream="messages", outcome="refused")
    assert seen.value("relayd_dropped_fields_total", field="other")  # nobody's word becomes a label


def test_a_key_may_be_lenient_and_another_strict(relay: Running) -> None:
    for lenient, status in ((True, 200), (False, 400), (None, 400)):
        relay.change_key(lenient=lenient)
        got, _ = ask(relay, "messages", "to-chat", unheard_of=7)
        assert got.status == status
        got, _ = ask(relay, "messages", "easy", unheard_of=7)
        assert got.status == (400 if lenient is False else 200)
