"""What a relay reads of the Realtime API: the request, and of the events what is billed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.errors import BadCall, NoUpstream, Refused
from relayd.model import Usage
from relayd.wire import realtime
from relayd.wire.realtime import Told

USAGE = {
    "total_tokens": 275,
    "input_tokens": 127,
    "output_tokens": 148,
    "input_token_details": {
        "text_tokens": 100,
        "audio_tokens": 27,
        "image_tokens": 6,
        "cached_tokens": 64,
        "cached_tokens_details": {"text_tokens": 50, "audio_tokens": 10, "image_tokens": 4},
    },
    "output_token_details": {"text_tokens": 36, "audio_tokens": 112},
}


def event(kind: str, **more: Any) -> bytes:
    return orjson.dumps({"type": kind, "event_id": "event_1", **more})


# --- the request ----------------------------------------------------------------------------------


def test_the_model_is_in_the_query() -> None:
    assert realtime.asked_model("model=gpt-realtime&x=1") == "gpt-realtime"
    assert realtime.asked_model("model=a%2Fb") == "a/b"


@pytest.mark.parametrize("query", ["", "intent=transcription", "model=", "model=a%0Ab"])
def test_without_a_model_it_is_the_clients_mistake(query: str) -> None:
    with pytest.raises(BadCall) as caught:
        realtime.asked_model(query)
    assert (caught.value.status, caught.value.param) == (400, "model")


def test_upstream_gets_its_own_name_of_the_model_and_no_key() -> None:
    query = "key=sk-1&model=fast&intent=a%26b&api-key=sk-2&empty="

    assert realtime.upstream_query(query, "big/one") == "model=big%2Fone&intent=a%26b&empty="


OFFERED = realtime.protocols(
    ["realtime, openai-insecure-api-key.sk-1", " openai-beta.realtime-v1,,openai-project.p "]
)


def test_the_key_may_be_a_subprotocol_and_goes_no_further() -> None:
    assert realtime.key_in(OFFERED) == "sk-1"
    assert realtime.for_upstream(OFFERED) == ["realtime", "openai-beta.realtime-v1"]
    assert realtime.key_in(["realtime"]) == ""


def test_what_is_no_subprotocol_is_left_out() -> None:
    assert realtime.protocols(["a, b c, \u20ac, ", 'd;q=1, "e"', "f"]) == ["a", "f"]


def test_bytes_that_are_no_text_pass_in_the_query() -> None:
    assert realtime.upstream_query("x=\udcff", "m") == "model=m&x=%FF"


def test_of_absurdly_many_subprotocols_the_first_count() -> None:
    assert len(realtime.protocols(["a," * 1000])) == realtime.MOST_PROTOCOLS


@pytest.mark.parametrize(
    ("offered", "chosen", "agreed"),
    [
        (OFFERED, "realtime", "realtime"),
        (OFFERED, "openai-beta.realtime-v1", "openai-beta.realtime-v1"),
        (OFFERED, "", "realtime"),
        (OFFERED, "openai-insecure-api-key.sk-1", "realtime"),
        (["other"], "", "other"),
        ([], "", ""),
        ([], "realtime", ""),
    ],
)
def test_the_client_is_answered_a_subprotocol_that_it_offered(
    offered: list[str], chosen: str, agreed: str
) -> None:
    assert realtime.agreed(offered, chosen) == agreed


# --- the events -----------------------------------------------------------------------------------


def test_a_response_begins() -> None:
    said = event("response.created", response={"id": "resp_1", "status": "in_progress"})

    assert realtime.read(said) == Told("began", "resp_1")


def test_a_response_ends_with_its_usage() -> None:
    response = {"id": "resp_1", "status": "completed", "usage": USAGE}

    assert realtime.read(event("response.done", response=response)) == Told(
        "ended",
        "resp_1",
        "completed",
        Usage(
            in_uncached=63,
            cache_read=64,
            out_total=148,
            in_audio=17,
            in_image=2,
            out_audio=112,
            total_reported=275,
        ),
    )


def test_why_a_response_failed_is_told() -> None:
    details = {"type": "failed", "error": {"type": "server_error", "message": "no luck"}}
    response = {"id": "r", "status": "failed", "status_details": details, "usage": None}

    told = realtime.read(event("response.done", response=response))

    assert told == Told("ended", "r", "failed", None, "no luck")


@pytest.mark.parametrize(
    ("said", "produced"),
    [
        (event("response.output_text.delta", delta="12345678"), 2),
        (event("response.output_audio_transcript.delta", delta="a"), 1),
        (event("response.function_call_arguments.delta", delta=None), 0),
        (event("response.output_audio.delta", delta="A" * 32_000), 10),
        (event("response.audio.delta", delta="A" * 32_000), 10),
    ],
)
def test_what_was_heard_of_a_response_is_estimated(said: bytes, produced: int) -> None:
    assert realtime.read(said) == Told("went on", produced=produced)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b'no json, though it says "response.done"',
        b'["response.done"]',
        event("session.created", session={}),
        event("response.output_item.done", item={}),
        event("conversation.item.added", item={"text": '"response.done"'}),
    ],
)
def test_all_else_is_none_of_our_business(said: bytes) -> None:
    assert realtime.read(said) is None


def test_a_response_that_says_nothing_of_itself_has_ended_all_the_same() -> None:
    assert realtime.read(event("response.done")) == Told("ended")


def test_of_a_very_long_end_the_usage_is_found_in_its_last_bytes() -> None:
    response = {"id": "r", "output": ["x" * 500_000], "usage": USAGE}
    said = event("response.done", response=response)

    told = realtime.read(said[-60_000:], said[:1024])

    assert told is not None and told.usage is not None
    assert (told.step, told.status, told.usage.out_total) == ("ended", "completed", 148)


@pytest.mark.parametrize(
    "said",
    [
        event("session.updated", session={"instructions": "x" * 500_000}),
        orjson.dumps(
            {"session": {"type": "realtime", "x": "x" * 500_000}, "type": "session.updated"}
        ),
        orjson.dumps({"x": "x" * 500_000}),
    ],
)
def test_what_a_session_may_do_must_not_be_too_long_to_read(said: bytes) -> None:
    assert realtime.read(said[-64_000:], said[:1024]) == Told("too long")


@pytest.mark.parametrize("decoy", ["response.x", "response.output_audio.delta", "audio.delta"])
def test_no_decoy_hides_by_which_model_a_session_hears(decoy: str) -> None:
    session = {"instructions": decoy, "input_audio_transcription": {"model": "ears"}}

    assert realtime.read(event("session.updated", session=session)) == Told(
        "hears by", model="ears"
    )


def test_of_other_very_long_events_only_sound_counts() -> None:
    sound = event("response.output_audio.delta", delta="A" * 500_000)
    other = event("response.output_item.done", item="x" * 500_000)

    assert realtime.read(sound[-64_000:], sound[:1024]) == Told("went on", produced=20)
    assert realtime.read(other[-64_000:], other[:1024]) is None


@pytest.mark.parametrize(
    ("session", "model"),
    [
        ({"audio": {"input": {"transcription": {"model": "ears"}}}}, "ears"),
        ({"input_audio_transcription": {"model": "ears"}}, "ears"),
        ({"audio": {"input": {"transcription": None}}}, ""),
        ({"audio": "transcription"}, ""),
        ({"input_audio_transcription": {"model": 7}}, ""),
        ({"input_audio_transcription": {"model": "e" * 1000}}, "e" * 256),
    ],
)
@pytest.mark.parametrize("kind", ["session.created", "session.updated"])
def test_by_which_model_a_session_hears_is_told(kind: str, session: Any, model: str) -> None:
    assert realtime.read(event(kind, session=session)) == Told("hears by", model=model)


HEARD = "conversation.item.input_audio_transcription.completed"


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        (
            {"type": "tokens", "input_tokens": 9, "output_tokens": 3, "total_tokens": 12},
            Usage(in_uncached=9, out_total=3, total_reported=12),
        ),
        ({"type": "duration", "seconds": 1.5}, Usage(audio_ms=1500)),
        ({"type": "duration", "seconds": -1}, None),
        ({"type": "duration", "seconds": 10**9}, None),
        ({"type": "duration", "seconds": "1"}, None),
        (None, None),
    ],
)
def test_what_a_transcript_used_is_told(usage: Any, found: Usage | None) -> None:
    said = event(HEARD, item_id="item_1", transcript="hi", usage=usage)

    assert realtime.read(said) == Told("heard", "item_1", usage=found)


@pytest.mark.parametrize(
    "said", [event(HEARD.replace("completed", "delta"), delta="x"), b"no json: transcription"]
)
def test_other_words_of_transcripts_are_none_of_our_business(said: bytes) -> None:
    assert realtime.read(said) is None


@pytest.mark.parametrize("value", [None, [], {}, {"input_tokens": "many"}])
def test_usage_that_counts_nothing_is_none(value: object) -> None:
    assert realtime.usage_of(value) is None


def test_usage_of_strangers_is_read_with_care() -> None:
    raw = {
        "input_tokens": 3,
        "input_token_details": {"cached_tokens": 9, "audio_tokens": 2, "cached_tokens_details": 7},
    }
    assert realtime.usage_of(raw) == Usage(in_uncached=0, cache_read=9, in_audio=2)
    assert realtime.usage_of({"total_tokens": 5}) == Usage(total_reported=5)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exc", "kind", "code"),
    [
        (Refused("Slower.", status=429, code="rate_limit_exceeded"), "rate_limit_error", None),
        (Refused("No.", status=402, code="insufficient_quota"), "invalid_request_error", None),
        (NoUpstream("Stop.", code="shutting_down"), "server_error", "shutting_down"),
    ],
)
def test_errors_are_said_in_the_apis_words(exc: Any, kind: str, code: str | None) -> None:
    said = orjson.loads(realtime.error_event(exc, "event_x"))

    assert (said["type"], said["event_id"]) == ("error", "event_x")
    assert said["error"] == {
        "type": kind,
        "code": exc.code,
        "message": exc.message,
        "param": None,
        "event_id": None,
    }
