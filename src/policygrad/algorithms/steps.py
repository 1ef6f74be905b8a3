"""What algorithms that bootstrap take from T × N steps: values along them, and the samples."""

from __future__ import annotations

import numpy as np

from policygrad.advantages import generalized_advantages
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Engine
from policygrad.types import F32, F64, Array, Batch, Rollout


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
    if rollout.num_samples == rollout.valid.size:
        return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
    return array[rollout.valid]


def as_learned(rollout: Rollout, name: str, array: F64) -> F32:
    """The samples of [T, N] float64 as [B] float32; NonFiniteError with the name where one is not finite."""
    return as_finite(rollout, name, samples(rollout, array))


def as_finite(rollout: Rollout, name: str, column: F64) -> F32:
    """A number of each sample, [B] float64, as float32; NonFiniteError with the name where one is not finite then."""
    with np.errstate(over="ignore"):
        learned = column.astype(np.float32)
    if not np.isfinite(learned).all():
        raise NonFiniteError(
            f"the {name} is not finite, from rewards up to {np.abs(rollout.reward).max():g} in size; float32, in "
            "which networks learn, ends at 3.4e38"
        )
    return learned


def gae(rollout: Rollout, value: F64, next_value: F64, gamma: float, lam: float) -> tuple[F64, F64]:
    """(GAE(λ) advantages, the targets of V(s) that go with them), each [T, N] float64."""
    advantage = generalized_advantages(
        rollout.reward, value, next_value, rollout.terminated, rollout.done, gamma, lam
    )
    return advantage, advantage + value


def batch_of(rollout: Rollout, advantage: F64, target: F64) -> Batch:
    """The rollout's samples with advantages and targets [T, N]; NonFiniteError where one is not finite."""
    learned = as_learned(rollout, "target of V(s)", target)
    return Batch(
        samples(rollout, rollout.observation),
        samples(rollout, rollout.action),
        as_learned(rollout, "advantage", advantage),
        learned,
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
