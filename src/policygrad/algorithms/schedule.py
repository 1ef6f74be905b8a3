"""Values that change over a run."""

from __future__ import annotations


def linear(start: float, end: float | None, progress: float) -> float:
    """From `start` at progress 0 to `end` at progress 1, then constant; an end of None is `start` throughout.

    >>> linear(1.0, 0.0, 0.25), linear(1.0, None, 0.25)
    (0.75, 1.0)
    """
    if end is None:
        return start
    return start + (end - start) * min(max(progress, 0.0), 1.0)
