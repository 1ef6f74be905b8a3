"""Which configuration is best on an environment, and whether that is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from policygrad.reports.cell_numbers import CellNumbers
from policygrad.statistics import (
    Comparison,
    Comparisons,
    Estimate,
    compare,
    paired,
    probability_of_improvement,
)
from policygrad.studies.analysis import RESAMPLING_SEED

Standing: TypeAlias = Literal["decided", "not decided", "too few seeds", "nothing to compare", "no runs"]


@dataclass(frozen=True)
class Ranking:
    """The configurations of an environment by their mean scores."""

    environment: str
    cells: list[CellNumbers]
    """Cells with finished runs, the one with the largest mean score first."""
    against: dict[str, Comparison]
    """Comparison of the first with each other configuration, by its name, in the order of `cells`."""
    improvement: dict[str, Estimate]
    """Probability that a run of each other configuration scores higher than a run of the first."""

    @property
    def standing(self) -> Standing:
        """Whether the first configuration is better than every other one.

        It is decided only if each comparison is. If all configurations are equally good, the chance that one of them
        nevertheless beats every other is less than that of a single comparison, so no correction is needed.
        """
        if not self.cells:
            return "no runs"
        if not self.against:
            return "nothing to compare"
        if all(comparison.verdict == "a is better" for comparison in self.against.values()):
            return "decided"
        if any(min(comparison.n) < comparison.fewest for comparison in self.against.values()):
            return "too few seeds"
        return "not decided"


def ranking(environment: str, cells: Sequence[CellNumbers]) -> Ranking:
    """Rank the cells of an environment. The same scores always give the same intervals."""
    rng = np.random.default_rng(RESAMPLING_SEED)
    ranked = sorted(
        (cell for cell in cells if cell.summary is not None), key=lambda cell: cell.mean, reverse=True
    )
    against, improvement = dict[str, Comparison](), dict[str, Estimate]()
    for other in ranked[1:]:
        name = other.cell.configuration
        against[name] = paired(ranked[0].scores, other.scores, rng)
        best, own = (np.array(list(cell.scores.values())) for cell in (ranked[0], other))
        improvement[name] = probability_of_improvement([own], [best], rng)
    return Ranking(environment, ranked, against, improvement)


def over_environments(rankings: Sequence[Ranking]) -> tuple[str, str, Comparisons] | None:
    """Return the two best configurations over several environments, and how they compare.

    Configurations are ranked by the mean of their ranks, over the environments on which all of them have runs.

    Returns:
        (best, second, comparison), or None if there are fewer than two environments or configurations.
    """
    names = list(dict.fromkeys(cell.cell.configuration for one in rankings for cell in one.cells))
    complete = [one for one in rankings if len(one.cells) == len(names)]
    if len(names) < 2 or len(complete) < 2:
        return None
    places = dict.fromkeys(names, 0.0)
    for one in complete:
        means = [cell.mean for cell in one.cells]
        for cell in one.cells:
            # equal means share a place
            places[cell.cell.configuration] += means.index(cell.mean)
    best, second = sorted(names, key=places.__getitem__)[:2]
    scores = {
        name: {
            one.environment: next(c.scores for c in one.cells if c.cell.configuration == name)
            for one in complete
        }
        for name in (best, second)
    }
    return best, second, compare(scores[best], scores[second], np.random.default_rng(RESAMPLING_SEED))
