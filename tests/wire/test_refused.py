"""What an upstream's refusal is in the client's words."""

from __future__ import annotations

import pytest

from relayd.wire.refused import refusal, unreadable


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "No."}}', "No."),
        (b'{"error": "No."}', "No."),
        (b'[{"error": {"message": "No."}}]', "No."),
        (b'{"detail": "No."}', "No."),
        (b'{"message": "No."}', "No."),
        (b"no", "The upstream refused it with 400."),
        (b"{}", "The upstream refused it with 400."),
        (b'{"error": {"message": "' + b"n" * 999 + b'"}}', "n" * 300),
    ],
)
def test_a_refusal_of_any_shape_has_a_message_of_bounded_length(body: bytes, message: str) -> None:
    """wire-formats, trap 144"""
    told = refusal(400, body, "chat")
    assert (told.message, told.code, told.status) == (message, "invalid_request", 400)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "Too much.", "code": "context_length_exceeded"}}',
        b'{"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}',
        b'{"error": {"message": "It exceeds the context window."}}',
        b'{"error": {"message": "The count (9) exceeds the maximum number of tokens allowed (8)"}}',
    ],
)
def test_a_prompt_that_is_too_long_has_the_code_that_clients_look_for(body: bytes) -> None:
    assert refusal(400, body, "chat").code == "context_length_exceeded"
    assert "prompt is too long" in refusal(400, body, "messages").message


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"error": {"code": "invalid_encrypted_content"}}', True),
        (400, b'{"error": {"message": "Thought signature is not valid"}}', True),
        (400, b'{"error": {"message": "missing a thought_signature in functionCall"}}', True),
        (400, b'{"error": {"message": "Invalid `signature` in `thinking` block"}}', True),
        (400, b'{"error": {"message": "thinking is not supported"}}', False),
        (422, b"invalid_encrypted_content", False),
        (200, b"invalid_encrypted_content", False),
    ],
)
def test_that_state_is_unreadable_is_told_by_its_words(
    status: int, body: bytes, expected: bool
) -> None:
    assert unreadable(status, body) is expected
