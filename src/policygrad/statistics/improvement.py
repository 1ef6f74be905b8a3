"""The probability that a run of one configuration scores higher than a run of another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import stdtrit

from policygrad.statistics.bootstrap import percentiles, resampled_weights, widened
from policygrad.statistics.interval import Estimate, check_level, checked_tasks
from policygrad.statistics.one_task import RESAMPLES
from policygrad.types import F64


def probability_of_improvement(
    x: Sequence[F64],
    y: Sequence[F64],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return the probability that a run of X scores higher than a run of Y on the same task, averaged over tasks.

        P(X > Y) = 1/K Σ_k 1/(n_k m_k) Σ_{i,j} [x_{k,i} > y_{k,j}] + ½ [x_{k,i} = y_{k,j}]

    Agarwal et al. 2021, section 4.3; `probability_of_improvement` of rliable. The sum is the statistic U of Mann &
    Whitney 1947. It says how often X is better, and nothing about how much.

    The interval contains the widened percentiles of a stratified bootstrap and the score interval of Newcombe 2006
    (Statistics in Medicine 25, method 5, with Student's t). The bootstrap alone would be a point if all runs of X are
    better, and with ten seeds would cover a probability of 0.97 in half of the studies. From 5 seeds on, the interval
    covers in 94 to 99 % of studies if the probability is between 0.3 and 0.7, and in up to 100 % near 0 and 1.

    >>> x, y = [np.array([1.0, 2.0, 5.0])], [np.array([1.0, 0.0, 3.0])]
    >>> round(probability_of_improvement(x, y, np.random.default_rng(0)).value, 4)
    0.7222

    Args:
        x, y: one array [seeds] of scores per task. The numbers of seeds may differ.
        rng: source of random numbers. The same state gives the same interval.
        level: share of studies whose interval should cover the true value.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: X and Y have different numbers of tasks, or a task has no scores or scores that are not finite.
    """
    xs, ys = checked_tasks(x, "x"), checked_tasks(y, "y")
    check_level(level, resamples)
    if len(xs) != len(ys):
        raise ValueError(f"x and y must contain the same tasks; got {len(xs)} and {len(ys)}")
    wins = [_wins(each, other) for each, other in zip(xs, ys, strict=True)]
    value = float(np.mean([table.mean() for table in wins]))
    counts = [table.shape for table in wins]
    runs = sum(map(sum, counts))
    fewest = min(map(min, counts))
    if fewest == 1:
        return Estimate(value, math.nan, math.nan, math.nan, "a task with one seed has no interval", runs)
    df = runs - 2 * len(counts)
    low, high = percentiles(_resampled(wins, rng, resamples), widened(fewest, df, level))
    score_low, score_high = _score_interval(value, counts, float(stdtrit(df, (1 + level) / 2)))
    ends = min(float(low), score_low), max(float(high), score_high)
    return Estimate(
        value, *ends, level, "stratified percentile bootstrap and Newcombe's score interval", runs
    )


def _wins(x: F64, y: F64) -> F64:
    """Return [n, m]: 1 where x_i > y_j, ½ where they are equal, 0 elsewhere."""
    return (np.sign(x[:, None] - y) + 1) / 2


def _resampled(wins: list[F64], rng: np.random.Generator, resamples: int) -> F64:
    """Return P(X > Y) of each resample, in which the seeds of X and Y are resampled within each task, [B]."""
    total = np.zeros(resamples)
    for table in wins:
        rows, columns = (resampled_weights(n, resamples, rng) for n in table.shape)
        total += ((rows @ table) * columns).sum(axis=1)
    return total / len(wins)


def _score_interval(value: float, counts: list[tuple[int, int]], quantile: float) -> tuple[float, float]:
    """Return the probabilities p with (p̂ − p)² ≤ t² V(p).

        V(p) = 1/K² Σ_k p(1−p)/(n_k m_k) (1 + N_k (1−p)/(2−p) + N_k p/(1+p)),    N_k = (n_k + m_k)/2 − 1

    Newcombe 2006, method 5, after Hanley & McNeil 1982. The sum over tasks is ours. It takes p to be equal for all
    tasks, for which the variance is largest.
    """

    def outside(p: float) -> float:
        product = p * (1 - p)
        shape = (1 - p) / (2 - p) + p / (1 + p)
        variance = (
            sum(product / (n * m) * (1 + ((n + m) / 2 - 1) * shape) for n, m in counts) / len(counts) ** 2
        )
        return (value - p) ** 2 - quantile**2 * variance

    return _border(outside, value, 0.0), _border(outside, value, 1.0)


def _border(outside: Callable[[float], float], inside: float, end: float) -> float:
    """Return where a function becomes positive between a point where it is not and an end, by bisection."""
    for _ in range(50):
        middle = (inside + end) / 2
        if outside(middle) > 0:
            end = middle
        else:
            inside = middle
    return end
