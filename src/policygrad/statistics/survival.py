"""How long runs take to solve a task, if some of them end unsolved: the estimator of Kaplan & Meier 1958."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from policygrad.statistics.bootstrap import normal_quantile
from policygrad.statistics.interval import Estimate, check_level, checked_scores
from policygrad.types import F64, I64, Bool

ROUNDING = 1e-12
"""A survival within this of ½ is ½, however its factors were rounded."""


@dataclass(frozen=True)
class Survival:
    """The estimated probability that a run has not solved the task by a given time, as steps down at K times."""

    time: F64
    """[K]: times at which runs solved the task, ascending, in steps or seconds."""
    survival: F64
    """[K]: S(t), the probability that a run is still unsolved after this time."""
    low: F64
    """[K]: lower ends of the pointwise intervals of S(t)."""
    high: F64
    """[K]: upper ends of the pointwise intervals of S(t)."""
    variance: F64
    """[K]: variance of S(t) by the formula of Greenwood 1926."""
    at_risk: I64
    """[K]: number of runs that were observed and unsolved just before this time."""
    solved: I64
    """[K]: number of runs that solved the task at this time."""
    n: int
    """Number of runs."""
    longest: float
    """Longest time that any run was observed."""
    level: float
    """Level of the intervals."""

    def at(self, time: float) -> float:
        """Return S(t), the probability that a run is still unsolved after a time; NaN where nothing was observed.

        Beyond the longest observation S(t) is only known if it has reached 0.
        """
        k = int(np.searchsorted(self.time, time, side="right"))
        survival = float(self.survival[k - 1]) if k else 1.0
        return math.nan if time > self.longest and survival > 0 else survival

    @property
    def median(self) -> float | None:
        """Time by which half of the runs have solved the task: the first t with S(t) ≤ ½; None if there is none."""
        return _first_at_most_half(self.time, self.survival)

    @property
    def median_interval(self) -> tuple[float, float]:
        """Interval of the median by Brookmeyer & Crowley 1982: the times whose interval of S(t) contains ½.

        An end is infinite if the curve does not reach ½ there: more runs, or longer ones, would be needed.
        """
        ends = (_first_at_most_half(self.time, bound) for bound in (self.low, self.high))
        low, high = (math.inf if end is None else end for end in ends)
        return low, high

    @property
    def median_in_words(self) -> str:
        """The median with its interval, or why there is none."""
        solved, low, high = int(self.solved.sum()), *self.median_interval
        if self.median is None:
            bound = f"; it is above {low:g} ({100 * self.level:.3g} %)" if math.isfinite(low) else ""
            return f"{solved} of {self.n} runs solved it, so there is no median time{bound}"
        end = f"{high:g}]" if math.isfinite(high) else "∞)"
        return f"{self.median:g}  {100 * self.level:.3g} % [{low:g}, {end}"

    def restricted_mean(self, until: float | None = None) -> Estimate:
        """Return the mean time to solve the task, where runs that take longer than `until` count as `until`.

            μ = ∫_0^τ S(t) dt,    Var = Σ_{t_i ≤ τ} (∫_{t_i}^τ S(t) dt)² d_i / (n_i (n_i − d_i))

        Kaplan & Meier 1958, section 6.1; Klein & Moeschberger 2003, section 4.5. The interval is normal.

        Args:
            until: τ; default: the longest observation.

        Raises:
            ValueError: τ is not positive, or is beyond the longest observation.
        """
        end = self.longest if until is None else until
        if not 0 < end <= self.longest:
            raise ValueError(
                f"until must be positive and at most the longest observation, {self.longest:g}; got {until!r}"
            )
        inside = self.time < end
        borders = np.concatenate([[0.0], self.time[inside], [end]])
        areas = np.diff(borders) * np.concatenate([[1.0], self.survival[inside]])
        after = areas.sum() - np.cumsum(areas)[:-1]
        at_risk, solved = self.at_risk[inside].astype(np.float64), self.solved[inside]
        # where all runs at risk solve the task, nothing is left of the integral
        left = np.where(at_risk > solved, at_risk - solved, 1.0)
        error = math.sqrt(float((after**2 * solved / (at_risk * left)).sum()))
        mean, half = float(areas.sum()), normal_quantile(self.level) * error
        low, high = max(mean - half, 0.0), min(mean + half, end)
        if self.n == 1:
            return Estimate(mean, math.nan, math.nan, math.nan, "one run has no interval", 1)
        return Estimate(mean, low, high, self.level, f"normal, mean of the time up to {end:g}", self.n)


def kaplan_meier(time: F64, solved: Bool, *, level: float = 0.95) -> Survival:
    """Estimate how long runs take to solve a task, when some of them ended before they had solved it.

        S(t) = Π_{t_i ≤ t} (1 − d_i/n_i),    Var S(t) = S(t)² Σ_{t_i ≤ t} d_i / (n_i (n_i − d_i))

    Kaplan & Meier 1958, eq. 2b, and Greenwood 1926. n_i runs are unsolved and observed just before t_i, and d_i of them
    solve the task at t_i. Runs that end unsolved at t_i still count in n_i. The estimate assumes that runs were not
    ended because of how they went. Intervals of S(t) are normal for log(−log S(t)) (Kalbfleisch & Prentice 1980), which
    keeps them in [0, 1]. Where S(t) is 0, the lower end is 0 and the upper end is that of the previous time.

    Five runs, of which one ended unsolved after 30 steps:

    >>> steps = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    >>> curve = kaplan_meier(steps, np.array([True, True, False, True, True]))
    >>> curve.survival, curve.median
    (array([0.8, 0.6, 0.3, 0. ]), 40.0)

    Args:
        time: [runs]: steps or seconds until the run solved the task or ended.
        solved: [runs]: True if it solved the task at this time, False if it ended unsolved.
        level: level of the intervals.

    Raises:
        ValueError: the times are empty, negative or not finite, or the shapes differ.
    """
    time, solved = checked_scores(time, "time"), np.asarray(solved)
    check_level(level)
    if solved.shape != time.shape or solved.dtype != np.bool_:
        raise ValueError(
            f"solved must be an array of bool with the shape of time, {time.shape}; "
            f"got {solved.dtype} with shape {solved.shape}"
        )
    if (time < 0).any():
        raise ValueError(f"time must be 0 or more; got {time.min():g}")
    times, counts = np.unique(time[solved], return_counts=True)
    at_risk = len(time) - np.searchsorted(np.sort(time), times, side="left")
    survival: F64 = np.cumprod((at_risk - counts) / at_risk, dtype=np.float64)
    some_left = at_risk > counts
    left = np.where(some_left, at_risk - counts, 1)
    greenwood = np.cumsum(np.where(some_left, counts / (at_risk * left), 0.0))
    # log(−log S) has the standard error √greenwood / |log S|
    exponent = normal_quantile(level) * np.sqrt(greenwood) / -np.log(np.where(some_left, survival, 0.5))
    low = np.where(some_left, survival ** np.exp(exponent), 0.0)
    high = np.where(some_left, survival ** np.exp(-exponent), 1.0)
    if len(times) and not some_left[-1]:
        high[-1] = high[-2] if len(times) > 1 else 1.0
    return Survival(
        times,
        survival,
        low,
        high,
        np.where(some_left, survival**2 * greenwood, 0.0),
        at_risk.astype(np.int64),
        counts.astype(np.int64),
        len(time),
        float(time.max()),
        level,
    )


def _first_at_most_half(time: F64, curve: F64) -> float | None:
    reached = np.flatnonzero(curve <= 0.5 + ROUNDING)
    return float(time[reached[0]]) if len(reached) else None
