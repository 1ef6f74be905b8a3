"""Bootstrap resamples of seeds (Efron & Tibshirani 1993), for many columns of scores at once.

Means, trimmed means and their standard errors are sums of the sorted scores with weights that depend on nothing but the
ranks that a resample contains. The weights are therefore drawn once, and one matrix product computes the resamples of
all points of a curve.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from policygrad.types import F64

LEAST_SHARE = 0.2
"""Least standard error of a resample, as a share of the standard error of the scores."""


def resampled_weights(n: int, resamples: int, rng: np.random.Generator, cut: int = 0) -> F64:
    """Draw resamples of n seeds and return the weight that each sorted score has in the resample's trimmed mean.

    Args:
        n: number of seeds.
        resamples: B.
        rng: source of random numbers.
        cut: number of scores that the trimmed mean leaves out at either end; 0 for the mean.

    Returns:
        [B, n]. Each row sums to 1.
    """
    ranks = rng.integers(n, size=(resamples, n))
    if cut:
        ranks.sort(axis=1)
    kept = ranks[:, cut : n - cut]
    cells = (kept + n * np.arange(resamples)[:, None]).ravel()
    return np.bincount(cells, minlength=resamples * n).reshape(resamples, n) / kept.shape[1]


def resampled_means(scores: F64, resamples: int, rng: np.random.Generator) -> tuple[F64, F64]:
    """Resample seeds; return the deviations of the means from the mean of the scores, and their standard errors.

    Args:
        scores: [n, P], of a magnitude whose square is a float.
        resamples: B.
        rng: source of random numbers.

    Returns:
        (x̄* − x̄ [B, P], s*/√n [B, P]).
    """
    n = len(scores)
    weights = resampled_weights(n, resamples, rng)
    centered = scores - scores.mean(axis=0)
    deviations = weights @ centered
    variances = np.maximum(weights @ centered**2 - deviations**2, 0.0) * n / (n - 1)
    return deviations, np.sqrt(variances / n)


def pivots(deviations: F64, errors: F64, error: F64) -> F64:
    """Return the studentized deviations t* = (x̄* − x̄) / se* of the bootstrap-t interval; 0 where all scores are equal.

    Efron & Tibshirani 1993, eq. 12.20. A resample that happens to contain nearly equal scores has a tiny se*, and with
    ten seeds such resamples would determine the interval. se* is therefore at least `LEAST_SHARE` of se.

    Args:
        deviations, errors: [B, P]: x̄* − x̄ and se*.
        error: [P]: se of the scores.

    Returns:
        [B, P].
    """
    least = np.where(error > 0, LEAST_SHARE * error, 1.0)
    return deviations / np.maximum(errors, least)


def widened(n: int, df: float, level: float) -> float:
    """Return the z-score at which the percentiles of a bootstrap distribution are read, for n seeds per task.

        z = √(n/(n−1)) t_{df}

    Hesterberg 2015 (The American Statistician 69, section 3.3, "expanded percentile interval"): the variance of
    resampled means is too small by the factor (n−1)/n, and the percentiles ignore that the variance is estimated.

    >>> f"{widened(10, 9, 0.95):.3f}"
    '2.385'
    """
    return math.sqrt(n / (n - 1)) * float(stdtrit(df, (1 + level) / 2))


def normal_quantile(level: float) -> float:
    """Return the z-score of a two-sided normal interval.

    >>> f"{normal_quantile(0.95):.3f}"
    '1.960'
    """
    return float(ndtri((1 + level) / 2))


def percentiles(resampled: F64, z: float) -> tuple[F64, F64]:
    """Return the percentiles Φ(−z) and Φ(z) along the first axis, which are the ends of a percentile interval."""
    share = float(ndtr(-z))
    low, high = np.quantile(resampled, [share, 1 - share], axis=0)
    return low, high
