"""The commands about prices: take over a price map, and see what a model costs by the price list.

They read the configuration and its price file; the daemon is not asked. Money is dollars: for a
million tokens or characters, or for one request, picture, minute or search.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import orjson

from relayd.cli import tables
from relayd.cli.store import CONFIG_PLACES, Failed
from relayd.money import shown
from relayd.policy.price_map import PriceMap, read_map
from relayd.policy.prices import Price, PriceBook, Rates

if TYPE_CHECKING:
    from relayd.config.config import Config

LARGEST_MAP = 32 * 2**20  # bytes
SHOWN = 5  # names and reasons in a report
_NUMBERS = ("input", "output", "cache read", "write 5m", "write 1h", "request")
# What the prices that are not for tokens are for.
_FOR = {"image": "each picture", "minute": "each minute of audio", "search": "each search"}

config_option = click.option("--config", metavar="PATH", help="The configuration.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


@click.group("prices")
def prices_group() -> None:
    """See what models cost; take over a price map."""


@prices_group.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--output", type=click.Path(path_type=Path), help="Write here, not to stdout.")
@click.option("--replace", is_flag=True, help="Write over a file that is there.")
@click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME",
    help="Only models of this litellm_provider, without it before their names; can be repeated.",
)
def prices_import(
    file: BinaryIO, output: Path | None, replace: bool, providers: tuple[str, ...]
) -> None:
    """Turn a price map in LiteLLM's JSON form into a price list for `prices_file`."""
    data = file.read(LARGEST_MAP + 1)
    name = getattr(file, "name", "the map")
    if len(data) > LARGEST_MAP:
        raise Failed(f"{name} is over {LARGEST_MAP // 2**20} MiB")
    try:
        found = read_map(data, providers)
    except ValueError as error:
        raise Failed(f"{name} {error}") from None
    for line in report(found):
        click.echo(line, err=True)
    if not found.prices:
        raise Failed(f"{name} holds no price that can be used; nothing is written")
    if output is None:
        click.echo(listed(found), nl=False)
        if sys.stdout.isatty():
            click.echo("Nothing is written: `--output prices.json` writes a file to use.", err=True)
        return
    _write(output, listed(found), replace)
    click.echo(f"Written: name it in the configuration as `prices_file: {output}`.", err=True)


@prices_group.command("show")
@click.argument("model")
@config_option
@json_option
def prices_show(model: str, config: str | None, as_json: bool) -> None:
    """Show what MODEL costs, and the line of the price list that says so."""
    book = _book(config)
    line = book.line(model)
    if as_json:
        price = _price_json(line.price) if line else None
        pattern = line.pattern if line else None
        document = {"model": model, "line": pattern, "price": price, "unpriced": book.unpriced}
        tables.print_json(document)
    elif line is None:
        fate = "refused" if book.refuses else "free"
        click.echo(f"{tables.printable(model)} has no price: it is {fate}.")
    else:
        click.echo(f"{tables.printable(model)} goes by the line {line.pattern!r}.\n")
        _print_price(line.price)


@prices_group.command("list")
@config_option
@json_option
def prices_list(config: str | None, as_json: bool) -> None:
    """List the price list, in dollars for a million tokens."""
    book = _book(config)
    if as_json:
        tables.print_json({name: _price_json(line.price) for name, line in book.lines.items()})
    elif book.lines:
        columns = [tables.Column("model"), *(tables.Column(name, True) for name in _NUMBERS)]
        rows = [(name, *_cells(line.price)) for name, line in book.lines.items()]
        columns += [tables.Column("other above"), tables.Column("units", optional=True)]
        tables.print_table(columns, rows)
    else:
        fate = "refused" if book.refuses else "free"
        click.echo(f"No prices: every model is {fate}.", err=True)


def unpriced_models(config: Config) -> list[str]:
    """The names and wildcards that upstreams offer and for which no price holds as a whole."""
    book = PriceBook(config.prices, config.unpriced, config.upstreams)
    names = dict.fromkeys(rule.pattern for spec in config.upstreams for rule in spec.models)
    # A wildcard asked for as if it were a name is matched by those that match all that it does.
    return [name for name in names if book.find(name) is None]


def summary(config: Config) -> str:
    """What `check` says of prices: how many there are, and which models have none."""
    fate = "refused" if config.unpriced == "refuse" else "free"
    if not config.prices:
        return f"none: every model is {fate}"
    lines = f"{len(config.prices)} line{'s' if len(config.prices) > 1 else ''}"
    missing = unpriced_models(config)
    if not missing:
        return f"{lines}, for every model offered"
    more = f", {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
    return f"{lines}; {fate}, because no line is theirs: {', '.join(missing[:SHOWN])}{more}"


def report(found: PriceMap) -> Iterator[str]:
    """What became of a map: how much of it could be used, and why not the rest."""
    yield f"{len(found.prices)} models taken over, {len(found.left_out)} left out."
    reasons = Counter(found.left_out.values())
    for reason, count in reasons.most_common(SHOWN):
        names = [name for name, why in found.left_out.items() if why == reason]
        few = ", ".join(tables.printable(name)[:60] for name in names[:2])
        yield f"  left out: {count} {reason[:120]}, such as {few}"
    if len(reasons) > SHOWN:
        yield f"  left out: {sum(reasons.values()) - _sum(reasons)} for other reasons"
    for field, count in found.unused.most_common(SHOWN):
        yield f"  not used: {tables.printable(field)[:60]}, of {count} models"
    if len(found.unused) > SHOWN:
        yield f"  not used: {len(found.unused) - SHOWN} other fields"


def listed(found: PriceMap) -> str:
    """The price list as JSON, one model to a line."""
    lines = (
        f"  {orjson.dumps(name).decode()}: {orjson.dumps(line).decode()}"
        for name, line in found.prices.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _sum(reasons: Counter[str]) -> int:
    return sum(count for _, count in reasons.most_common(SHOWN))


def _write(path: Path, text: str, replace: bool) -> None:
    """All of it or nothing: a daemon may read the file at any moment."""
    if path.exists() and not replace:
        raise Failed(f"{path} is there already: give --replace to write over it")
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", delete=False) as file:
            file.write(text)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
        Path(file.name).chmod(mode)
        Path(file.name).replace(path)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from None


def _book(config: str | None) -> PriceBook:
    from relayd.config.config import ConfigProblems, load_prices

    given = config or os.environ.get("RELAYD_CONFIG")
    path = given or next((place for place in CONFIG_PLACES if Path(place).exists()), None)
    if path is None:
        raise click.UsageError("no configuration found: give --config PATH")
    try:
        return load_prices(Path(path), os.environ)
    except ConfigProblems as problems:
        raise Failed(f"{path} has problems:\n{problems}") from None


def _dollars(rate: int) -> str:
    """A rate in pico-dollars a token, as dollars for a million tokens."""
    return shown(rate * 10**6)


def _cells(price: Price) -> tuple[str, ...]:
    rates = price.rates
    token = (rates.input, rates.output, rates.cache_read, rates.cache_write_5m)
    request = shown(price.request) if price.request else "-"
    above = ", ".join(tables.count(above) for above, _ in price.tiers)
    units = ", ".join(f"{name} {text}" for name, text in _units(price).items())
    return *map(_dollars, (*token, rates.cache_write_1h)), request, above, units


def _units(price: Price) -> dict[str, str]:
    """The prices that are not for tokens, as far as there are any: dollars for a picture, a minute,
    a search, a million characters."""
    found = price.units._asdict() if price.units else {}
    written = {name: _dollars(n) if name == "characters" else shown(n) for name, n in found.items()}
    return {name: text for name, text in written.items() if found[name]}


def _print_price(price: Price) -> None:
    steps = [f"above {tables.count(above)}" for above, _ in price.tiers]
    columns = [tables.Column("dollars for a million tokens")]
    columns += [tables.Column(title, True) for title in ("price", *steps)]
    all_rates = [price.rates, *(rates for _, rates in price.tiers)]
    rows = [
        (name.replace("_", " "), *(_dollars(getattr(rates, name)) for rates in all_rates))
        for name in Rates._fields
    ]
    tables.print_table(columns, rows)
    if price.request:
        click.echo(f"\nand {shown(price.request)} dollars for each request")
    for name, text in _units(price).items():
        click.echo(f"\nand {text} dollars for {_FOR.get(name, 'a million characters')}")


def _price_json(price: Price) -> dict[str, object]:
    """Decimal strings, exact; all rates, also those that follow from others."""
    return {
        **_rates_json(price.rates),
        "request": shown(price.request),
        **_units(price),
        "tiers": [{"above": above, **_rates_json(rates)} for above, rates in price.tiers],
    }


def _rates_json(rates: Rates) -> dict[str, str]:
    return {name: _dollars(rate) for name, rate in rates._asdict().items()}
