"""The restated requests are read into records, and a wrong line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.seeds.checks import SHAPES
from benchmarks.seeds.printed import SNIPPETS, Seed, load
from benchmarks.seeds.stage import OWNERS


def test_every_seed_can_be_played() -> None:
    for seed in load():
        assert seed.promise.shape + ("_stream" if seed.promise.stream else "") in SHAPES
        assert seed.key in {*OWNERS, "bad"}
        assert not seed.snippet or (SNIPPETS / seed.snippet).exists()


def test_other_models_are_asked_besides_the_one_that_is_printed() -> None:
    found = [seed for seed in load() if seed.model]
    assert found
    for seed in found:
        printed, *others = seed.paths()
        assert printed == seed.path
        assert "(or other models)" in printed
        assert not any("(" in path for path in others)
        assert len(others) == len(seed.model)


def test_a_request_without_a_body_is_a_get_unless_it_says_otherwise() -> None:
    methods = {seed.path: seed.method for seed in load()}
    assert methods["/api/v1/credits"] == methods["/v1/models"] == "GET"
    assert methods["/v1/images/edits"] == "POST"


@pytest.mark.parametrize(
    "line",
    [
        "{page: '0', printed: x, path: /, promise: {}}",
        "{name: n, page: '0', printed: x, path: /, promise: {stauts: 1}}",
        "{name: n, page: '0', printed: x, path: /, colour: red, promise: {}}",
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "requests.yaml"
    file.write_text(f"- {line}\n")
    with pytest.raises(ValueError, match=r"name|stauts|colour"):
        load(file)


def test_a_seed_of_a_file_is_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "requests.yaml"
    file.write_text(
        "- {name: n, page: '0', printed: x, path: /p, promise: {status: 5xx, pixels: [1, 2]}}"
    )
    (seed,) = load(file)
    assert isinstance(seed, Seed)
    assert (seed.promise.status, seed.promise.pixels) == ("5xx", (1, 2))
    assert seed.paths() == ["/p"]
