"""How the commands reach a running daemon: its admin API over HTTP, found by the control file.

Plain `http.client`: it takes a hundredth of the time to load that aiohttp does, and no proxy of the
environment comes between. Whatever goes wrong is one line on stderr and exit code 1, and says which
of the usual reasons it is: nothing runs, a file is left over, the token is not taken.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import orjson

from relayd import control
from relayd.cli.store import Command, Failed, Place, database_path, store_options
from relayd.control import Control
from relayd.model import Secret

PATIENCE = 10.0  # seconds without a byte
LONGEST = 60.0  # seconds for a whole answer
LARGEST = 64 * 2**20
VARIABLE = "RELAYD_ADMIN_TOKEN"
CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class Office(NamedTuple):
    """The admin API of a daemon.

    Arguments:
        control: where it is and what opens it.
        source: where that was read, as a message calls it.
    """

    control: Control
    source: str


Find = Callable[[], Office]


def daemon_options(command: Command) -> Command:
    """The options that say which daemon is meant, gathered into `office`, which finds it; and
    `as_json`."""

    def gathered(place: Place, url: str | None, token: str | None, **others: Any) -> None:
        command(lambda: find(place, url, token), **others)

    gathered.__doc__ = command.__doc__
    options = store_options(gathered)
    for option in (
        click.option(
            "--token",
            envvar=VARIABLE,
            help=f"Its admin token; better given as ${VARIABLE}.",
        ),
        click.option("--url", help="Where the daemon listens, if it is on another machine."),
    ):
        option(options)
    return options


def find(place: Place, url: str | None, token: str | None) -> Office:
    """The daemon that the options name, or else the one that runs on the database."""
    if url is not None:
        if not token:
            raise click.UsageError(f"--url needs the admin token, too: set ${VARIABLE}")
        return Office(Control(_checked(url), Secret(token), 0), f"${VARIABLE} or --token")
    database = database_path(place.config, place.database)
    try:
        found = control.read(database)
    except control.NoControl as error:
        raise Failed(str(error)) from None
    if token:
        return Office(found._replace(token=Secret(token)), f"${VARIABLE} or --token")
    return Office(found, str(control.path_of(database)))


def _checked(url: str) -> str:
    parts = urlsplit(url)
    try:
        good = parts.scheme in CONNECTIONS and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        good = False
    if not good:
        raise click.UsageError(f"--url {url!r} is no address such as http://127.0.0.1:8080")
    return url.rstrip("/")


def call(office: Office, method: str, path: str, patience: float = PATIENCE) -> Any:
    """Ask the daemon and return its document; Failed when it cannot be had."""
    status, body = _exchange(office, method, path, patience)
    document = _parsed(body)
    if status == 200 and document is not None:
        return document
    where = office.control.url
    if status == 401:
        raise Failed(f"relayd at {where} refuses the token of {office.source}")
    error = (document or {}).get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        raise Failed(_uncapped(error["message"]))
    raise Failed(f"what answers at {where} is no relayd: it says {status}")


def page(office: Office, path: str) -> str:
    """A page of the daemon that is no JSON; Failed when it cannot be had."""
    status, body = _exchange(office, "GET", path, PATIENCE)
    if status == 200:
        return body.decode("utf-8", "replace")
    where = office.control.url
    if status in (401, 403):
        raise Failed(f"relayd at {where} refuses the token of {office.source}")
    raise Failed(f"what answers at {where} is no relayd: it says {status}")


def _exchange(office: Office, method: str, path: str, patience: float) -> tuple[int, bytes]:
    parts = urlsplit(office.control.url)
    token = office.control.token.reveal().encode("utf-8", "surrogateescape")
    connection = CONNECTIONS[parts.scheme](parts.hostname or "", parts.port, timeout=patience)
    try:
        headers = {"Authorization": b"Bearer " + token}
        connection.request(method, parts.path + path, headers=headers)
        response = connection.getresponse()
        return response.status, _read(response, office)
    except TimeoutError:
        raise Failed(f"{_who(office)} does not answer within {patience:.0f} s") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise Failed(_unreachable(office, reason)) from None
    except ValueError:
        raise Failed(f"the token of {office.source} holds what no token can hold") from None
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, office: Office) -> bytes:
    """The body; Failed where it does not come to an end."""
    end, body = time.monotonic() + LONGEST, bytearray()
    while piece := response.read1(2**16):
        body += piece
        if len(body) > LARGEST or time.monotonic() > end:
            raise Failed(f"what answers at {office.control.url} is no relayd: it does not end")
    if response.length:  # it says that more was to come
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)


def _who(office: Office) -> str:
    pid = f" (process {office.control.pid})" if office.control.pid else ""
    return f"relayd at {office.control.url}{pid}"


def _unreachable(office: Office, reason: str) -> str:
    found = office.control
    if found.pid and not found.is_alive:
        return f"relayd is not running: process {found.pid}, which listened at {found.url}, is gone"
    return f"{_who(office)} cannot be reached: {reason}"


def _uncapped(message: str) -> str:
    """A sentence of the API as the command line says it, behind `relayd: `."""
    return message[:1].lower() + message[1:].removesuffix(".")


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
