"""What the engines are given and what they return: the inputs of networks, batches, outputs, minibatches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policygrad._support.state import State as State
from policygrad.types.arrays import F32, I64, Array, Bool, check_shape


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
class LearnerState:
    """Where a run's learning stands, beside the networks and their optimisers."""

    rng: np.random.Generator
    """Of the order in which minibatches take their samples."""
    progress: float = 0.0
    """Through the run, in [0, 1]: what schedules go by."""
    adaptive_coefficients: dict[str, float] = field(default_factory=dict[str, float])
    """Numbers that an algorithm changes as it goes, by name: the weight of PPO's KL penalty, say."""
    traces: dict[str, Array] = field(default_factory=dict[str, Array])
    """Arrays that it carries from one update to the next, by name: eligibility traces, say."""
