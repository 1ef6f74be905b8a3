"""The adaptive weight of a KL penalty."""

from __future__ import annotations

from policygrad._support.compiling import compiled_when_called

LARGEST_CHANGE = 2.0**20
"""Maximum factor between the weight and its initial value, in either direction, so that it can always return."""


@compiled_when_called
def adapted(weight: float, kl: float, target: float, initial: float) -> float:
    """Return the weight after an update with this KL: Schulman et al. 2017, section 4."""
    if kl > 1.5 * target:
        return min(2 * weight, initial * LARGEST_CHANGE)
    if kl < target / 1.5:
        return max(weight / 2, initial / LARGEST_CHANGE)
    return weight
