"""The units of actions that have no bounds of their own."""

from __future__ import annotations

import numpy as np

from policygrad.spaces import interval_units
from policygrad.types import F64, Array, Bool


class Units:
    """What a stored action of an unbounded distribution is in the environment: middle + half · action, then clipped.

    Args:
        low, high: [K] float64, the box.
        scaled: one unit is half the box's width and 0 its middle, wherever the box is finite; otherwise, and where
            it is not, stored actions are the environment's own.
    """

    def __init__(self, low: F64, high: F64, *, scaled: bool) -> None:
        self.middle, self.half = (
            interval_units(low, high) if scaled else (np.zeros(len(low)), np.ones(len(low)))
        )
        self.scaled = scaled
        self.limits = (low - self.middle) / self.half, (high - self.middle) / self.half
        """(lowest, highest) stored actions that are not clipped, [K] float64 each."""

    def __call__(self, action: Array) -> F64:
        """Return stored actions [N, K] in the environment's units, not clipped yet."""
        return self.middle + self.half * action

    def clipped(self, action: Array) -> Bool:
        """Return which numbers of stored actions [N, K] lie outside the box."""
        low, high = self.limits
        return (action < low) | (action > high)
