"""What flows through the library: arrays, rollouts, batches, and the interface of an engine.

Arrays are time-major: `[T, N, ...]` is T steps of N environments, `[B, ...]` is B samples with time and
environment folded together. Learning is float32; rewards and statistics are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
I64: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]
Array: TypeAlias = NDArray[Any]


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
        for field in fields(self):
            array: Array = getattr(self, field.name)
            if array.shape[:2] != (T, N):
                raise ValueError(f"{field.name} has shape {array.shape}; expected [T, N] = [{T}, {N}] first")
        for name in ("reward", "original_reward", "terminated", "truncated"):
            check_shape(name, getattr(self, name), (T, N))

    @property
    def num_samples(self) -> int:
        """How many rows are samples."""
        return int(self.valid.sum())

    @property
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

        return Rollout(**{field.name: join(field.name) for field in fields(Rollout)})


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

    def __post_init__(self) -> None:
        B = len(self.observation)
        if B == 0:
            raise ValueError("a batch needs at least one sample; got none")
        for name in ("advantage", "target", "old_log_prob", "old_value"):
            array: F32 | None = getattr(self, name)
            if array is not None:
                check_shape(name, array, (B,))
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


@dataclass(frozen=True)
class Outputs:
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


class Minibatches(NamedTuple):
    """Which samples each of several steps uses: step i those that order[bounds[i]:bounds[i + 1]] names."""

    order: I64
    """[samples of all steps] int64, rows of the batch."""
    bounds: I64
    """[steps + 1] int64."""


class Engine(Protocol):
    """Turns observations into (log π, H, V), and an algorithm's three numbers into a parameter update.

    `engines.autograd` takes any torch module; `engines.fused` is machine code for MLPs. Both give the same
    actions from the same noise and, up to rounding, the same parameters after an update.
    """

    name: str

    def act(self, observation: F32, noise: F64) -> Array:
        """Actions [N] or [N, K] int64, or [N, K] float32, for observations [N, D], from `Policy.draw_noise`."""
        ...

    def values(self, observation: F32) -> F32:
        """V(s) [B] for observations [B, D]."""
        ...

    def squared_scores(self, observation: F32, action: Array) -> F32:
        """‖∇_θ log π(a|s)‖² [B] of each sample alone."""
        ...

    def gradient(self, batch: Batch, cotangents: Cotangents, coefficients: F32) -> tuple[F32, F32]:
        """The loss's gradient with respect to (policy, value) parameters, each flat; changes nothing."""
        ...

    def update(
        self,
        batch: Batch,
        cotangents: Cotangents,
        coefficients: F32,
        *,
        policy_rate: float | None,
        value_rate: float | None,
        max_grad_norm: float | None,
        minibatches: Minibatches | None = None,
    ) -> Outputs:
        """One optimiser step on the whole batch, or one on each of the minibatches, in their order.

        A rate of None leaves that network out, uncomputed. Outputs are those before a sample's last step, norms
        those of the last step.

        Raises:
            NonFiniteError: an output or a gradient is NaN or infinite; the parameters are as before that step.
            ValueError: a minibatch is empty, or names what is no row of the batch.
        """
        ...


class Collector(Protocol):
    """What an algorithm asks for its data."""

    def episodes(self, per_env: int = 1) -> Rollout:
        """Exactly `per_env` whole episodes of each environment: [T, N · per_env], an episode a column."""
        ...

    def steps(self, horizon: int) -> Rollout:
        """The next `horizon` steps of each environment: [horizon, N]."""
        ...
