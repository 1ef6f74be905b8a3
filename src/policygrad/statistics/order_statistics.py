"""A confidence interval for a median that makes no assumption about the distribution of the scores."""

from __future__ import annotations

import numpy as np
from scipy.special import bdtr

from policygrad.types import F64


def interval_of_median(scores: F64, level: float) -> tuple[F64, F64, F64, float, str]:
    """Return the median of the seeds at each point, with the interval between two order statistics.

        P(x_(k) ≤ median ≤ x_(n−k+1)) = 1 − 2 P(Bin(n, ½) < k)

    The exact levels of n seeds are few, so the interval is interpolated between those of k and k + 1 (Hettmansperger &
    Sheather 1986). If not even the range of the scores reaches the level, which takes 6 seeds for 95 %, the range is
    returned together with its own level, 1 − 2^{1−n}.

    The level is exact for continuous distributions. If many scores are equal, the interval covers more often. If the
    median lies in a gap between two clusters of scores, fewer than ten seeds may cover it in only 89 % of studies.

    Args:
        scores: [n, P], with n of 2 or more.
        level: such as 0.95.

    Returns:
        (medians [P], lower ends [P], upper ends [P], level, method).
    """
    x, n = np.sort(scores, axis=0), len(scores)
    median = np.median(x, axis=0)
    depths = np.arange(1, n)
    levels = 1 - 2 * bdtr(depths - 1.0, n, 0.5)
    reached = depths[levels >= level]
    if len(reached) == 0:
        own = float(levels[0])
        return (
            median,
            x[0],
            x[-1],
            own,
            f"range of {n} seeds, which covers the median in only {100 * own:.3g} %",
        )
    k = int(reached[-1])
    outer, inner = levels[k - 1], levels[k]
    part = (outer - level) / (outer - inner)
    weight = (n - k) * part / (k + (n - 2 * k) * part)
    # written so that equal scores give exactly that score
    low = x[k - 1] + weight * (x[k] - x[k - 1])
    high = x[n - k] - weight * (x[n - k] - x[n - k - 1])
    return median, low, high, level, "order statistics, interpolated"
