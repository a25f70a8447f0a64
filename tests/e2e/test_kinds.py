"""A group without pictures gets none, whichever way they are asked for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.conftest import Daemons
from tests.support.customers import Customer
from tests.support.raw_client import Reply
from tests.support.running import Running

CONFIG = """\
demo: "off"
groups:
  talkers: {endpoints: [chat]}
  quiet: {endpoints: [chat], hide_endpoints: true}
  painters: {endpoints: [chat, images]}
upstreams:
  nowhere:
    dialect: relay
    key: k
    base_url: "http://127.0.0.1:9"
    models: {alias: gemini-2.5-flash-image, gpt-image-2: gpt-image-2, plain: plain, other: plain}
routing:
  retries: {attempts: 1}
  breaker: {enabled: off}
  models: {other: {fallbacks: [gpt-image-2]}}
"""
PARTS = {"contents": [{"role": "user", "parts": [{"text": "draw a cat"}]}]}
MESSAGES = {"messages": [{"role": "user", "content": "draw a cat"}]}
DRAWN = {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}
TEXT = {"generationConfig": {"responseModalities": ["TEXT"]}}
SPOKEN = {"generationConfig": {"responseModalities": ["AUDIO"]}}
GEMINI = "/v1beta/models/{}:generateContent"


@pytest.fixture(scope="module")
def relay(start: Daemons) -> Running:
    return start(CONFIG)


def asked(relay: Running, group: str, path: str, document: dict[str, Any]) -> Reply:
    return relay.ask(path, orjson.dumps(document), Customer(relay, group).auth)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v1/images/generations", {"model": "alias", "prompt": "a cat"}),
        (GEMINI.format("alias"), PARTS),
        (GEMINI.format("alias"), PARTS | DRAWN),
        (GEMINI.format("plain"), PARTS | DRAWN),
        (GEMINI.format("gpt-image-2"), PARTS | TEXT),
        ("/v1/chat/completions", {"model": "alias", **MESSAGES}),
        ("/v1/chat/completions", {"model": "plain", **MESSAGES, "modalities": ["text", "image"]}),
        ("/v1/messages", {"model": "alias", "max_tokens": 9, **MESSAGES}),
        (
            "/v1/responses",
            {"model": "plain", "input": "draw", "tools": [{"type": "image_generation"}]},
        ),
    ],
)
def test_pictures_are_for_those_whose_group_has_them(
    relay: Running, path: str, document: dict[str, Any]
) -> None:
    refused = asked(relay, "talkers", path, document)
    assert refused.status == 403
    assert "may not be used for images" in refused.document["error"]["message"]
    assert asked(relay, "quiet", path, document).status == 404
    assert asked(relay, "painters", path, document).status not in (403, 404)


def test_sound_is_for_those_whose_group_has_it(relay: Running) -> None:
    for group in ("talkers", "painters"):
        assert asked(relay, group, GEMINI.format("plain"), PARTS | SPOKEN).status == 403


def test_who_only_talks_is_served_and_a_fallback_of_another_kind_left_out(relay: Running) -> None:
    for path, document in (
        (GEMINI.format("plain"), PARTS),
        (GEMINI.format("alias"), PARTS | TEXT),
        ("/v1/chat/completions", {"model": "other", **MESSAGES}),
    ):
        answer = asked(relay, "talkers", path, document)
        assert answer.status == 502, answer.body
        assert relay.row(answer.headers["x-request-id"]).upstream == "nowhere"


def test_what_a_group_may_not_do_stands_in_no_list(relay: Running) -> None:
    def listed(group: str) -> list[str]:
        document = Customer(relay, group).get("/v1/models").document
        return [one["id"] for one in document["data"]]

    assert listed("talkers") == ["plain", "other"]
    assert listed("painters") == ["alias", "gpt-image-2", "plain", "other"]
