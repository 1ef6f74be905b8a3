"""A table on the terminal, whatever the terminal can show."""

from __future__ import annotations

from dataclasses import dataclass, field

from policygrad._support.console import console, stdout

NARROW = 60
"""Columns of a terminal below which rows are shown one below the other."""


@dataclass
class Table:
    """Rows of text under a title; shown as a table where there is room, else entry by entry."""

    title: str
    headings: tuple[str, ...] = ()
    """Of the columns; without any there are names and values."""
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    caption: str = ""
    numbers: bool = False
    """All columns but the first are aligned to the right."""

    def add_row(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def show(self) -> None:
        """Print it on stdout. A long value is broken over lines, never cut."""
        out = console(stdout)
        if out.width < NARROW:
            out.print(self._listed())
            return
        # heavy, and only needed here
        from rich.table import Table as RichTable

        table = RichTable(title=self.title, caption=self.caption or None, show_header=bool(self.headings))
        table.show_lines = bool(self.headings) and not self.numbers
        for i, heading in enumerate(self.headings or ("", "")):
            right = self.numbers and i > 0
            # numbers stay whole, and headings are broken over lines
            least = max((len(row[i]) for row in self.rows), default=0) if right else None
            justify = "right" if right else "left"
            table.add_column(heading, overflow="fold", no_wrap=not i, min_width=least, justify=justify)
        for row in self.rows:
            table.add_row(*row)
        out.print(table)

    def _listed(self) -> str:
        lines = [self.title]
        for row in self.rows:
            if self.headings:
                lines.append(f"\n{self.headings[0]} {row[0]}")
                lines += [f"  {name}: {cell}" for name, cell in zip(self.headings[1:], row[1:], strict=True)]
            else:
                lines.append(f"{row[0]}: {row[1]}" if row[0] else row[1])
        return "\n".join([*lines, *([f"\n{self.caption}"] if self.caption else [])])
