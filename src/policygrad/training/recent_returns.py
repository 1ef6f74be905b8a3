"""The returns of the last episodes, whose mean decides whether an environment is solved."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad.types import F64, I64

WINDOW = 100
"""Number of episodes in the running mean that decides whether an environment is solved."""


class RecentReturns:
    """The returns of the last `WINDOW` episodes, in arrays that compiled code shares."""

    def __init__(self) -> None:
        self.ring: F64 = np.zeros(WINDOW)
        """[WINDOW]: the return of episode i is at i modulo WINDOW."""
        self.count: I64 = np.zeros(1, np.int64)
        """[1]: number of episodes so far."""

    def extend(self, returns: F64) -> None:
        """Add returns [E], the latest last."""
        remember(self.ring, self.count, returns)

    @property
    def mean(self) -> float:
        """Mean of the returns; NaN before the first."""
        return mean_of_recent(self.ring, self.count)

    def to_list(self) -> list[float]:
        """Return the returns, oldest first."""
        count = int(self.count[0])
        return [float(self.ring[i % WINDOW]) for i in range(max(count - WINDOW, 0), count)]

    def restore(self, returns: Iterable[float]) -> None:
        """Start again with these returns, oldest first."""
        self.count[0] = 0
        self.extend(np.array(list(returns), np.float64))


@compiled_when_called
def remember(ring: F64, count: I64, returns: F64) -> None:
    """Add returns [E] to the ring."""
    for i in range(len(returns)):
        ring[count[0] % len(ring)] = returns[i]
        count[0] += 1


@compiled_when_called
def mean_of_recent(ring: F64, count: I64) -> float:
    """Return the mean of the returns in the ring, added up from the oldest to the latest; NaN if there are none."""
    n = min(count[0], len(ring))
    if n == 0:
        return np.nan
    total = 0.0
    for i in range(count[0] - n, count[0]):
        total += ring[i % len(ring)]
    return total / n
