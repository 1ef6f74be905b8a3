"""The comparison of two configurations of studies: whether one is better, and how many seeds would tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policygrad._support.display import table_in_html
from policygrad.statistics import Comparison, Comparisons, compare
from policygrad.studies.analysis import RESAMPLING_SEED
from policygrad.studies.plots import comparison_figure
from policygrad.studies.saved_cell import SavedCell, ScoreName

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class StudyComparison:
    """Configurations a and b in each environment that both have, and in all of them together."""

    a: str
    """Name of configuration a."""
    b: str
    """Name of configuration b."""
    by: ScoreName
    """What the runs are scored by."""
    comparisons: Comparisons
    """The numbers."""
    left_out: dict[str, str]
    """For each environment, how many runs are left out because they failed, or have no score yet; empty if none are."""

    @property
    def environments(self) -> dict[str, Comparison]:
        """The comparison in each environment."""
        return self.comparisons.environments

    @property
    def words(self) -> dict[str, str]:
        """What was found in each environment, and in all together if there are several, as sentences."""
        found = {
            name: " ".join([f"{self._named(one.in_words)}.", self.left_out[name]]).rstrip()
            for name, one in self.environments.items()
        }
        return found | ({"all together": self._named(self.comparisons.in_words)} if len(found) > 1 else {})

    def _named(self, text: str) -> str:
        # one pass, so that nothing is replaced within a name
        names = {"a is better": f"{self.a} is better", "b is better": f"{self.b} is better"}
        names["a run of a scores"] = f"a run of {self.a} scores"
        return re.sub("^[ab] is better|a run of a scores", lambda found: names[found[0]], text)

    def plot(self) -> Figure:
        """Return a plot of the difference in each environment with its interval."""
        return comparison_figure(self.a, self.b, self.environments)

    def __repr__(self) -> str:
        lines = [f"  {where}: {text}" for where, text in self.words.items()]
        return "\n".join([f"{self.a} − {self.b}, {self.by} returns:", *lines])

    def _repr_html_(self) -> str:
        return table_in_html(("", f"{self.a} − {self.b}, {self.by} returns"), list(self.words.items()))


def compare_cells(
    a: tuple[str, Mapping[str, SavedCell]],
    b: tuple[str, Mapping[str, SavedCell]],
    *,
    by: ScoreName | None = None,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> StudyComparison:
    """Compare two configurations, each given by its name and its cells by environment: see `policygrad.compare`."""
    (name_a, cells_a), (name_b, cells_b) = a, b
    if name_a == name_b:
        name_a, name_b = f"{name_a} (a)", f"{name_b} (b)"
    if by is None:
        every = [*cells_a.values(), *cells_b.values()]
        by = "greedy" if all(cell.score_name == "greedy" for cell in every) else "last_100"
    scores_a, scores_b = (
        {environment: found for environment, cell in cells.items() if (found := cell.scores(by))}
        for cells in (cells_a, cells_b)
    )
    if not set(scores_a) & set(scores_b):
        raise ValueError(
            f"{name_a} and {name_b} have no environment in common in which both have finished runs with {by} scores: "
            f"{name_a} has {', '.join(scores_a) or 'none'}, and {name_b} has {', '.join(scores_b) or 'none'}"
        )
    rng = np.random.default_rng(RESAMPLING_SEED) if rng is None else rng
    both = ((name_a, cells_a, scores_a), (name_b, cells_b, scores_b))
    left_out = {
        environment: " ".join(
            f"{missing} of {len(cells[environment].seeds)} runs of {name} are left out, because they failed or have "
            "no score, so this is about the others only."
            for name, cells, scores in both
            if (missing := len(cells[environment].seeds) - len(scores[environment]))
        )
        for environment in scores_a
        if environment in scores_b
    }
    return StudyComparison(name_a, name_b, by, compare(scores_a, scores_b, rng, level=level), left_out)
