"""What was done to rows on their way into a pool: nothing is dropped, filled or moved without a line here."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Lines in the order in which they were first written, each with the rows it concerns."""

    rows: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """A line about all rows."""
        if what:
            self.rows.setdefault(what, 0)

    def count(self, what: str, rows: int) -> None:
        """So many rows more of this."""
        if rows:
            self.rows[what] = self.rows.get(what, 0) + rows

    def lines(self) -> tuple[str, ...]:
        """As text."""
        return tuple(f"{what}: {rows:,} row(s)" if rows else what for what, rows in self.rows.items())
