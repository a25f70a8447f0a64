"""The composition root: builds every object once, wires, serves, reloads, drains, stops in order.

Start: store, ledger, demo provider (if it has to answer), keys, pools, relay, listeners, ready.
Stop: no new connections, streams finish up to `drain_timeout`, upstream connections closed, ledger
flushed, store closed. A second signal ends the waiting, never the flushing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relayd import __version__, control
from relayd.alerts.lookout import Lookout
from relayd.config.config import Config
from relayd.daemon import instruments, settings
from relayd.daemon.bookkeeping import Bookkeeping
from relayd.daemon.differences import differences
from relayd.daemon.embedded import EmbeddedDemo
from relayd.daemon.listening import Listening, drain
from relayd.daemon.process import raise_file_limit, tame_collector
from relayd.daemon.reloading import Reloading
from relayd.daemon.retiring import Retired, renewed
from relayd.daemon.systemd import notify, stay_alive, watchdog_interval
from relayd.lines import say
from relayd.logs import Logs, RequestLog, set_level
from relayd.metrics.collector import Metrics
from relayd.metrics.states import Sources
from relayd.model import Secret, UpstreamSpec
from relayd.policy.conditions import Snapshot
from relayd.policy.pools import Pools
from relayd.realtime.realtime import Realtime
from relayd.relay.capture import Captures
from relayd.relay.collecting import Collecting
from relayd.relay.probing import Probing
from relayd.relay.relay import Relay
from relayd.relay.translation import Translator
from relayd.tasks import Tasks, hear
from relayd.web.account import AccountPages
from relayd.web.admin import Admin
from relayd.web.admin_desk import Bureau
from relayd.web.connection import Listener
from relayd.web.pages import Pages
from relayd.web.scraping import Scraping
from relayd.web.server import Front, new_request_id


class Daemon:
    """One running relayd.

    Arguments:
        config: what to run.
        config_path: where it came from, for reload; None makes reload a no-op.
        environ: environment variables, for reload and systemd.
        admin_token: opens the metrics page from anywhere.
        logs: the way of its lines to stderr.
    """

    def __init__(
        self,
        config: Config,
        config_path: Path | None,
        environ: Mapping[str, str],
        admin_token: Secret | None = None,
        logs: Logs | None = None,
    ) -> None:
        self.config = config
        self._environ = environ
        self._admin_token = admin_token or Secret("")
        self._control_token = control.new_token()
        self._tasks = Tasks()
        self._started = asyncio.Event()
        self._stopping = asyncio.Event()
        # What was opened, in order; closed in reverse, also when starting fails half-way.
        self._opened = contextlib.AsyncExitStack()
        self._listening = Listening(self._opened)
        self._fixed = settings.fixed_at_start(config)
        self._reloading = Reloading(config_path, environ, self._apply, time.time)
        self._logs = logs
        self.request_log = RequestLog(logs)
        self._adopt_logs(config)
        self._retired = Retired()
        self._demo: EmbeddedDemo | None = None

    # --- start ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and listen; OSError when an address is taken, and nothing stays open."""
        raise_file_limit()
        hear(asyncio.get_running_loop())
        try:
            await self._build_ledger()
            await self._build_relay()
            self._build_front()
            await self._listen()
            self._listening.take_control(self.config.database, self._control_token)
        except BaseException:
            await self._opened.aclose()
            raise
        self._tasks.spawn(self.books.watch(lambda: self.config.keys_poll_interval), "watch-keys")
        self._tasks.spawn(self.books.upkeep(time.time), "upkeep")
        self._tasks.spawn(self.metrics.watch_loop(), "watch-loop")
        self._tasks.spawn(self.lookout.run(), "lookout")
        if (interval := watchdog_interval(self._environ)) is not None:
            self._tasks.spawn(stay_alive(self._environ, interval), "watchdog")
        tame_collector()
        self._started.set()
        notify(self._environ, "READY=1", f"STATUS=listening on {', '.join(self.addresses)}")

    async def _build_ledger(self) -> None:
        self.metrics = Metrics(self._sources())
        self.books = await Bookkeeping.open(
            self.config.database,
            settings.keeping(self.config),
            settings.terms(self.config),
            time.time(),
            self._opened,
        )
        self.books.on_change = self._on_books
        self.lookout = Lookout(
            self._snapshot,
            lambda: instruments.customers(self.books, time.time()),
            self.metrics.requests.alerts,
        )
        self._opened.push_async_callback(self.lookout.close)
        await self.lookout.adopt(self.config.alerts.rules, settings.webhooks(self.config))
        self.ledger = self.books.ledger
        self._opened.push_async_callback(self._tasks.cancel)
        self._tasks.spawn(self.ledger.run(), "ledger")
        self._tasks.spawn(self.ledger.care(), "ledger")

    def _sources(self) -> Sources:
        clock = asyncio.get_running_loop().time
        return Sources(
            __version__,
            in_flight=lambda: self.relay.in_flight,
            waiting=lambda: self.relay.lobby.waiting,
            clients=lambda: len(self._listener.connections),
            doors=lambda: self.relay.pools.report(clock()),
            connections=lambda: instruments.connections(self.relay.providers.values()),
            ledger=lambda: instruments.ledger(self.ledger, time.time()),
            accounts=lambda: instruments.accounts(self.books),
            reloads=lambda: self._reloading.reloads,
            lines_lost=lambda: self._logs.lost if self._logs is not None else 0,
            spooled=lambda: self.front.spooled,
            sessions=lambda: self.realtime.sessions,
            captures=lambda: instruments.captures(self.captures),
            spans_dropped=lambda: self.relay.tracer.dropped if self.relay.tracer is not None else 0,
        )

    def _snapshot(self) -> Snapshot:
        clock = asyncio.get_running_loop().time
        stands = instruments.snapshot(
            self.relay, self.ledger, self.metrics.requests.totals, clock(), time.time()
        )
        lost = self._logs.lost if self._logs is not None else 0
        failed = self._reloading.reloads.last_failed
        return stands._replace(lines_lost=lost, reload_failed=failed)

    async def _build_relay(self) -> None:
        specs = await self._specs(self.config)
        self.captures = Captures(settings.captures(self.config))
        self._tasks.spawn(self.captures.run(time.time), "captures")
        tracer = instruments.tracer(self.config.tracing)
        if tracer is not None:
            self._opened.push_async_callback(asyncio.to_thread, tracer.close)
        self.relay = Relay(
            self.books.directory,
            Pools(specs, self.config.routing),
            renewed({}, specs),
            self.books.till,
            self.metrics.requests,
            tell=self.request_log.tell,
            translator=Translator(self.config.translation, settings.capabilities(self.config)),
            holdings=self.books.holdings,
            tracer=tracer,
            captures=self.captures,
            keepalive=self.config.keepalive_interval,
            write_timeout=self.config.limits.write_timeout,
        )
        self.relay.defaults = settings.defaults(self.config)
        self.realtime = Realtime(
            self.relay,
            self.metrics.requests,
            self.config.realtime,
            self.config.limits.write_timeout,
        )
        self._opened.push_async_callback(self._hang_up)
        self._opened.callback(self.relay.lobby.close)
        self._opened.push_async_callback(self.relay.close)
        self.probing = Probing(self.relay.pools, lambda: self.relay.providers)
        self._tasks.spawn(self.probing.run(), "probing")
        self.collecting = Collecting(self.relay, time.time, new_request_id)
        self.relay.followups.look = self.collecting.look
        self._tasks.spawn(self.collecting.run(), "collecting")

    def _build_front(self) -> None:
        self.pages = Pages(
            self.metrics.page,
            self.config.metrics.token,
            (self._admin_token, self._control_token),
            settings.face(self.config, time.time()),
            lambda: not self.front.draining,
        )
        self.admin = Admin(
            self.relay.pools,
            self.probing,
            own_token=self._control_token,
            token=self.config.admin.token or self._admin_token,
            clock=asyncio.get_running_loop().time,
            bureau=Bureau(self.books.store, lambda: self.books.terms.groups, self.books.refresh),
            peer_of=lambda client: self.front.address(client),
        )
        self._on_books()
        self.front = Front(
            self.relay,
            self.pages,
            settings.body_limits(self.config),
            self.admin,
            AccountPages(
                lambda client: self.front.caller(client),
                instruments.figures(self.books, time.time),
                asyncio.get_running_loop().time,
            ),
            self.realtime,
            trusted=self.config.trusted_proxies,
        )
        limits = self.config.limits
        self._listener = Listener(
            self.front,
            idle_timeout=limits.idle_timeout,
            header_timeout=limits.header_timeout,
            max_header=limits.max_header,
            max_connections=limits.max_connections,
            write_timeout=limits.write_timeout,
        )

    async def _listen(self) -> None:
        self._opened.callback(self._listener.pre_shutdown)
        await self._listening.listen(self.config.listen, self._listener)
        if self.config.metrics.listen is not None:
            pages = Scraping(self.metrics.page, lambda: self.pages.metrics_token)
            await self._listening.listen_for_metrics(self.config.metrics.listen, pages.listener())

    @property
    def addresses(self) -> list[str]:
        """Where it listens, as URLs."""
        return self._listening.addresses

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where the metrics page has an address of its own."""
        return self._listening.metrics_address

    @property
    def upstreams(self) -> list[str]:
        """The names of the upstreams in use."""
        return list(self.relay.providers)

    async def _specs(self, config: Config) -> list[UpstreamSpec]:
        if not config.demo_answers:
            return list(config.upstreams)
        if self._demo is None:
            demo = EmbeddedDemo()
            self._opened.push_async_callback(demo.close)
            await demo.start()
            self._demo = demo
        return [*config.upstreams, *self._demo.specs(alone=not config.upstreams)]

    # --- run ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until a signal, then drain and stop."""
        self.take_signals()
        await self._stopping.wait()
        await self.close()

    def take_signals(self) -> None:
        """Obey them from now on, in the main thread: best before anybody sees that it listens, for
        a SIGHUP that nobody takes is the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def stop(self) -> None:
        """Ask for the end; asked twice, do not wait for streams."""
        if self._stopping.is_set() and self._started.is_set():
            self.front.give_up()
        self._stopping.set()

    async def close(self) -> None:
        """Drain and stop, in order."""
        notify(self._environ, "STOPPING=1")
        self.front.draining = True
        self._listening.close()
        self._listener.pre_shutdown()
        self.realtime.drain()
        await drain(self.front, self._listener, self.config.drain_timeout)
        await self._listener.cut()
        await self._opened.aclose()
        say(logging.INFO, "stopped")

    async def _hang_up(self) -> None:
        for provider in self.relay.providers.values():
            await provider.close()
        await self._retired.close()

    # --- reload ---------------------------------------------------------------------------------

    def _on_hangup(self) -> None:
        self._tasks.spawn(self.reload(), "reload")

    async def reload(self) -> None:
        """Read the configuration again; a bad one is reported and the old one stays."""
        await self._started.wait()
        await self._reloading.reload()

    async def _apply(self, config: Config) -> None:
        if settings.fixed_at_start(config) != self._fixed:
            say(
                logging.WARNING,
                "a new listen address, database, ledger, tracing or connection limit takes effect"
                " at the next start",
            )
        specs = await self._specs(config)
        await self.books.adopt(settings.terms(config))
        await self.lookout.adopt(config.alerts.rules, settings.webhooks(config))
        old = self.relay.providers
        new = renewed(old, specs)
        self.relay.pools.reload(specs, config.routing)
        self.relay.translator.adopt(config.translation, settings.capabilities(config))
        self.relay.reconfigure(new, config.keepalive_interval, config.limits.write_timeout)
        self.relay.defaults = settings.defaults(config)
        self.captures.adopt(settings.captures(config))
        self.front.limits = settings.body_limits(config, self.front.limits.room)
        self.pages.metrics_token = config.metrics.token
        self.pages.show(settings.face(config, self.pages.face.started_at))
        self.admin.token = config.admin.token or self._admin_token
        self.front.trusted = config.trusted_proxies
        self.realtime.reconfigure(config.realtime, config.limits.write_timeout)
        self._adopt_logs(config)
        changed: dict[str, Any] = dict(differences(self.config, config))
        self.config = config
        self._retired.take(each for name, each in old.items() if new.get(name) is not each)
        words = "reloaded" if changed else "reloaded, nothing has changed"
        say(logging.INFO, words, upstreams=self.upstreams or "none", **changed)

    def _adopt_logs(self, config: Config) -> None:
        how = config.logs
        self.request_log.adopt(how.requests, how.sample, how.slow)
        if self._logs is not None:
            self._logs.lines.form = how.format
            set_level(self._logs, logging.getLevelNamesMapping()[how.level.upper()])

    # --- keys and accounts ----------------------------------------------------------------------

    def _on_books(self) -> None:
        """The store's keys or tokens may be others now."""
        self.relay.directory = self.books.directory
        self.admin.know(self.books.tokens)

    async def refresh_keys(self) -> None:
        """See the store's keys now."""
        await self.books.refresh()
