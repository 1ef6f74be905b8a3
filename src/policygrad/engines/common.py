"""What both engines agree on: the optimisers' constants, clipping, and what is not finite."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from policygrad.errors import NonFiniteError
from policygrad.types import F32, Array

ADAM_BETA1, ADAM_BETA2, ADAM_EPS = 0.9, 0.999, 1e-8
"""Kingma & Ba 2015, algorithm 1, with their defaults."""
RMSPROP_ALPHA, RMSPROP_EPS = 0.99, 1e-8
"""Tieleman & Hinton 2012, with torch's defaults."""

OUTPUT_NAMES = ("log π(a|s)", "the entropy", "V(s)")
"""Of an engine's three outputs, for messages."""


def clip_factor(norm: float, max_norm: float | None) -> float:
    """What to multiply a gradient of this L2 norm by, so that it is no longer than `max_norm`."""
    return 1.0 if max_norm is None or norm <= max_norm else max_norm / norm


def check_finite(arrays: Iterable[tuple[str, Array]]) -> None:
    """Raise NonFiniteError with the name of the first array that holds a NaN or an infinity."""
    for name, array in arrays:
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise NonFiniteError(
                f"{name} is not finite ({count} of {array.size} entries). The step was not taken. Usual "
                "causes: a learning rate too high, rewards of very different "
                "sizes, observations that were never scaled"
            )


def as_column_matrix(action: Array) -> F32:
    """Stored actions [B] int64 or [B, K] float32 as [B, K] float32; an index is exact up to 2^24."""
    return np.ascontiguousarray(action.reshape(len(action), -1), np.float32)
