"""Heads of Gemini requests: the path tells, the body is touched only where it must be."""

from __future__ import annotations

import orjson
import pytest

from relayd.errors import BadCall
from relayd.wire.conversation import conversation_of
from relayd.wire.gemini.request import read_head
from relayd.wire.head import outgoing
from relayd.wire.paths import Target, locate


def target(verb: str = "generateContent", model: str = "a") -> Target:
    found = locate("POST", f"/v1beta/models/{model}:{verb}", "")
    assert isinstance(found, Target)
    return found


def sent(body: bytes, verb: str = "generateContent") -> bytes:
    return b"".join(outgoing(read_head(body, target(verb)), "up"))


def test_model_and_streaming_come_from_the_path() -> None:
    body = b'{"contents":[{"role":"user","parts":[{"text":"\\"system\\""}]}],"t":1.0}'
    head = read_head(body, target("streamGenerateContent"))
    assert (head.model, head.stream, head.asked_usage) == ("a", True, True)
    assert outgoing(head, "up")[0] is body


@pytest.mark.parametrize("model", ["", "..", "a/../b", "a//b", "./a", "a%00"])
def test_a_path_without_a_model_name_is_refused(model: str) -> None:
    with pytest.raises(BadCall) as caught:
        read_head(b"{}", Target("gemini", "generate", model.replace("%00", "\x00"), False))
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("verb", "body", "expected"),
    [
        ("embedContent", b'{"model":"models/a","content":1}', b'{"model":"models/up","content":1}'),
        (
            "batchEmbedContents",
            b'{"requests":[{"model":"models/a"}, {"model" : "b"},{},3]}',
            b'{"requests":[{"model":"models/up"}, {"model" : "up"},{},3]}',
        ),
        (
            "countTokens",
            b'{"generateContentRequest":{"model":"models/a","contents":[]}}',
            b'{"generateContentRequest":{"model":"models/up","contents":[]}}',
        ),
        ("generateContent", b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"up"}'),
        ("generateContent", b'{"contents":[{"role":"model"}]}', b'{"contents":[{"role":"model"}]}'),
        ("generateContent", b'{"requests":"model"}', b'{"requests":"model"}'),
    ],
)
def test_the_body_is_renamed_like_the_path(verb: str, body: bytes, expected: bytes) -> None:
    assert sent(body, verb) == expected


S = b'{"role":"system","parts":[{"text":"s"}]}'
T = b'{"role":"system","parts":{"text":"t"}}'
U = b'{"parts":[{"text":"u", "n":1.0}]}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"contents":[%b, %b],"x":1}' % (S, U),
            b'{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[%b],"x":1}' % U,
        ),
        (
            b'{"contents":[%b, %b , %b]}' % (U, S, T),
            b'{"systemInstruction":{"parts":[{"text":"s"},{"text":"t"}]},"contents":[%b]}' % U,
        ),
        (
            b'{"contents":[%b,%b,%b,%b]}' % (S, U, T, U),
            b'{"systemInstruction":{"parts":[{"text":"s"},{"text":"t"}]},"contents":[%b,%b]}'
            % (U, U),
        ),
        (
            b'{"systemInstruction":{"role":"user","parts":[{"text":"i"}]},"contents":[%b,%b]}'
            % (S, U),
            b'{"systemInstruction":{"parts":[{"text":"i"},{"text":"s"}]},"contents":[%b]}' % U,
        ),
        (
            b'{"contents":[%b,%b],"system_instruction":"i"}' % (S, U),
            b'{"contents":[%b],"system_instruction":{"parts":[{"text":"i"},{"text":"s"}]}}' % U,
        ),
        (
            b'{"contents":[%b,%b],"systemInstruction":null}' % (S, U),
            b'{"contents":[%b],"systemInstruction":{"parts":[{"text":"s"}]}}' % U,
        ),
        (
            b'{"contents":[{"role":"system"},{"role":"system","parts":["a",3]},%b]}' % U,
            b'{"systemInstruction":{"parts":[{"text":"a"}]},"contents":[%b]}' % U,
        ),
    ],
)
def test_system_turns_are_hoisted_and_every_other_byte_is_kept(
    body: bytes, expected: bytes
) -> None:
    assert sent(body) == expected
    orjson.loads(expected)


@pytest.mark.parametrize("contents", [b"[%b]" % S, b"[%b,%b]" % (S, S), S])
def test_a_request_of_system_turns_alone_becomes_the_users(contents: bytes) -> None:
    body = b'{"contents":%b}' % contents
    assert sent(body) == body.replace(b'"system"', b'"user"')


def test_a_bare_count_has_no_instructions_and_counts_system_turns_as_the_users() -> None:
    body = b'{"contents":[%b,%b]}' % (S, U)
    assert sent(body, "countTokens") == body.replace(b'"system"', b'"user"')


def test_a_nested_request_is_hoisted_where_it_is() -> None:
    body = b'{"generateContentRequest":{"model":"models/a","contents":[%b,%b]}}' % (S, U)
    assert sent(body, "countTokens") == (
        b'{"generateContentRequest":{"systemInstruction":{"parts":[{"text":"s"}]},'
        b'"model":"models/up","contents":[%b]}}' % U
    )


@pytest.mark.parametrize(
    "body", [b'{"contents":"system","x":"system"}', b'{"contents":[3,"system"]}']
)
def test_what_only_looks_like_a_system_turn_is_left_alone(body: bytes) -> None:
    assert sent(body) == body


def test_an_embedding_has_no_turns() -> None:
    body = b'{"content":{"role":"system"},"contents":[{"role":"system"}]}'
    assert sent(body, "embedContent") == body


def test_only_what_generates_belongs_to_a_conversation() -> None:
    body = b'{"contents":[{"parts":[{"text":"x"}]}],"cachedContent":"cachedContents/1"}'
    for verb in ("generateContent", "streamGenerateContent"):
        named = conversation_of(read_head(body, target(verb)))
        assert named == b"cachedContent=cachedContents/1"
    for verb in ("countTokens", "embedContent"):
        assert conversation_of(read_head(body, target(verb))) == b""


@pytest.mark.parametrize(
    ("body", "most", "choices"),
    [
        (b"{}", None, 1),
        (b'{"generationConfig":{"maxOutputTokens":50,"candidateCount":2}}', 50, 2),
        (b'{"generation_config":{"max_output_tokens":50,"candidate_count":2}}', 50, 2),
        (b'{"generationConfig":[]}', None, 1),
        (b'{"generationConfig":{}}', None, 1),
    ],
)
def test_the_output_that_is_asked_for_is_known(body: bytes, most: int | None, choices: int) -> None:
    head = read_head(body, Target("gemini", "generate", "m", False))
    assert (head.max_output, head.choices) == (most, choices)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"generationConfig" : {"imageConfig":{"aspectRatio":"1:1", "imageSize" : "2k"}}}',
            b'{"generationConfig" : {"imageConfig":{"aspectRatio":"1:1", "imageSize" : "2K"}}}',
        ),
        (
            b'{"generation_config":{"image_config":{"image_size":"4k"}}}',
            b'{"generation_config":{"image_config":{"image_size":"4K"}}}',
        ),
        (
            b'{"generationConfig":{"image_config":{"imageSize":"1k"},"imageConfig":{"a":"1k"}}}',
            b'{"generationConfig":{"image_config":{"imageSize":"1K"},"imageConfig":{"a":"1k"}}}',
        ),
        (
            b'{"contents":[%b,%b],"generationConfig":{"imageConfig":{"imageSize":"2k"}}}' % (S, U),
            b'{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[%b],'
            b'"generationConfig":{"imageConfig":{"imageSize":"2K"}}}' % U,
        ),
    ],
)
def test_a_pictures_size_has_a_capital_letter_and_every_other_byte_is_kept(
    body: bytes, expected: bytes
) -> None:
    """wire-formats, trap 158"""
    assert sent(body) == expected


@pytest.mark.parametrize(
    "config",
    [
        b"null",
        b'{"imageConfig":"2k"}',
        b'{"imageConfig":{"imageSize":2}}',
        b'{"imageConfig":{"imageSize":"2K"}}',
        b'{"imageConfig":{"imageSize":"512"}}',
        b'{"imageConfig":{"imageSize":"look"}}',
    ],
)
def test_any_other_size_is_as_it_was(config: bytes) -> None:
    body = b'{"generationConfig":%b}' % config
    assert outgoing(read_head(body, target()), "up")[0] is body
