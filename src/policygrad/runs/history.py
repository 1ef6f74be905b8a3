"""The history of a run's updates and episodes, in memory that is bounded for runs of any length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from policygrad._support.state import unpack
from policygrad.types import F64, I64, State


class Thinned:
    """A table that keeps all rows up to `limit`, and then every second row, every fourth, and so on.

    Args:
        columns: number of columns.
        limit: maximum number of rows to keep.

    >>> table = Thinned(columns=1, limit=4)
    >>> table.extend(np.arange(9.0)[:, None])
    >>> table.rows[:, 0], table.every, table.count
    (array([0., 4., 8.]), 4, 9)
    """

    def __init__(self, columns: int, limit: int) -> None:
        self.count = 0
        """Number of rows that have been added."""
        self.every = 1
        """One of this many rows is kept: a power of two."""
        self._limit = limit
        self._kept = 0
        self._buffer: F64 = np.empty((min(limit, 64), columns))

    @property
    def rows(self) -> F64:
        """[kept, columns] float64: the first row, the one `every` rows later, and so on, as a view."""
        return self._buffer[: self._kept]

    def extend(self, block: F64) -> None:
        """Add rows: [n, columns] float64."""
        begun = 0
        while begun < len(block):
            # only until the table is full, so that a block may have any size
            part = block[begun : begun + (self._limit - self._kept) * self.every]
            chosen = part[-self.count % self.every :: self.every]
            self._grow(self._kept + len(chosen))
            self._buffer[self._kept : self._kept + len(chosen)] = chosen
            self._kept += len(chosen)
            self.count += len(part)
            begun += len(part)
            if self._kept == self._limit:
                self._kept = (self._kept + 1) // 2
                self._buffer[: self._kept] = self._buffer[: self._limit : 2].copy()
                self.every *= 2

    def widen(self, columns: int) -> None:
        """Add columns, up to this number, which are NaN in the existing rows."""
        if columns == self._buffer.shape[1]:
            return
        buffer = np.full((len(self._buffer), columns), np.nan)
        buffer[:, : self._buffer.shape[1]] = self._buffer
        self._buffer = buffer

    def _grow(self, rows: int) -> None:
        if rows > len(self._buffer):
            buffer = np.empty((min(self._limit, max(2 * len(self._buffer), rows)), self._buffer.shape[1]))
            buffer[: self._kept] = self._buffer[: self._kept]
            self._buffer = buffer

    def state(self) -> State:
        """Serializable state."""
        return {"rows": self.rows.copy(), "every": self.every, "count": self.count}

    def restore(self, state: State) -> None:
        """Continue from that state."""
        rows, self.every, self.count = unpack(state, "rows", "every", "count")
        self._kept, self._buffer = len(rows), np.array(rows, np.float64)


class Updates:
    """The metrics of a run's updates, one row per update, of which at most `LIMIT` are kept."""

    LIMIT = 100_000

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._table = Thinned(0, self.LIMIT)
        self.latest: dict[str, float] = {}
        """The latest row; empty before the first."""

    def __len__(self) -> int:
        """Return the number of updates, including those that are not kept."""
        return self._table.count

    def append(self, row: Mapping[str, float]) -> None:
        """Add the metrics of an update."""
        self.extend(tuple(row), np.array([list(row.values())], np.float64))

    def extend(self, names: Sequence[str], table: F64) -> None:
        """Add R updates with M named metrics each: [R, M] float64."""
        self.latest = dict(zip(names, table[-1].tolist(), strict=True))
        if tuple(names) != tuple(self._names):
            for name in names:
                self._names.setdefault(name, len(self._names))
            self._table.widen(len(self._names))
            wide = np.full((len(table), len(self._names)), math.nan)
            wide[:, [self._names[name] for name in names]] = table
            table = wide
        self._table.extend(table)

    def columns(self) -> dict[str, F64]:
        """Return each metric as an array with one entry per kept update, and always one for the latest."""
        rows = self._table.rows
        if self.latest and (len(self) - 1) % self._table.every:
            rows = np.append(rows, [[self.latest.get(name, math.nan) for name in self._names]], axis=0)
        return {name: rows[:, column].copy() for name, column in self._names.items()}

    @property
    def every(self) -> int:
        """One of this many updates is kept."""
        return self._table.every


class Episodes:
    """The undiscounted original return of each training episode, and the steps used by the end of its update."""

    LIMIT = 1_000_000

    def __init__(self) -> None:
        self._table = Thinned(2, self.LIMIT)

    def __len__(self) -> int:
        """Return the number of episodes, including those that are not kept."""
        return self._table.count

    def extend(self, returns: F64, steps: F64) -> None:
        """Add episodes: their returns [E], and the steps used by the end of the update of each [E], both float64."""
        if len(returns):
            self._table.extend(np.stack([returns, steps], axis=1))

    @property
    def returns(self) -> F64:
        """[kept] float64: return of each kept episode."""
        return self._table.rows[:, 0].copy()

    @property
    def steps(self) -> I64:
        """[kept] int64: steps used by the end of the update of each kept episode."""
        return self._table.rows[:, 1].astype(np.int64)

    @property
    def every(self) -> int:
        """One of this many episodes is kept."""
        return self._table.every

    def state(self) -> State:
        """Serializable state."""
        return self._table.state()

    def restore(self, state: State) -> None:
        """Continue from that state."""
        self._table.restore(state)
