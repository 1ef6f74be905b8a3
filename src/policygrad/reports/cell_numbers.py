"""The numbers of a cell that a report shows: its scores, their estimates, and its learning curve."""

from __future__ import annotations

from dataclasses import dataclass

from policygrad.statistics import Survival
from policygrad.studies.analysis import CellSummary, Curve, curve_of, summarize
from policygrad.studies.saved_cell import SavedCell, ScoreName

POINTS = 100
"""Number of points of a learning curve."""


@dataclass(frozen=True)
class CellNumbers:
    """What the finished runs of a cell have reached."""

    cell: SavedCell
    scores: dict[int, float]
    """Score of each finished run by its seed; empty if there are none."""
    summary: CellSummary | None
    """Estimates from the scores; None if there are none."""
    curve: Curve | None
    """Interquartile mean of the mean of the last 100 training returns; None if no run has one."""

    @property
    def mean(self) -> float:
        """Mean score, by which configurations are ranked."""
        assert self.summary is not None
        return self.summary.mean.value

    @property
    def solved(self) -> int:
        """Number of runs that solved the environment."""
        return 0 if self.summary is None else self.summary.solved

    @property
    def survival(self) -> Survival | None:
        """Steps until the runs solved the environment; None if it has no threshold or no run has finished."""
        if self.summary is None or self.cell.threshold is None:
            return None
        return self.summary.steps_to_solved


def cell_numbers(cell: SavedCell, by: ScoreName) -> CellNumbers:
    """Return the numbers of a cell. The same runs always give the same intervals.

    Args:
        cell: the cell.
        by: what its runs are scored by.
    """
    summary = summarize(cell, by)
    return CellNumbers(
        cell, {} if summary is None else cell.scores(by), summary, curve_of(cell, points=POINTS)
    )
