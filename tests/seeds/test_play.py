"""A restated request is sent as the printed command would send it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from benchmarks.processes import free_port
from benchmarks.seeds.play import PICTURE, NoAnswer, form_bytes, play
from benchmarks.seeds.printed import Promise, Seed
from relayd.demo.form import parse_form
from tests.demo.serving import Serving


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    serving = Serving(asyncio.new_event_loop, "the-key")
    yield serving
    serving.stop()


def test_the_key_and_the_body_are_put_in(served: Serving) -> None:
    headers = {"Authorization": "Bearer <key>", "Content-Type": "application/json"}
    body = {"model": "demo", "prompt": "Hi"}
    seed = Seed("n", "000", "", "/v1/completions", Promise(), headers=headers, body=body)
    assert play(seed, seed.path, served.url, "the-key").status == 200
    assert play(seed, seed.path, served.url, "no-key").status == 401


def test_a_form_is_one_that_is_read(served: Serving) -> None:
    body = form_bytes({"model": "m", "image": "@input.png"})
    form = parse_form("multipart/form-data; boundary=------------------------relayd-seeds", body)
    assert form.fields == {"model": "m"}
    assert (form.files[0].filename, form.files[0].data) == ("input.png", PICTURE)
    headers = {"Authorization": "Bearer <key>"}
    asked = {"model": "demo-image", "prompt": "x", "image": "@input.png"}
    seed = Seed("n", "0", "", "/v1/images/edits", Promise(), headers=headers, form=asked)
    assert play(seed, seed.path, served.url, "the-key").status == 200


def test_nobody_there_is_no_answer() -> None:
    seed = Seed("n", "000", "", "/", Promise(), method="GET")
    with pytest.raises(NoAnswer):
        play(seed, "/", f"http://127.0.0.1:{free_port()}", "")
