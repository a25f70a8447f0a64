"""Conditions of a query, gathered one by one: only what was asked for is a condition."""

from __future__ import annotations

from relayd.store.questions import Page


class Where:
    """A WHERE clause and its values; `str` of it is the SQL. The conditions are fixed texts of
    ours, values from outside are only ever bound."""

    def __init__(self) -> None:
        self._conditions: list[str] = []
        self.values: list[object] = []

    def __repr__(self) -> str:
        return f"Where({self}, {len(self.values)} values)"

    def __str__(self) -> str:
        return " AND ".join(self._conditions) or "true"

    def add_page(self, page: Page, row: str, texts: str) -> None:
        """Ask for a part of a list of keys or accounts, whose account goes by the name of `a`; for
        those of one account see who knows it.

        Arguments:
            row: the name of the rows in the query.
            texts: what is searched.
        """
        self.add(f"{row}.id > ?", page.after)
        self.add(f"instr(lower({texts}), lower(?))", page.search or None)
        self.add("a.group_name = ?", page.group)
        self.add(f"({row}.disabled_at IS NOT NULL) = ?", page.disabled)

    def add(self, condition: str, *values: object) -> None:
        """Ask for this too, unless a value is None, which is no wish."""
        if None not in values:
            self._conditions.append(condition)
            self.values += values
