"""What each part of a daemon is given of the configuration: its own few values, never the whole."""

from __future__ import annotations

from dataclasses import replace

from relayd import __version__
from relayd.alerting import Webhook
from relayd.capture_terms import CaptureTerms
from relayd.config.capabilities import shipped
from relayd.config.config import Config
from relayd.daemon.bookkeeping import Keeping, Terms
from relayd.policy.calendar import Calendar
from relayd.policy.prices import PriceBook
from relayd.spool import Room
from relayd.web.bodies import BodyLimits
from relayd.web.pages import Face
from relayd.wire.capabilities import Capabilities
from relayd.wire.defaults import Defaults
from relayd.wire.dialects import DIALECTS


def fixed_at_start(config: Config) -> tuple[object, ...]:
    """What a reload cannot change."""
    limits = config.limits
    sizes = (limits.max_header, limits.max_connections, limits.idle_timeout, limits.header_timeout)
    return (
        config.listen,
        config.database,
        config.metrics.listen,
        config.ledger,
        config.tracing,
        sizes,
    )


def body_limits(config: Config, room: Room | None = None) -> BodyLimits:
    """The part of the limits that reading a body needs. `room`: for large ones; what there is of
    them is known to it, so a reload keeps it."""
    limits = config.limits
    room = room or Room(0)
    room.most, room.folder = limits.max_spooled, limits.spool
    return BodyLimits(limits.max_body, limits.body_timeout, max_upload=limits.max_upload, room=room)


def keeping(config: Config) -> Keeping:
    """How the ledger is kept."""
    how = config.ledger
    return Keeping(how.interval, how.batch, how.bound, how.fsync, how.journal, how.keep)


def terms(config: Config) -> Terms:
    """What is asked for, and what may be had for it."""
    return Terms(
        {group.name: group for group in config.groups},
        PriceBook(config.prices, config.unpriced, config.upstreams),
        Calendar(config.timezone),
        config.default_output,
        config.responses,
    )


def captures(config: Config) -> CaptureTerms:
    """Whose requests are kept; the files lie beside the database, if nothing else is said."""
    how = config.capture
    return replace(how, directory=config.database.parent / how.directory)


def capabilities(config: Config) -> Capabilities:
    """What models take: what relayd ships, with the operator's rows over it."""
    single = {spec.name: spec.capabilities for spec in config.upstreams if spec.capabilities}
    resellers = {spec.name for spec in config.upstreams if DIALECTS[spec.dialect].resells}
    return Capabilities(shipped(), config.capabilities, single, resellers)


def defaults(config: Config) -> Defaults:
    """What requests leave out, by endpoint."""
    return Defaults(config.defaults.by_endpoint())


def webhooks(config: Config) -> tuple[Webhook, ...]:
    """Where alerts go, in the name of this relay."""
    return tuple(one._replace(source=config.public.name) for one in config.alerts.webhooks)


def face(config: Config, started_at: float) -> Face:
    """What everybody may know; `started_at` in Unix seconds."""
    return Face(__version__, started_at, config.public.name, config.public.base_urls)


def url(name: tuple[str, int]) -> str:
    """Where a socket listens, as a URL."""
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"http://{host}:{name[1]}"
