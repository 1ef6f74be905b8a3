"""The inputs, batches and minibatches that engines receive, and the outputs that they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policygrad.types.arrays import F32, I64, Array, Bool, check_shape


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of the networks for B rows: everything that is known about each state.

    Only `observation` and, for Q(s, a), `critic_observation` are in use; the other fields are None.
    """

    observation: F32
    """[B, D] float32."""
    image: NDArray[np.uint8] | None = None
    """[B, height, width, channels] uint8."""
    memory: F32 | None = None
    """[B, M] float32: state of a recurrent network before each row."""
    legal: Bool | None = None
    """[B, A]: True for each of the A actions that is allowed."""
    critic_observation: F32 | None = None
    """[B, D'] float32: input of the value network if it differs from the policy's, such as one with the action."""

    def __len__(self) -> int:
        return len(self.observation)

    @property
    def seen_by_critic(self) -> F32:
        """[B, D'] float32: input of the value network."""
        return self.observation if self.critic_observation is None else self.critic_observation

    def rows(self, rows: Any) -> Inputs:
        """Return the rows that an index, a mask or a slice selects."""
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
    """Raise TypeError unless these are `Inputs`; the message shows the `expected` call."""
    if not isinstance(inputs, Inputs):
        raise TypeError(
            f"the networks need their inputs as Inputs(observation); got {type(inputs).__name__}. Write {expected}."
        )


@dataclass(frozen=True)
class Batch:
    """B samples and what an algorithm computed for them, as S segments of L consecutive steps of one environment."""

    inputs: Inputs
    """Inputs of the networks, B rows: the steps of the first segment, then those of the second, and so on."""
    action: Array
    """[B] or [B, K] int64, or [B, K] float32."""
    columns: Mapping[str, F32]
    """Constants per sample that a loss may read, by name, each [B] float32: `advantage`, `target` and so on."""
    length: int = 1
    """L, the number of steps per segment: 1 for networks without memory."""
    weight: F32 | None = None
    """[B] float32: weight of each sample, 0 for padding. None gives each sample the weight 1."""

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
        """S, the number of segments."""
        return len(self) // self.length

    def matrix(self, names: Sequence[str]) -> F32:
        """Return the named columns as [C, B]; raise ValueError if the batch lacks one of them."""
        matrix = np.empty((len(names), len(self)), np.float32)
        for row, name in enumerate(names):
            if name not in self.columns:
                raise ValueError(
                    f"the batch has no column {name}, which the update needs; its columns are {sorted(self.columns)}"
                )
            matrix[row] = self.columns[name]
        return matrix

    def with_columns(self, **columns: F32) -> Batch:
        """Return a copy of the batch with these columns added or replaced."""
        return replace(self, columns={**self.columns, **columns})


class Outputs(NamedTuple):
    """The networks' outputs on a batch, and the norms of the gradients computed from them."""

    matrix: F32
    """[3, B] float32: log π(a|s) and H(π(·|s)) in nats, and V(s); zeros for a network that was not computed."""
    columns: F32
    """[C, B] float32: columns of the batch, in the order of `Loss.columns`."""
    policy_grad_norm: float
    """L2 norm of the policy's gradient before clipping; 0 if the policy took no step."""
    value_grad_norm: float
    """L2 norm of the value network's gradient before clipping; 0 if the network took no step."""
    policy_steps: int
    """Number of optimizer steps that the policy took."""

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
    """The policy's outputs on a batch."""

    log_prob: F32
    """[B] log π(a|s), in nats."""
    entropy: F32
    """[B] H(π(·|s)), in nats."""
    kl: F32
    """[B] KL(before ‖ now) of π(·|s), in nats; zeros if there were no earlier outputs to compare with."""
    distribution: Any
    """π(·|s) for each state, in a form that depends on the engine."""


class Minibatches(NamedTuple):
    """The segments that each of several steps uses: step i uses the segments order[bounds[i]:bounds[i + 1]]."""

    order: I64
    """[segments of all steps] int64: indices of segments of the batch. A segment of length 1 is a row."""
    bounds: I64
    """[steps + 1] int64: where the segments of each step begin in `order`, and where the last ones end."""


@dataclass
class LearnerState:
    """The state of a run's learning, in addition to the networks and their optimizers."""

    rng: np.random.Generator
    """Random generator that orders the samples of minibatches."""
    progress: float = 0.0
    """Fraction of the run that is done, in [0, 1]; schedules are functions of it."""
    adaptive_coefficients: dict[str, float] = field(default_factory=dict[str, float])
    """Numbers that an algorithm adapts during the run, by name, such as the weight of PPO's KL penalty."""
    traces: dict[str, Array] = field(default_factory=dict[str, Array])
    """Arrays that an algorithm carries from one update to the next, by name, such as eligibility traces."""
