"""Values that change over a run."""

from __future__ import annotations

from dataclasses import dataclass

from policygrad._support.checks import Finite, check_fields


@dataclass(frozen=True)
class linear:  # noqa: N801  # it reads as a function: coefficients={"beta": linear(1.0, 0.1)}
    """A coefficient that goes from `start` to `end` over the run, in a straight line.

    >>> linear(1.0, 0.0).at(0.25)
    0.75
    """

    start: Finite
    """Its value at the beginning."""
    end: Finite
    """Its value at the end of the run, and after."""

    def __post_init__(self) -> None:
        check_fields(self)

    def at(self, progress: float) -> float:
        """Return the value at this progress through the run, in [0, 1]."""
        return scheduled(self.start, self.end, progress)


def scheduled(start: float, end: float | None, progress: float) -> float:
    """Return what is `start` at progress 0 and `end` from progress 1 on; an end of None is `start` throughout.

    >>> scheduled(1.0, 0.0, 0.25), scheduled(1.0, None, 0.25)
    (0.75, 1.0)
    """
    if end is None:
        return start
    return start + (end - start) * min(max(progress, 0.0), 1.0)
