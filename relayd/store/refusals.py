"""The ways a store says no.

They are of two kinds, and callers treat them differently: a refusal (`NotFound`, `NameTaken`, ...)
is the asker's matter and is shown to them; `StoreUnavailable` is the machine's (disk full, locked,
gone), and the ledger tries again.
"""

from __future__ import annotations


class StoreError(Exception):
    """The store did not do what was asked; the message is one sentence for the operator."""


class NotFound(StoreError):
    """No key, account or token answers to that name."""


class Ambiguous(StoreError):
    """More than one key answers to that prefix."""


class NameTaken(StoreError):
    """Another key, account or token has this name."""


class BadName(StoreError):
    """Not a name that a key, an account or a token can have."""


class BadValue(StoreError):
    """A property that a key or account cannot have: a past expiry, a network that is none."""


class BadAmount(BadValue):
    """An amount of money that cannot be: nothing, negative for a grant, or absurd."""


class DatabaseTooNew(StoreError):
    """A newer relayd wrote this database; this one would misread it."""


class DatabaseTooOld(StoreError):
    """An older relayd wrote this database, and perhaps still does: who opened it may not change it
    under its hands."""


class NotOurDatabase(StoreError):
    """The file is something else than a relayd database."""


class StoreUnavailable(StoreError):
    """The store could not be reached or written now: disk, permissions, a lock held too long."""
