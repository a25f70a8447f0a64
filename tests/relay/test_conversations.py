"""What a choice is told of a request: which conversation it belongs to, and whose it is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from relayd.policy.pool import Wanted
from relayd.relay.call import Call
from relayd.relay.conversations import wanted
from relayd.routing import AffinityRules
from relayd.wire.formats import FORMATS
from relayd.wire.head import Head
from relayd.wire.paths import Target, locate
from tests.support.pools import pools_of, upstream

HI = [{"role": "user", "content": "What shall we do today?"}]
CHOICE = pools_of(upstream("a", keys=2, formats=("chat", "responses")))
NO_CHOICE = pools_of(upstream("a"))
SESSION = (b"x-session-id", b"s1")
USUAL = AffinityRules()


def asked(
    *headers: tuple[bytes, bytes],
    path: str = "/v1/chat/completions",
    account: int = 1,
    pools: Any = CHOICE,
    rules: AffinityRules = USUAL,
    **body: Any,
) -> Wanted:
    """What is wanted for a request with these headers and fields."""
    target = locate("POST", path, "")
    assert isinstance(target, Target)
    whole = orjson.dumps({"model": "m", "messages": HI, **body})
    head: Head = FORMATS[target.format].read_head(whole, target)
    head.input_estimate = 40
    call = Call("req_1", target.format, target, "", list(headers), 0.0, 0.0, "")
    return wanted(call, head, account, pools.route(head.model, target.format), rules)


def test_size_and_account_are_always_told() -> None:
    for pools in (CHOICE, NO_CHOICE):
        found = asked(account=7, pools=pools)
        assert (found.tokens, found.account) == (40, 7)


def test_no_conversation_is_looked_for_where_there_is_no_choice_or_nobody_wants_it() -> None:
    off = AffinityRules(enabled=False)

    plain = Wanted(40, 1, request="req_1")
    assert asked(SESSION, pools=NO_CHOICE) == plain
    assert asked(SESSION, rules=off, previous_response_id="r") == plain


def test_a_conversation_that_is_named_is_the_same_whatever_is_said_in_it() -> None:
    first = asked(SESSION)
    later = asked(SESSION, messages=[*HI, {"role": "assistant", "content": "Nothing."}])

    assert first.conversation == later.conversation is not None
    assert not first.by_opening
    assert asked((b"x-session-id", b"s2")).conversation != first.conversation
    assert asked(prompt_cache_key="s1").conversation not in (None, first.conversation)


def test_one_that_is_not_named_is_known_by_its_opening_unless_that_is_off() -> None:
    first = asked()
    other = asked(messages=[{"role": "user", "content": "Something else entirely"}])

    assert first.by_opening and other.by_opening
    assert first.conversation != other.conversation
    assert first.conversation is not None
    off = asked(rules=AffinityRules(by_opening=False))
    assert off.conversation is None
    named = asked(SESSION, rules=AffinityRules(by_opening=False))
    assert named.conversation is not None, "a name counts all the same"


@pytest.mark.parametrize("headers", [(), (SESSION,)], ids=["by opening", "by name"])
def test_the_conversations_of_two_accounts_or_models_are_never_the_same(
    headers: tuple[tuple[bytes, bytes], ...],
) -> None:
    both = pools_of(upstream("a", "m", "n", keys=2))
    found = [
        asked(*headers, account=account, model=model, pools=both).conversation
        for account in (1, 2)
        for model in ("m", "n")
    ]

    assert None not in found and len(set(found)) == 4
