"""An estimate with its confidence interval, as one number or at every point of a curve, and checks of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policygrad.types import F64

NO_INTERVAL = "one seed has no interval"
"""The method of an estimate from a single seed."""


@dataclass(frozen=True)
class Estimate:
    """An estimate and its confidence interval."""

    value: float
    """Point estimate."""
    low: float
    """Lower end of the interval; NaN if there is none."""
    high: float
    """Upper end of the interval; NaN if there is none."""
    level: float
    """Share of studies whose interval covers the true value, in (0, 1); NaN if there is no interval."""
    method: str
    """How the interval was computed, in words."""
    n: int
    """Number of scores behind the estimate."""

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.value:.4g}, {self.method}"
        return f"{self.value:.4g}  {100 * self.level:.3g} % [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class Band:
    """Estimates at P points of a learning curve. Each interval covers its own point at the level, not all together."""

    value: F64
    """[P]: point estimates."""
    low: F64
    """[P]: lower ends of the intervals; NaN if there are none."""
    high: F64
    """[P]: upper ends of the intervals; NaN if there are none."""
    level: float
    """Share of studies whose interval covers the true value at one point, in (0, 1); NaN if there are none."""
    method: str
    """How the intervals were computed, in words."""
    n: int
    """Number of seeds."""


def checked_scores(scores: Any, what: str = "scores", dimensions: int = 1) -> F64:
    """Return scores as float64.

    Raises:
        ValueError: the array has another number of dimensions, is empty, or contains NaN or infinity.
    """
    array = np.asarray(scores, np.float64)
    if array.ndim != dimensions or array.size == 0:
        expected = "[seeds]" if dimensions == 1 else "[seeds, points]"
        raise ValueError(f"{what} must be an array {expected} that is not empty; got shape {array.shape}")
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(
            f"{what} must be finite; got {array[tuple(place)]} for the seed at index {place[0]}. Leave out such runs."
        )
    return array


def checked_tasks(tasks: Sequence[Any], what: str = "tasks") -> list[F64]:
    """Return the scores of each task as float64; raise ValueError if there are none or `checked_scores` does."""
    if len(tasks) == 0:
        raise ValueError(f"{what} must contain the scores of at least one task; got none")
    return [checked_scores(scores, f"{what}[{i}]") for i, scores in enumerate(tasks)]


def check_level(level: float, resamples: int = 1) -> None:
    """Raise ValueError unless the level is in [0.5, 1) and there are resamples."""
    if not 0.5 <= level < 1:
        raise ValueError(f"level must be at least 0.5 and below 1, such as 0.95; got {level!r}")
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more; got {resamples!r}")
