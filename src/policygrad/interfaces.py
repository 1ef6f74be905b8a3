"""The interfaces that an algorithm depends on: an engine that computes, and a collector that provides data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from policygrad.losses import Loss
from policygrad.types import (
    F32,
    F64,
    I64,
    Array,
    Batch,
    Bool,
    Inputs,
    Minibatches,
    Outputs,
    PolicyOutputs,
    Rollout,
    State,
)

Networks = Literal["policy", "value", "both"]


class Step(NamedTuple):
    """The settings of one optimizer step."""

    policy_rate: float | None
    """Learning rate of the policy. None leaves the policy unchanged, and computes it only if the loss requires it."""
    value_rate: float | None
    """Learning rate of V(s). None leaves V(s) unchanged, and computes it only if the loss requires it."""
    max_grad_norm: float | None = None
    """Largest L2 norm of each network's gradient; a longer gradient is scaled down to it. None is no limit."""


@dataclass(frozen=True)
class Update:
    """The data, the loss and the settings of one call of `Engine.update`."""

    batch: Batch
    loss: Loss
    """Loss of each sample. Its weighted mean, Σ weight · loss / Σ weight, is minimized."""
    coefficients: Mapping[str, float]
    """Coefficients that the loss reads, by name."""
    step: Step
    minibatches: Minibatches | None = None
    """Segments that each step uses. None is one step on all segments."""
    outputs: F32 | None = None
    """[3, B] float32: log π, H and V(s), which the update overwrites where it computes them; None starts with zeros."""
    max_kl: float | None = None
    """Limit on the mean of `kl_estimate` over a minibatch; None is no limit. It requires the column `old_log_prob`.

    The mean is checked before each step. Once it exceeds the limit, the policy takes no more steps; the value network
    continues."""


@dataclass(frozen=True)
class AlongTraces:
    """The data and the settings of one step of the actor-critic along eligibility traces.

    With B samples, of different environments, the gradients are Σ −δ z / B, and the policy's has −β ∇H added. Each
    trace is z ← γλ z + I ∇log π for the policy and z ← γλ z + ∇V for V(s), and restarts at 0 after its episode.
    """

    batch: Batch
    env: I64
    """[B] int64: environment of each sample."""
    over: Bool
    """[B]: the episode ended with this step."""
    error: F64
    """[B] float64: TD errors δ."""
    importance: F64
    """[B] float64: weights I of the policy's gradient."""
    decays: tuple[float, float]
    """γλ of the policy's and of the value network's traces."""
    entropy_coef: float
    """Weight β of the entropy, in units of the reward per nat."""
    num_envs: int
    """N."""
    traces: dict[str, F32]
    """`policy` and `value`: the traces [N, P] float32, which are updated in place; a missing one is added."""
    step: Step
    outputs: F32
    """[3, B] float32: log π and H before the step are written to the first two rows."""


@runtime_checkable
class Engine(Protocol):
    """Computes (log π, H, V) from the inputs of the networks, and turns a loss of these into a parameter update.

    `engines.autograd` supports any torch module; `engines.fused` is machine code for MLPs. Both give the same
    actions from the same noise and, up to rounding, the same parameters after an update.
    """

    name: str
    networks_are_separate: bool
    """True if the policy and value networks are known to share no parameters.

    Then learning one of them cannot change the outputs of the other."""
    has_modes: bool
    """True if `update` and `gradient` may compute other outputs than the other methods, because of training mode.

    Networks with Dropout or BatchNorm are different functions in training mode. Acting, `values` and everything else
    that only reads the policy use evaluation mode.
    """
    num_choices: int | None
    """Number of actions in a Discrete space; None for other spaces."""

    def act(self, inputs: Inputs, noise: F64) -> Array:
        """Return actions for N rows, [N] or [N, K] int64, or [N, K] float32; `noise` is from `Policy.draw_noise`.

        A choice is −1 if the network's logits do not define a softmax, as in `Policy.choose`.
        """
        ...

    def values(self, inputs: Inputs) -> F32:
        """Return V(s) [B], or Q(s, a)."""
        ...

    def values_along(self, rollout: Rollout) -> tuple[F64, F64]:
        """Return (V(s_t), V(s_{t+1})), each [T, N] float64, with the true successor even where an episode ended."""
        ...

    def evaluate(self, inputs: Inputs, action: Array) -> tuple[F32, F32]:
        """Return (log π(a|s), H(π(·|s))), each [B], for stored actions.

        `update` computes the same numbers, unless the engine `has_modes`.
        """
        ...

    def gradient(
        self,
        batch: Batch,
        loss: Loss,
        coefficients: Mapping[str, float],
        networks: Networks = "both",
        outputs: F32 | None = None,
    ) -> tuple[F32, F32]:
        """Return the gradients of the mean loss with respect to the (policy, value) parameters, each as a flat vector.

        The parameters and the optimizers do not change.

        Args:
            batch, loss, coefficients: as in `Update`.
            networks: the networks whose gradients are needed; that of the other one is not meaningful.
            outputs: [3, B] float32: log π, H and V(s), which are overwritten where they are computed.

        Raises:
            NonFiniteError: an output is NaN or infinite.
        """
        ...

    def apply(self, policy_gradient: F32, value_gradient: F32, step: Step) -> tuple[float, float]:
        """Take one optimizer step along given gradients, each flat as `gradient` returns them.

        The gradient of a network without a rate is not read.

        Returns:
            The L2 norms of the gradients before clipping.

        Raises:
            NonFiniteError: a gradient contains NaN or infinity; the parameters are unchanged.
        """
        ...

    def update(self, update: Update) -> Outputs:
        """Take one optimizer step on the whole batch, or one on each minibatch in order.

        Returns:
            The outputs as they were before the last step that computed them, and the norms of the last step.

        Raises:
            NonFiniteError: an output or a gradient is NaN or infinite; the parameters are as they were before that
                step.
            ValueError: a minibatch is empty or names a segment that the batch does not have, or a column is missing
                that the loss or `max_kl` requires.
        """
        ...

    def state(self) -> State:
        """Return the state of the value network and of both optimizers: all that learning changes except the policy."""
        ...

    def restore(self, state: State) -> None:
        """Restore a `state`; raise CheckpointError if it does not match these networks and optimizers."""
        ...


@runtime_checkable
class ScoringEngine(Engine, Protocol):
    """An engine that the optimal baseline can use."""

    def squared_scores(self, inputs: Inputs, action: Array) -> F32:
        """Return ‖∇_θ log π(a|s)‖² [B], computed for each sample separately."""
        ...


@runtime_checkable
class TracingEngine(Engine, Protocol):
    """An engine that computes steps along eligibility traces itself. With others, it takes several calls per sample."""

    def step_along_traces(self, along: AlongTraces) -> tuple[float, float]:
        """Take one optimizer step of both networks; return the norms as `apply` does.

        Raises:
            NonFiniteError: log π, the entropy or a gradient is NaN or infinite; the parameters are unchanged.
        """
        ...


@runtime_checkable
class TrustRegionEngine(Engine, Protocol):
    """An engine that the natural gradient and TRPO can use."""

    def policy_outputs(
        self, inputs: Inputs, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """Return the policy's outputs on B rows and their actions, and the KL from its earlier outputs `before`.

        Raises:
            NonFiniteError: log π or H is NaN or infinite, and `before` is None.
        """
        ...

    def policy_parameters(self) -> F32:
        """Return a copy of the policy's parameters [P], in `parameters()` order."""
        ...

    def set_policy_parameters(self, parameters: F32) -> None:
        """Set the policy's parameters [P]; a Gaussian's log σ is clipped to its bounds."""
        ...

    def fisher_vector_product(self, inputs: Inputs) -> Callable[[F32], F32]:
        """Return the function v [P] -> F v [P], where F = E_s[Jᵀ M(s) J] over B rows.

        J is the Jacobian of the distribution's parameters with respect to the policy's, and M is the Fisher matrix of
        the distribution itself. F is the Hessian of the mean KL at the point where the KL is 0. The function uses the
        current parameters of the policy; once they change, request a new one.
        """
        ...


class Collector(Protocol):
    """Provides the data that an algorithm learns from."""

    def episodes(self, per_env: int = 1) -> Rollout:
        """Collect exactly `per_env` whole episodes of each environment: [T, N · per_env], one episode per column."""
        ...

    def steps(self, horizon: int) -> Rollout:
        """Collect the next `horizon` steps of each environment: [horizon, N]."""
        ...

    def state(self) -> State:
        """Return the state of its seeds, its noise and, if they can be saved, its environments."""
        ...

    def restore(self, state: State) -> bool:
        """Restore a `state`; return True if the episodes that were under way continue."""
        ...
