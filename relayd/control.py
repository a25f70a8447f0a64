"""The control file: how the command line finds the daemon that runs beside it.

The daemon writes where it listens and a token of this one run into `<database>.admin`, readable by
its own user only, and removes it when it stops; so whoever may read the database may also steer the
daemon, and nobody has to configure a password for that. The token is made anew at every start: the
admin token of the configuration never lands in a second file.

A killed daemon leaves its file behind. Whether that is so is decided by who answers at the address,
not by the process id, which says nothing across containers: the id only helps to word the message.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from relayd.model import Secret

LARGEST = 64 * 1024  # bytes that are read of what ought to be a control file


class NoControl(Exception):
    """There is no control file, or none that can be used; the message says which."""


class Control(NamedTuple):
    """Where a daemon is and what opens its admin API."""

    url: str
    token: Secret
    pid: int

    @property
    def is_alive(self) -> bool:
        """Whether a process of that id exists, as far as this machine can tell."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # it is another user's
            return True
        return True


def control_of(addresses: Sequence[str], token: Secret) -> Control:
    """What this process says of itself.

    Arguments:
        addresses: the URLs it listens at, at least one.
    """
    return Control(reachable(addresses), token, os.getpid())


def new_token() -> Secret:
    """A token for one run: 256 bits, beyond guessing."""
    return Secret(secrets.token_urlsafe(32))


def reachable(addresses: Sequence[str]) -> str:
    """The URL by which a program on this machine reaches one of the addresses, local ones first."""
    local = [url for url in map(_from_here, addresses) if _is_local(url)]
    return local[0] if local else addresses[0]


def _from_here(url: str) -> str:
    parts = urlsplit(url)
    try:
        address = ip_address(parts.hostname or "")
    except ValueError:  # a name
        return url
    if not address.is_unspecified:
        return url
    # All of this machine; from here it is reached at its loopback.
    host = "127.0.0.1" if address.version == 4 else "[::1]"
    return f"{parts.scheme}://{host}:{parts.port}"


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host.startswith("127.") or host in ("::1", "localhost")


def path_of(database: Path) -> Path:
    """Where the control file of a database's daemon is."""
    return database.with_name(f"{database.name}.admin")


def write(database: Path, control: Control) -> None:
    """Write the file whole or not at all, for this user's eyes only; OSError when that fails."""
    path = path_of(database)
    document = {"url": control.url, "token": control.token.reveal(), "pid": control.pid}
    draft = path.with_name(f"{path.name}.{control.pid}")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "wb") as open_file:
            open_file.write(orjson.dumps(document) + b"\n")
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read(database: Path) -> Control:
    """The control file of a database's daemon; NoControl when there is none to use."""
    path = path_of(database)
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST)
    except FileNotFoundError:
        raise NoControl(f"no relayd is running on {database}: there is no {path.name}") from None
    except OSError as error:
        raise NoControl(f"cannot read {path}: {error.strerror}") from None
    try:
        document = orjson.loads(text)
        url, token, pid = (document[name] for name in Control._fields)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise NoControl(f"{path} is damaged: start relayd again") from None
    if not (isinstance(url, str) and isinstance(token, str) and type(pid) is int and pid > 0):
        raise NoControl(f"{path} is damaged: start relayd again")
    return Control(url, Secret(token), pid)


def remove(database: Path, control: Control) -> None:
    """Remove the file if it is still the one that was written: a successor's stays."""
    try:
        if read(database) == control:
            path_of(database).unlink()
    except (NoControl, OSError):
        pass
