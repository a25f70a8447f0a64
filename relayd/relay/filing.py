"""The files of captures: written whole or not at all, and never more of them than there may be.

Called in threads, one after the other. Before a file is written that would pass the bound, the
oldest are deleted until a tenth of it is free, so that a full folder is not looked through for each
file. A folder that a reload has taken out of the configuration is looked after until its last file
is old enough. Files and folder are readable by relayd's own user alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path
from typing import Final, NamedTuple

from relayd.capture_terms import CaptureTerms

SUFFIX: Final = ".capture.json"
MOST_FILES: Final = 20_000
SPARE: Final = 10  # a tenth is freed at one time


class Held(NamedTuple):
    """What a folder holds after a look: files, their bytes; and how many were deleted."""

    files: int = 0
    size: int = 0
    deleted: int = 0


class Filing:
    """Keeps files in the folder of the terms. Owns what it knows of that folder."""

    def __init__(self) -> None:
        self._held = Held()  # by the folder that is in use
        self._former: dict[Path, CaptureTerms] = {}  # folders that are not in use any more
        self._terms: CaptureTerms | None = None
        self._one_at_a_time = threading.RLock()

    def __repr__(self) -> str:
        return f"<Filing {self._held!r} former={len(self._former)}>"

    def write(self, terms: CaptureTerms, name: str, data: bytes, moment: float) -> None:
        """Write one file, and delete old ones where that needs room. Raises OSError."""
        if len(data) > terms.total:
            raise OSError(errno.EFBIG, "it is larger than all together may be")
        with self._one_at_a_time:
            if self._terms is None or self._terms.directory != terms.directory:
                self.look(terms, moment)
            if self._held.size + len(data) > terms.total or self._held.files >= MOST_FILES:
                room = terms.total - max(terms.total // SPARE, len(data))
                self._held = sweep(terms, moment, room, MOST_FILES - MOST_FILES // SPARE)
            write(terms.directory, name, data)
            self._held = Held(self._held.files + 1, self._held.size + len(data))

    def look(self, terms: CaptureTerms, moment: float) -> None:
        """Delete what is too old, or too much, here and in folders that were used before."""
        with self._one_at_a_time:
            if self._terms is not None and self._terms.directory != terms.directory:
                self._former[self._terms.directory] = self._terms
            self._former.pop(terms.directory, None)
            self._terms = terms
            self._held = sweep(terms, moment)
            for folder, old in list(self._former.items()):
                if not sweep(old, moment).files:
                    del self._former[folder]


def write(directory: Path, name: str, data: bytes) -> None:
    """Write one file that only we may read, whole or not at all. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{name}{SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with open(os.open(path, flags, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)
        raise


def sweep(
    terms: CaptureTerms, moment: float, most: int | None = None, files: int = MOST_FILES
) -> Held:
    """Delete files that are too old, then the oldest beyond a bound.

    Arguments:
        moment: Unix seconds.
        most: bytes that may stay; by default as many as the terms allow.
        files: that may stay.
    """
    found: list[tuple[float, int, Path]] = []
    with contextlib.suppress(OSError):
        for path in terms.directory.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                state = path.lstat()
                found.append((state.st_mtime, state.st_size, path))
    size, left, deleted = sum(size for _, size, _ in found), len(found), 0
    most = terms.total if most is None else most
    for made, bytes_, path in sorted(found):
        if made + terms.ttl > moment and size <= most and left <= files:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            size, left, deleted = size - bytes_, left - 1, deleted + 1
    return Held(left, size, deleted)
