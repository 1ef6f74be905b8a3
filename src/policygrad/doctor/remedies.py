"""Settings that several remedies change."""

from __future__ import annotations

import math
from typing import Any

from policygrad.doctor.evidence import Evidence

USUAL_VALUE_RATE = 0.01
"""Learning rate at which V(s) follows the returns in most tasks."""
HEALTHY_KL = 0.01
"""KL of an update in nats that is healthy for all algorithms."""


def rounded(x: float) -> float:
    """Round to one significant digit, as settings are usually written.

    >>> rounded(0.000312), rounded(0.0096)
    (0.0003, 0.01)
    """
    return float(f"{x:.0e}")


def learning_rate_times(evidence: Evidence, factor: float) -> dict[str, Any]:
    """Return settings with which the policy takes steps of `factor` times the size; empty if there are none."""
    if evidence.setting("max_kl") is not None:
        # the KL divergence of a step is quadratic in its size
        return {"max_kl": rounded(evidence.setting("max_kl") * factor**2)}
    rate = evidence.setting("learning_rate")
    return {} if rate is None else {"learning_rate": rounded(rate * factor)}


def faster_value(evidence: Evidence) -> dict[str, Any]:
    """Return settings with which V(s) learns faster: a learning rate that is usual, or ten times as large."""
    rate = evidence.setting("value_learning_rate", evidence.setting("learning_rate"))
    return {} if rate is None else {"value_learning_rate": max(USUAL_VALUE_RATE, rounded(10 * rate))}


def smaller_steps(kl: float) -> float:
    """Return the factor on the learning rate that lowers the KL of an update to a healthy one, from 0.001 to 0.1.

    The KL divergence is about quadratic in the size of a step.
    """
    return min(max(math.sqrt(HEALTHY_KL / kl), 0.001), 0.1)


def larger_steps(kl: float, wanted: float, most: float) -> float:
    """Return the factor on the learning rate that raises the KL of an update to `wanted`, from 3 to `most`."""
    return min(max(math.sqrt(wanted / kl) if kl > 0 else most, 3.0), most)
