"""The store in one SQLite file, for a daemon and any number of command lines at once.

It is made of its tables, each in the file of its noun, on two connections (`database`).
"""

from __future__ import annotations

from relayd.store.changes import ChangeTable
from relayd.store.credits import CreditTable
from relayd.store.holdings import HoldingTable
from relayd.store.tokens import TokenTable
from relayd.store.usage import UsageTable


class SqliteStore(UsageTable, HoldingTable, CreditTable, ChangeTable, TokenTable):
    """Everything that `base.Store` promises. Made by `open`."""
