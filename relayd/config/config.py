"""The configuration: frozen records, read from YAML, with all problems reported at once.

Strategy: the records are the schema. A field's annotation names the reader that takes its line
(`values`), its default is the default, and the comment on it is what an operator needs to
know; `config.yaml` shows every one of them. `load` reads the whole file, collects what is wrong
with path and line, and either returns a complete `Config` or raises the list. It opens no socket
and starts nothing, so `relayd check` runs exactly what `relayd serve` runs before it listens.

Only the daemon and the command line import this; everyone else receives its own section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from relayd.accounts import DEFAULT_GROUP, Group
from relayd.capture_terms import CaptureTerms
from relayd.config.alerts import AlertsConfig
from relayd.config.capabilities import capabilities
from relayd.config.capture import capture
from relayd.config.defaults import DefaultsConfig
from relayd.config.document import ConfigProblems, Place, Problem, Source, read_text, root
from relayd.config.groups import Network, groups, networks
from relayd.config.prices import prices, prices_file, time_zone
from relayd.config.public import PublicConfig
from relayd.config.routing import (
    Offers,
    RoutingLines,
    check,
    is_about_models,
    offered_by,
    realtime,
    responses,
    routing,
)
from relayd.config.tracing import tracing
from relayd.config.translation import translation
from relayd.config.upstreams import Upstreams, upstreams
from relayd.config.values import (
    Address,
    Reader,
    address,
    addresses,
    choice,
    fields,
    file_path,
    folder,
    number,
    readers_of,
    record,
    seconds,
    size,
    token,
    whole,
)
from relayd.model import Secret, UpstreamSpec
from relayd.policy.prices import PriceBook, PriceLine, Unpriced
from relayd.routing import RealtimeRules, Routing, StateRules
from relayd.tracing import TracingTerms
from relayd.wire.capabilities import Rows
from relayd.wire.dialects import EVERY_FORMAT
from relayd.wire.setting import Translating

__all__ = [
    "Address",
    "AdminConfig",
    "Config",
    "ConfigProblems",
    "LedgerConfig",
    "Limits",
    "MetricsConfig",
    "Problem",
    "load",
    "load_database",
]

DATABASE_NAME = "relayd.db"
NO_TOKEN = Secret("")
NO_ALERTS = AlertsConfig()
NO_DEFAULTS = DefaultsConfig()
NO_NAME = PublicConfig()
NO_CAPTURE = CaptureTerms()
NO_TRACING = TracingTerms()
Level = Literal["debug", "info", "warning", "error"]
USUAL_ROUTING = Routing()
USUAL_STATE = StateRules()
USUAL_SESSIONS = RealtimeRules()
AS_USUAL = Translating()
SHORTEST_KEEP = 2 * 86400.0
DEMO_OFFERS = ("demo", "demo-*")
# The sections that do not become a field of their own name as they are read.
READERS: Mapping[str, Reader] = {
    "upstreams": upstreams,
    "routing": routing,
    "prices": prices,
    "prices_file": prices_file,
}
_UNPRICED = choice(*get_args(Unpriced))
_PRICES = {**READERS, "unpriced": _UNPRICED}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """Who may read `/metrics`: its own listener, or a token; with neither, this machine alone."""

    listen: Annotated[Address | None, address] = None
    token: Annotated[Secret, token] = NO_TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminConfig:
    """Who may use `/admin/api`: whoever has the token. Without one, only the commands of this
    machine, which find a token of their own beside the database."""

    token: Annotated[Secret, token] = NO_TOKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may ask of the machine."""

    # A larger request body is refused with 413, before it is read where its length is announced.
    max_body: Annotated[int, size()] = 64 * 2**20
    # The same for what is kept on disk: forms with files in them, and what is passed on unread.
    max_upload: Annotated[int, size(1, 2**40)] = 512 * 2**20
    # All such bodies together, at one time; beyond it they are refused with 503.
    max_spooled: Annotated[int, size(1, 2**50)] = 8 * 2**30
    # Where they are kept while they are larger than 1 MiB; by default the system's temporary files.
    spool: Annotated[Path | None, folder] = None
    # The longest request line, and the longest single header.
    max_header: Annotated[int, size(1024, 2**20)] = 16 * 2**10
    # From the first byte of a request to the end of its headers.
    header_timeout: Annotated[float, seconds()] = 30.0
    # From the end of the headers to the end of the body.
    body_timeout: Annotated[float, seconds()] = 120.0
    # A client that takes no byte of its reply for so long has left.
    write_timeout: Annotated[float, seconds()] = 120.0
    # How long an unused connection is kept open for the client's next request.
    idle_timeout: Annotated[float, seconds()] = 75.0
    # More clients than this at one time are turned away with 503.
    max_connections: Annotated[int, whole(1, 10_000_000)] = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsConfig:
    """What stderr says: a line for each request, and what else happens."""

    # For people, or JSON for programs.
    format: Annotated[Literal["text", "json"], choice("text", "json")] = "text"
    level: Annotated[Level, choice(*get_args(Level))] = "info"
    # Which requests have a line: all, those that did not end well, or none.
    requests: Annotated[Literal["all", "failed", "none"], choice("all", "failed", "none")] = "all"
    # The share of requests that went well which have one.
    sample: Annotated[float, number(0.0, 1.0)] = 1.0
    # A request that takes longer has one in any case, as a warning; 0 is never.
    slow: Annotated[float, seconds(0)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """The usage log: rows are written behind, in batches."""

    # Seconds between two batches.
    interval: Annotated[float, seconds(0.001, 60)] = 0.2
    # Rows in one transaction, at most.
    batch: Annotated[int, whole(1, 100_000)] = 1000
    # Rows that may wait in memory while the store cannot be written; then requests get 503.
    bound: Annotated[int, whole(1, 10_000_000)] = 100_000
    # Seconds after which a line of the journal is on the disk itself, so that a power cut loses no
    # more than that; 0 leaves it to the system. A crash of relayd alone loses nothing either way.
    fsync: Annotated[float, seconds(0, 3600)] = 1.0
    # What the journal may take up on disk while the database cannot be written; then 503.
    journal: Annotated[int, size(32 * 2**20, 2**40)] = 2**30
    # Rows older than this are deleted, and their sums by day stay; 0 keeps them for ever.
    keep: Annotated[float, seconds(0, 100 * 365 * 86400.0)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that an operator can say.

    `left_out` names the upstreams (and, as `name/key`, single keys) that were not used because
    their key came out empty. It is no line of the file, so that `check` and `serve` can say it.
    """

    # Where clients connect.
    listen: Annotated[tuple[Address, ...], addresses] = (Address("127.0.0.1", 8080),)
    # The SQLite file with accounts, keys and the usage log.
    database: Annotated[Path, file_path] = Path(DATABASE_NAME)
    upstreams: tuple[UpstreamSpec, ...] = ()
    left_out: tuple[str, ...] = ()
    # How an upstream is chosen, and what a failure leads to.
    routing: Routing = USUAL_ROUTING
    # What is known of responses that upstreams keep for clients.
    responses: Annotated[StateRules, responses] = USUAL_STATE
    # Whether and how requests go to upstreams that speak another format than the client's.
    translation: Annotated[Translating, translation] = AS_USUAL
    # What models take, where it is not what relayd knows of them: by pattern.
    capabilities: Annotated[Rows, capabilities] = field(default_factory=dict)
    # What accounts of each kind may do; `default` is always among them.
    groups: Annotated[tuple[Group, ...], groups] = (DEFAULT_GROUP,)
    # How long sessions of /v1/realtime may be, and their messages.
    realtime: Annotated[RealtimeRules, realtime] = USUAL_SESSIONS
    # What a request is taken to say where it says nothing, at endpoints that allow for that.
    defaults: Annotated[DefaultsConfig, record(DefaultsConfig)] = NO_DEFAULTS
    # Output tokens that a request may produce which says nothing about it: for reservations.
    default_output: Annotated[int, whole(1, 10_000_000)] = 4096
    # Proxies whose X-Forwarded-For is believed.
    trusted_proxies: Annotated[tuple[Network, ...], networks] = ()
    # The embedded fake provider: `auto` answers only where no upstream is usable.
    demo: Annotated[Literal["auto", "on", "off"], choice("auto", "on", "off")] = "auto"
    # What it says of itself to everybody, at /api/status.
    public: Annotated[PublicConfig, record(PublicConfig)] = NO_NAME
    metrics: Annotated[MetricsConfig, record(MetricsConfig)] = MetricsConfig()
    logs: Annotated[LogsConfig, record(LogsConfig)] = LogsConfig()
    alerts: Annotated[AlertsConfig, record(AlertsConfig)] = NO_ALERTS
    # Whose requests and replies are kept for finding errors: nobody's, unless a key is named.
    capture: Annotated[CaptureTerms, capture] = NO_CAPTURE
    # Where spans of each request are sent: nowhere, unless there is an endpoint.
    tracing: Annotated[TracingTerms, tracing] = NO_TRACING
    admin: Annotated[AdminConfig, record(AdminConfig)] = AdminConfig()
    limits: Annotated[Limits, record(Limits)] = Limits()
    # A silent stream gets a comment (or its format's ping) this often, so that no proxy cuts it.
    keepalive_interval: Annotated[float, seconds()] = 10.0
    # After SIGTERM: how long streams in flight may take to finish.
    drain_timeout: Annotated[float, seconds(0)] = 600.0
    # How often the daemon looks whether accounts or keys have changed.
    keys_poll_interval: Annotated[float, seconds(0.05, 60)] = 0.5
    ledger: Annotated[LedgerConfig, record(LedgerConfig)] = LedgerConfig()
    # What models cost: the lines of `prices`, then those of `prices_file`.
    prices: tuple[PriceLine, ...] = ()
    # A model without a price: free, or refused.
    unpriced: Annotated[Unpriced, _UNPRICED] = "free"
    # The zone whose calendar days and months the usage log and spending caps count by.
    timezone: Annotated[str, time_zone] = "UTC"

    @property
    def demo_answers(self) -> bool:
        """Whether the embedded demo provider is one of the upstreams."""
        return self.demo == "on" or (self.demo == "auto" and not self.upstreams)


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a configuration.

    Arguments:
        path: the YAML file; relative paths in it count from its folder.
        environ: what `${NAME}` in it stands for, and systemd's STATE_DIRECTORY.

    Raises `ConfigProblems` with all that is wrong.
    """
    source = Source(path.absolute().parent, environ)
    place = root(read_text(path), source)
    readers = {**readers_of(Config), **READERS}
    values = place.take(lambda top: fields(top, readers)) or {}
    chosen = values.pop("upstreams", Upstreams())
    routes = values.pop("routing", RoutingLines())
    values.setdefault("database", _default_database(source))
    values["prices"] = (*values.get("prices", ()), *values.pop("prices_file", ()))
    config = Config(
        **values, upstreams=chosen.used, left_out=chosen.left_out, routing=routes.routing
    )
    _check_whole(config, place)
    if not any(map(is_about_models, source.problems)):
        _check_routing(routes, chosen, config)
    if source.problems:
        raise ConfigProblems(source.problems)
    return config


def load_database(path: Path, environ: Mapping[str, str]) -> Path:
    """Where the database of a configuration lies, for commands that need nothing else.

    They run in another environment than the daemon's, where variables of its secrets are missing:
    what is wrong with other lines does not concern them.
    """
    source = Source(path.absolute().parent, environ)
    line = root(read_text(path), source).members().get("database")
    chosen = line and line.take(file_path)
    if line and not chosen:
        raise ConfigProblems(source.problems)
    return chosen or _default_database(source)


def load_prices(path: Path, environ: Mapping[str, str]) -> PriceBook:
    """The price list of a configuration, for commands that need nothing else; as `load_database`.

    Upstreams count as far as they can be read, for the names that they map to their own.
    """
    source = Source(path.absolute().parent, environ)
    top = root(read_text(path), source)
    lines = top.take(Place.members) or {}
    taken: dict[str, Any] = {
        name: lines[name].take(_PRICES[name]) for name in _PRICES.keys() & lines.keys()
    }
    wrong = [p for p in source.problems if p.path.partition(".")[0] != "upstreams"]
    if wrong:
        raise ConfigProblems(wrong)
    chosen = taken.get("upstreams") or Upstreams()
    found = (*taken.get("prices", ()), *taken.get("prices_file", ()))
    return PriceBook(found, taken.get("unpriced", "free"), chosen.used + chosen.unused)


def _default_database(source: Source) -> Path:
    """Where systemd keeps the state of its services, else beside the config file."""
    state = source.environ.get("STATE_DIRECTORY", "").split(":")[0]
    return (Path(state) if state else source.folder) / DATABASE_NAME


def _check_whole(config: Config, place: Place) -> None:
    """What no section can see alone."""
    metrics = config.metrics.listen
    if metrics and metrics.port and metrics in config.listen:
        place.complain("metrics.listen: clients connect there; give it an address of its own")
    if metrics and not (metrics.is_local or config.metrics.token):
        place.complain(
            f"metrics.listen: whoever reaches {metrics} could read who uses what,"
            " and what they pay: set metrics.token, or listen on 127.0.0.1"
        )
    if 0 < config.ledger.keep < SHORTEST_KEEP:
        place.complain("ledger.keep: is 0, or at least 2d: the journal must not outlive its rows")
    if config.demo == "on" and any(spec.name == "demo" for spec in config.upstreams):
        place.complain("demo: an upstream has this name too; rename it, or switch the demo off")


def _check_routing(routes: RoutingLines, chosen: Upstreams, config: Config) -> None:
    """What the routing says about models, held against who offers them. The demo provider counts
    where it may answer, and where it stands alone it answers for any name."""
    specs = chosen.used + chosen.unused
    names = () if config.demo == "off" else DEMO_OFFERS if specs else ("*",)
    found = offered_by(specs, translated=config.translation.enabled)
    offered = [*found, *((name, EVERY_FORMAT) for name in names)]
    check(routes, specs, Offers(offered))
