"""What a study shows: the score of each cell with its interval, and when its runs solved the environment."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from policygrad.statistics import Band, Estimate, Statistic, Survival, curve, estimate, kaplan_meier
from policygrad.studies.saved_cell import SavedCell, ScoreName
from policygrad.types import F64

RESAMPLING_SEED = 0
"""Seed of the bootstrap, so that the same study always has the same intervals."""


@dataclass(frozen=True)
class CellSummary:
    """The runs of a cell in numbers."""

    cell: SavedCell
    by: ScoreName
    """What the runs are scored by."""
    iqm: Estimate
    """Interquartile mean of the scores."""
    mean: Estimate
    median: Estimate
    solved: int
    """Number of finished runs that reached the threshold."""
    steps_to_solved: Survival
    """Steps until a run is solved, where runs that were not are censored at their last step."""
    seconds: float
    """Median of the seconds that a run spent collecting and learning."""


def summarize(
    cell: SavedCell, by: ScoreName | None = None, rng: np.random.Generator | None = None
) -> CellSummary | None:
    """Return the numbers of a cell; None if no run has finished or none has a score.

    Args:
        cell: a cell of a study.
        by: what to score runs by; by default the greedy returns, if the study measured them.
        rng: source of random numbers for the bootstrap; by default always the same.
    """
    by = cell.score_name if by is None else by
    scores = np.array(list(cell.scores(by).values()))
    if not len(scores):
        return None
    rng = np.random.default_rng(RESAMPLING_SEED) if rng is None else rng
    times, solved = cell.times_to_solved()
    return CellSummary(
        cell,
        by,
        estimate(scores, rng, "iqm"),
        estimate(scores, rng, "mean"),
        estimate(scores, rng, "median"),
        int(solved.sum()),
        kaplan_meier(times, solved),
        median(run.seconds for run in cell.finished),
    )


@dataclass(frozen=True)
class Curve:
    """A metric of a cell over its steps."""

    steps: F64
    """[P]: environment steps."""
    band: Band
    """Estimates over the seeds at these steps, with intervals."""
    lowest: float
    """Lowest value of any run, which limits a plot better than wide intervals of few seeds do."""
    highest: float


def curve_of(
    cell: SavedCell,
    metric: str = "return_100",
    statistic: Statistic = "iqm",
    points: int = 200,
    rng: np.random.Generator | None = None,
) -> Curve | None:
    """Return a metric of a cell over its steps, with an interval at each point; None if no run has values.

    Args:
        cell: a cell of a study.
        metric: name of a metric.
        statistic: what is estimated over the seeds.
        points: number of points.
        rng: source of random numbers for the bootstrap; by default always the same.
    """
    steps, values = cell.curves(metric, points)
    if not len(steps):
        return None
    rng = np.random.default_rng(RESAMPLING_SEED) if rng is None else rng
    return Curve(steps, curve(values, rng, statistic), float(values.min()), float(values.max()))
