"""Values that change over a run."""

from __future__ import annotations

from dataclasses import dataclass

from policygrad._support.checks import Finite, check_fields
from policygrad._support.compiling import exact


@dataclass(frozen=True)
class linear:  # noqa: N801  # used like a function: coefficients={"beta": linear(1.0, 0.1)}
    """A coefficient that changes linearly from `start` to `end` over the run.

    >>> linear(1.0, 0.0).at(0.25)
    0.75
    """

    start: Finite
    """Value at the start of the run."""
    end: Finite
    """Value at the end of the run, and after it."""

    def __post_init__(self) -> None:
        check_fields(self)

    def at(self, progress: float) -> float:
        """Return the value at this progress through the run, in [0, 1]."""
        return scheduled(self.start, self.end, progress)


def scheduled(start: float, end: float | None, progress: float) -> float:
    """Return the linear interpolation from `start` at progress 0 to `end` at progress 1; `start` if `end` is None.

    The value stays at `start` below progress 0 and at `end` above progress 1.

    >>> scheduled(1.0, 0.0, 0.25), scheduled(1.0, None, 0.25)
    (0.75, 1.0)
    """
    return start if end is None else _interpolated(start, end, progress)


def _interpolated(start: float, end: float, progress: float) -> float:
    """Return `scheduled`; also for infinite bounds, if they are equal."""
    if start == end:
        return start
    return start + (end - start) * min(max(progress, 0.0), 1.0)


interpolated = exact(_interpolated)
"""The same for compiled code."""
