"""What an algorithm asks of the rooms after its own: an engine that computes, a collector that brings data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from policygrad.types import (
    F32,
    F64,
    Array,
    Batch,
    Cotangents,
    Minibatches,
    Outputs,
    PolicyOutputs,
    Rollout,
    State,
)


class Engine(Protocol):
    """Turns observations into (log π, H, V), and an algorithm's three numbers into a parameter update.

    `engines.autograd` takes any torch module; `engines.fused` is machine code for MLPs. Both give the same
    actions from the same noise and, up to rounding, the same parameters after an update.
    """

    name: str
    networks_are_apart: bool
    """Whether nothing that is learned by V(s) can change what the policy puts out, nor the other way round."""
    has_modes: bool
    """Whether `update` and `gradient` may find other outputs than all else, because a network is in training mode.

    Dropout and BatchNorm make it another one there. Acting, `values` and whatever looks at the policy are in
    evaluation mode.
    """
    num_choices: int | None
    """How many actions there are, of a Discrete; None of others."""

    def act(self, observation: F32, noise: F64) -> Array:
        """Actions [N] or [N, K] int64, or [N, K] float32, for observations [N, D], from `Policy.draw_noise`.

        A choice is −1 where the network's logits are no softmax, as in `Policy.choose`.
        """
        ...

    def values(self, observation: F32) -> F32:
        """V(s) [B] for observations [B, D], or for whatever else the value network sees."""
        ...

    def evaluate(self, observation: F32, action: Array) -> tuple[F32, F32]:
        """(log π(a|s), H(π(·|s))), each [B], of actions as they are stored.

        They are what `update` finds for them, unless the engine `has_modes`.
        """
        ...

    def squared_scores(self, observation: F32, action: Array) -> F32:
        """‖∇_θ log π(a|s)‖² [B] of each sample alone."""
        ...

    def policy_outputs(
        self, observation: F32, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """The policy on observations [B, D] and actions, and how far it is from what it was `before` on them.

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

    def fisher_vector_product(self, observation: F32) -> Callable[[F32], F32]:
        """v [P] -> F v [P], F = E_s[Jᵀ M(s) J] over observations [B, D]: the Hessian of the mean KL where it is 0.

        J is the Jacobian of the distribution's parameters in the policy's, M the distribution's own Fisher
        matrix. Of the parameters at the time: once they change, ask again.
        """
        ...

    def gradient(self, batch: Batch, cotangents: Cotangents, coefficients: F32) -> tuple[F32, F32]:
        """The loss's gradient with respect to (policy, value) parameters, each flat; changes nothing."""
        ...

    def apply(
        self,
        policy_gradient: F32,
        value_gradient: F32,
        *,
        policy_rate: float,
        value_rate: float,
        max_grad_norm: float | None,
    ) -> tuple[float, float]:
        """One optimiser step along gradients that are given, each flat as `gradient` has them.

        Returns:
            Their L2 norms before clipping.

        Raises:
            NonFiniteError: one of them is NaN or infinite; the parameters are as before.
        """
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
        max_kl: float | None = None,
        apart: bool = False,
    ) -> Outputs:
        """One optimiser step on the whole batch, or one on each of the minibatches, in their order.

        Args:
            batch: the samples.
            cotangents, coefficients: the algorithm's three numbers, and what they need beside the samples.
            policy_rate, value_rate: learning rates; None leaves that network out, uncomputed.
            max_grad_norm: each network's gradient is scaled down to this L2 norm; None leaves it.
            minibatches: which samples each step uses; None is one step on all.
            max_kl: as soon as a minibatch's mean of `kl_estimate` is larger, before its step, the policy takes
                no more of them (the value network does). Needs `batch.old_log_prob`. None is no limit.
            apart: w and e do not depend on V(s), nor c on log π and H: so that each network may be computed
                by itself, on a core of its own.

        Returns:
            Outputs, as they were before the last step that computed them; the norms of the last step.

        Raises:
            NonFiniteError: an output or a gradient is NaN or infinite; the parameters are as before that step.
            ValueError: a minibatch is empty, or names what is no row of the batch; `max_kl` without
                `old_log_prob`.
        """
        ...

    def state(self) -> State:
        """The value network and both optimisers: all that learning changes, but for the policy."""
        ...

    def restore(self, state: State) -> None:
        """Be as the engine of that `state` was; CheckpointError where it was of another form."""
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
