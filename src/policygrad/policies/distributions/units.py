"""The units of actions of distributions without bounds."""

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad.spaces import interval_units
from policygrad.types import F32, F64, Array


class Units:
    """Converts stored actions of an unbounded distribution to the environment's: middle + half · action, then clipped.

    Args:
        low, high: [K] float64 bounds of the box.
        scaled: if True, 0 is the middle of each finite interval of the box, and one unit is half its width. If False,
            and for intervals that are not finite, stored actions are in the environment's units.
    """

    def __init__(self, low: F64, high: F64, *, scaled: bool) -> None:
        self.middle, self.half = (
            interval_units(low, high) if scaled else (np.zeros(len(low)), np.ones(len(low)))
        )
        self.scaled = scaled
        self.limits = (low - self.middle) / self.half, (high - self.middle) / self.half
        """(lowest, highest) stored actions that are not clipped, each [K] float64."""

    def __call__(self, action: Array) -> F64:
        """Return stored actions [N, K] in the environment's units, before clipping."""
        return self.middle + self.half * action

    def share_outside(self, action: F32) -> float:
        """Return the share of the numbers in stored actions [N, K] that are outside of the box."""
        return share_outside(np.ascontiguousarray(action), *self.limits)


@compiled_when_called
def share_outside(action: F32, low: F64, high: F64) -> float:
    """Return the share of the numbers in stored actions [N, K] below `low` [K] or above `high` [K]."""
    N, K = action.shape
    outside = 0
    for i in range(N):
        for k in range(K):
            number = np.float64(action[i, k])
            outside += number < low[k] or number > high[k]
    return outside / (N * K)
