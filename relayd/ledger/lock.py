"""One daemon to a database: two would each bill from a balance that the other spends.

The lock is the kernel's, on the file `<database>.lock`: it ends with the process that holds it,
however that ends, so there is nothing to clean up after a crash. The file stays; its text, the
holder's process id, is for the message only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


class DatabaseInUse(OSError):
    """Another daemon runs on this database; the message says which process."""


class Lock:
    """The right to be the daemon of a database, taken by `lock` and held until `release`."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd

    def __repr__(self) -> str:
        return f"<Lock {self._path.name} {'held' if self._fd >= 0 else 'released'}>"

    def release(self) -> None:
        """Let another daemon have it; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lock_path(database: Path) -> Path:
    """Where the lock of a database is, the same whichever link leads to the database."""
    return beside(database, "lock")


def beside(database: Path, suffix: str) -> Path:
    """A file of ours next to the database's own, where SQLite, too, keeps what belongs to it."""
    file = Path(os.path.realpath(database))
    return file.with_name(f"{file.name}.{suffix}")


def lock(database: Path) -> Lock:
    """Become the one daemon of a database, whose file need not exist yet.

    Raises DatabaseInUse, or OSError where the folder cannot be written; nothing was changed then.
    """
    path = lock_path(database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).strip().decode("ascii", "replace")
        os.close(fd)
        raise DatabaseInUse(
            f"relayd is running already on {database} (process {holder or 'unknown'})"
        ) from None
    except OSError as error:
        os.close(fd)
        raise OSError(f"{path} cannot be locked: {error.strerror}") from None
    with contextlib.suppress(OSError):  # a full disk: the lock holds without its text
        if os.geteuid() == 0:  # a command of root's must not shut the daemon's own user out
            folder = path.parent.stat()
            os.fchown(fd, folder.st_uid, folder.st_gid)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return Lock(path, fd)
