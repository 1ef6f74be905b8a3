"""The result of an evaluation: the returns of episodes, and confidence intervals for their mean and failures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaincinv, stdtrit

from policygrad._support.display import table_in_html
from policygrad.types import F64, Array


@dataclass(frozen=True)
class Evaluation:
    """Undiscounted returns of independent episodes, in the environment's own reward."""

    returns: F64
    """[episodes] float64: return of each episode."""
    lengths: Array
    """[episodes] int64: length of each episode in steps."""
    greedy: bool
    cut: int = 0
    """Number of episodes that the evaluation's step limit ended, because the environment has none."""
    threshold: float | None = None
    """Return that counts as solved, as specified by the environment's authors; None if they specify none."""

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(self.returns.mean())

    @property
    def failures(self) -> int | None:
        """Number of episodes whose return is below the threshold; None if there is no threshold."""
        return None if self.threshold is None else int((self.returns < self.threshold).sum())

    @property
    def failure_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the share of episodes below the threshold; None if there is no threshold.

        The interval of Clopper & Pearson 1934 covers the share in at least 95 % of evaluations, however small the share
        is. If no episode failed, it starts at 0 and ends at the one-sided bound, about 3/n (the rule of three).
        """
        return None if self.failures is None else share_interval(self.failures, len(self.returns))

    @property
    def low(self) -> float:
        """Lower end of the mean's 95 % confidence interval (Student's t); NaN for a single episode.

        The interval covers the mean less often than that if a few episodes are far from the others, as failures are.
        If all returns are equal, it has no width. Look at `failure_interval` too.
        """
        return self.mean - self._half_width()

    @property
    def high(self) -> float:
        """Upper end of the same interval."""
        return self.mean + self._half_width()

    def _half_width(self) -> float:
        n = len(self.returns)
        if n < 2:
            return math.nan
        return float(stdtrit(n - 1, 0.975)) * float(self.returns.std(ddof=1)) / math.sqrt(n)

    def __str__(self) -> str:
        how = "greedy" if self.greedy else "sampled"
        cut = f", {self.cut} cut after {int(self.lengths.max()):,} steps" if self.cut else ""
        failed = f", {self.failures_in_words}" if self.failures_in_words else ""
        return f"{self.mean_in_words} ({how}, {len(self.returns)} episodes{cut}{failed})"

    def _repr_html_(self) -> str:
        how = "greedy" if self.greedy else "sampled"
        rows = [(f"{how} return, {len(self.returns)} episodes", self.mean_in_words)]
        if self.failures is not None:
            rows.append(("episodes that failed", self.failures_in_words))
        if self.cut:
            rows.append(
                ("episodes that did not end", f"{self.cut}, cut after {int(self.lengths.max()):,} steps")
            )
        return table_in_html((), rows)

    @property
    def mean_in_words(self) -> str:
        """The mean with its interval or, if all returns are equal, a bound on the share of episodes that differ."""
        n = len(self.returns)
        if n > 1 and (self.returns == self.returns[0]).all():
            return f"{self.mean:.1f}, all equal: at most {percent(share_interval(0, n)[1])} of episodes differ (95 %)"
        return f"{self.mean:.1f}" if n < 2 else f"{self.mean:.1f}  95 % [{self.low:.1f}, {self.high:.1f}]"

    @property
    def failures_in_words(self) -> str:
        """The share of episodes below the threshold, with its interval; empty if there is no threshold."""
        failures, interval, n = self.failures, self.failure_interval, len(self.returns)
        if failures is None or interval is None:
            return ""
        if failures == 0:
            return f"none of {n} below {self.threshold:g}: at most {percent(interval[1])} of all (95 %)"
        low, high = map(percent, interval)
        return f"{failures} of {n} below {self.threshold:g}: {percent(failures / n)}  95 % [{low}, {high}]"


def percent(share: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.0295), percent(1.0)
    ('2.9 %', '100 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of Clopper & Pearson 1934 for a share, given `count` cases among `n`.

    If `count` is 0 or `n`, the interval is one-sided.

    >>> "{:.4f} {:.4f}".format(*share_interval(2, 100))
    '0.0024 0.0704'
    >>> "{:.4f} {:.4f}".format(*share_interval(0, 100))
    '0.0000 0.0295'
    """
    one_sided = 0.05 ** (1 / n)
    if count == 0:
        return 0.0, 1 - one_sided
    if count == n:
        return one_sided, 1.0
    return float(betaincinv(count, n - count + 1, 0.025)), float(betaincinv(count + 1, n - count, 0.975))
