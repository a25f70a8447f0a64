"""`relayd clients`: how to point Claude Code, Codex, an SDK or an app at this relay.

All of it is data (`relayd.clients`); here it is printed for people, for scripts, and as the page of
the documentation, which an operator may print for the own users with the own address in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import click

from relayd import clients
from relayd.cli import tables
from relayd.cli.store import Failed
from relayd.cli.tables import Column
from relayd.clients import Client, Kind, Place, Setup
from relayd.model import FormatName

FORMATS: Final[dict[FormatName, str]] = {
    "chat": "Chat Completions",
    "responses": "Responses",
    "messages": "Anthropic Messages",
    "gemini": "Gemini",
}
KINDS: Final[dict[Kind, str]] = {
    "terminal": "In the terminal",
    "library": "Libraries",
    "app": "Apps",
    "editor": "Editors",
}
# The language of a file, for those who colour it.
_LANGUAGES: Final = {"py": "python", "mjs": "javascript", "yaml": "yaml", "toml": "toml"}
COLUMNS: Final = (
    Column("NAME"),
    Column("CLIENT"),
    Column("KIND", spare=1),
    Column("SPEAKS", spare=2, wraps=True),
    Column("PROVEN WITH", spare=3),
)
OPENING: Final = """\
# Clients

What to fill into the programs and libraries that people point at relayd. `relayd clients show NAME
--base URL --key KEY` prints the same with your address and key in it, `relayd clients docs --base
URL` this whole page; programs read it as JSON from `GET /api/clients`. The page is made from
`relayd/data/clients.yaml`: `make client-docs` renews it.

Any model can be asked for through any client: relayd translates where the model's provider speaks
another format than the client (see [translation](translation.md)). A version behind a client's name
is the one that `make programs` ran with the settings below, against a provider of each format.
"""


@click.group("clients")
def clients_group() -> None:
    """How to point a program or a library at this relay."""


def _place_options(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option(
            "--base",
            default=clients.SOME_BASE,
            envvar="RELAYD_BASE",
            metavar="URL",
            help="Where clients reach this relay.",
        ),
        click.option(
            "--key",
            default=clients.SOME_KEY,
            envvar="RELAYD_KEY",
            help="The key to fill in (RELAYD_KEY keeps it out of the shell's history).",
        ),
        click.option("--model", default="", help="The model to fill in.  [default: each its own]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


@clients_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_clients(as_json: bool) -> None:
    """All clients that there are settings for."""
    known = clients.shipped().values()
    if as_json:
        tables.print_json([clients.document(client) for client in known])
        return
    rows = [
        (client.name, client.title, client.kind, ", ".join(speaks(client)), client.proven)
        for client in known
    ]
    tables.print_table(COLUMNS, rows)


@clients_group.command("show")
@click.argument("name")
@_place_options
@click.option("--format", "format_", type=click.Choice([*FORMATS]), help="Only this way to speak.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(format_: FormatName | None, as_json: bool, name: str, **place: str) -> None:
    """The settings of one client, ready to be copied."""
    client = clients.filled(find(name), _placed(place))
    setups = [setup for setup in client.setups if format_ in (None, setup.format)]
    if not setups:
        raise Failed(f"{client.title} does not speak {format_}, only {', '.join(speaks(client))}")
    if as_json:
        told = clients.document(client)
        kept = [one for one in told["setups"] if format_ in (None, one["format"])]
        tables.print_json({**told, "setups": kept})
        return
    click.secho(client.title, bold=True)
    if client.install:
        click.echo(f"  install: {client.install}")
    for note in client.notes:
        click.echo(f"  - {note}")
    for setup in setups:
        click.echo()
        click.secho(f"# {heading(setup)}", fg="cyan")
        click.echo("\n".join(_lines(client, setup)))


@clients_group.command("docs")
@_place_options
def docs(**place: str) -> None:
    """The settings of all clients as one page of Markdown."""
    click.echo(page(_placed(place)), nl=False)


def find(name: str) -> Client:
    """The client of that name, in any spelling; Failed with the near ones."""
    known = {_bare(one): client for one, client in clients.shipped().items()}
    wanted = _bare(name)
    if wanted in known:
        return known[wanted]
    near = [client.name for one, client in known.items() if wanted and wanted in one]
    hint = f"did you mean {' or '.join(near)}?" if near else "`relayd clients list` shows all"
    raise Failed(f"no client {tables.printable(name[:100])!r}: {hint}")


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def speaks(client: Client) -> list[str]:
    """The formats that it can be set up for, each once."""
    return list(dict.fromkeys(setup.format for setup in client.setups))


def heading(setup: Setup) -> str:
    """What tells this way from the others: its title, and its format where that does not say it."""
    spoken = FORMATS[setup.format]
    if not setup.title:
        return spoken
    return setup.title if setup.title.startswith(spoken) else f"{setup.title} ({spoken})"


def variables(client: Client, setup: Setup) -> list[str]:
    """The lines that set the environment: for a shell, or for the file of a server."""
    prefix = "" if client.kind == "app" else "export "
    return [f"{prefix}{name}={value}" for name, value in (setup.env or {}).items()]


def page(place: Place) -> str:
    """The documentation's page, with an address and a key in it."""
    lines = [OPENING]
    known = [clients.filled(client, place) for client in clients.shipped().values()]
    for kind, title in KINDS.items():
        lines += [f"## {title}", ""]
        for client in known:
            if client.kind == kind:
                lines += _chapter(client)
    return "\n".join(lines).rstrip("\n") + "\n"


def _chapter(client: Client) -> Iterator[str]:
    yield f"### {client.title}" + (f" ({client.proven})" if client.proven else "")
    yield ""
    if client.install:
        yield from (f"`{client.install}`", "")
    if client.notes:
        yield from (*(f"- {note}" for note in client.notes), "")
    for setup in client.setups:
        yield from (f"**{heading(setup)}**", "")
        yield from _section(client, setup)


def _section(client: Client, setup: Setup) -> Iterator[str]:
    if setup.steps:
        yield from (*(f"{n}. {step}" for n, step in enumerate(setup.steps, 1)), "")
    if setup.fields:
        yield from ("| field | value |", "| --- | --- |")
        yield from (f"| {label} | `{value}` |" for label, value in setup.fields.items())
        yield ""
    if setup.env:
        yield from _fenced("sh", "\n".join(variables(client, setup)))
    for file in setup.files:
        language = _LANGUAGES.get(file.path.rpartition(".")[2], "json")
        yield from (f"`{file.path}`:", "", *_fenced(language, file.text))
    if setup.run:
        yield from _fenced("sh", setup.run)


def _fenced(language: str, text: str) -> tuple[str, ...]:
    return f"```{language}", text.rstrip("\n"), "```", ""


def _lines(client: Client, setup: Setup) -> Iterator[str]:
    yield from (f"  {n}. {step}" for n, step in enumerate(setup.steps, 1))
    width = max(map(len, setup.fields or ()), default=0)
    yield from (f"  {label:<{width}}  {value}" for label, value in (setup.fields or {}).items())
    yield from variables(client, setup)
    for file in setup.files:
        yield from ("", f"# in {file.path}:", file.text.rstrip("\n"))
    if setup.run:
        yield from ("", *setup.run.rstrip("\n").splitlines())


def _placed(place: dict[str, Any]) -> Place:
    try:
        return Place(**place)
    except ValueError as error:
        raise Failed(str(error)) from None
