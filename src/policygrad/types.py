"""What flows through the library: arrays, rollouts, batches.

Arrays are time-major: `[T, N, ...]` is T steps of N environments, `[B, ...]` is B samples with time and
environment folded together. Learning is float32; rewards and statistics are float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from policygrad.names import renamed

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

    A row (t, n) holds the observation s_t that the policy saw, the action a_t it took there, and the reward r_t that
    this action brought. Each observation is stored once: the one that followed is in the next row, or, where another
    episode begins there, in the table of final observations.
    """

    rows: F32
    """[T + 1, N, D] float32: observations as the networks see them; the last row is what the last step led to."""
    action: Array
    """[T, N] or [T, N, K] int64 counted from 0, or [T, N, K] float32 as sampled, before clipping or squashing."""
    reward: F64
    """[T, N] float64: what is learned from, shaping included."""
    original_reward: F64
    """[T, N] float64: what the environment paid."""
    final_observation: F32
    """[F, D] float32: the last observations of episodes that are not in the next row."""
    final_index: I64
    """[F] int64, rising: t · N + n of the row (t, n) that each of them followed."""
    terminated: Bool
    """[T, N]: the episode ended in a state of no further value."""
    truncated: Bool
    """[T, N]: the episode was cut (a time limit), its last state is like any other."""
    valid: Bool
    """[T, N]: a sample, and not padding."""

    def __post_init__(self) -> None:
        T, N = self.valid.shape
        for name in ("action", "reward", "original_reward", "terminated", "truncated"):
            array: Array = getattr(self, name)
            if array.shape[:2] != (T, N):
                raise ValueError(f"{name} has shape {array.shape}; expected [T, N] = [{T}, {N}] first")
            if name != "action":
                check_shape(name, array, (T, N))
        if self.rows.shape[:2] != (T + 1, N):
            raise ValueError(f"rows has shape {self.rows.shape}; expected [T + 1, N] = [{T + 1}, {N}] first")
        index = self.final_index
        if len(index) and not (index[0] >= 0 and index[-1] < T * N and (np.diff(index) > 0).all()):
            raise ValueError(f"final_index must rise, from 0 or more to below {T * N}; got {index}")
        check_shape(
            "final_observation", self.final_observation, (len(self.final_index), *self.rows.shape[2:])
        )

    @staticmethod
    def from_pairs(
        observation: F32,
        action: Array,
        reward: F64,
        original_reward: F64,
        next_observation: F32,
        terminated: Bool,
        truncated: Bool,
        valid: Bool,
    ) -> Rollout:
        """Return the rollout of steps whose observation and next observation, [T, N, D] each, are given."""
        elsewhere = np.any(next_observation[:-1] != observation[1:], axis=2)
        return Rollout(
            rows=np.concatenate([observation, next_observation[-1:]]),
            action=action,
            reward=reward,
            original_reward=original_reward,
            final_observation=next_observation[:-1][elsewhere],
            final_index=np.flatnonzero(elsewhere),
            terminated=terminated,
            truncated=truncated,
            valid=valid,
        )

    @property
    def observation(self) -> F32:
        """[T, N, D] float32: what the policy saw at each step."""
        return self.rows[:-1]

    @cached_property
    def next_observation(self) -> F32:
        """[T, N, D] float32: the true successor of each step, also at an episode's end; a copy where episodes end."""
        following = self.rows[1:]
        if len(self.final_index):
            following = following.copy()
            following.reshape(self.valid.size, -1)[self.final_index] = self.final_observation
        return following

    def successors(self, where: Bool) -> F32:
        """[M, D] float32: the true successors of the M steps where [T, N] is True, in their order."""
        t, n = np.nonzero(where)
        found = self.rows[t + 1, n]
        if len(self.final_index):
            index = t * where.shape[1] + n
            place = np.minimum(np.searchsorted(self.final_index, index), len(self.final_index) - 1)
            elsewhere = self.final_index[place] == index
            found[elsewhere] = self.final_observation[place[elsewhere]]
        return found

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
        N = sum(rollout.valid.shape[1] for rollout in rollouts)
        index, first = list[I64](), 0
        for rollout in rollouts:
            t, n = np.divmod(rollout.final_index, rollout.valid.shape[1])
            index.append(t * N + first + n)
            first += rollout.valid.shape[1]
        final_index = np.concatenate(index)
        order = np.argsort(final_index)

        def join(name: str, length: int = T) -> Array:
            columns: list[Array] = [getattr(rollout, name) for rollout in rollouts]
            padded = [np.pad(x, [(0, length - len(x))] + [(0, 0)] * (x.ndim - 1)) for x in columns]
            return np.concatenate(padded, axis=1)

        return Rollout(
            rows=join("rows", T + 1),
            action=join("action"),
            reward=join("reward"),
            original_reward=join("original_reward"),
            final_observation=np.concatenate([rollout.final_observation for rollout in rollouts])[order],
            final_index=final_index[order],
            terminated=join("terminated"),
            truncated=join("truncated"),
            valid=join("valid"),
        )


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the networks are given for B rows: everything that is known of a state.

    Only `observation`, and for Q(s, a) `critic_observation`, are in use; the others are None.
    """

    observation: F32
    """[B, D] float32."""
    image: NDArray[np.uint8] | None = None
    """[B, height, width, channels] uint8."""
    memory: F32 | None = None
    """[B, M] float32: the state of a recurrent network before the row."""
    legal: Bool | None = None
    """[B, A]: which of A actions are allowed."""
    critic_observation: F32 | None = None
    """[B, D'] float32: what the value network sees where that is not what the policy sees, such as the action too."""

    def __len__(self) -> int:
        return len(self.observation)

    @property
    def seen_by_critic(self) -> F32:
        """[B, D'] float32: the observation of the value network."""
        return self.observation if self.critic_observation is None else self.critic_observation

    def rows(self, rows: Any) -> Inputs:
        """Return the rows that an index, a mask or a slice names."""
        if (
            self.image is None
            and self.memory is None
            and self.legal is None
            and self.critic_observation is None
        ):
            return Inputs(self.observation[rows])
        parts: list[Any] = [getattr(self, column.name) for column in fields(Inputs)]
        taken: list[Any] = [None if part is None else part[rows] for part in parts]
        return Inputs(*taken)


def check_inputs(inputs: object, expected: str) -> None:
    """Raise TypeError with the form that is expected unless these are `Inputs`."""
    if not isinstance(inputs, Inputs):
        raise TypeError(
            f"what networks are given is Inputs(observation): write {expected}; got {type(inputs).__name__}"
        )


@dataclass(frozen=True)
class Batch:
    """B samples, with all that an algorithm says of them: S segments of L consecutive steps of one environment."""

    inputs: Inputs
    """What the networks are given, B rows: the steps of the first segment, then those of the second, and so on."""
    action: Array
    """[B] or [B, K] int64, or [B, K] float32."""
    columns: Mapping[str, F32]
    """The constants of each sample that a loss may read, by name, each [B] float32: `advantage`, `target` and so on."""
    length: int = 1
    """L, the steps of a segment: 1 without memory."""
    weight: F32 | None = None
    """[B] float32: what each sample counts, 0 for padding; None is 1 for all."""

    def __post_init__(self) -> None:
        check_inputs(self.inputs, "Batch(Inputs(observation), action, {'advantage': ..., 'target': ...})")
        B = len(self.inputs)
        if B == 0:
            raise ValueError("a batch needs at least one sample; got none")
        for name, column in self.columns.items():
            check_shape(name, column, (B,))
        if self.weight is not None:
            check_shape("weight", self.weight, (B,))
        seen = self.inputs.critic_observation
        if seen is not None and len(seen) != B:
            raise ValueError(f"critic_observation has shape {seen.shape}; expected {B} rows")
        if len(self.action) != B:
            raise ValueError(f"action has shape {self.action.shape}; expected {B} rows")
        if self.length < 1 or B % self.length:
            raise ValueError(f"length must be 1 or more and divide the {B} samples; got {self.length}")

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def segments(self) -> int:
        """S: how many segments there are."""
        return len(self) // self.length

    def matrix(self, names: Sequence[str]) -> F32:
        """Return the columns of these names as [C, B]; ValueError if the batch lacks one of them."""
        found = np.empty((len(names), len(self)), np.float32)
        for row, name in enumerate(names):
            if name not in self.columns:
                raise ValueError(
                    f"the batch has no column {name}, which is read: it has {sorted(self.columns)}"
                )
            found[row] = self.columns[name]
        return found

    def with_columns(self, **columns: F32) -> Batch:
        """Return the batch with these columns added or replaced."""
        return replace(self, columns={**self.columns, **columns})


__getattr__ = renamed(
    __name__,
    {
        "Sample": "the loss as a function loss(s, k), a policygrad.losses.LossFunction",
        "Cotangents": "policygrad.losses.LossFunction, or DerivativesFunction for derivatives by hand",
    },
)


class Outputs(NamedTuple):
    """The networks' outputs on a batch, and the size of the gradient that followed from them."""

    matrix: F32
    """[3, B] float32: log π(a|s) and H(π(·|s)) in nats, and V(s); zeros of a network that was left out."""
    columns: F32
    """[C, B] float32: the columns of the batch, in the order of the loss's."""
    policy_grad_norm: float
    """L2 norm of the policy's gradient before clipping; 0 where it was left out."""
    value_grad_norm: float
    """The same of the value network's."""
    policy_steps: int
    """Optimizer steps that the policy took."""

    @property
    def log_prob(self) -> F32:
        """[B] log π(a|s), in nats."""
        return self.matrix[0]

    @property
    def entropy(self) -> F32:
        """[B] H(π(·|s)), in nats; differential for continuous actions."""
        return self.matrix[1]

    @property
    def value(self) -> F32:
        """[B] V(s)."""
        return self.matrix[2]


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
    """Which segments each of several steps uses: step i those that order[bounds[i]:bounds[i + 1]] names."""

    order: I64
    """[segments of all steps] int64: segments of the batch, which are its rows where their length is 1."""
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
