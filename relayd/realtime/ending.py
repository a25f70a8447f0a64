"""How a realtime session ends: by whom, with which code, and what its sides are told of it."""

from __future__ import annotations

import secrets
from typing import Literal, NamedTuple

from relayd.errors import RelayError
from relayd.wire import realtime, websocket

NO_FRAME = 1006  # how RFC 6455 calls an end without a close frame


class Over(RelayError):
    """The session has lasted long enough. Nobody is to blame."""

    outcome = "ok"
    default_status = 400
    default_code = "session_expired"


class Ending(NamedTuple):
    """How a session ended: by whom, with which code, and what is wrong, if anything is."""

    by: Literal["client", "upstream", "relay"]
    code: int
    problem: RelayError | None = None


def shutting_down() -> Ending:
    """How a session ends that relayd does not want to wait for."""
    exc = Over("relayd is shutting down.", status=503, code="shutting_down")
    return Ending("relay", websocket.GOING_AWAY, exc)


def last_words(ending: Ending, event: str) -> bytes:
    """What the client is told: an error event in the API's words, and a close frame.

    Arguments:
        event: the error event's id; empty where no message may begin, and it hears the code alone.
    """
    problem = ending.problem
    reason = "" if problem is None else problem.code
    last = websocket.close_frame(ending.code, reason)
    if problem is None or not event:
        return last
    return websocket.text_frame(realtime.error_event(problem, event)) + last


def farewell() -> bytes:
    """What an upstream is told: that the client is gone."""
    return websocket.close_frame(websocket.GOING_AWAY, "", secrets.token_bytes(4))
