"""Statistics of the scores of seeds: estimates with confidence intervals, comparisons, and times to solve a task.

Pure functions on arrays. Scores are float64, one per seed. Functions that resample take a random number generator, and
give the same interval for the same state of it.
"""

from policygrad.statistics.across_environments import Comparisons, compare
from policygrad.statistics.across_tasks import Aggregate, aggregate
from policygrad.statistics.aggregates import iqm, mean, median_of_tasks, optimality_gap
from policygrad.statistics.improvement import probability_of_improvement
from policygrad.statistics.interval import Band, Estimate
from policygrad.statistics.one_task import Statistic, curve, estimate
from policygrad.statistics.power import detectable, seeds_needed
from policygrad.statistics.survival import Survival, kaplan_meier
from policygrad.statistics.two_configurations import Comparison, Verdict, paired, unpaired

__all__ = [
    "Aggregate",
    "Band",
    "Comparison",
    "Comparisons",
    "Estimate",
    "Statistic",
    "Survival",
    "Verdict",
    "aggregate",
    "compare",
    "curve",
    "detectable",
    "estimate",
    "iqm",
    "kaplan_meier",
    "mean",
    "median_of_tasks",
    "optimality_gap",
    "paired",
    "probability_of_improvement",
    "seeds_needed",
    "unpaired",
]
