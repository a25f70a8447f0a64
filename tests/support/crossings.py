"""A request on its way to an upstream of another format, without a socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from relayd.accounts import DEFAULT_GROUP, Account, Group, Key
from relayd.model import FormatName
from relayd.policy.keys import Caller, Names
from relayd.policy.lease import Lease
from relayd.policy.pool import Wanted
from relayd.relay.call import Call
from relayd.relay.crossing import Crossing, crossing_of
from relayd.relay.translation import Translation, Translator
from relayd.wire.formats import FORMATS
from relayd.wire.paths import Target, locate
from tests.support.pools import NOW, pools_of, upstream
from tests.support.speech import SPEECHES

MOMENT = 1_795_273_200.0


def caller(*, lenient: bool | None = None, group: Group = DEFAULT_GROUP) -> Caller:
    """Whoever asks."""
    key = Key(1, "key", Account(7, "account"), b"", "sk", 0.0, lenient=lenient)
    return Caller(key, group, Names(("*",)), None)


def lease(*formats: FormatName, **changes: Any) -> Lease:
    """A place at an upstream that speaks these formats."""
    pools = pools_of(upstream("up", "m", formats=formats, **changes))
    route = pools.route("m", "chat", True)
    return pools.choose(route, Wanted(), NOW)


def translation(
    client: FormatName,
    path: str = "",
    body: object = None,
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    translator: Translator | None = None,
    by: Caller | None = None,
    stream: bool = False,
) -> Translation:
    """A request by its path and body, which are those of a greeting where none are given."""
    usual, greeting = SPEECHES[client].ask("m", stream=stream)
    raw = greeting if body is None else orjson.dumps(body)
    where, _, query = (path or usual).partition("?")
    target = locate("POST", where, query)
    assert isinstance(target, Target)
    head = FORMATS[client].read_head(raw, target)
    call = Call("req_1", client, target, "", headers, 0.0, MOMENT, where)
    return (translator or Translator()).of(call, head, by or caller())


def crossing(client: FormatName, there: FormatName, **more: Any) -> Crossing:
    """A greeting's way to an upstream that speaks one other format."""
    found = crossing_of(translation(client, **more), lease(there))
    assert found is not None
    return found
