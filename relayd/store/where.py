"""Conditions of a query, gathered one by one: only what was asked for is a condition."""

from __future__ import annotations


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

    def add(self, condition: str, *values: object) -> None:
        """Ask for this too, unless a value is None, which is no wish."""
        if None not in values:
            self._conditions.append(condition)
            self.values += values
