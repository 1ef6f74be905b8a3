"""Comparison of two configurations, a and b, in one environment. Higher scores are better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from policygrad.statistics.interval import NO_INTERVAL, check_level, checked_scores
from policygrad.statistics.means import interval_of_mean
from policygrad.statistics.one_task import RESAMPLES
from policygrad.statistics.permutations import label_p, sign_flip_p
from policygrad.statistics.power import MOST_SEEDS, cautious_level, detectable, fewest_seeds, seeds_needed
from policygrad.types import F64

Verdict: TypeAlias = Literal["a is better", "b is better", "not decided"]


@dataclass(frozen=True)
class Comparison:
    """The difference between the mean scores of configurations a and b in one environment."""

    difference: float
    """Mean score of a minus mean score of b; of the shared seeds, if the comparison is paired."""
    low: float
    """Lower end of the difference's confidence interval; NaN if there is none."""
    high: float
    """Upper end of the difference's confidence interval; NaN if there is none."""
    level: float
    """Level of the interval, which for fewer than 15 seeds is higher than asked for (see `power.cautious_level`)."""
    p: float
    """Two-sided p-value of the permutation test."""
    method: str
    """How the interval and the p-value were computed, in words."""
    paired: bool
    """True if only shared seeds were compared, each with itself."""
    n: tuple[int, int]
    """Numbers of seeds of a and b that were compared."""
    fewest: int
    """Number of seeds of each below which nothing is decided."""
    verdict: Verdict
    """Decided only if the interval excludes 0 and the permutation test rejects that a and b score alike."""
    needed: int | None
    """Seeds of each with which a t test would decide with probability 0.8 if the true difference were the estimated
    one; None if that is more than 1,000 or cannot be computed."""
    detectable: float
    """Smallest true difference that these seeds decide with probability 0.8; NaN if they cannot decide anything."""

    @property
    def in_words(self) -> str:
        """The verdict, the difference and, if nothing was decided, what would decide it."""
        text = f"{self.verdict}: the difference is {self.difference:.4g}"
        if math.isnan(self.low):
            return f"{text}, and {NO_INTERVAL}; run at least {self.fewest} seeds of each"
        text += f"  {100 * self.level:.3g} % [{self.low:.4g}, {self.high:.4g}], p = {self.p:.2g}"
        if self.verdict != "not decided":
            return text
        if min(self.n) < self.fewest:
            return f"{text}; {min(self.n)} seeds cannot decide, so run at least {self.fewest} of each"
        if self.low == self.high:
            return text
        how_many = f"about {self.needed}" if self.needed is not None else f"more than {MOST_SEEDS:,}"
        return (
            f"{text}; if the true difference is as large as this uncertain one, {how_many} seeds of each would "
            f"probably decide; the seeds at hand would probably decide a difference of {self.detectable:.4g}"
        )


def paired(
    a: Mapping[int, float],
    b: Mapping[int, float],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two configurations by the differences between their scores with the same seed.

    A verdict needs two things, so that it is rarely wrong. The sign-flip test has p ≤ 1 − level, and the interval of
    the mean difference excludes 0. The interval is the wider of Student's t and bootstrap-t, with a level of 98 %
    instead of 95 % for fewer than 15 seeds. Fewer than 6 shared seeds never decide: see `power.fewest_seeds`. The
    measured shares of wrong verdicts (`tests/unit/test_statistics_comparison.py`) are

    - below 5 % if a and b have the same distribution, however skewed and however correlated by seed;
    - below 5 % if a and b have the same mean, and the scores of one are exponential;
    - up to 12 % with 6 to 8 seeds if three in ten runs of one configuration fail, and up to 7 % for differences with
      the heavy skew of a lognormal distribution (σ = 1). No test can know of failures that did not occur.

    If fewer than 6 seeds are shared although both have 6 or more, all seeds are compared by `unpaired`.

    >>> a, b = {seed: 7.0 + seed for seed in range(6)}, {seed: 2.0 * seed for seed in range(6)}
    >>> paired(a, b, np.random.default_rng(0)).verdict
    'a is better'

    Args:
        a, b: the score of each seed.
        rng: source of random numbers. The same state gives the same result.
        level: 1 − level is the largest p-value that decides.
        resamples: number of bootstrap resamples of the interval.

    Raises:
        ValueError: a configuration has no scores, or scores that are not finite.
    """
    check_level(level, resamples)
    shared, fewest = sorted(a.keys() & b.keys()), fewest_seeds(level)
    n = len(shared)
    if n < 2 or n < fewest <= min(len(a), len(b)):
        return unpaired(a, b, rng, level=level, resamples=resamples)
    x, y = _scores(a, "a"), _scores(b, "b")
    differences = x[np.isin(sorted(a), shared)] - y[np.isin(sorted(b), shared)]
    deviation = float(differences.std(ddof=1))
    return _judged(
        [differences],
        rng,
        level,
        resamples,
        p=sign_flip_p(differences, rng),
        test="sign-flip test, of differences between shared seeds",
        counts=(n, n),
        deviation=deviation,
        df=n - 1.0,
    )


def unpaired(
    a: Mapping[int, float],
    b: Mapping[int, float],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two configurations whose seeds are not shared.

        (ā − b̄) ± c √(s_a²/n + s_b²/m)

    As in `paired`, a verdict needs the interval and a permutation test, which here permutes the labels a and b. c is
    the larger quantile of Student's t with the degrees of freedom of Welch 1947 and of the bootstrap-t.

    Args:
        a, b: the score of each seed.
        rng, level, resamples: see `paired`.

    Raises:
        ValueError: see `paired`.
    """
    check_level(level, resamples)
    x, y = _scores(a, "a"), _scores(b, "b")
    n, m = len(x), len(y)
    squares = np.array([scores.var(ddof=1) if len(scores) > 1 else math.nan for scores in (x, y)])
    parts = squares / [n, m]
    spread = float((parts**2 / [max(n - 1, 1), max(m - 1, 1)]).sum())
    return _judged(
        [x, -y],
        rng,
        level,
        resamples,
        p=label_p(x, y, rng),
        test="permutation test of the labels, of all seeds",
        counts=(n, m),
        deviation=math.sqrt(float(squares.mean())),
        df=float(parts.sum()) ** 2 / spread if spread > 0 else min(n, m) - 1.0,
    )


def _judged(
    samples: list[F64],
    rng: np.random.Generator,
    level: float,
    resamples: int,
    *,
    p: float,
    test: str,
    counts: tuple[int, int],
    deviation: float,
    df: float,
) -> Comparison:
    """Return the comparison whose difference is the sum of the means of samples: [a − b], or [a, −b].

    Args:
        samples: arrays of scores.
        rng, level, resamples, p: see `paired`.
        test: the permutation test, in words.
        counts: numbers of seeds.
        deviation: standard deviation to which `power.seeds_needed` relates the difference; NaN if it is unknown.
        df: degrees of freedom of the t test.
    """
    difference, fewest = float(sum(scores.mean() for scores in samples)), fewest_seeds(level)
    own_level, can_decide = cautious_level(min(counts), level), min(counts) >= fewest
    low, high, method = math.nan, math.nan, NO_INTERVAL
    if min(counts) > 1:
        columns = [scores[:, None] for scores in samples]
        ends = interval_of_mean(columns, rng, own_level, resamples, cautious=can_decide)
        # the mean of the means, times their number
        low, high = (len(samples) * float(end[0]) for end in ends[1:3])
        method = ends[3]
    verdict: Verdict = "not decided"
    # 1 − 0.95 is a little more than 0.05
    if can_decide and p <= 1 - level + 1e-9 and not low <= 0 <= high:
        verdict = "a is better" if difference > 0 else "b is better"
    is_paired, smallest, needed = len(samples) == 1, math.nan, None
    if deviation > 0:
        needed = seeds_needed(difference / deviation, level, paired=is_paired)
    if can_decide:
        error = math.sqrt(sum(float(scores.var(ddof=1)) / len(scores) for scores in samples))
        smallest = detectable(df, error, own_level)
    return Comparison(
        difference,
        low,
        high,
        own_level,
        p,
        f"{method}, and {test}",
        is_paired,
        counts,
        fewest,
        verdict,
        needed,
        smallest,
    )


def _scores(scores: Mapping[int, float], what: str) -> F64:
    """Return the scores in the order of their seeds; raise ValueError if there are none or one is not finite."""
    return checked_scores([scores[seed] for seed in sorted(scores)], f"the scores of {what}")
