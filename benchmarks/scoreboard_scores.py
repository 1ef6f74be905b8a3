"""How the scoreboard's runs are scored: the peers' rules, the interquartile mean, the goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scoreboard_rows import TEST_EVERY, Goal, Row, Rule
from scoreboard_runs import Record

from policygrad.types import F64


def tests_at_their_best(records: Sequence[Record]) -> F64:
    """tianshou's rule: each seed's test return at the moment where the mean over seeds is largest.

    Tests are matched by the multiple of `TEST_EVERY` that they were due at; those that a seed lacks are left out.
    """
    curves = [
        {steps // TEST_EVERY: tested for steps, tested in zip(*record["tests"], strict=True)}
        for record in records
    ]
    common = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    if not common:
        return np.zeros(0)
    together = np.array([[curve[moment] for moment in common] for curve in curves])
    return together[:, together.mean(0).argmax()]


def each(figure: str) -> Callable[[Sequence[Record]], F64]:
    return lambda records: np.array([r[figure] for r in records if r[figure] is not None], np.float64)


RULES: dict[Rule, Callable[[Sequence[Record]], F64]] = {
    "tianshou": tests_at_their_best,
    "cleanrl": each("last_100"),
    "zoo": each("greedy"),
}
"""The figure of each seed by each rule; a rule's score is their mean."""


def iqm(scores: F64) -> F64:
    """Interquartile mean over the last axis: without the lowest and the highest quarter, each rounded down."""
    cut = scores.shape[-1] // 4
    return np.sort(scores, axis=-1)[..., cut : scores.shape[-1] - cut].mean(-1)


def interval(strata: Sequence[F64], repeats: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the IQM of all scores together; each stratum is resampled in itself.

    Agarwal et al. 2021, section 4.1: a stratum is a task, its scores are those of its runs.
    """
    rng = np.random.default_rng(seed)
    resampled = [s[rng.integers(len(s), size=(repeats, len(s)))] for s in strata]
    low, high = np.percentile(iqm(np.concatenate(resampled, axis=1)), [2.5, 97.5])
    return float(low), float(high)


def sound(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["ended"] == "budget"]


def passing(goal: Goal, records: Sequence[Record]) -> int:
    return int((RULES[goal.rule](sound(records)) >= goal.score).sum())


def verdict(row: Row, records: Sequence[Record]) -> str:
    """Met or not, or why that cannot be said yet."""
    if not records:
        return "not yet run"
    if len(records) < row.seeds:
        return f"{len(records)} of {row.seeds} seeds run"
    goal = row.goal
    if goal is None:
        return "no goal"
    whole = len(sound(records)) == len(records)
    if goal.share is None:
        scores = RULES[goal.rule](sound(records))
        # a mean over those that did not fail is no mean over seeds
        met = whole and len(scores) > 0 and scores.mean() >= goal.score
    else:
        met = passing(goal, records) >= goal.share * len(records)
    if met and goal.within is not None and row.steps > goal.within:
        return f"not met: needs more than the {goal.within:,} steps allowed"
    return "**met**" if met else "not met"
