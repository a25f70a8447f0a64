"""The error family: whose fault it is, is a type.

Every failure of a request is raised as one of these. The class is whose fault it is, and says which
status the client sees; which kinds another attempt may heal is listed in `policy/attempts.py`, and
`wire/<format>/reply.py` words it for its own clients. The handler has no mapping logic. Messages
are shown to clients: no secret, no path of the server, no text of a stack trace may stand in them.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, get_args

Limit = Literal["", "requests", "tokens", "concurrency", "balance", "spending"]
LIMITS: Final[tuple[Limit, ...]] = get_args(Limit)[1:]


class RelayError(Exception):
    """A request cannot be answered as asked.

    Arguments:
        message: one sentence for the client.
        status: the HTTP status, where the class leaves a choice.
        code: a machine-readable reason, in OpenAI's vocabulary where it has a word for it.
        param: the request field that is at fault, if one is.
        retry_after: seconds after which another try makes sense.
        detail: more for the operator's log, with names that the client does not get to see.
    """

    default_status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"
    outcome: ClassVar[str] = "relay_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.status = self.default_status if status is None else status
        self.code = self.default_code if code is None else code
        self.param = param
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.status} {self.code}: {self.message})"


class Refused(RelayError):
    """The caller may not do this: key, model, address, limit or balance (401 402 403 404 429).

    `limit` says which kind of limit was hit, if one was.
    """

    default_status = 401
    default_code = "invalid_api_key"
    outcome = "refused"
    limit: Limit = ""


class BadCall(RelayError):
    """The request itself is wrong: malformed, too large, of the wrong type (400 404 408 413
    415)."""

    default_status = 400
    default_code = "invalid_request"
    outcome = "bad_request"


class NotHere(BadCall):
    """One upstream cannot be asked this, because of what it is; another may. Costs it nothing: no
    rest, no retry. When no other is left, the client gets the first of these."""

    default_code = "unsupported_parameter"


class NoUpstream(RelayError):
    """The model is known, but nothing can serve it now."""

    default_status = 503
    default_code = "no_upstream"
    outcome = "no_upstream"


class AllFull(NoUpstream):
    """Those that could serve the request are at their limits; it may wait.

    Arguments:
        wait: seconds until the first of them has room as far as time decides; None where only the
            end of another request does.
    """

    default_code = "upstream_full"

    def __init__(self, message: str, *, wait: float | None, detail: str = "") -> None:
        super().__init__(message, retry_after=max(wait or 1.0, 1.0), detail=detail)
        self.wait = wait


class UpstreamError(RelayError):
    """The upstream failed."""

    default_status = 502
    default_code = "upstream_error"
    outcome = "upstream_error"

    @property
    def why(self) -> str:
        """How it failed, in relayd's own words, for the operator: what an upstream says may repeat
        a prompt or a key, and the log must hold neither."""
        return self.message


class ConnectFailed(UpstreamError):
    """No connection came about: nothing was sent, so another attempt is always safe."""

    default_code = "upstream_unreachable"


class NoAnswer(UpstreamError):
    """The request was sent; no first byte came in time, or the connection died before one."""

    default_status = 504
    default_code = "upstream_timeout"


class BadReply(UpstreamError):
    """What came back is not a reply: garbage HTTP, half a head, a body that is not what it says."""

    default_code = "upstream_bad_reply"

    @property
    def why(self) -> str:
        return self.message.partition(": ")[0]  # what follows may be its own words


class BadStatus(UpstreamError):
    """The upstream answered with a status that is its own failure (5xx, 429, 401/403 of our key).

    Arguments:
        upstream_status: the status it sent.
    """

    default_code = "upstream_status"

    def __init__(
        self,
        message: str,
        *,
        upstream_status: int,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, retry_after=retry_after)
        self.upstream_status = upstream_status

    @property
    def why(self) -> str:
        return f"It answered with status {self.upstream_status}."


class BrokenStream(UpstreamError):
    """The reply broke off after its first byte had gone to the client: never retried."""

    default_code = "upstream_broken_stream"
    outcome = "broken_stream"

    @property
    def why(self) -> str:
        return "Its reply broke off, or ended in an error."


class ClientGone(RelayError):
    """The client left before it was served. The upstream is not to blame; nobody reads the
    status."""

    default_status = 499
    default_code = "client_gone"
    outcome = "client_gone"
