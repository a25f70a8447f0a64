"""What choosing an upstream key must know of a request: its size, whose it is, the conversation.

A conversation is looked for only where there is a choice and the operator wants it kept together:
taking a large prompt apart for its name costs more than all the rest of choosing.
"""

from __future__ import annotations

from relayd.policy.affinity import digest_of
from relayd.policy.pool import Wanted
from relayd.policy.pools import Route
from relayd.relay.call import Call
from relayd.routing import AffinityRules
from relayd.wire.conversation import OPENING, conversation_of, from_headers
from relayd.wire.head import Head


def wanted(call: Call, head: Head, account: int, route: Route, rules: AffinityRules) -> Wanted:
    """What `pools.choose` is asked for.

    Arguments:
        account: whose request it is: conversations of two accounts are never the same.
    """
    if not (route.pool.has_choice and rules.enabled):
        return Wanted(head.input_estimate, account, request=call.request_id)
    name = from_headers(call.headers) or conversation_of(head)
    by_opening = name.startswith(OPENING)
    if by_opening and not rules.by_opening:
        name = b""
    return Wanted(
        head.input_estimate,
        account,
        digest_of(account, head.model, name) if name else None,
        by_opening,
        call.request_id,
    )
