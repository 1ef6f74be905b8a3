"""What algorithms that bootstrap take from T × N steps: values along them, and the samples."""

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
    """Return ½ (V − G)², what V(s) is regressed by."""
    return (s.value - s.target) ** 2 / 2


SQUARED_ERROR = traced(squared_error)


def flatten_valid(rollout: Rollout, array: Array) -> Array:
    """The rows of [T, N, ...] that are samples, as [B, ...]: without a copy where all are."""
    if rollout.num_samples == rollout.valid.size:
        return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
    return array[rollout.valid]


def flatten_valid_float32(rollout: Rollout, name: str, array: F64) -> F32:
    """The samples of [T, N] float64 as [B] float32; NonFiniteError with the name where one is not finite."""
    return to_finite_float32(rollout, name, flatten_valid(rollout, array))


def to_finite_float32(rollout: Rollout, name: str, column: F64) -> F32:
    """A number of each sample, [B] float64, as float32; NonFiniteError with the name where one is not finite then."""
    learned = np.empty(column.shape, np.float32)
    if not _copy(column, learned):
        raise NonFiniteError(
            f"the {name} is not finite, from rewards up to {np.abs(rollout.reward).max():g} in size; float32, in "
            "which networks learn, ends at 3.4e38"
        )
    return learned


@compiled_when_called
def _copy(column: F64, learned: F32) -> bool:
    """Copy [B] float64 to float32; returns whether all is finite then."""
    finite = True
    for i in range(len(column)):
        learned[i] = column[i]
        finite &= np.isfinite(learned[i])
    return finite


def gae(rollout: Rollout, value: F64, next_value: F64, gamma: float, lam: float) -> tuple[F64, F64]:
    """(GAE(λ) advantages, the targets of V(s) that go with them), each [T, N] float64."""
    advantage = generalized_advantages(
        rollout.reward, value, next_value, rollout.terminated, rollout.done, gamma, lam
    )
    return advantage, advantage + value


def batch_of(rollout: Rollout, advantage: F64, target: F64, critic: str = "V(s)") -> Batch:
    """The rollout's samples with advantages and targets [T, N]; NonFiniteError where one is not finite."""
    learned = flatten_valid_float32(rollout, f"target of {critic}", target)
    return Batch(
        Inputs(flatten_valid(rollout, rollout.observation)),
        flatten_valid(rollout, rollout.action),
        {"advantage": flatten_valid_float32(rollout, "advantage", advantage), "target": learned},
    )


def check_can_be_normalized(rollout: Rollout, *, off: object) -> None:
    """Raise ValueError where every update has a single sample, whose advantage nothing can be compared with.

    Args:
        off: the `normalize_advantages` that leaves them as they are.
    """
    if rollout.valid.size == 1:
        raise ValueError(
            "advantages are normalised over the samples of an update, of which there is one: raise horizon or "
            f"num_envs, or set normalize_advantages to {off!r}"
        )


__getattr__ = renamed(__name__, {"values_along": "engine.values_along(rollout)"})
