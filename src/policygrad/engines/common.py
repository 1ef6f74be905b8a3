"""What both engines share: the constants of the optimizers, gradient clipping, and checks for NaN and infinity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from policygrad._support.state import module_state, restore_module, unpack
from policygrad.engines.gradient_noise import GradientNoise
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Networks, Step, Update
from policygrad.losses import Loss
from policygrad.policies import Policy, fault_of, flat_parameters
from policygrad.types import F32, F64, Array, Inputs, Minibatches, Rollout, State

ADAM, RMSPROP, SGD = range(3)
OPTIMIZERS = {"adam": ADAM, "rmsprop": RMSPROP, "sgd": SGD}
"""Numbers of the optimizers for compiled code, by name."""
ADAM_BETA1, ADAM_BETA2, ADAM_EPS = 0.9, 0.999, 1e-8
"""Kingma & Ba 2015, algorithm 1, with their defaults."""
RMSPROP_ALPHA, RMSPROP_EPS = 0.99, 1e-8
"""Tieleman & Hinton 2012, with torch's defaults."""


def clip_factor(norm: float, max_norm: float) -> float:
    """Return the factor that scales a gradient of this L2 norm down to at most `max_norm`."""
    return 1.0 if norm <= max_norm else max_norm / norm


def check_finite(arrays: Iterable[tuple[str, Array]]) -> None:
    """Raise NonFiniteError with the name of the first array that contains a NaN or an infinity."""
    for name, array in arrays:
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            raise NonFiniteError(
                f"{name} is not finite ({count} of {array.size} entries). The step was not taken. Usual "
                "causes are a learning rate that is too high, rewards of very different sizes, and observations "
                "that are not scaled."
            )


def check_gradient(name: str, module: nn.Module, gradient: F32) -> None:
    """Raise NonFiniteError with the parameter's name if part of a flat gradient [P] is not finite."""
    offset = 0
    for p_name, p in module.named_parameters():
        part = gradient[offset : offset + p.numel()]
        check_finite([(f"the gradient of {name} parameter {p_name}", part)])
        offset += p.numel()


def check_outputs(outputs: F32, policy: Policy, inputs: Inputs) -> None:
    """Raise NonFiniteError unless log π, H and V [3, B] are finite."""
    check_policy_outputs(policy, inputs, outputs[0], outputs[1])
    check_finite([("V(s)", outputs[2])])


def check_policy_outputs(policy: Policy, inputs: Inputs, log_prob: F32, entropy: F32) -> None:
    """Raise NonFiniteError unless log π and H, [B] each, are finite; the message explains faults of the logits.

    An action that has become impossible is named as well: a batch can contain one only if its mask has changed.
    """
    if not (np.isfinite(log_prob).all() and np.isfinite(entropy).all()):
        fault = fault_of(policy, inputs.observation)
        if fault is not None:
            raise NonFiniteError(f"log π(a|s) is not finite: {fault}")
        if issubclass(policy.distribution.stored_dtype, np.integer) and np.isneginf(log_prob).any():
            row = int(np.isneginf(log_prob).argmax())
            raise NonFiniteError(
                f"log π(a|s) is −inf: the action taken for observation {row} of {len(log_prob)} has probability 0 now. "
                "A mask must allow the same actions every time the network sees the same observation."
            )
    check_finite((("log π(a|s)", log_prob), ("the entropy", entropy)))


def step_of(networks: Networks, has_value: bool) -> Step:
    """Return a step whose rates, which are 0, say for which networks a gradient is needed."""
    return Step(0.0 if networks != "value" else None, 0.0 if has_value and networks != "policy" else None)


def columns_of(update: Update) -> tuple[F32, int]:
    """Return the columns [C, B] that an update reads, in the order of `Loss.columns`, and the row of `old_log_prob`.

    The row is −1 if `old_log_prob` is not among them.

    Raises:
        ValueError: the batch lacks one of the columns.
    """
    names, old_log_prob = names_of_columns(update.loss, update.max_kl)
    return update.batch.matrix(names), old_log_prob


def names_of_columns(loss: Loss, max_kl: float | None) -> tuple[tuple[str, ...], int]:
    """Return the names of the columns that an update reads, and the index of `old_log_prob` or −1: see `columns_of`."""
    names = loss.columns
    if max_kl is not None and OLD_LOG_PROB not in names:
        names = (*names, OLD_LOG_PROB)
    return names, names.index(OLD_LOG_PROB) if OLD_LOG_PROB in names else -1


def values_along(values: Callable[[Inputs], F32], rollout: Rollout) -> tuple[F64, F64]:
    """See `Engine.values_along`; `values` is the method of the engine."""
    T, N = rollout.valid.shape
    all_values = values(Inputs(rollout.rows.reshape((T + 1) * N, -1))).astype(np.float64).reshape(T + 1, N)
    value, next_value = all_values[:-1], all_values[1:]
    if len(rollout.final_index):
        next_value = next_value.copy()
        next_value.reshape(-1)[rollout.final_index] = values(Inputs(rollout.final_observation))
    return value, next_value


OLD_LOG_PROB = "old_log_prob"


def check_minibatches(minibatches: Minibatches, S: int) -> None:
    """Raise ValueError unless each step has at least one segment, and all are segments of a batch of S segments."""
    order, bounds = minibatches
    if order.dtype != np.int64 or bounds.dtype != np.int64:
        raise ValueError(f"minibatches.order and .bounds must be int64; got {order.dtype} and {bounds.dtype}")
    if not len(order) or order.min() < 0 or order.max() >= S:
        raise ValueError(
            f"minibatches.order must contain at least one segment, each from 0 to {S - 1}; got {order}"
        )
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != len(order) or (np.diff(bounds) < 1).any():
        raise ValueError(
            f"minibatches.bounds must be strictly increasing from 0 to {len(order)}; got {bounds}"
        )


def as_column_matrix(action: Array) -> F32:
    """Return stored actions, [B] or [B, K] int64 or [B, K] float32, as [B, K] float32; indices are exact up to 2^24."""
    return np.ascontiguousarray(action.reshape(len(action), -1), np.float32)


def engine_state(
    value: nn.Module | None, policy_optimizer: State, value_optimizer: State, *, noise: GradientNoise
) -> State:
    """See `Engine.state`."""
    return {
        "value": {} if value is None else module_state(value),
        "policy_optimizer": policy_optimizer,
        "value_optimizer": value_optimizer,
        "gradient_noise": noise.state(),
    }


def restore_engine(value: nn.Module | None, state: State, noise: GradientNoise) -> tuple[State, State]:
    """Restore an `engine_state` except the optimizers; return the (policy's, value network's) optimizer state."""
    saved, policy_optimizer, value_optimizer, measured = unpack(
        state, "value", "policy_optimizer", "value_optimizer", "gradient_noise"
    )
    noise.restore(measured)
    if value is not None:
        restore_module(value, saved, "value network")
    return policy_optimizer, value_optimizer


class CommonEngine(ABC):
    """The methods that all engines have in common."""

    policy: Policy
    value: nn.Module | None

    @abstractmethod
    def values(self, inputs: Inputs) -> F32:
        """See `Engine.values`."""

    def values_along(self, rollout: Rollout) -> tuple[F64, F64]:
        """See `Engine.values_along`."""
        return values_along(self.values, rollout)

    def policy_parameters(self) -> F32:
        """See `TrustRegionEngine.policy_parameters`."""
        return flat_parameters(self.policy).numpy(force=True).copy()

    def set_policy_parameters(self, parameters: F32) -> None:
        """See `TrustRegionEngine.set_policy_parameters`."""
        flat_parameters(self.policy).copy_(torch.from_numpy(parameters))
        self.policy.project()
