"""Point estimates of the scores of several tasks, as Agarwal et al. 2021 (NeurIPS, "rliable") define them.

Every function takes one array of scores per task: the scores of its seeds, normalized if tasks differ in scale. Tasks
may have different numbers of seeds, which the paper does not consider.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policygrad.statistics.interval import checked_tasks
from policygrad.types import F64

CUT = 0.25
"""Share of the scores that the interquartile mean leaves out at either end."""


def mean(tasks: Sequence[F64]) -> float:
    """Return the mean over tasks of the mean over seeds: `aggregate_mean` of rliable.

        x̄ = 1/K Σ_k 1/n_k Σ_i x_{k,i}

    >>> mean([np.array([1.0, 3.0]), np.array([6.0])])
    4.0

    Raises:
        ValueError: there are no tasks, or a task has no scores or scores that are not finite.
    """
    return float(np.mean([scores.mean() for scores in checked_tasks(tasks)]))


def median_of_tasks(tasks: Sequence[F64]) -> float:
    """Return the median over tasks of the mean over seeds: `aggregate_median` of rliable.

    With one task this is the mean of its scores. Half of the tasks can score 0 without any effect on it (section 4.3).

    >>> median_of_tasks([np.array([0.0, 2.0]), np.array([5.0]), np.array([9.0, 9.0])])
    5.0

    Raises:
        ValueError: see `mean`.
    """
    return float(np.median([scores.mean() for scores in checked_tasks(tasks)]))


def iqm(tasks: Sequence[F64]) -> float:
    """Return the interquartile mean: the mean of the middle half of the scores of all seeds of all tasks.

        IQM = 1/(N − 2g) Σ_{i=g+1}^{N−g} x_(i),    g = ⌊N/4⌋

    Section 4.3; `aggregate_iqm` of rliable. x_(i) are all N scores in ascending order. Each run counts equally, so a
    task with more seeds has more weight.

    >>> iqm([np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0, 90.0])])
    1.5

    Raises:
        ValueError: see `mean`.
    """
    return trimmed_mean(np.concatenate(checked_tasks(tasks)))


def optimality_gap(tasks: Sequence[F64], target: float = 1.0) -> float:
    """Return by how much the scores fall short of a target on average: `aggregate_optimality_gap` of rliable.

        gap = γ − 1/K Σ_k 1/n_k Σ_i min(x_{k,i}, γ)

    Section 4.3. γ is the target; what exceeds it does not count.

    >>> optimality_gap([np.array([0.5, 2.0])])
    0.25

    Raises:
        ValueError: see `mean`.
    """
    return target - mean([np.minimum(scores, target) for scores in checked_tasks(tasks)])


def trimmed_mean(scores: F64) -> float:
    """Return the interquartile mean of one array of scores."""
    cut = int(CUT * len(scores))
    return float(np.sort(scores)[cut : len(scores) - cut].mean())
