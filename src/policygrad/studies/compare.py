"""The function `compare`: whether one configuration is better than another, and how many seeds would tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from policygrad.studies.saved_cell import SavedCell, ScoreName
from policygrad.studies.saved_study import SavedStudy, open_study
from policygrad.studies.study_comparison import StudyComparison, compare_cells


def compare(
    a: SavedStudy | SavedCell | str | Path,
    b: SavedStudy | SavedCell | str | Path,
    *,
    by: ScoreName | None = None,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> StudyComparison:
    """Compare two configurations by the scores of their runs, seed by seed where they share seeds.

    Args:
        a, b: each a folder with the runs of one configuration: a folder of a study (`studies/x/CartPole-v1/ppo`), of
            `train --seeds`, or a whole study and the name of its configuration, as `studies/x:ppo`. Or what
            `open_study` returned, or one of its cells.
        by: what to score runs by: greedy or sampled returns of the best policies on fresh episodes, or the last 100
            training returns. By default the first of these that both have.
        level: level of the intervals; 1 − level is the largest share of wrong verdicts if nothing differs.
        rng: source of random numbers for the bootstrap; by default always the same.

    Raises:
        FileNotFoundError: there is no study at a path.
        ValueError: there is not exactly one configuration, no environment in common, or nothing has finished.
    """
    return compare_cells(_cells_of(a), _cells_of(b), by=by, level=level, rng=rng)


def _cells_of(given: Any) -> tuple[str, dict[str, SavedCell]]:
    """Return the name of the configuration that is meant, and its cells by environment."""
    if isinstance(given, SavedCell):
        return given.configuration, {given.environment: given}
    wanted = None
    if isinstance(given, str | Path):
        text = str(given)
        # both a path and a name may contain colons
        ends = [len(text), *(i for i, letter in enumerate(text) if letter == ":")]
        end = next((end for end in ends if Path(text[:end]).expanduser().is_dir()), len(text))
        given, wanted = open_study(text[:end]), text[end + 1 :] or None
    if not isinstance(given, SavedStudy):
        raise TypeError(f"expected the path of a study, or what open_study returns; got {given!r}")
    if wanted is None and len(given.configurations) == 1:
        wanted = given.configurations[0]
    if wanted not in given.configurations:
        raise ValueError(
            f"which configuration of {given.path} is meant? Write {given.path}:NAME, where NAME is one of "
            f"{', '.join(given.configurations)}"
        )
    return wanted, {cell.environment: cell for cell in given.cells if cell.configuration == wanted}
