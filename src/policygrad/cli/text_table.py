"""Tables that stay readable on terminals of any width."""

from __future__ import annotations

from dataclasses import dataclass, field

from policygrad._support.console import console, stdout

NARROW = 60
"""Terminals with fewer columns than this show each cell on a line of its own."""


@dataclass
class Table:
    """Rows of text under a title, shown as a table, or one cell per line on a terminal that is too narrow."""

    title: str
    headings: tuple[str, ...] = ()
    """Headings of the columns; a table without headings has a column of names and one of values."""
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    caption: str = ""
    numbers: bool = False
    """If True, all columns except the first are right-aligned."""

    def add_row(self, *cells: str) -> None:
        """Add a row of cells."""
        self.rows.append(cells)

    def show(self) -> None:
        """Print the table on stdout. Long values are wrapped, never truncated."""
        out = console(stdout)
        if out.width < max(NARROW, self._least_width):
            out.print(self._listed())
            return
        # slow to import, and only needed here
        from rich.table import Table as RichTable

        table = RichTable(title=self.title, caption=self.caption or None, show_header=bool(self.headings))
        table.show_lines = bool(self.headings) and not self.numbers
        for i, heading in enumerate(self.headings or ("", "")):
            right = self.numbers and i > 0
            # headings are wrapped, numbers are not
            width = max((len(row[i]) for row in self.rows), default=0) if right else None
            justify = "right" if right else "left"
            table.add_column(heading, overflow="fold", no_wrap=not i, min_width=width, justify=justify)
        for row in self.rows:
            table.add_row(*row)
        out.print(table)

    @property
    def _least_width(self) -> int:
        """Columns of a terminal below which numbers would have to be truncated."""
        if not self.numbers:
            return 0
        words = [max(map(len, heading.split())) for heading in self.headings]
        cells = [max((len(row[i]) for row in self.rows), default=0) for i in range(len(self.headings))]
        return 1 + sum(max(pair) + 3 for pair in zip(words, cells, strict=True))

    def _listed(self) -> str:
        lines = [self.title]
        for row in self.rows:
            if self.headings:
                lines.append(f"\n{self.headings[0]} {row[0]}")
                lines += [f"  {name}: {cell}" for name, cell in zip(self.headings[1:], row[1:], strict=True)]
            else:
                lines.append(f"{row[0]}: {row[1]}" if row[0] else row[1])
        return "\n".join([*lines, *([f"\n{self.caption}"] if self.caption else [])])
