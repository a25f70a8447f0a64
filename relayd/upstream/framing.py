"""What the head of a reply says of the body: where it ends, and whether it comes compressed."""

from __future__ import annotations

from relayd.errors import BadReply
from relayd.upstream.inflate import Inflating, inflating_of
from relayd.upstream.sink import RawHeaders

MAX_HEAD = 64 * 1024
_COMPRESSED = (b"content-length", b"content-encoding")


def check_size(status: int, headers: RawHeaders) -> None:
    """Look closer at a head where more than MAX_HEAD came until now: the first bytes of the body
    may be among that. Raises BadReply where it is too large.

    Arguments:
        status: 0 as long as the head has not ended.
    """
    if not status or sum(len(name) + len(value) for name, value in headers) > MAX_HEAD:
        raise BadReply("The upstream's response headers are too large.")


def framing(status: int, headers: RawHeaders) -> tuple[bool, Inflating | None, RawHeaders]:
    """How the body comes, by RFC 9112 6.3. Raises BadReply for one that nobody here can decode.

    Returns: whether the head says where the body ends, else the end of the connection is that of
        it; what decodes it, None where it comes as it is; the headers that hold for the body once
        it is decoded.
    """
    has_end, inflating = status in (204, 304), None
    for name, value in headers:
        if name == b"content-length":
            has_end = True
        elif name == b"transfer-encoding":
            has_end = has_end or b"chunked" in value.lower()
        elif name == b"content-encoding":
            inflating = inflating_of(value)
    if inflating is not None:  # encoding and length are those of the compressed body
        headers = [pair for pair in headers if pair[0] not in _COMPRESSED]
    return has_end, inflating, headers
