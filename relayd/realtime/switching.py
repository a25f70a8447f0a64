"""The words of both handshakes of a realtime session: the client's with us, ours with an upstream.

Nothing of one goes into the other as it is: keys are each side's own, extensions are asked for by
nobody, and of the subprotocols those that say who calls stay here.
"""

from __future__ import annotations

from typing import NamedTuple

from relayd.ends import End
from relayd.errors import BadCall, BadReply, Refused
from relayd.relay.call import Call
from relayd.relay.judge import judge
from relayd.relay.sides import RawHeaders
from relayd.upstream.handshake import Answer
from relayd.wire import headers as wire_headers
from relayd.wire import realtime, websocket
from relayd.wire.formats import FORMATS


class Wish(NamedTuple):
    """What a client asks for: the query of its request, and the subprotocols that it offers."""

    query: str
    offered: list[str]


def headers_of(call: Call) -> dict[bytes, bytes]:
    """The client's headers, names in lower case."""
    return {name.lower(): value.strip() for name, value in call.headers}


def check_route(call: Call) -> None:
    """Raises where this is no path for sessions: the Responses API has them at OpenAI, not here."""
    target = call.target
    assert target is not None
    if target.verb == "realtime":
        return
    if headers_of(call).get(b"upgrade", b"").lower() == b"websocket":
        text = "The Responses API is not served over WebSocket here: send a POST."
        raise BadCall(text, status=426, code="websocket_not_supported")
    text = f"Unknown request URL: GET /v1/{target.verb}. Check the path and the method."
    raise Refused(text, status=404, code="unknown_url")


def check_handshake(headers: dict[bytes, bytes]) -> None:
    """Raises BadCall where a request is none for a WebSocket."""
    if headers.get(b"upgrade", b"").lower() != b"websocket":
        text = "A session is a WebSocket connection: connect with wss://, or ws://."
        raise BadCall(text, status=426, code="upgrade_required")
    if headers.get(b"sec-websocket-version") != b"13":
        text = "Only version 13 of the WebSocket protocol is spoken."
        raise BadCall(text, status=426, code="upgrade_required")
    if not websocket.is_key(headers.get(b"sec-websocket-key", b"").decode("latin-1")):
        raise BadCall("The WebSocket handshake has no proper Sec-WebSocket-Key.")


def asked(call: Call, wish: Wish, key: bytes) -> RawHeaders:
    """The headers of the handshake with an upstream. No extension is asked for: what is compressed
    could not be read."""
    headers = [
        *wire_headers.for_upstream(call.headers, "chat"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", key),
    ]
    offered = realtime.for_upstream(wish.offered)
    if offered:
        headers.append((b"sec-websocket-protocol", ", ".join(offered).encode("latin-1")))
    return headers


def judged(answer: Answer, accept: bytes, call: Call) -> End:
    """The upstream's end, where it let the session in.

    Raises: BadCall for the client's mistake, UpstreamError for a failure of the upstream.
    """
    headers = dict(answer.headers)
    if answer.end is not None:
        if headers.get(b"sec-websocket-accept", b"").strip() == accept and (
            b"sec-websocket-extensions" not in headers
        ):
            return answer.end
        answer.end.abort()
        raise BadReply("The upstream's WebSocket handshake is not right.")
    if answer.status < 400:
        text = f"The upstream answered {answer.status} where a WebSocket was asked for."
        raise BadReply(text)
    verdict = judge(
        "chat", "generate", answer.status, answer.headers, answer.body, now=call.started_at
    )
    if verdict.retry is not None:
        raise verdict.retry
    said = FORMATS["chat"].reply_usage(answer.body, "generate").error
    text = said or f"The upstream declined the session with status {answer.status}."
    raise BadCall(text, status=answer.status, code=f"upstream_{answer.status}")


def agreed(call: Call, wish: Wish, answered: RawHeaders) -> RawHeaders:
    """The headers of the client's 101."""
    key = headers_of(call)[b"sec-websocket-key"]
    chosen = dict(answered).get(b"sec-websocket-protocol", b"").decode("latin-1").strip()
    headers = [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", websocket.accept_of(key)),
    ]
    protocol = realtime.agreed(wish.offered, chosen)
    if protocol:
        headers.append((b"sec-websocket-protocol", protocol.encode("latin-1")))
    return headers
