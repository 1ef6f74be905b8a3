"""Preparation of T × N steps for learning: samples, advantages and targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad._support.lookup import renamed
from policygrad.advantages import generalized_advantages
from policygrad.errors import NonFiniteError
from policygrad.losses import traced
from policygrad.types import F32, F64, Array, Batch, Inputs, Rollout


def squared_error(s: Any, _k: Any) -> Any:
    """Return ½ (V − G)², the loss of a regression of V(s) on G."""
    return (s.value - s.target) ** 2 / 2


SQUARED_ERROR = traced(squared_error)


def flatten_valid(rollout: Rollout, array: Array) -> Array:
    """Return the rows of [T, N, ...] that are samples, as [B, ...]; without a copy if all rows are."""
    if rollout.num_samples == rollout.valid.size:
        return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
    return array[rollout.valid]


def flatten_valid_float32(rollout: Rollout, name: str, array: F64) -> F32:
    """Return the samples of [T, N] float64 as [B] float32. Raises NonFiniteError with the name if one is not finite."""
    return to_finite_float32(rollout, name, flatten_valid(rollout, array))


def to_finite_float32(rollout: Rollout, name: str, column: F64) -> F32:
    """Return a column [B] float64 as float32. Raises NonFiniteError with the name if a result is not finite."""
    converted = np.empty(column.shape, np.float32)
    if not copy_to_float32(column, converted):
        raise NonFiniteError(not_finite(name, rollout.reward))
    return converted


def not_finite(name: str, reward: F64) -> str:
    """Return the message about a column that is not finite, given the rewards that it was computed from."""
    return (
        f"the {name} is not finite, from rewards up to {np.abs(reward).max():g} in size. Networks learn in float32, "
        "whose largest number is 3.4e38."
    )


@compiled_when_called
def copy_to_float32(column: F64, converted: F32) -> bool:
    """Copy [B] float64 to float32, and return True if all results are finite."""
    finite = True
    for i in range(len(column)):
        converted[i] = column[i]
        finite &= np.isfinite(converted[i])
    return finite


def gae(rollout: Rollout, value: F64, next_value: F64, gamma: float, lam: float) -> tuple[F64, F64]:
    """Return (GAE(λ) advantages, the corresponding targets of V(s)), each [T, N] float64."""
    advantage = generalized_advantages(
        rollout.reward, value, next_value, rollout.terminated, rollout.done, gamma, lam
    )
    return advantage, advantage + value


def batch_of(rollout: Rollout, advantage: F64, target: F64, critic: str = "V(s)") -> Batch:
    """Return the rollout's samples with these advantages and targets, each [T, N].

    Raises:
        NonFiniteError: an advantage or a target is NaN or infinite.
    """
    learned = flatten_valid_float32(rollout, f"target of {critic}", target)
    return Batch(
        Inputs(flatten_valid(rollout, rollout.observation)),
        flatten_valid(rollout, rollout.action),
        {"advantage": flatten_valid_float32(rollout, "advantage", advantage), "target": learned},
    )


def check_can_be_normalized(samples: int, *, off: object) -> None:
    """Raise ValueError if there is a single sample, whose advantage cannot be compared with any other.

    Args:
        samples: number of samples of an update.
        off: the value of `normalize_advantages` that turns normalization off.
    """
    if samples == 1:
        raise ValueError(
            "advantages are normalized over the samples of an update, but an update has only one: raise horizon or "
            f"num_envs, or set normalize_advantages={off!r}"
        )


__getattr__ = renamed(__name__, {"values_along": "engine.values_along(rollout)"})
