"""The price list of a configuration: the section, the other file, what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.config import Config, load, load_prices
from relayd.config.document import ConfigProblems, Source, Wrong, root
from relayd.config.prices import prices
from relayd.money import DOLLAR
from relayd.policy.price_map import read_map
from relayd.policy.prices import Price, PriceLine, Rates, Units

FULL = """
gpt-x:
  {input: 2.5, output: 10, cache_read: "0.25", cache_write_5m: 3, cache_write_1h: 4.000001,
   reasoning: 12, audio_in: 40, audio_out: 80, image_in: 10, image_out: 41, request: 0.01,
   tiers: [{above: 200k, input: 5}, {above: 1M, output: 20, cache_read: 1}]}
"*": {input: 1e-2, output: 0}
"""


def read(text: str) -> tuple[tuple[PriceLine, ...], list[str]]:
    source = Source(Path("/etc"), {"RATE": "7", "WORD": "unsaid"})
    try:
        found = prices(root(text, source))
    except Wrong as wrong:
        return (), [str(wrong)]
    return found, [f"{p.line} {p.path}: {p.message}" for p in source.problems]


def config(folder: Path, text: str) -> Config:
    (folder / "config.yaml").write_text(text)
    return load(folder / "config.yaml", {})


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        config(folder, text)
    return list(map(str, caught.value.problems))


def test_every_rate_reaches_its_field_to_the_last_digit() -> None:
    found, faults = read(FULL)

    million = 10**6
    base = Rates(
        input=2_500_000,
        output=10 * million,
        cache_read=250_000,
        cache_write_5m=3 * million,
        cache_write_1h=4_000_001,
        reasoning=12 * million,
        audio_in=40 * million,
        audio_out=80 * million,
        image_in=10 * million,
        image_out=41 * million,
    )
    longer = base._replace(input=5 * million)
    longest = longer._replace(output=20 * million, cache_read=million)
    tiers = [(200_000, longer), (1_000_000, longest)]
    assert faults == []
    assert found == (
        PriceLine("gpt-x", Price(base, tiers, 10**10)),
        PriceLine("*", Price(Rates.of({"input": 10_000}))),
    )
    assert read("") == ((), [])


def test_a_tier_changes_what_follows_from_what_it_names() -> None:
    ((_, price),), faults = read("m: {input: 1, output: 2, tiers: [{above: 5, input: 3}]}")

    assert faults == []
    assert price.tiers == ((5, Rates.of({"input": 3_000_000, "output": 2_000_000})),)


def test_a_price_may_be_of_requests_alone() -> None:
    ((_, price),), faults = read("m: {request: 0.5}")

    assert faults == []
    assert price == Price(Rates(), request=5 * 10**11)


def test_what_is_not_counted_in_tokens_has_prices_of_its_own() -> None:
    found, faults = read(
        'm: {image: "0.04", minute: 0.006, characters: 15, search: 0.002}\nn: {image: 1000}'
    )

    assert faults == []
    units = Units(DOLLAR * 4 // 100, DOLLAR * 6 // 1000, 15_000_000, DOLLAR * 2 // 1000)
    assert found[0].price == Price(Rates(), units=units)
    assert found[1].price == Price(Rates(), units=Units(image=1000 * DOLLAR))


def test_variables_are_put_in_but_never_quoted() -> None:
    ((_, price),), _ = read("m: {input: '${RATE}', output: 0}")
    assert price.rates.input == 7_000_000

    _, faults = read("m: {input: '${WORD}', output: 0, request: '${WORD}'}")
    assert len(faults) == 2
    assert "unsaid" not in "".join(faults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m: {input: x, output: 1}", "1 m.input: 'x' is not a price, in dollars per million"),
        ("m: {input: .0000001, output: 1}", "1 m.input: '.0000001' is not a price"),
        ("m: {input: nan, output: 1}", "m.input: 'nan' is not a price"),
        ("m: {input: 1e400, output: 1}", "m.input: '1e400' is not a price"),
        ("m: {input: -1, output: 1}", "m.input: must be between 0 and 1000000 dollars per mill"),
        ("m: {input: 1000001, output: 1}", "m.input: must be between 0 and 1000000 dollars"),
        ("m: {input: true, output: 1}", "m.input: 'true' is not a price"),
        ("m: {input: [1], output: 1}", "m.input: expected a single value, found a list"),
        ("m: {input: , output: 1}", "m.input: has no value"),
        ("m: {input: 1, output: 1, inptu: 1}", "m.inptu: unknown name; did you mean 'input'?"),
        ("m: {output: 1}", "1 m: has no input: write `input: 0` where it is free"),
        ("m: {input: 1}", "1 m: has no output: write `output: 0` where it is free"),
        ("m: {cache_read: 1}", "1 m: has no price: give input and output, or request"),
        ("m:", "1 m: has no price: give input and output, or request"),
        ("m: 2.5", "1 m: expected a section"),
        ("m: {request: x}", "m.request: 'x' is not a price of a request, in dollars"),
        ("m: {request: -1}", "m.request: must be between 0 and 1000 dollars"),
        ("m: {request: 1001}", "m.request: must be between 0 and 1000 dollars"),
        ("m: {image: x}", "m.image: 'x' is not a price of a picture, in dollars"),
        ("m: {minute: -1}", "m.minute: must be between 0 and 1000 dollars"),
        ("m: {search: 1001}", "m.search: must be between 0 and 1000 dollars"),
        ("m: {characters: x}", "m.characters: 'x' is not a price, in dollars per million"),
        ("m: {image: 1, input: 1}", "m: has no output: write `output: 0` where it is free"),
        ("a b: {request: 1}", "1 a b: is not the name of a model"),
        ("m: {request: 1}\nm: {request: 2}", "2 m: stands here twice (first on line 1)"),
        ("[m]", "expected a section of `name: value` lines"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, message: str) -> None:
    found, faults = read(text)

    assert len(faults) == 1
    assert message in faults[0]
    assert len(found) <= 1


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ("[{above: 200q, input: 1}]", "tiers[0].above: '200q' is not a number of tokens such as"),
        ("[{above: -1, input: 1}]", "tiers[0].above: '-1' is not a number of tokens"),
        ("[{above: 0, input: 1}]", "tiers[0].above: must be between 1 and 1073741823 tokens"),
        ("[{above: 9999M, input: 1}]", "tiers[0].above: must be between 1 and"),
        ("[{input: 1}]", "tiers[0]: has no `above`: from how many tokens on it counts"),
        ("[{above: 5}]", "tiers[0]: changes no price"),
        ("[{above: 5, input: x}]", "tiers[0].input: 'x' is not a price"),
        ("[{above: 5, request: 1}]", "tiers[0].request: unknown name"),
        ("[{above: 5, input: 1}, {above: 5, input: 2}]", "tiers[1]: is not above the tier befo"),
        ("{above: 5, input: 1}", "tiers: expected a list"),
        (f"[{', '.join(['{above: 5, input: 1}'] * 17)}]", "tiers: has more than 16 tiers"),
    ],
)
def test_what_is_wrong_with_a_tier_is_said_with_its_place(tiers: str, message: str) -> None:
    _, faults = read(f"m: {{input: 1, output: 2, tiers: {tiers}}}")

    assert len(faults) == 1
    assert f"1 m.{message}" in faults[0]


def test_the_section_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"a": {"input": 1.5, "output": 2}, "b": {"request": 1}}')

    found = config(tmp_path, "prices_file: p.json\nprices: {a: {request: 2}}\n")

    assert [line.pattern for line in found.prices] == ["a", "a", "b"]
    assert found.prices[0].price.request == 2 * 10**12
    assert found.prices[1].price == Price(Rates.of({"input": 1_500_000, "output": 2_000_000}))
    assert load_prices(tmp_path / "config.yaml", {}).find("a") == found.prices[0].price


def test_the_file_may_be_yaml_too(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("# ours\nb: {request: 1}\n")

    assert [line.pattern for line in config(tmp_path, "prices_file: p.yaml").prices] == ["b"]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ('{"m": {"input": "x", "output": 1}}', ["p: m.input: 'x' is not a price, in dollars"]),
        ("\nm: {input: x, output: 1}", ["p: line 2: m.input: 'x' is not a price"]),
        ('{"m": {"input": null, "output": true}}', ["p: m.input: has no v", "p: m.output: 'True'"]),
        ("[1]", ["p: expected a section"]),
        ("5", ["p: expected a section"]),
        ("{", ["p: line 1: is not YAML"]),
        ('{"a":' * 40 + "1" + "}" * 40, ["p: is nested too deep"]),
        (
            "".join(f"m{n}: {{}}\n" for n in range(8)),
            [*(f"p: line {n}: m{n - 1}: has no price" for n in range(1, 6)), "p: and 3 more probl"],
        ),
    ],
)
def test_problems_of_the_file_are_those_of_its_line(
    tmp_path: Path, text: str, faults: list[str]
) -> None:
    (tmp_path / "p").write_text(text)

    found = problems(tmp_path, "\nprices_file: p")

    assert len(found) == len(faults)
    for line, fault in zip(found, faults, strict=True):
        assert line.startswith(f"line 2: prices_file: {fault}")


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (fault,) = problems(tmp_path, "prices_file: nowhere")

    assert "nowhere cannot be read: No such file" in fault


def test_what_import_writes_is_read_back(tmp_path: Path) -> None:
    entry = {
        "input_cost_per_token": 2.1875e-06,
        "output_cost_per_token": 1.75e-05,
        "input_cost_per_token_above_200k_tokens": 4e-06,
        "input_cost_per_request": 1e-12,
    }
    found = read_map(orjson.dumps({"m": entry})).prices
    (tmp_path / "p").write_bytes(orjson.dumps(found))

    ((name, price),) = config(tmp_path, "prices_file: p").prices

    written = {"input": 2_187_500, "output": 17_500_000}
    tiers = [(200_000, Rates.of({**written, "input": 4_000_000}))]
    assert (name, price) == ("m", Price(Rates.of(written), tiers, 1))


@given(st.integers(0, 10**12))
def test_a_rate_survives_json_and_yaml_to_the_pico(rate: int) -> None:
    text = orjson.dumps({"m": {"input": rate / 10**6, "output": 0}}).decode()

    ((_, price),), faults = read(text)

    assert faults == []
    assert price.rates.input == rate


def test_other_options_have_defaults_and_are_checked(tmp_path: Path) -> None:
    usual = config(tmp_path, "")
    assert (usual.prices, usual.unpriced, usual.timezone) == ((), "free", "UTC")
    other = config(tmp_path, "unpriced: refuse\ntimezone: Europe/Berlin")
    assert (other.unpriced, other.timezone) == ("refuse", "Europe/Berlin")

    assert problems(tmp_path, "unpriced: no\ntimezone: Berlin") == [
        "line 1: unpriced: 'no' is not one of free, refuse",
        "line 2: timezone: 'Berlin' is not a time zone such as UTC or Europe/Berlin",
    ]


def test_prices_can_be_had_where_secrets_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "prices: {m: {request: 1}}\nunpriced: refuse\nlisten: nonsense\nupstreams:\n"
        "  one: {dialect: openai, key: '${MISSING}', models: [m]}\n"
        "  two: {dialect: ollama, models: {alias: m}}\n"
    )

    found = load_prices(path, {})

    assert found.refuses
    assert found.find("m") is not None
    assert found.find("alias") == found.find("m")


def test_prices_that_are_wrong_cannot_be_had(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("prices: {m: {request: x}}\n")

    with pytest.raises(ConfigProblems, match=r"line 1: prices\.m\.request"):
        load_prices(path, {})
    path.write_text("- a list\n")
    with pytest.raises(ConfigProblems, match="expected a section"):
        load_prices(path, {})
