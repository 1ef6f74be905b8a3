"""Score the runs of the scoreboard: the rules of other libraries, the interquartile mean, and the goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scoreboard_rows import TEST_EVERY, Goal, Row, Rule
from scoreboard_runs import Record

from policygrad.types import F64


def tests_at_their_best(records: Sequence[Record]) -> F64:
    """Return each seed's evaluation return at the moment when the mean over the seeds is largest: tianshou's rule.

    Evaluations are matched by the multiple of `TEST_EVERY` at which they were due. Those that a seed lacks are left
    out.
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
"""For each rule, the function that scores each seed. The score of the rule is their mean."""


def completed(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["ended"] == "budget"]


def passing(goal: Goal, records: Sequence[Record]) -> int:
    return int((RULES[goal.rule](completed(records)) >= goal.score).sum())


def verdict(row: Row, records: Sequence[Record]) -> str:
    """Return whether the goal is met, or why that is not known yet."""
    if not records:
        return "not yet run"
    if len(records) < row.seeds:
        return f"{len(records)} of {row.seeds} seeds run"
    goal = row.goal
    if goal is None:
        return "no goal"
    complete = len(completed(records)) == len(records)
    if goal.share is None:
        scores = RULES[goal.rule](completed(records))
        # a mean over only the runs that did not fail is not a mean over the seeds
        met = complete and len(scores) > 0 and scores.mean() >= goal.score
    else:
        met = passing(goal, records) >= goal.share * len(records)
    if met and goal.within is not None and row.steps > goal.within:
        return f"not met: needs more than the {goal.within:,} steps allowed"
    return "**met**" if met else "not met"
