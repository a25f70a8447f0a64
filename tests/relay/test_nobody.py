"""Nobody: takes everything, wants nothing, holds nothing back."""

from __future__ import annotations

from relayd.relay.nobody import NO_CLIENT, NO_OWNER


def test_a_client_that_is_gone_takes_a_reply_and_never_holds_it_back() -> None:
    resumed: list[bool] = []
    NO_CLIENT.start(200, [(b"content-type", b"text/plain")], None)
    NO_CLIENT.on_drain(lambda: resumed.append(True))

    assert NO_CLIENT.write(b"x" * 10**7) is False
    NO_CLIENT.abort()
    assert resumed == []


def test_the_owner_of_an_exchange_that_ended_wants_nothing_and_changes_nothing() -> None:
    headers = [(b"x-a", b"1")]

    assert NO_OWNER.claim(200) is False
    assert NO_OWNER.stream_headers(headers) == headers
    assert NO_OWNER.first_error(b'{"error": {}}') is None
