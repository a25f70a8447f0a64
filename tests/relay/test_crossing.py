"""One attempt in another format: what is asked, what is answered, and what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import product

import orjson
import pytest

from relayd.errors import BadCall, BadReply, BadStatus
from relayd.model import FormatName
from relayd.relay.crossing import crossing_of, unstreamed
from relayd.relay.fetching import Fetcher, remote_images
from relayd.relay.judge import Verdict, judge
from relayd.relay.translation import Translator
from relayd.tasks import child
from relayd.wire.capabilities import Capabilities
from relayd.wire.dialects import EVERY_FORMAT
from relayd.wire.formats import FORMATS
from relayd.wire.neutral import Request
from relayd.wire.setting import Fetching, Translating
from tests.support.crossings import crossing, lease, translation
from tests.support.speech import SPEECHES, error_of
from tests.support.translated import PROVIDERS, said

OK = Verdict(200, "ok", "", None)
WAYS = [(a, b) for a, b in product(EVERY_FORMAT, EVERY_FORMAT) if a != b]
TYPES: dict[FormatName, dict[int, str]] = {
    "messages": {
        400: "invalid_request_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
    },
    "gemini": {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"},
    "chat": {400: "invalid_request_error", 429: "rate_limit_error"},
    "responses": {400: "invalid_request_error", 429: "rate_limit_error"},
}
FAILURES = (500, 502, 503, 504, 529)


# --- which format --------------------------------------------------------------------------------


def test_nothing_crosses_where_the_upstream_speaks_the_clients_format() -> None:
    assert crossing_of(translation("chat"), lease("messages", "chat")) is None


def test_nothing_crosses_where_translation_is_off() -> None:
    off = Translator(Translating(enabled=False), Capabilities({"m": {"endpoints": ("responses",)}}))
    place = lease("chat", "responses")
    assert crossing_of(translation("chat"), place) is None
    assert crossing_of(translation("chat", translator=off), place) is None
    table = {"m": {"endpoints": ("responses",)}}
    on = Translator(Translating(), Capabilities(table))
    assert crossing_of(translation("chat", translator=on), place) is not None
    never = lease("chat", "responses", translate=False)
    assert crossing_of(translation("chat", translator=on), never) is None
    # But for a place that was chosen for it, before a reload switched it off.
    assert crossing_of(translation("chat", translator=off), lease("messages")) is not None


def test_a_call_that_no_format_of_the_upstream_has_is_refused_when_it_is_written() -> None:
    body = {"model": "m", "input": "a"}
    found = crossing_of(translation("chat", "/v1/embeddings", body), lease("messages"))
    assert found is not None
    with pytest.raises(BadCall) as caught:
        found.write()
    assert caught.value.param == "model"


def test_who_counts_tokens_is_asked_before_who_does_not() -> None:
    body = SPEECHES["gemini"].body("m", False)
    asked = translation("gemini", "/v1beta/models/m:countTokens", body)
    found = crossing_of(asked, lease("chat", "responses"))
    assert found is not None
    assert (found.spoken, found.estimates) == ("responses", False)
    alone = crossing_of(asked, lease("chat"))
    assert alone is not None
    assert (alone.spoken, alone.estimates) == ("chat", True)


SAID = "word " * 200  # a thousand characters: 250 tokens
WHOLE: dict[FormatName, dict[str, object]] = {
    "chat": {"choices": [{"message": {"role": "assistant", "content": SAID}}]},
    "messages": {"type": "message", "content": [{"type": "text", "text": SAID}]},
    "gemini": {"candidates": [{"content": {"parts": [{"text": SAID}]}, "finishReason": "STOP"}]},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("there", list(WHOLE))
def test_without_usage_a_reply_counts_by_its_text_and_not_by_our_words_for_it(
    there: FormatName, stream: bool
) -> None:
    ends = {"finish_reason": "stop", "stop_reason": "end_turn"}
    document = orjson.loads(orjson.dumps(WHOLE[there]))
    (document["choices"][0] if there == "chat" else document).update(ends)
    found = crossing("responses", there, stream=stream)
    found.write()
    verdict = found.answer(OK, orjson.dumps(document)).verdict
    assert (verdict.usage, verdict.produced) == (None, 250)


# --- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "there"), WAYS)
def test_a_request_is_written_with_the_upstreams_name_of_the_model(
    client: FormatName, there: FormatName
) -> None:
    found = crossing(client, there)
    found.write()
    pieces, length = found.pieces()
    body = b"".join(pieces)
    assert len(body) == length
    assert orjson.loads(body).get("model", "m") == "m"
    assert b"Hi" in body
    assert (found.target.format, found.target.operation) == (there, "generate")
    assert found.headers()[0] == (b"x-relayd-translated", f"{client}->{there}".encode())
    assert repr(found).startswith(f"<Crossing {client}->{there} at up/1 ")


@pytest.mark.parametrize(("client", "there"), WAYS)
def test_a_whole_reply_is_the_clients(client: FormatName, there: FormatName) -> None:
    found = crossing(client, there)
    found.write()
    answer = found.answer(OK._replace(status=201), PROVIDERS[there].whole)
    assert said(client, answer.body, stream=False) == ("hello", 5, 7)
    assert answer.verdict.status == 200
    assert answer.headers == [(b"content-type", b"application/json")]
    assert found.pipe() is None


@pytest.mark.parametrize(("client", "there"), WAYS)
def test_a_stream_is_the_clients(client: FormatName, there: FormatName) -> None:
    found = crossing(client, there, stream=True)
    found.write()
    pipe = found.pipe()
    assert pipe is not None
    body = pipe.feed(PROVIDERS[there].opening) + pipe.feed(PROVIDERS[there].ending) + pipe.finish()
    assert said(client, body, stream=True) == ("hello", 5, 7)
    assert pipe.complete


def test_a_request_that_is_written_is_kept_without_its_history() -> None:
    asked = translation("chat", stream=True)
    found = crossing_of(asked, lease("responses"))
    assert found is not None
    first = asked.request
    found.write()
    assert found.pipe() is not None
    assert "request" not in vars(asked)
    assert first.messages


def test_replies_name_the_model_as_the_operator_has_it() -> None:
    asked, upstream = Translating(), Translating(model_in_replies="upstream")
    for terms, name in ((asked, "m"), (upstream, "theirs")):
        translator = Translator(terms)
        place = lease("messages")
        place.model = "theirs"
        found = crossing_of(translation("chat", translator=translator), place)
        assert found is not None
        found.write()
        answer = found.answer(OK, PROVIDERS["messages"].whole)
        assert orjson.loads(answer.body)["model"] == name


def test_the_operators_params_hold_for_what_is_written() -> None:
    place = lease("messages")
    edits = replace(place.spec.edits, set_params=(("metadata.user_id", b'"us"'),))
    place.spec = replace(place.spec, edits=edits)
    found = crossing_of(translation("chat"), place)
    assert found is not None
    found.write()
    pieces, _ = found.pieces()
    assert orjson.loads(b"".join(pieces))["metadata"] == {"user_id": "us"}


@pytest.mark.parametrize("body", [b"[]", b"null", b"<html>", b"", b'{"error": {"message": "no"}}'])
def test_what_is_no_reply_is_the_upstreams_failure(body: bytes) -> None:
    found = crossing("chat", "messages")
    found.write()
    with pytest.raises(BadReply):
        found.answer(OK, body)


def test_a_reply_without_a_count_is_no_count() -> None:
    body = SPEECHES["messages"].body("m", False)
    body.pop("stream")
    asked = translation("messages", "/v1/messages/count_tokens", body)
    found = crossing_of(asked, lease("gemini", dialect="gemini"))
    assert found is not None
    found.write()
    assert found.answer(OK, b'{"totalTokens": 3}').body == b'{"input_tokens":3}'
    with pytest.raises(BadReply):
        found.answer(OK, b'{"error": 1}')


def test_an_estimate_says_that_it_is_one_and_writes_nothing() -> None:
    body = SPEECHES["messages"].body("m", False)
    body.pop("stream")
    found = crossing_of(translation("messages", "/v1/messages/count_tokens", body), lease("chat"))
    assert found is not None
    found.write()
    assert found.pieces() == ([b""], 0)
    assert (b"x-relayd-estimated", b"true") in found.headers()
    assert orjson.loads(found.estimate().body)["input_tokens"] > 0


def test_the_state_that_could_not_be_read_is_left_out_once() -> None:
    found = crossing("messages", "gemini")
    assert found.forget()
    assert not found.forget()
    found.write()


def test_what_is_asked_again_with_another_body_has_no_key_that_says_it_is_the_same() -> None:
    found = crossing("messages", "gemini", headers=[(b"Idempotency-Key", b"1")])
    assert (b"idempotency-key", b"1") in found.forwarded()
    assert found.forget()
    assert b"idempotency-key" not in dict(found.forwarded())


def test_pictures_are_fetched_only_where_the_operator_and_the_model_want_it() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://127.0.0.1/x.png"}}
    body = {"model": "m", "messages": [{"role": "user", "content": [image]}]}
    rows = {"m": {"image_urls": False}}

    async def fetch(terms: Translating, table: Capabilities) -> None:
        asked = translation("chat", "", body, translator=Translator(terms, table))
        found = crossing_of(asked, lease("messages"))
        assert found is not None
        await found.fetch()

    allowed = Translating(remote_images=Fetching())
    asyncio.run(fetch(Translating(), Capabilities(rows)))
    asyncio.run(fetch(allowed, Capabilities({})))
    with pytest.raises(BadCall) as caught:
        asyncio.run(fetch(allowed, Capabilities(rows)))
    assert (caught.value.param or "").startswith("messages[0].content[0]")


class PatientFetcher(Fetcher):
    """Puts a picture there, once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.accounts: list[int] = []

    async def inline(self, request: Request, rules: Fetching, account: int = 0) -> None:
        self.accounts.append(account)
        await self.may.wait()
        for image in remote_images(request):
            image.mime, image.data, image.url = "image/png", "cGljdHVyZQ==", ""


@pytest.mark.parametrize("path", ["", "/v1/messages/count_tokens"])
def test_pictures_that_came_are_written_whatever_another_attempt_does_meanwhile(path: str) -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://pictures.test/x.png"}}
    turn = {"role": "user", "content": [image]}
    body = {"model": "m", "max_tokens": 9, "messages": [turn]}
    fetcher = PatientFetcher()
    table = Capabilities({"m": {"image_urls": False}})
    translator = Translator(Translating(remote_images=Fetching()), table, fetcher)
    asked = translation("messages", path, body, translator=translator)
    found = crossing_of(asked, lease("responses"))
    assert found is not None

    async def work() -> None:
        assert found is not None
        fetching = child(found.fetch())
        await asyncio.sleep(0)
        asked.let_go()  # the other has written it
        fetcher.may.set()
        await fetching
        found.write()

    asyncio.run(work())
    assert b"cGljdHVyZQ==" in found.pieces()[0][0]
    assert fetcher.accounts == [7]
    assert "request" not in vars(asked)


def test_a_call_without_events_is_not_made_a_stream() -> None:
    asked = translation("chat", "/v1/completions", {"model": "m", "prompt": "Hi", "stream": True})
    with pytest.raises(BadCall):
        unstreamed(asked, lease("chat"))


VECTORS = [[0.5, -1.0], [0.25, 2.0]]


@pytest.mark.parametrize(("client", "there"), [("chat", "gemini"), ("gemini", "chat")])
def test_embeddings_go_there_and_come_back(client: FormatName, there: FormatName) -> None:
    texts = [{"content": {"parts": [{"text": text}]}, "model": "models/m"} for text in "ab"]
    asked: dict[FormatName, tuple[str, object]] = {
        "chat": ("/v1/embeddings", {"model": "m", "input": ["a", "b"]}),
        "gemini": ("/v1beta/models/m:batchEmbedContents", {"requests": texts}),
    }
    answers: dict[FormatName, object] = {
        "chat": {"data": [{"index": i, "embedding": v} for i, v in enumerate(VECTORS)]},
        "gemini": {"embeddings": [{"values": values} for values in VECTORS]},
    }
    path, body = asked[client]
    found = crossing_of(translation(client, path, body), lease(there))
    assert found is not None
    found.write()
    assert found.target.operation == "embed"
    document = orjson.loads(found.answer(OK, orjson.dumps(answers[there])).body)
    told = document.get("data") or document["embeddings"]
    assert [each.get("embedding") or each["values"] for each in told] == VECTORS


def test_a_whole_reply_becomes_the_stream_that_was_asked_for() -> None:
    """wire-formats, trap 10"""
    for client, there in [*WAYS, ("chat", "chat")]:
        asked, place = translation(client, stream=True), lease(there)
        found = crossing_of(asked, place) or unstreamed(asked, place)
        answer = found.answer(OK, PROVIDERS[there].whole)
        assert said(client, answer.body, stream=True) == ("hello", 5, 7)
        assert dict(answer.headers)[b"content-type"].startswith(b"text/event-stream")


def test_the_client_is_told_what_was_left_out() -> None:
    body = {**SPEECHES["chat"].body("m", False), "seed": 7}
    codex = [(b"user-agent", b"codex_cli_rs/1.0"), (b"Accept", b"*/*"), (b"openai-beta", b"x")]
    found = crossing_of(translation("chat", "", body, headers=codex), lease("messages"))
    assert found is not None
    found.write()
    assert found.dropped == ("seed",)
    assert (b"x-relayd-dropped", b"seed") in found.headers()
    assert found.forwarded() == [(b"accept", b"*/*"), (b"anthropic-version", b"2023-06-01")]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "there"), [*WAYS, ("chat", "chat")])
@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
def test_every_status_has_its_word_in_every_format(
    client: FormatName, there: FormatName, status: int
) -> None:
    """wire-formats, trap 145"""
    theirs = FORMATS[there].error(BadCall("It is wrong.", status=status), "req_0").body
    verdict = judge(there, "generate", status, [], theirs)
    found = unstreamed(translation(client), lease(there))
    found.spoken = there
    answer = found.answer(verdict, theirs)
    kind, message = error_of(client, orjson.loads(answer.body))
    assert message == "It is wrong."
    assert answer.verdict.status == status
    assert kind == TYPES[client].get(status, TYPES[client][400])


@pytest.mark.parametrize(("client", "there"), WAYS)
@pytest.mark.parametrize("status", FAILURES)
def test_every_failure_has_its_word_in_every_format(
    client: FormatName, there: FormatName, status: int
) -> None:
    theirs = FORMATS[there].error(BadCall("It broke.", status=status), "req_0").body
    with pytest.raises(BadStatus) as caught:
        judge(there, "generate", status, [], theirs)
    told = FORMATS[client].error(caught.value, "req_1")
    error_of(client, orjson.loads(told.body))
    expected = {503: 503, 529: 503, 504: 504}.get(status, 502)
    assert told.status == (529 if client == "messages" and expected == 503 else expected)


def test_when_to_try_again_is_told_wherever_the_upstream_says_it() -> None:
    body = orjson.dumps(
        {
            "error": {
                "code": 429,
                "message": "Slow down.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}
                ],
            }
        }
    )
    verdict = judge("gemini", "generate", 429, [], body)
    answer = crossing("chat", "gemini").answer(verdict, body)
    assert (b"retry-after", b"7") in answer.headers
