"""The command line: parse arguments, call, print. No decision is made here.

relayd serve      run the daemon
relayd demo       run it with the embedded fake provider and show it working
relayd check      report every problem of a configuration
relayd key … account … group … token … ledger … prices … upstream … clients …
                  alerts … usage, status, top
                  all that an operator has        (`admin` lists them)
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from relayd import __version__
from relayd.cli import admin
from relayd.store.refusals import StoreError

if TYPE_CHECKING:
    from relayd.config.config import Config
    from relayd.daemon.daemon import Daemon
    from relayd.model import UpstreamSpec

CONFIG_PLACES = ("config.yaml", "/etc/relayd/config.yaml")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relayd")
def main() -> None:
    """A self-hosted relay for AI APIs."""


admin.register(main)
config_option = click.option(
    "--config",
    "config_path",
    envvar="RELAYD_CONFIG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The configuration file.  [default: ./config.yaml, /etc/relayd/config.yaml]",
)


def configuration(config_path: Path | None) -> tuple[Path, Config]:
    """The file that is to be used, and what it says; the process ends where it has problems."""
    from relayd.config.config import ConfigProblems, load

    path = find_config(config_path)
    try:
        return path, load(path, os.environ)
    except ConfigProblems as exc:
        fail(f"{path} has problems:\n{exc}")


@main.command()
@config_option
def serve(config_path: Path | None) -> None:
    """Run the daemon until SIGTERM; SIGHUP reloads the configuration."""
    from relayd import logs
    from relayd.daemon.daemon import Daemon
    from relayd.daemon.process import open_standard_streams

    open_standard_streams()
    path, config = configuration(config_path)
    told = logs.set_up(
        config.logs.format,
        logging.getLevelNamesMapping()[config.logs.level.upper()],
        journald=logs.is_journal(os.environ, sys.stderr),
    )

    async def run() -> None:
        daemon = Daemon(config, path, os.environ, logs=told)
        daemon.take_signals()
        await start(daemon)
        announce(daemon, config.left_out)
        await daemon.run()

    try:
        run_loop(run())
    finally:
        told.close()


@main.command()
@config_option
def check(config_path: Path | None) -> None:
    """Report every problem of a configuration, with path and line; exit 1 if there is one."""
    from relayd.cli.prices import summary

    path, config = configuration(config_path)
    click.echo(f"{path} is good.")
    click.echo(f"  listen    {', '.join(map(str, config.listen))}")
    click.echo(f"  database  {config.database}")
    special = counted(len(config.routing.models), "rule") if config.routing.models else "no rules"
    click.echo(f"  strategy  {config.routing.strategy}, {special} for single models")
    click.echo(f"  prices    {summary(config)}")
    click.echo(f"  timezone  {config.timezone}")
    width = max((len(spec.name) for spec in config.upstreams), default=0)
    for spec in config.upstreams:
        click.echo(f"  upstream  {spec.name:<{width}}  {'  '.join(described(spec))}")
    if config.demo_answers:
        click.echo("  upstream  the embedded demo provider")
    if config.left_out:
        click.echo(f"  left out, because their key is empty: {', '.join(config.left_out)}")
    if not config.upstreams and not config.demo_answers:
        fail("no upstream is left: nothing could be answered")


@main.command()
@click.option("--listen", default="127.0.0.1:8080", show_default=True, help="Where to listen.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line and serve; for scripts.")
@click.option("--once", is_flag=True, help="Show the answers, then exit.")
def demo(listen: str, as_json: bool, once: bool) -> None:
    """Run relayd with its embedded fake provider and a throw-away database. No network needed."""
    from relayd import logs
    from relayd.cli.demo import run as run_demo
    from relayd.daemon.process import open_standard_streams

    open_standard_streams()
    told = logs.set_up(level=logging.WARNING if as_json else logging.INFO)
    try:
        run_loop(run_demo(listen, as_json=as_json, once=once))
    finally:
        told.close()


def described(spec: UpstreamSpec) -> list[str]:
    """What `check` says of an upstream: where, with how many keys, which models; weight and tier
    where they are not the usual ones."""
    keys = counted(len(spec.keys), "key") if any(key.secret for key in spec.keys) else "no key"
    ranks = {"tier": spec.tier, "weight": spec.weight}
    models = ", ".join(rule.pattern for rule in spec.models[:4])
    more = f", {len(spec.models) - 4} more" if len(spec.models) > 4 else ""
    return [
        ", ".join(spec.base_urls),
        ", ".join([keys, *(f"{name} {rank}" for name, rank in ranks.items() if rank != 1)]),
        models + more,
    ]


def counted(n: int, noun: str) -> str:
    """`1 key`, `2 keys`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def find_config(given: Path | None) -> Path:
    """The configuration file to use, or an end with a clear message."""
    if given is not None:
        if not given.is_file():
            fail(f"{given} does not exist")
        return given
    for place in map(Path, CONFIG_PLACES):
        if place.is_file():
            return place
    fail(f"no configuration found: looked for {' and '.join(CONFIG_PLACES)}; give --config")


def fail(message: str) -> NoReturn:
    """End with one clear message on stderr."""
    click.echo(f"relayd: {message}", err=True)
    sys.exit(1)


async def start(daemon: Daemon) -> None:
    """Start, or end with one clear message."""
    try:
        await daemon.start()
    except StoreError as exc:
        fail(f"cannot start: {exc}")
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            places = " or ".join(map(str, daemon.config.listen))
            fail(f"cannot start: {places} is already in use; choose another `listen`")
        fail(f"cannot start: {exc.strerror or exc}")


def announce(daemon: Daemon, left_out: tuple[str, ...]) -> None:
    """Say what runs, for the operator's log."""
    from relayd.lines import say

    words = f"relayd {__version__} listens on {', '.join(daemon.addresses)}"
    say(logging.INFO, words, upstreams=daemon.upstreams or "none")
    if left_out:
        say(logging.INFO, "left out, because their key is empty", upstreams=left_out)


def run_loop(work: Coroutine[None, None, None]) -> None:
    """Run on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
