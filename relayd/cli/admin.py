"""The list of all commands that an operator has, beside those that run the daemon.

A running daemon notices what they change within a second.
"""

from __future__ import annotations

import click

from relayd.cli.accounts import account_group
from relayd.cli.alerts import alerts_group
from relayd.cli.clients import clients_group
from relayd.cli.groups import group_group
from relayd.cli.keys import key_group
from relayd.cli.ledger import ledger_group
from relayd.cli.prices import prices_group
from relayd.cli.store import database_path
from relayd.cli.tokens import token_group
from relayd.cli.top import status, top
from relayd.cli.upstream import upstream_group
from relayd.cli.usage import usage_command

__all__ = ["database_path", "register"]

COMMANDS: tuple[click.Command, ...] = (
    key_group,
    account_group,
    group_group,
    prices_group,
    ledger_group,
    token_group,
    upstream_group,
    clients_group,
    alerts_group,
    status,
    top,
    usage_command,
)


def register(cli: click.Group) -> None:
    """Add the operator's commands to the command line."""
    for command in COMMANDS:
        cli.add_command(command)
