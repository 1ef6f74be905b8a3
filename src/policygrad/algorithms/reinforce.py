"""REINFORCE: the policy gradient from whole episodes (Williams 1992; Sutton & Barto 2018, chapter 13).

    ∇J(θ) = E_τ[ Σ_t γ^t ∇ log π_θ(a_t|s_t) (G_t − b_t) ]

for any baseline b_t that does not depend on a_t. It is estimated from a batch of E whole episodes with B steps. The
settings decide which return G and which baseline b are used, and what the sum over the batch is divided by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

from policygrad._support.checks import Count, NotNegative, Positive, Unit
from policygrad._support.lookup import renamed
from policygrad.advantages import (
    check_whole_episodes,
    discount_weights,
    leave_one_out_baseline,
    mean_baseline,
    normalize,
    optimal_baseline,
    returns_to_go,
    rounding_error,
    time_baseline,
)
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.diagnostics import (
    MAX_KL_SAMPLES,
    log_prob_before,
    mean,
    policy_change_metrics,
    value_metrics,
)
from policygrad.algorithms.schedule import scheduled
from policygrad.algorithms.steps import SQUARED_ERROR, flatten_valid, flatten_valid_float32, to_finite_float32
from policygrad.algorithms.with_loss import WithLoss
from policygrad.interfaces import Collector, Engine, ScoringEngine, Step, Update
from policygrad.losses import Loss, LossFunction
from policygrad.types import F32, F64, Array, Batch, Inputs, LearnerState, Outputs, Rollout

Returns = Literal["reward-to-go", "episode"]
Baseline = Literal["none", "mean", "leave-one-out", "time", "optimal", "value"]
Average = Literal["steps", "episodes"]


def reinforce_loss(s: Any, k: Any) -> Any:
    """Return −(B/M) (A log π + β H), whose mean over B samples is −1/M Σ (A log π + β H).

    M is the number of steps B or of episodes E, depending on `average`, and `policy_scale` is B/M. The first term is
    from Williams 1992, eq. 11, the second from Williams & Peng 1991.
    """
    return -k.policy_scale * (s.advantage * s.log_prob + k.entropy_coef * s.entropy)


@register("reinforce")
@dataclass(frozen=True, kw_only=True)
class Reinforce(WithLoss):
    """REINFORCE, with a choice of methods to reduce its variance."""

    loss: LossFunction = reinforce_loss
    gamma: Unit = 0.99
    """Discount factor γ, in [0, 1]."""
    returns: Returns = "reward-to-go"
    """`reward-to-go`: the return G_t that follows each action.
    `episode`: the return of the whole episode, Σ_t γ^t r_t, for each step (unbiased, more variance)."""
    discount_weighting: bool = False
    """Multiply each step's reward-to-go by γ^t, which gives the gradient of the discounted objective.
    Without it, this is the gradient of no objective (Nota & Thomas 2020), but late steps still count.
    It is usually left out. Whole-episode returns are discounted from the start already."""
    baseline: Baseline = "value"
    """What is subtracted from the return.
    `none`: nothing. `mean`: the mean over the batch. `time`: the mean at each time step.
    `leave-one-out`: the mean over the other episodes (unbiased).
    `optimal`: the constant that minimizes the variance of the samples' gradients, which include γ^t with
    `discount_weighting` (Greensmith et al. 2004).
    `value`: a learned V(s) with its own network."""
    bootstrap_truncated: bool = True
    """Use V(s) of the last state in place of the rewards that would have followed a time limit.
    This needs the `value` baseline. With the others, the return ends at the time limit."""
    normalize_advantages: bool = True
    """Normalize advantages to mean 0 and standard deviation 1 over the whole batch.
    (Normalizing each episode separately would hide from the policy which ones were good.)"""
    average: Average = "steps"
    """Divide the sum over the batch by its number of `steps` B or of `episodes` E.
    With `episodes`, the estimate is unbiased if advantages are not normalized."""
    episodes_per_env: Count = 1
    """Number of whole episodes per environment and update."""
    optimizer: Optimizer = "adam"
    """Optimizer of both networks."""
    learning_rate: Positive = 0.01
    """Learning rate of the policy optimizer."""
    learning_rate_end: NotNegative | None = None
    """Learning rate of the policy at the end of the run (linear schedule); None keeps it constant."""
    value_learning_rate: Positive = 0.01
    """Learning rate of V(s)."""
    value_learning_rate_end: NotNegative | None = None
    """Learning rate of V(s) at the end of the run (linear schedule); None keeps it constant."""
    value_steps: Count = 4
    """Number of full-batch steps of V(s) per update. Advantages use V(s) as it was before the first."""
    entropy_coef: NotNegative = 0.0
    """Weight β of the entropy bonus."""
    entropy_coef_end: NotNegative | None = None
    """Weight β at the end of the run (linear schedule); None keeps it constant."""
    max_grad_norm: Positive | None = 0.5
    """Maximum L2 norm of each network's gradient; larger gradients are scaled down. None does not clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average != "steps" and "policy_scale" not in self.traced_loss.coefficients:
            raise ValueError(
                f"average={self.average!r} would be ignored, because the loss does not read k.policy_scale. Leave it "
                "out, or multiply the policy's terms of the loss by k.policy_scale."
            )
        if self.returns == "episode" and self.discount_weighting:
            raise ValueError(
                "discount_weighting needs returns='reward-to-go': the return of an episode is discounted already"
            )

    computed_coefficients = ("policy_scale",)
    supplied = (*WithLoss.supplied, "episode_length")
    learns_value_by_loss = False

    @property
    def missing_columns(self) -> dict[str, str]:
        """V(s) with the reason why the loss cannot read it, if it is not learned."""
        if self.uses_value:
            return {}
        reason = f"with baseline={self.baseline!r} no V(s) is learned; set baseline='value'"
        return dict.fromkeys(("value", "old_value"), reason)

    @property
    def engine_protocol(self) -> Any:
        """Protocol of the engine: the optimal baseline needs the norm of each sample's gradient."""
        return ScoringEngine if self.baseline == "optimal" else Engine

    @cached_property
    def value_loss(self) -> Loss:
        """Loss that V(s) is trained by: the algorithm's, if it has a term for V(s), else the squared error."""
        own = self.traced_loss
        return own if own.root is not None and "value" in own.outputs else SQUARED_ERROR

    @property
    def uses_value(self) -> bool:
        """True if a value network is learned."""
        return self.baseline == "value"

    def collect(self, collector: Collector) -> Rollout:
        """Collect `episodes_per_env` whole episodes from each environment."""
        return collector.episodes(self.episodes_per_env)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Perform one update from whole episodes and return its metrics."""
        progress = learner.progress
        batch, returns = self.targets(rollout, engine)
        coefficients = self.loss_coefficients(len(batch), rollout.valid.shape[1], progress)
        rate = scheduled(self.learning_rate, self.learning_rate_end, progress)
        value_rate = scheduled(self.value_learning_rate, self.value_learning_rate_end, progress)
        policy_step = Step(rate, None, self.max_grad_norm)
        value_step = Step(None, value_rate, self.max_grad_norm)
        value, fits = None, list[Outputs]()
        if self.uses_value and self.value_loss is SQUARED_ERROR and engine.networks_are_separate:
            # a step of V(s) returns V(s) as it was before it, which saves a separate evaluation
            fits.append(engine.update(Update(batch, self.value_loss, coefficients, value_step)))
            value = fits[0].value
        elif self.uses_value:
            value = engine.values(batch.inputs)
        batch = batch.with_columns(advantage=self.advantages(rollout, engine, returns, value))
        before = log_prob_before(engine, batch)
        batch = self.with_read_columns(engine, batch, old_log_prob=before, old_value=value)
        outputs = engine.update(Update(batch, self.traced_loss, coefficients, policy_step))
        metrics = {
            "entropy": mean(outputs.entropy),
            "policy_grad_norm": outputs.policy_grad_norm,
            "learning_rate": rate,
        }
        if value is not None:
            while len(fits) < self.value_steps:
                fits.append(engine.update(Update(batch, self.value_loss, coefficients, value_step)))
            metrics |= value_metrics(value, batch.columns["target"])
            metrics["value_grad_norm"] = fits[0].value_grad_norm
            outputs.matrix[2] = value
        metrics |= self.loss_metric(outputs, coefficients)
        acted = outputs.log_prob if before is None else before
        return metrics | policy_change_metrics(engine, batch, acted, at_most=MAX_KL_SAMPLES)

    def batch(self, rollout: Rollout, engine: Engine) -> Batch:
        """Return the rollout's samples with advantages and value targets, without learning anything.

        `learn` calls `targets` and `advantages` instead of this method: a subclass that changes them must override
        those.

        Raises:
            ValueError: the columns are not whole episodes.
            NonFiniteError: an advantage or a return is NaN or infinite.
        """
        batch, returns = self.targets(rollout, engine)
        value = engine.values(batch.inputs) if self.uses_value else None
        batch = batch.with_columns(advantage=self.advantages(rollout, engine, returns, value))
        return self.with_read_columns(engine, batch, old_value=value)

    def targets(self, rollout: Rollout, engine: Engine) -> tuple[Batch, F64]:
        """Return the samples with value targets but without advantages, and the returns [T, N] from each step on.

        Raises:
            ValueError: the columns are not whole episodes.
            NonFiniteError: a return is NaN or infinite.
        """
        check_whole_episodes(rollout)
        returns = returns_to_go(rollout.reward, rollout.done, self.gamma, self._tail(rollout, engine))
        target = flatten_valid_float32(rollout, "return", returns)
        inputs = Inputs(flatten_valid(rollout, rollout.observation))
        columns = {"target": target}
        if "episode_length" in self.traced_loss.columns:
            length = rollout.valid.sum(0, dtype=np.float32)
            columns["episode_length"] = flatten_valid(rollout, np.broadcast_to(length, rollout.valid.shape))
        return Batch(inputs, flatten_valid(rollout, rollout.action), columns), returns

    def advantages(self, rollout: Rollout, engine: Engine, returns: F64, value: F32 | None) -> F32:
        """Return the samples' advantages [B], given returns [T, N] and, if it is the baseline, V(s) [B].

        Raises:
            NonFiniteError: one of them is NaN or infinite.
        """
        self._check_episodes(rollout.valid.shape[1])
        if self.returns == "episode":
            # one return per episode, so that baselines are computed over episodes regardless of their lengths
            returns = np.broadcast_to(returns[:1], returns.shape)
        baseline: Array | float = self._baseline(returns, rollout, engine) if value is None else value
        advantage = flatten_valid(rollout, returns) - baseline
        if self.normalize_advantages and self.returns == "episode" and value is None:
            # normalized over episodes, each of which counts once regardless of its length
            per_episode = returns[0] - self._per_episode(rollout, baseline)
            normalized = normalize(per_episode, negligible=rounding_error(returns))
            advantage = flatten_valid(rollout, np.broadcast_to(normalized, returns.shape))
        elif self.normalize_advantages:
            # returns that differ only by rounding count as equal, also after a baseline was subtracted from them
            advantage = normalize(advantage, negligible=rounding_error(returns))
        if self.discount_weighting:
            advantage = advantage * flatten_valid(rollout, discount_weights(returns.shape, self.gamma))
        return to_finite_float32(rollout, "advantage", advantage)

    @staticmethod
    def _per_episode(rollout: Rollout, baseline: Array | float) -> Array:
        """Return the baseline of each episode [E], given that of each sample [B]."""
        column = np.zeros(rollout.valid.shape)
        column[rollout.valid] = baseline
        return column[0]

    def _check_episodes(self, episodes: int) -> None:
        """Raise ValueError if a single episode would be compared only with itself, which makes all advantages 0."""
        by_episode = self.returns == "episode" and (
            self.baseline in ("mean", "optimal") or (self.baseline == "none" and self.normalize_advantages)
        )
        if episodes == 1 and (by_episode or self.baseline == "time"):
            what = "normalize_advantages" if self.baseline == "none" else f"baseline={self.baseline!r}"
            raise ValueError(
                f"{what} with returns={self.returns!r} compares episodes, but an update has only one, so every "
                "advantage would be 0. Raise num_envs or episodes_per_env."
            )

    def loss_coefficients(self, samples: int, episodes: int, progress: float) -> dict[str, float]:
        """Return the coefficients that the loss reads, for an update with these numbers of samples and episodes."""
        scale = samples / episodes if self.average == "episodes" else 1.0
        return self.coefficient_values(progress, policy_scale=scale)

    def _tail(self, rollout: Rollout, engine: Engine) -> F64 | None:
        """Return V(s_{t+1}) where an episode was truncated, 0 elsewhere: [T, N]; None if nothing is bootstrapped."""
        if not (self.uses_value and self.bootstrap_truncated and rollout.truncated.any()):
            return None
        tail = np.zeros(rollout.reward.shape)
        tail[rollout.truncated] = engine.values(Inputs(rollout.successors(rollout.truncated)))
        return tail

    def _baseline(self, returns: F64, rollout: Rollout, engine: Engine) -> F64 | float:
        """Return the baseline of each sample [B], for baselines other than V(s)."""
        if self.baseline == "none":
            return 0.0
        valid = rollout.valid
        if self.baseline == "optimal":
            squared = np.zeros_like(returns)
            scoring = cast(ScoringEngine, engine)
            squared[valid] = scoring.squared_scores(Inputs(rollout.observation[valid]), rollout.action[valid])
            if self.discount_weighting:
                squared *= discount_weights(returns.shape, self.gamma) ** 2
            return optimal_baseline(returns, valid, squared)[valid]
        rows = valid[:1] if self.returns == "episode" else valid
        simple = {"mean": mean_baseline, "leave-one-out": leave_one_out_baseline, "time": time_baseline}
        return np.broadcast_to(simple[self.baseline](returns[: len(rows)], rows), returns.shape)[valid]


__getattr__ = renamed(__name__, {"cotangents": "reinforce_loss, which is differentiated automatically"})
