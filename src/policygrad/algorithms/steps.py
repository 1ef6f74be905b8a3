"""What algorithms that bootstrap take from T × N steps: values along them, the samples, how good V(s) was."""

from __future__ import annotations

import numpy as np

from policygrad.advantages import explained_variance
from policygrad.errors import NonFiniteError
from policygrad.types import F32, F64, Array, Engine, Rollout


def values_along(engine: Engine, rollout: Rollout) -> tuple[F64, F64]:
    """(V(s_t), V(s_{t+1})), each [T, N] float64; the successor is the true one, also where an episode ended."""
    T, N = rollout.valid.shape
    value = engine.values(rollout.observation.reshape(T * N, -1)).astype(np.float64).reshape(T, N)
    next_value = np.empty_like(value)
    next_value[:-1] = value[1:]
    # there the next row begins another episode, or there is none
    elsewhere = rollout.done.copy()
    elsewhere[-1] = True
    next_value[elsewhere] = engine.values(rollout.next_observation[elsewhere])
    return value, next_value


def samples(rollout: Rollout, array: Array) -> Array:
    """The rows of [T, N, ...] that are samples, as [B, ...]: without a copy where all are."""
    if rollout.valid.all():
        return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
    return array[rollout.valid]


def as_learned(rollout: Rollout, name: str, array: F64) -> F32:
    """The samples of [T, N] float64 as [B] float32; NonFiniteError with the name where one is not finite."""
    column = samples(rollout, array)
    if not np.isfinite(column).all():
        raise NonFiniteError(
            f"the {name} is not finite, from rewards up to {np.abs(rollout.reward).max():g} in size"
        )
    return column.astype(np.float32)


def value_metrics(value: Array, target: Array) -> dict[str, float]:
    """How good V(s) [B] was for the targets [B] that it is regressed on."""
    error = value.astype(np.float64) - target
    return {
        "value_loss": float(0.5 * np.mean(error**2)),
        "value_bias": float(np.mean(error)),
        "explained_variance": explained_variance(value, target),
    }
