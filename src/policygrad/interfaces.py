"""What an algorithm asks of the rooms after its own: an engine that computes, a collector that brings data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from policygrad.losses import Loss
from policygrad.types import (
    F32,
    F64,
    Array,
    Batch,
    Inputs,
    Minibatches,
    Outputs,
    PolicyOutputs,
    Rollout,
    State,
)


class Step(NamedTuple):
    """One optimizer step."""

    policy_rate: float | None
    """Learning rate of the policy; None leaves it out, uncomputed."""
    value_rate: float | None
    """Learning rate of V(s); None leaves it out, uncomputed."""
    max_grad_norm: float | None = None
    """Each network's gradient is scaled down to this L2 norm; None leaves it."""


@dataclass(frozen=True)
class Update:
    """What one call of `Engine.update` learns from, and how."""

    batch: Batch
    loss: Loss
    """Its mean over the samples is minimized: Σ weight · loss / Σ weight."""
    coefficients: Mapping[str, float]
    """Those that the loss reads, by name."""
    step: Step
    minibatches: Minibatches | None = None
    """Which segments each step uses; None is one step on all."""
    max_kl: float | None = None
    """As soon as a minibatch's mean of `kl_estimate` is larger, before its step, the policy takes no more steps (the
    value network does). Needs the column `old_log_prob`. None is no limit."""


@runtime_checkable
class Engine(Protocol):
    """Turns what is known of states into (log π, H, V), and a loss of these into a parameter update.

    `engines.autograd` takes any torch module; `engines.fused` is machine code for MLPs. Both give the same
    actions from the same noise and, up to rounding, the same parameters after an update.
    """

    name: str
    networks_are_separate: bool
    """Whether nothing that is learned by V(s) can change what the policy puts out, nor the other way round."""
    has_modes: bool
    """Whether `update` and `gradient` may find other outputs than all else, because a network is in training mode.

    Dropout and BatchNorm make it another one there. Acting, `values` and whatever looks at the policy are in
    evaluation mode.
    """
    num_choices: int | None
    """How many actions there are, of a Discrete; None of others."""

    def act(self, inputs: Inputs, noise: F64) -> Array:
        """Actions [N] or [N, K] int64, or [N, K] float32, for N rows, from `Policy.draw_noise`.

        A choice is −1 where the network's logits are no softmax, as in `Policy.choose`.
        """
        ...

    def values(self, inputs: Inputs) -> F32:
        """V(s) [B], or Q(s, a)."""
        ...

    def values_along(self, rollout: Rollout) -> tuple[F64, F64]:
        """(V(s_t), V(s_{t+1})), each [T, N] float64; the successor is the true one, also where an episode ended."""
        ...

    def evaluate(self, inputs: Inputs, action: Array) -> tuple[F32, F32]:
        """(log π(a|s), H(π(·|s))), each [B], of actions as they are stored.

        They are what `update` finds for them, unless the engine `has_modes`.
        """
        ...

    def gradient(self, batch: Batch, loss: Loss, coefficients: Mapping[str, float]) -> tuple[F32, F32]:
        """The mean loss's gradient with respect to (policy, value) parameters, each flat; changes nothing."""
        ...

    def apply(self, policy_gradient: F32, value_gradient: F32, step: Step) -> tuple[float, float]:
        """One optimizer step of both networks along gradients that are given, each flat as `gradient` has them.

        Returns:
            Their L2 norms before clipping.

        Raises:
            NonFiniteError: one of them is NaN or infinite; the parameters are as before.
        """
        ...

    def update(self, update: Update) -> Outputs:
        """One optimizer step on the whole batch, or one on each of the minibatches, in their order.

        Returns:
            Outputs, as they were before the last step that computed them; the norms of the last step.

        Raises:
            NonFiniteError: an output or a gradient is NaN or infinite; the parameters are as before that step.
            ValueError: a minibatch is empty, or names what is no segment of the batch; a column that the loss reads, or
                that `max_kl` needs, is missing.
        """
        ...

    def state(self) -> State:
        """The value network and both optimizers: all that learning changes, but for the policy."""
        ...

    def restore(self, state: State) -> None:
        """Be as the engine of that `state` was; CheckpointError where it was of another form."""
        ...


@runtime_checkable
class ScoringEngine(Engine, Protocol):
    """What the optimal baseline asks for."""

    def squared_scores(self, inputs: Inputs, action: Array) -> F32:
        """‖∇_θ log π(a|s)‖² [B] of each sample alone."""
        ...


@runtime_checkable
class TrustRegionEngine(Engine, Protocol):
    """What the natural gradient and TRPO ask for."""

    def policy_outputs(
        self, inputs: Inputs, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """The policy on B rows and their actions, and how far it is from what it was `before` on them.

        Raises:
            NonFiniteError: log π or H is NaN or infinite, and there is no `before`.
        """
        ...

    def policy_parameters(self) -> F32:
        """A copy of the policy's parameters [P], in `parameters()` order."""
        ...

    def set_policy_parameters(self, parameters: F32) -> None:
        """Write the policy's parameters [P]; a Gaussian's log σ is brought back within its bounds."""
        ...

    def fisher_vector_product(self, inputs: Inputs) -> Callable[[F32], F32]:
        """v [P] -> F v [P], F = E_s[Jᵀ M(s) J] over B rows: the Hessian of the mean KL where it is 0.

        J is the Jacobian of the distribution's parameters in the policy's, M the distribution's own Fisher
        matrix. Of the parameters at the time: once they change, ask again.
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

    def state(self) -> State:
        """Where its seeds, its noise and, if they can be saved, its environments stand."""
        ...

    def restore(self, state: State) -> bool:
        """Go on from that `state`; returns whether it goes on within the episodes that were under way."""
        ...
