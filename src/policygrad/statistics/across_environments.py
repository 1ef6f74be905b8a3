"""Comparison of two configurations, a and b, in several environments. Higher scores are better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policygrad.statistics.improvement import probability_of_improvement
from policygrad.statistics.interval import Estimate, check_level
from policygrad.statistics.one_task import RESAMPLES
from policygrad.statistics.permutations import improvement_p
from policygrad.statistics.two_configurations import Comparison, Verdict, paired
from policygrad.types import F64


@dataclass(frozen=True)
class Comparisons:
    """Configurations a and b in several environments: in each, and in all together."""

    environments: dict[str, Comparison]
    """The comparison in each environment. Each verdict has its own probability of being wrong, so that among twenty
    environments without a difference one wrong verdict is to be expected."""
    improvement: Estimate
    """Probability that a run of a scores higher than a run of b in the same environment, averaged over environments. It
    does not depend on the scales of the scores."""
    p: float
    """Two-sided p-value of the permutation test of the labels within each environment."""
    verdict: Verdict
    """For all environments together: decided only if the interval of `improvement` excludes ½ and p is small enough."""

    @property
    def in_words(self) -> str:
        """The verdict for all environments together, and the probability of improvement."""
        count = len(self.environments)
        where = "1 environment" if count == 1 else f"{count} environments"
        text = f"{self.verdict} over {where}: a run of a scores higher with probability {self.improvement}"
        return f"{text}, p = {self.p:.2g}"


def compare(
    a: Mapping[str, Mapping[int, float]],
    b: Mapping[str, Mapping[int, float]],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Comparisons:
    """Compare two configurations in each environment that both have, and in all of them together.

    In each environment the means are compared (see `two_configurations.paired`). Over all environments, whose scores
    may have different scales, the probability of improvement is compared with ½, without pairing.

    Args:
        a, b: for each environment, the score of each seed.
        rng: source of random numbers. The same state gives the same result.
        level: level of the intervals; 1 − level is the largest p-value that decides.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: a and b have no environment in common, or scores are missing or not finite.
    """
    check_level(level, resamples)
    names = [name for name in a if name in b]
    if not names:
        raise ValueError(f"a and b must have an environment in common; got {sorted(a)} and {sorted(b)}")
    each = {name: paired(a[name], b[name], rng, level=level, resamples=resamples) for name in names}
    x, y = ([_array(scores[name]) for name in names] for scores in (a, b))
    improvement = probability_of_improvement(x, y, rng, level=level, resamples=resamples)
    p = improvement_p(x, y, rng)
    verdict: Verdict = "not decided"
    # 1 − 0.95 is a little more than 0.05
    if p <= 1 - level + 1e-9 and (improvement.low > 0.5 or improvement.high < 0.5):
        verdict = "a is better" if improvement.value > 0.5 else "b is better"
    return Comparisons(each, improvement, p, verdict)


def _array(scores: Mapping[int, float]) -> F64:
    return np.array([scores[seed] for seed in sorted(scores)], np.float64)
