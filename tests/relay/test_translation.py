"""What all translations share, and what one request is to them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from relayd.accounts import DEFAULT_GROUP
from relayd.errors import BadCall
from relayd.model import FormatName
from relayd.policy.keys import Caller
from relayd.relay.translation import Translator, scope_of
from relayd.wire import envelope
from relayd.wire.capabilities import Capabilities
from relayd.wire.dialects import EVERY_FORMAT
from relayd.wire.parts import Carrier
from relayd.wire.paths import TAILS
from relayd.wire.plan import Traits
from relayd.wire.setting import Translating
from tests.support.crossings import caller, lease, translation

SIGNATURE = Carrier("gemini-signature", "c2lnbmVk")
EASY = replace(DEFAULT_GROUP, lenient=True)
STRICT = replace(DEFAULT_GROUP, lenient=False)
CODEX = [(b"User-Agent", b"codex_cli_rs/1.0")]


def translator(*, rows: dict[str, dict[str, object]] | None = None, **terms: Any) -> Translator:
    return Translator(replace(Translating(), **terms), Capabilities(rows or {}))


@pytest.mark.parametrize(
    ("by", "upstream", "agent", "expected"),
    [
        (caller(), None, False, False),
        (caller(), None, True, True),
        (caller(), True, False, True),
        (caller(), False, True, False),
        (caller(group=EASY), False, False, True),
        (caller(group=STRICT), True, True, False),
        (caller(lenient=True, group=STRICT), False, False, True),
        (caller(lenient=False, group=EASY), True, True, False),
    ],
)
def test_the_key_says_how_strict_then_the_group_the_upstream_and_the_client(
    by: Caller, upstream: bool | None, agent: bool, expected: bool
) -> None:
    asked = translation("chat", by=by, headers=CODEX if agent else ())
    assert asked.lenient(upstream) is expected


def test_what_is_translated_is_the_operators_decision_and_the_calls() -> None:
    on, off = translator(), translator(enabled=False)
    assert on.serves(TAILS["messages"])
    assert on.serves(TAILS["embeddings"])
    assert not on.serves(TAILS["completions"])
    assert not on.serves(TAILS["responses/compact"])
    assert not off.serves(TAILS["messages"])


def test_a_reload_holds_for_what_comes_next() -> None:
    own = translator()
    own.adopt(Translating(enabled=False), Capabilities({"m": {"endpoints": ("responses",)}}))
    assert not own.serves(TAILS["messages"])
    assert own.restricts(lease("chat", "responses"), "chat", None)
    assert repr(own).startswith("<Translator <Capabilities")


def test_a_model_may_not_be_served_in_a_format_that_its_upstream_speaks() -> None:
    own = translator(rows={"m": {"endpoints": ("responses",)}})
    assert own.restricts(lease("chat", "responses"), "chat", None)
    assert not own.restricts(lease("chat", "responses"), "responses", None)
    assert not own.restricts(lease("chat"), "chat", None)  # there is no other to go to
    assert not translator().restricts(lease("chat", "responses"), "chat", None)


def test_tools_may_have_an_endpoint_of_their_own() -> None:
    own = translator(rows={"m": {"tools_endpoint": "responses"}})
    assert own.restricts(lease("chat", "responses"), "chat", Traits(functions=True))
    assert not own.restricts(lease("chat", "responses"), "chat", None)
    assert not own.restricts(lease("chat", "responses"), "responses", Traits(functions=True))


def test_sealed_state_is_a_keys_own_unless_the_keys_share_it() -> None:
    one, other = lease("chat", keys=2), lease("chat", keys=2)
    assert scope_of(one) == scope_of(other)
    assert scope_of(one) != scope_of(lease("chat", keys=2, shared_state=True))
    assert len(scope_of(one)) == 16


def test_a_carrier_is_remembered_for_its_account_alone() -> None:
    own = translator()
    asked = translation("messages", translator=own)
    asked.remember("scope", "call_1", SIGNATURE)
    assert asked.remembered("call_1") == replace(SIGNATURE, scope="scope")
    asked.remember("scope", "call_2", replace(SIGNATURE, scope="theirs"))
    kept = asked.remembered("call_2")
    assert kept is not None
    assert kept.scope == "theirs"
    assert translation("messages", translator=own, by=None).remembered("call_1") is not None
    assert own.of(asked.call, asked.head, None).remembered("call_1") is None


def test_the_request_is_read_once_until_it_is_let_go() -> None:
    asked = translation("messages")
    first = asked.request
    assert asked.request is first
    asked.let_go()
    assert asked.request is not first
    assert asked.request == first
    assert repr(asked) == "<Translation of req_1 from messages>"


def test_a_count_is_read_as_a_count() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    assert translation("messages", "/v1/messages/count_tokens", body).request.output.limit is None


def test_a_body_that_is_nested_too_deep_is_refused() -> None:
    deep: object = "x"
    for _ in range(230):
        deep = [deep]
    with pytest.raises(BadCall, match="too deep"):
        _ = translation("chat", "", {"model": "m", "messages": [], "x": deep}).request


# --- what another provider sealed ---------------------------------------------------------------


def history(signature: str) -> dict[str, object]:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": signature}
    answer = {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello."}]}
    asked = {"role": "user", "content": "Hi"}
    return {"model": "m", "max_tokens": 9, "messages": [asked, answer, asked]}


def test_a_native_request_loses_what_another_provider_sealed() -> None:
    place = lease("messages")
    sealed = envelope.wrap(SIGNATURE, "elsewhere")
    opened = translation("messages", "", history(sealed)).opened(place)
    assert b"rly1" not in opened.body
    assert b"c2lnbmVk" not in opened.body
    assert b"Hello." in opened.body
    assert not opened.request


def test_a_native_request_keeps_what_its_upstream_sealed() -> None:
    place = lease("messages")
    own = Carrier("anthropic-signature", "mine")
    opened = translation("messages", "", history(envelope.wrap(own, scope_of(place)))).opened(place)
    assert b'"signature":"mine"' in opened.body
    natively = translation("messages", "", history("natively")).opened(place)
    assert b'"signature":"natively"' in natively.body


def sealed_histories() -> dict[FormatName, dict[str, Any]]:
    """In each format a conversation with what another provider sealed."""
    sealed, wrapped = envelope.wrap(SIGNATURE, "else"), envelope.wrap_base64(SIGNATURE, "else")
    user, thought = {"role": "user", "content": "Hi"}, {"type": "reasoning", "summary": []}
    detail = {"type": "reasoning.encrypted", "data": sealed}
    chat = {"role": "assistant", "content": "Hello.", "reasoning_details": [detail]}
    said = {"role": "model", "parts": [{"text": "Hello.", "thoughtSignature": wrapped}]}
    return {
        "chat": {"model": "m", "messages": [user, chat, user]},
        "messages": history(sealed),
        "responses": {
            "model": "m",
            "input": [user, {**thought, "encrypted_content": sealed}, "Hello."],
        },
        "gemini": {"contents": [said]},
    }


WRONG: dict[FormatName, dict[str, object]] = {
    "chat": {"temperature": "hot"},
    "messages": {"top_k": "3"},
    "responses": {"temperature": "hot"},
    "gemini": {"generationConfig": {"temperature": "hot"}},
}


@pytest.mark.parametrize("client", EVERY_FORMAT)
def test_a_native_request_that_is_wrong_goes_as_it_is_without_what_is_sealed(
    client: FormatName,
) -> None:
    """For the upstream to say what is wrong; it learns nothing of another provider's."""
    body = {**sealed_histories()[client], **WRONG[client]}
    opened = translation(client, "", body).opened(lease(client))
    assert b"rly1" not in opened.body
    assert b"cmx5MX" not in opened.body
    assert b"Hello." in opened.body
    assert WRONG[client].items() <= orjson.loads(opened.body).items()
    assert not opened.request


def test_what_is_never_translated_loses_what_is_sealed() -> None:
    body = {**sealed_histories()["responses"], "unheard_of": 1}
    user = body["input"][0]
    opened = translation("responses", "/v1/responses/compact", body).opened(lease("responses"))
    assert orjson.loads(opened.body) == {"model": "m", "input": [user, "Hello."], "unheard_of": 1}


def test_texts_to_embed_are_the_clients_own() -> None:
    asked = translation("chat", "/v1/embeddings", {"model": "m", "input": "rly1~"})
    assert asked.opened(lease("chat")) is asked.head


def test_a_sealed_request_that_nobody_may_walk_through_is_refused() -> None:
    deep: object = envelope.wrap(SIGNATURE, "else")
    for _ in range(230):
        deep = [deep]
    with pytest.raises(BadCall, match="too deep"):
        translation("chat", "", {"model": "m", "messages": [], "x": deep}).opened(lease("chat"))


def test_a_translator_needs_no_loop_to_be_made() -> None:
    async def make() -> Translator:
        return Translator()

    assert asyncio.run(make()).fetcher is not None
