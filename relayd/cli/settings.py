"""What the commands read of the configuration: its groups, webhooks, and the zone of its days.

Commands run in another environment than the daemon's, where variables of its secrets are missing:
only the lines that are needed here are read, and what is wrong with others does not concern them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from relayd.accounts import DEFAULT_GROUP, Group
from relayd.alerting import Webhook
from relayd.cli.store import Failed, Place, config_path
from relayd.policy.calendar import Calendar


def groups(place: Place) -> Mapping[str, Group] | None:
    """The configured groups by name; None when only a database was named. Raises Failed."""
    from relayd.config.groups import groups as reader

    path = config_path(place)
    if path is None:
        return None
    found = _line(path, "groups", reader) or (DEFAULT_GROUP,)
    return {group.name: group for group in found}


def check_group(place: Place, name: str | None) -> None:
    """Raises Failed for a group that the configuration does not have."""
    known = groups(place) if name is not None else None
    if known is not None and name not in known:
        raise Failed(
            f"there is no group {name!r} in {config_path(place)}; there are {', '.join(known)}"
        )


def calendar(place: Place) -> Calendar:
    """The days that spending counts by: of the configured `timezone`, else UTC. Raises Failed."""
    from relayd.config.prices import time_zone as reader

    path = config_path(place)
    return Calendar((path and _line(path, "timezone", reader)) or "UTC")


def webhooks(path: Path) -> tuple[Webhook, ...]:
    """Where a configuration sends alerts, in its relay's name. Raises Failed."""
    from relayd.config.alerts import AlertsConfig
    from relayd.config.public import PublicConfig
    from relayd.config.values import record

    found = _line(path, "alerts", record(AlertsConfig)) or AlertsConfig()
    public = _line(path, "public", record(PublicConfig)) or PublicConfig()
    return tuple(one._replace(source=public.name) for one in found.webhooks)


def _line(path: Path, name: str, reader: Callable[..., Any]) -> Any:
    from relayd.config.document import ConfigProblems, Source, read_text, root

    try:
        source = Source(path.absolute().parent, os.environ)
        line = root(read_text(path), source).members().get(name)
        value = line and line.take(reader)
        if source.problems:
            raise ConfigProblems(source.problems)
    except ConfigProblems as problems:
        raise Failed(f"{path} has problems:\n{problems}") from problems
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
    return value
