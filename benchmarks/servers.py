"""What is measured and what it is measured with: relayd, nginx, and the mock upstream behind both.

All three are started as an operator would start them, with a folder of their own for files. relayd
runs with its database, a key, and the usage log on; nginx as a bare proxy with buffering off and
kept-alive connections to the upstream: it is the yardstick, not a competitor.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Child, NotStarted, children_of, free_port, is_listening

COMMAND_TIMEOUT = 30.0

RELAY_CONFIG = """\
listen: 127.0.0.1:{port}
database: {folder}/relayd.db
demo: "off"
drain_timeout: 1s
upstreams:
  mock:
    dialect: relay
    base_url: http://127.0.0.1:{upstream}
    key: mock-upstream-key
    max_connections: 20000
    models: ["*"]{formats}
"""

NGINX_CONFIG = """\
{user}
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers requests.

    Arguments:
        name: for tables.
        port: on loopback.
        key: what its clients show.
        child: the program.
        pids: the processes whose processor time counts.
        database: of relayd, for a look at the usage log.
    """

    name: str
    port: int
    key: str
    child: Child
    pids: tuple[int, ...]
    database: Path | None = None

    def stop(self) -> None:
        """End it."""
        self.child.stop()

    def rows(self) -> int:
        """How many usage rows its log has."""
        assert self.database is not None
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            count: int = connection.execute("SELECT count(*) FROM usage").fetchone()[0]
            return count
        finally:
            connection.close()


def start_mock(folder: Path, core: int) -> Server:
    """The embedded demo provider, alone, as the upstream of both."""
    port = free_port()
    command = [sys.executable, "-m", "relayd.demo", "--uvloop", "--listen", f"127.0.0.1:{port}"]
    child = Child(command, core, folder / "mock.out")
    child.wait_until(lambda: is_listening(port))
    return Server("direct", port, "mock-upstream-key", child, (child.pid,))


def start_relay(
    folder: Path, core: int, upstream: int, *, formats: Sequence[str] = (), more: str = ""
) -> Server:
    """relayd with a fresh database and one key; `formats` are all that its upstream speaks, `more`
    is YAML of the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.yaml"
    spoken = f"\n    formats: [{', '.join(formats)}]" if formats else ""
    values = {"port": port, "folder": folder, "upstream": upstream, "formats": spoken}
    config.write_text(RELAY_CONFIG.format(**values) + more)
    database = folder / "relayd.db"
    key = create_key(database)
    command = [sys.executable, "-m", "relayd", "serve", "--config", str(config)]
    child = Child(command, core, folder / "relayd.out")
    child.wait_until(lambda: is_listening(port))
    return Server("relayd", port, key, child, (child.pid,), database)


def create_key(database: Path) -> str:
    """A key, by the command that an operator would use."""
    done = subprocess.run(
        [sys.executable, "-m", "relayd", "key", "create", "bench", "--database", str(database)],
        capture_output=True,
        timeout=COMMAND_TIMEOUT,
    )
    found = re.search(rb"sk-relayd-[\w-]+", done.stdout)
    if done.returncode or found is None:
        raise NotStarted(f"`relayd key create` failed:\n{(done.stdout + done.stderr).decode()}")
    return found[0].decode()


def start_nginx(folder: Path, core: int, upstream: int) -> Server | None:
    """nginx in front of the same mock; None where it is not installed."""
    program = nginx_program()
    if program is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX_CONFIG.format(user=user, folder=folder, port=port, upstream=upstream))
    command = [program, "-p", str(folder), "-c", str(config), "-g", "daemon off;"]
    child = Child(command, core, folder / "nginx.out")
    child.wait_until(lambda: is_listening(port) and bool(children_of(child.pid)))
    return Server("nginx", port, "none", child, tuple(children_of(child.pid)))


def nginx_program() -> str | None:
    """Where nginx is; Debian keeps it where only root's PATH looks."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
