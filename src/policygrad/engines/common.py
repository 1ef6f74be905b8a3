"""What both engines agree on: the optimisers' constants, clipping, and what is not finite."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from policygrad.checkpoint import fields, module_state, restore_module
from policygrad.errors import NonFiniteError
from policygrad.policies import Policy, fault_of, flat_parameters
from policygrad.policies.distributions import Categorical
from policygrad.types import F32, I64, Array, Batch, Minibatches, Sample, State

ADAM_BETA1, ADAM_BETA2, ADAM_EPS = 0.9, 0.999, 1e-8
"""Kingma & Ba 2015, algorithm 1, with their defaults."""
RMSPROP_ALPHA, RMSPROP_EPS = 0.99, 1e-8
"""Tieleman & Hinton 2012, with torch's defaults."""


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


def check_outputs(sample: Sample, policy: Policy, observation: F32) -> None:
    """Raise NonFiniteError unless log π, H and V of the samples, seen as observations [B, D], are finite."""
    check_policy_outputs(policy, observation, sample.log_prob, sample.entropy)
    check_finite([("V(s)", sample.value)])


def check_policy_outputs(policy: Policy, observation: F32, log_prob: F32, entropy: F32) -> None:
    """Raise NonFiniteError unless log π and H, [B] each, are finite, with what is wrong with the logits if it is they.

    Actions that have become impossible are named as well: a batch may hold one only if its mask has changed.
    """
    if not (np.isfinite(log_prob).all() and np.isfinite(entropy).all()):
        fault = fault_of(policy, observation)
        if fault is not None:
            raise NonFiniteError(f"log π(a|s) is not finite: {fault}")
        if isinstance(policy.distribution, Categorical) and np.isneginf(log_prob).any():
            row = int(np.isneginf(log_prob).argmax())
            raise NonFiniteError(
                f"log π(a|s) is −inf: the action taken for observation {row} of {len(log_prob)} has probability 0 now. "
                "A mask must allow the same actions each time that the network sees the same observation"
            )
    check_finite((("log π(a|s)", log_prob), ("the entropy", entropy)))


def samples_of(batch: Batch) -> Sample:
    """The batch as a cotangent function sees it, with zeros where the networks' outputs will stand."""
    log_prob, entropy, value, no_log_prob, no_value = np.zeros((5, len(batch)), np.float32)
    old_log_prob = no_log_prob if batch.old_log_prob is None else batch.old_log_prob
    old_value = no_value if batch.old_value is None else batch.old_value
    return Sample(log_prob, entropy, value, batch.advantage, batch.target, old_log_prob, old_value)


def check_max_kl(max_kl: float | None, batch: Batch) -> None:
    """Raise ValueError where there is nothing to measure a KL from."""
    if max_kl is not None and batch.old_log_prob is None:
        raise ValueError(
            "max_kl needs the batch's old_log_prob, from engine.evaluate before the first update"
        )


def check_minibatches(minibatches: Minibatches, B: int) -> None:
    """Raise ValueError unless each step has samples, and all of them are rows of a batch of B."""
    order, bounds = minibatches
    if order.dtype != np.int64 or bounds.dtype != np.int64:
        raise ValueError(f"minibatches must be int64; got order {order.dtype} and bounds {bounds.dtype}")
    if not len(order) or order.min() < 0 or order.max() >= B:
        raise ValueError(f"minibatches.order must name rows 0 to {B - 1}, at least one; got {order}")
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != len(order) or (np.diff(bounds) < 1).any():
        raise ValueError(f"minibatches.bounds must rise from 0 to {len(order)}; got {bounds}")


def rows_of(batch: Batch, rows: I64) -> Batch:
    """The samples that `rows` names."""

    def part(column: F32 | None) -> F32 | None:
        return None if column is None else column[rows]

    return Batch(
        observation=batch.observation[rows],
        action=batch.action[rows],
        advantage=batch.advantage[rows],
        target=batch.target[rows],
        old_log_prob=part(batch.old_log_prob),
        old_value=part(batch.old_value),
        critic_observation=part(batch.critic_observation),
    )


def as_column_matrix(action: Array) -> F32:
    """Stored actions, [B] or [B, K] int64 or [B, K] float32, as [B, K] float32; an index is exact up to 2^24."""
    return np.ascontiguousarray(action.reshape(len(action), -1), np.float32)


def engine_state(value: nn.Module | None, policy_optimizer: State, value_optimizer: State) -> State:
    """See `Engine.state`."""
    return {
        "value": {} if value is None else module_state(value),
        "policy_optimizer": policy_optimizer,
        "value_optimizer": value_optimizer,
    }


def restore_value(value: nn.Module | None, state: State) -> tuple[State, State]:
    """Write the value network back from an `engine_state`; returns the (policy's, value's) optimiser states."""
    saved, policy_optimizer, value_optimizer = fields(state, "value", "policy_optimizer", "value_optimizer")
    if value is not None:
        restore_module(value, saved, "value network")
    return policy_optimizer, value_optimizer


def policy_parameters(policy: Policy) -> F32:
    """See `Engine.policy_parameters`."""
    return flat_parameters(policy).numpy(force=True).copy()


def set_policy_parameters(policy: Policy, parameters: F32) -> None:
    """See `Engine.set_policy_parameters`."""
    flat_parameters(policy).copy_(torch.from_numpy(parameters))
    policy.project()
