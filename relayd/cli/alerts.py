"""`relayd alerts test`: whether alerts get to where they are sent.

The message is sent from here, once, with the same words and the same way as the daemon's: what
arrives proves the webhook's address, its form and the way through the network, not that a daemon
runs.
"""

from __future__ import annotations

import asyncio
import time

import click

from relayd.alerting import Alert, Condition, Webhook
from relayd.alerts.webhooks import deliver
from relayd.cli.settings import webhooks
from relayd.cli.store import Failed, Place, config_path

TEXT = "This is a test of relayd's alerts: nothing is wrong."


@click.group("alerts")
def alerts_group() -> None:
    """Try the webhooks that are told when something is wrong."""


@alerts_group.command("test")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--config", metavar="PATH", help="The configuration that names the webhooks.")
def alerts_test(names: tuple[str, ...], config: str | None) -> None:
    """Send a test message to every webhook, or to those that are named.

    Exit code 1 when one of them does not take it.
    """
    path = config_path(Place(config, None))
    if path is None:
        raise click.UsageError("no configuration found: give --config PATH")
    results = asyncio.run(_sent(_chosen(webhooks(path), names)))
    for webhook, problem in results:
        said = f"not sent: {problem}" if problem else "sent"
        click.echo(f"{webhook.name} ({webhook.form}): {said}")
    failed = sum(bool(problem) for _, problem in results)
    if failed:
        raise Failed(f"{failed} of {len(results)} did not take it")


def _chosen(found: tuple[Webhook, ...], names: tuple[str, ...]) -> list[Webhook]:
    if not found:
        raise Failed("the configuration has no webhooks: add them under `alerts:`")
    known = {webhook.name: webhook for webhook in found}
    for name in names:
        if name not in known:
            raise Failed(f"there is no webhook {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


async def _sent(chosen: list[Webhook]) -> list[tuple[Webhook, str]]:
    """By webhook, why it did not take the message; all are asked at once."""
    alert = Alert("raised", Condition("test", "test", "warning", TEXT), time.time())
    problems = await asyncio.gather(*(deliver(webhook, alert) for webhook in chosen))
    return list(zip(chosen, problems, strict=True))
