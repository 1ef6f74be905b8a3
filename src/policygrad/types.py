"""What flows through the library: arrays, rollouts, batches.

Arrays are time-major: `[T, N, ...]` is T steps of N environments, `[B, ...]` is B samples with time and
environment folded together. Learning is float32; rewards and statistics are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]
Array: TypeAlias = NDArray[Any]
State: TypeAlias = dict[str, Any]
"""Where something stands, for a checkpoint: nested, with arrays and what JSON knows as its leaves."""


def check_shape(name: str, array: Array, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless `array` has exactly the expected shape: nothing here is broadcast by accident."""
    if array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")


@dataclass(frozen=True)
class Rollout:
    """What N environments did over T steps. Rows where `valid` is False are padding, never samples.

    A row (t, n) holds the observation s_t that the policy saw, the action a_t it took there, the reward r_t
    that this action brought, and the observation that followed it: never one of the next episode.
    """

    observation: F32
    """[T, N, D] float32, as the networks see it."""
    action: Array
    """[T, N] or [T, N, K] int64 counted from 0, or [T, N, K] float32 as sampled, before clipping or squashing."""
    reward: F64
    """[T, N] float64: what is learned from, shaping included."""
    original_reward: F64
    """[T, N] float64: what the environment paid."""
    next_observation: F32
    """[T, N, D] float32: the true successor, also at an episode's end."""
    terminated: Bool
    """[T, N]: the episode ended in a state of no further value."""
    truncated: Bool
    """[T, N]: the episode was cut (a time limit), its last state is like any other."""
    valid: Bool
    """[T, N]: a sample, and not padding."""

    def __post_init__(self) -> None:
        T, N = self.valid.shape
        for column in fields(self):
            array: Array = getattr(self, column.name)
            if array.shape[:2] != (T, N):
                raise ValueError(f"{column.name} has shape {array.shape}; expected [T, N] = [{T}, {N}] first")
        for name in ("reward", "original_reward", "terminated", "truncated"):
            check_shape(name, getattr(self, name), (T, N))

    @cached_property
    def num_samples(self) -> int:
        """How many rows are samples."""
        return int(self.valid.sum())

    @cached_property
    def done(self) -> Bool:
        """[T, N]: the episode ended here, for either reason."""
        return self.terminated | self.truncated

    @staticmethod
    def side_by_side(rollouts: list[Rollout]) -> Rollout:
        """One rollout whose N axis holds all the given ones, shorter ones padded in time with invalid rows."""
        if len(rollouts) == 1:
            return rollouts[0]
        T = max(rollout.valid.shape[0] for rollout in rollouts)

        def join(name: str) -> Array:
            columns: list[Array] = [getattr(rollout, name) for rollout in rollouts]
            padded = [np.pad(x, [(0, T - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in columns]
            return np.concatenate(padded, axis=1)

        return Rollout(**{column.name: join(column.name) for column in fields(Rollout)})


@dataclass(frozen=True)
class Batch:
    """B samples, with all that an algorithm says of them."""

    observation: F32
    """[B, D] float32."""
    action: Array
    """[B] or [B, K] int64, or [B, K] float32."""
    advantage: F32
    """[B] float32: what multiplies ∇log π(a|s)."""
    target: F32
    """[B] float32: what V(s) is regressed on."""
    old_log_prob: F32 | None = None
    """[B] float32: log π(a|s) of the policy that acted, where the algorithm needs it."""
    old_value: F32 | None = None
    """[B] float32: V(s) when it acted, likewise."""
    critic_observation: F32 | None = None
    """[B, D'] float32: what the value network sees where that is not what the policy sees: with the action, say."""

    def __post_init__(self) -> None:
        B = len(self.observation)
        if B == 0:
            raise ValueError("a batch needs at least one sample; got none")
        for name in ("advantage", "target", "old_log_prob", "old_value"):
            array: F32 | None = getattr(self, name)
            if array is not None:
                check_shape(name, array, (B,))
        if self.critic_observation is not None and len(self.critic_observation) != B:
            raise ValueError(
                f"critic_observation has shape {self.critic_observation.shape}; expected {B} rows"
            )
        if len(self.action) != B:
            raise ValueError(f"action has shape {self.action.shape}; expected {B} rows")

    def __len__(self) -> int:
        return len(self.observation)


class Sample(NamedTuple):
    """What an algorithm's cotangent function knows of B samples, each field [B] float32."""

    log_prob: F32
    """log π(a|s) under the policy now, in nats."""
    entropy: F32
    """H(π(·|s)) now, in nats."""
    value: F32
    """V(s) now; zeros where no value network is asked."""
    advantage: F32
    target: F32
    old_log_prob: F32
    """log π(a|s) under the policy that acted; zeros where the algorithm did not ask for it."""
    old_value: F32
    """V(s) before the first update from these samples; likewise."""


Cotangents: TypeAlias = Callable[[Sample, F32, F32, F32, F32], None]
"""cotangents(sample, coefficients, w, e, c) -> None

An algorithm's three numbers a sample. Reads the samples and the algorithm's own `coefficients`; writes the
derivatives of its loss with respect to log π(a|s) into `w`, to the entropy H(π(·|s)) into `e`, to V(s) into
`c`, each [B] float32. It is compiled, and may be called on any part of a batch: what it writes for a sample
may depend on that sample alone.
"""


class Outputs(NamedTuple):
    """The networks' outputs on a batch, and the size of the gradient that followed from them."""

    log_prob: F32
    """[B] log π(a|s), in nats."""
    entropy: F32
    """[B] H(π(·|s)), in nats; differential for continuous actions."""
    value: F32
    """[B] V(s), or zeros where no value network was asked."""
    policy_grad_norm: float
    """L2 norm of the policy's gradient before clipping; 0 where it was left out."""
    value_grad_norm: float
    """The same of the value network's."""
    policy_steps: int
    """Optimiser steps that the policy took."""


class PolicyOutputs(NamedTuple):
    """The policy on a batch."""

    log_prob: F32
    """[B] log π(a|s), in nats."""
    entropy: F32
    """[B] H(π(·|s)), in nats."""
    kl: F32
    """[B] KL(before ‖ now) of π(·|s), in nats; zeros where nothing was there to compare with."""
    distribution: Any
    """π(·|s) of each state, in a form of the engine's own."""


class Minibatches(NamedTuple):
    """Which samples each of several steps uses: step i those that order[bounds[i]:bounds[i + 1]] names."""

    order: I64
    """[samples of all steps] int64, rows of the batch."""
    bounds: I64
    """[steps + 1] int64."""


@dataclass
class Learning:
    """Where a run's learning stands, beside the networks and their optimisers."""

    rng: np.random.Generator
    """Of the order in which minibatches take their samples."""
    progress: float = 0.0
    """Through the run, in [0, 1]: what schedules go by."""
    adapted: dict[str, float] = field(default_factory=dict[str, float])
    """Numbers that an algorithm changes as it goes, by name: the weight of PPO's KL penalty, say."""
    traces: dict[str, Array] = field(default_factory=dict[str, Array])
    """Arrays that it carries from one update to the next, by name: eligibility traces, say."""
