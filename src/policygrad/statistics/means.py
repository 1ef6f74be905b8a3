"""Confidence intervals for a mean, of one task or over several tasks."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from policygrad.statistics.bootstrap import pivots, resampled_means
from policygrad.types import F64

ENOUGH = 5
"""Number of seeds per task from which on the seeds are resampled."""

STUDENT = "Student's t"
BOOTSTRAP_T = "bootstrap-t, averaged with Student's t"
WIDER = "the wider of bootstrap-t and Student's t"


def interval_of_mean(
    tasks: list[F64], rng: np.random.Generator, level: float, resamples: int, *, cautious: bool = False
) -> tuple[F64, F64, F64, str]:
    """Return the mean over tasks of the mean over seeds, with its confidence interval.

        se² = 1/K² Σ_k s_k²/n_k,    [x̄ − c_1 se, x̄ + c_2 se]

    With fewer than five seeds in any task, c_1 = c_2 is the quantile of Student's t with the degrees of freedom of
    Satterthwaite 1946. Otherwise c_1 and c_2 are the averages of that quantile and of the quantiles of the stratified
    bootstrap-t (Efron & Tibshirani 1993, section 12.5): seeds are resampled within each task.

    The average is our choice. For 10 and 20 seeds, Student's t covers the mean of exponential scores in 90 % and 92 %
    of studies instead of 95 %. The bootstrap-t covers in 94 %, but in 98 to 99 % if the scores form two clusters, as
    they do if some seeds fail. With 10 seeds or more the average covers in 93 to 99 % of all these studies, and in 94
    to 95 % if the scores are normal or moderately skewed.

    No method can know of failures that did not occur. If three of ten seeds fail, five seeds contain no failure in 17 %
    of studies, and their interval is then too high: it covers in 86 %.

    Args:
        tasks: K arrays [n_k, P] of scores, with n_k of 2 or more.
        rng: source of random numbers.
        level: such as 0.95.
        resamples: number of resamples.
        cautious: take the larger of the two quantiles instead of their average, and resample any number of seeds.

    Returns:
        (means [P], lower ends [P], upper ends [P], method).
    """
    # an element and the largest distance from it as origin and unit: equal scores stay equal, squares cannot overflow
    origins = [scores[0] for scores in tasks]
    reach = np.max(
        [abs(scores - origin).max(axis=0) for scores, origin in zip(tasks, origins, strict=True)], axis=0
    )
    unit = np.where(reach > 0, reach, 1.0)
    scaled = [(scores - origin) / unit for scores, origin in zip(tasks, origins, strict=True)]
    origin = np.mean(origins, axis=0)
    center = np.mean([scores.mean(axis=0) for scores in scaled], axis=0)
    squares = np.array([scores.var(axis=0, ddof=1) / len(scores) for scores in scaled])
    error = np.sqrt(squares.sum(axis=0)) / len(tasks)
    student = stdtrit(_degrees_of_freedom(squares, [len(scores) for scores in scaled]), (1 + level) / 2)
    below, above, method = student, student, STUDENT
    if cautious or min(map(len, tasks)) >= ENOUGH:
        drawn = [resampled_means(scores, resamples, rng) for scores in scaled]
        deviations = np.sum([deviation for deviation, _ in drawn], axis=0) / len(tasks)
        errors = np.sqrt(np.sum([each**2 for _, each in drawn], axis=0)) / len(tasks)
        low, high = np.quantile(pivots(deviations, errors, error), [(1 - level) / 2, (1 + level) / 2], axis=0)
        if cautious:
            below, above, method = np.maximum(student, high), np.maximum(student, -low), WIDER
        else:
            below, above, method = (student + high) / 2, (student - low) / 2, BOOTSTRAP_T
    if len(tasks) > 1:
        method += " with Satterthwaite's degrees of freedom"
    value = origin + unit * center
    return value, value - unit * below * error, value + unit * above * error, method


def _degrees_of_freedom(squares: F64, counts: list[int]) -> F64:
    """Return (Σ v_k)² / Σ v_k²/(n_k − 1) for squared standard errors v_k [K, P] (Satterthwaite 1946)."""
    spread = (squares**2 / (np.array(counts)[:, None] - 1)).sum(axis=0)
    total = squares.sum(axis=0)
    # without any spread the interval is a point, whatever the degrees of freedom
    return np.where(spread > 0, total**2 / np.where(spread > 0, spread, 1.0), min(counts) - 1.0)
