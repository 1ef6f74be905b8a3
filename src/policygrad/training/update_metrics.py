"""Metrics of an update, and their means over the updates of a row of the history."""

from __future__ import annotations

import math

from policygrad.policies import Distribution, Policy
from policygrad.types import Rollout


class Means:
    """The mean of each metric over the updates of a row in which it is defined."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: dict[str, float]) -> None:
        """Add the metrics of an update."""
        for name, value in metrics.items():
            defined = not math.isnan(value)
            self._sums[name] = self._sums.get(name, 0.0) + (value if defined else 0.0)
            self._counts[name] = self._counts.get(name, 0) + defined

    def means(self) -> dict[str, float]:
        """Return the mean of each metric; NaN where it was never defined."""
        return {name: self._sums[name] / count if count else math.nan for name, count in self._counts.items()}


def rollout_metrics(rollout: Rollout, policy: Policy) -> dict[str, float]:
    """Return what the distribution of the actions measures on a rollout."""
    if type(policy.distribution).metrics is Distribution.metrics:
        # most distributions have none, and selecting the actions takes time
        return {}
    return policy.distribution.metrics(policy.network, rollout.action[rollout.valid])
