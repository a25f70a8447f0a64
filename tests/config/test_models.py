"""The models of an upstream: names, wildcards, renamings, and what is particular to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.document import Source, Wrong, root
from relayd.config.models import model_name, models, rules
from relayd.model import ModelRule, Timeouts

USUAL = Timeouts(1.0, 2.0, 3.0, 4.0)


def read(text: str) -> tuple[tuple[ModelRule, ...], list[str]]:
    """The rules of `models: <text>`, and the problems in it."""
    source = Source(Path("/etc"), {})
    place = root(f"models: {text}", source).members()["models"]
    found = rules(place.take(models) or (), USUAL)
    return found, [f"{problem.path}: {problem.message}" for problem in source.problems]


def problems(text: str) -> list[str]:
    return read(text)[1]


def test_models_are_names_wildcards_and_renamings() -> None:
    assert read("[a, 'b-*', '*']") == ((ModelRule("a"), ModelRule("b-*"), ModelRule("*")), [])
    assert read("{'openai/*': '*', a: a}") == ((ModelRule("openai/*", "*"), ModelRule("a")), [])


def test_what_is_no_model_is_refused() -> None:
    assert problems("[]")[0].startswith("models: names no model")
    assert problems("{}")[0].startswith("models: names no model")
    assert problems("[a, a]") == ["models[1]: 'a' stands here twice"]
    assert problems("{a: 'b*'}")[0].startswith("models.a: has more wildcards")
    assert problems("{a: {name: 'b*'}}")[0].startswith("models.a.name: has more wildcards")
    assert "is not the name of a model" in problems("['a b']")[0]
    assert "is not the name of a model" in problems("{'': x}")[0]
    assert problems("gpt-*")[0].startswith("models: expected a section")
    assert problems("[{a: b}]") == ["models[0]: expected a single value, found a section"]
    with pytest.raises(Wrong, match="is not the name of a model"):
        model_name("x" * 257)


def test_a_section_says_what_is_particular_to_a_model() -> None:
    found, faults = read("{a: {name: b, cost: 0.25, timeouts: {first_byte: 9s}}, c: {cost: 0}}")

    assert faults == []
    assert found == (
        ModelRule("a", "b", Timeouts(1.0, 9.0, 3.0, 4.0), 0.25),
        ModelRule("c", None, None, 0.0),
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{cost: -1}", "models.a.cost: must be between 0 and 1e+06"),
        ("{cost: free}", "models.a.cost: 'free' is not a number such as 2 or 0.5"),
        ("{timeouts: {stall: 0}}", "models.a.timeouts.stall: must be between 0.001 and"),
        ("{timeouts: {stal: 1}}", "models.a.timeouts.stal: unknown name; did you mean 'stall'?"),
        ("{names: b}", "models.a.names: unknown name; did you mean 'name'?"),
        ("", "models.a: has no value: give one, or leave the line out"),
    ],
)
def test_a_wrong_line_of_a_model_is_named_with_its_path(section: str, message: str) -> None:
    (fault,) = problems(f"{{a: {section}}}")

    assert fault.startswith(message)
