"""What one step of the training loop returns: one or several rows of the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from policygrad.policies import Snapshot
from policygrad.types import F64, I64

SMALLEST_ROW = 256
"""Updates with fewer samples are reported together, until this many were used or an episode has ended."""


@dataclass(frozen=True)
class Iteration:
    """R rows of the history. Each row covers one update or several small ones (see `SMALLEST_ROW`).

    In Python, an iteration has one row. Machine code returns many at a time.
    """

    names: tuple[str, ...]
    """Names of the M metrics of a row: see `metrics.METRICS`."""
    table: F64
    """[R, M] float64: the rows; NaN where a metric is not defined."""
    returns: F64
    """[E] float64: undiscounted original return of each episode that ended, in order."""
    episodes: I64
    """[R] int64: number of these episodes that ended in each row."""
    acted: Snapshot
    """The policy as it was at the start of the last row, before its first update."""
    new_best: bool
    """True if the most promising candidate for the best policy is a new one."""
    solved: bool
    """True if, after the last row, the mean of the last `WINDOW` returns reached the threshold."""

    @property
    def last(self) -> dict[str, float]:
        """The last row, by name."""
        return dict(zip(self.names, self.table[-1].tolist(), strict=True))

    def column(self, name: str) -> F64:
        """Return a metric of all rows, [R]."""
        return self.table[:, self.names.index(name)]

    def with_metrics(self, metrics: Mapping[str, float]) -> Iteration:
        """Return a copy whose last row has further metrics; they are NaN in the other rows."""
        added = np.full((len(self.table), len(metrics)), np.nan)
        added[-1] = list(metrics.values())
        return replace(self, names=(*self.names, *metrics), table=np.concatenate([self.table, added], axis=1))
