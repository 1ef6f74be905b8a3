"""REINFORCE: the policy gradient from whole episodes (Williams 1992; Sutton & Barto 2018, chapter 13).

    ∇J(θ) = E_τ[ Σ_t γ^t ∇ log π_θ(a_t|s_t) (G_t − b_t) ]

for any baseline b_t that does not depend on a_t. A batch of E whole episodes with B steps estimates it.
Everything on this page is about which G, which b, and what one divides by.
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

    M is the number of steps B, or of episodes, as `average` says; `policy_scale` is B/M. Williams 1992, eq. 11, for the
    first term; Williams & Peng 1991 for the second.
    """
    return -k.policy_scale * (s.advantage * s.log_prob + k.entropy_coef * s.entropy)


@register("reinforce")
@dataclass(frozen=True, kw_only=True)
class Reinforce(WithLoss):
    """REINFORCE and its variance reductions, one field a choice."""

    loss: LossFunction = reinforce_loss
    gamma: Unit = 0.99
    """Discount γ, in [0, 1]."""
    returns: Returns = "reward-to-go"
    """`reward-to-go`: what follows the action, G_t. `episode`: the whole episode's return Σ_t γ^t r_t for each
    of its steps: unbiased, with more variance."""
    discount_weighting: bool = False
    """Multiply each step's reward-to-go by γ^t. Only with it is this the gradient of the discounted objective;
    without it, of no objective at all (Nota & Thomas 2020), yet late steps keep their say and nearly everybody
    leaves it out. Whole-episode returns are discounted from the start already."""
    baseline: Baseline = "value"
    """What is subtracted from the return: `none`; the `mean` over the batch; `leave-one-out`, the mean over
    the other episodes (unbiased); the mean at each `time` step; the `optimal` constant, which minimizes the
    variance of the samples' gradients, γ^t included where `discount_weighting` is on (Greensmith et al. 2004); a
    learned `value` V(s) with its own network."""
    bootstrap_truncated: bool = True
    """Where a time limit cut an episode, V(s) of its last state stands for what would have followed. Needs
    the `value` baseline; with the others a cut episode's return ends at the cut."""
    normalize_advantages: bool = True
    """Centre and scale advantages over the whole batch (never an episode by its own mean: that hides from
    the policy which episodes were good)."""
    average: Average = "steps"
    """Divide the batch's sum by its `steps` B, or by its `episodes` E (then without normalisation the
    estimate is unbiased)."""
    episodes_per_env: Count = 1
    """Whole episodes from each environment for one update."""
    optimizer: Optimizer = "adam"
    """For both networks."""
    learning_rate: Positive = 0.01
    """Of the policy."""
    learning_rate_end: NotNegative | None = None
    """Where the policy's rate ends, linearly over the run; None keeps it constant."""
    value_learning_rate: Positive = 0.01
    """Of V(s)."""
    value_learning_rate_end: NotNegative | None = None
    """Where V(s)'s rate ends, linearly over the run; None keeps it constant."""
    value_steps: Count = 4
    """Full-batch gradient steps on V(s) an update; advantages come from V(s) as it was before the first."""
    entropy_coef: NotNegative = 0.0
    """Weight β of the entropy bonus."""
    entropy_coef_end: NotNegative | None = None
    """Where β ends, linearly over the run; None keeps it constant."""
    max_grad_norm: Positive | None = 0.5
    """Each network's gradient is scaled down to this global L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average != "steps" and "policy_scale" not in self.traced_loss.coefficients:
            raise ValueError(
                f"average={self.average!r} would be ignored: the loss does not read k.policy_scale, by which it acts. "
                "Leave it out, or multiply the policy's terms by k.policy_scale"
            )
        if self.returns == "episode" and self.discount_weighting:
            raise ValueError(
                "discount_weighting is for returns='reward-to-go': an episode's return is discounted already"
            )

    computed_coefficients = ("policy_scale",)
    supplied = (*WithLoss.supplied, "episode_length")
    learns_value_by_loss = False

    @property
    def missing_columns(self) -> dict[str, str]:
        """V(s), where it is not learned."""
        if self.uses_value:
            return {}
        reason = f"with baseline={self.baseline!r} no V(s) is learned; set baseline to 'value'"
        return dict.fromkeys(("value", "old_value"), reason)

    @property
    def engine_protocol(self) -> Any:
        """The optimal baseline asks for each sample's own gradient."""
        return ScoringEngine if self.baseline == "optimal" else Engine

    @cached_property
    def value_loss(self) -> Loss:
        """What V(s) learns by: the loss, where it has a term for V(s), else the squared error."""
        own = self.traced_loss
        return own if own.root is not None and "value" in own.outputs else SQUARED_ERROR

    @property
    def uses_value(self) -> bool:
        """Whether a value network is learned."""
        return self.baseline == "value"

    def collect(self, collector: Collector) -> Rollout:
        """Whole episodes."""
        return collector.episodes(self.episodes_per_env)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """One update from whole episodes; returns its metrics."""
        progress = learner.progress
        batch, returns = self.targets(rollout, engine)
        coefficients = self.loss_coefficients(len(batch), rollout.valid.shape[1], progress)
        rate = scheduled(self.learning_rate, self.learning_rate_end, progress)
        value_rate = scheduled(self.value_learning_rate, self.value_learning_rate_end, progress)
        policy_step = Step(rate, None, self.max_grad_norm)
        value_step = Step(None, value_rate, self.max_grad_norm)
        value, fits = None, list[Outputs]()
        if self.uses_value and self.value_loss is SQUARED_ERROR and engine.networks_are_separate:
            # a step on V(s) says what V(s) was before it: there is no need to ask for that first
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
        """The rollout's samples with advantages and value targets, nothing being learned on the way.

        `learn` goes by `targets` and `advantages`: a subclass that wants others has to change those.

        Raises:
            ValueError: the columns are not whole episodes.
            NonFiniteError: an advantage or a return is NaN or infinite.
        """
        batch, returns = self.targets(rollout, engine)
        value = engine.values(batch.inputs) if self.uses_value else None
        batch = batch.with_columns(advantage=self.advantages(rollout, engine, returns, value))
        return self.with_read_columns(engine, batch, old_value=value)

    def targets(self, rollout: Rollout, engine: Engine) -> tuple[Batch, F64]:
        """The samples with value targets, without advantages yet; and the returns [T, N] from each step on.

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
        """The samples' advantages [B], from returns [T, N] and V(s) [B], where that is the baseline.

        Raises:
            NonFiniteError: one of them is NaN or infinite.
        """
        self._check_episodes(rollout.valid.shape[1])
        if self.returns == "episode":
            # one number an episode: baselines are then over episodes, whatever their lengths
            returns = np.broadcast_to(returns[:1], returns.shape)
        baseline: Array | float = self._baseline(returns, rollout, engine) if value is None else value
        advantage = flatten_valid(rollout, returns) - baseline
        if self.normalize_advantages and self.returns == "episode" and value is None:
            # one number an episode, whatever its length
            of_each = returns[0] - self._of_episodes(rollout, baseline)
            normalized = normalize(of_each, negligible=rounding_error(returns))
            advantage = flatten_valid(rollout, np.broadcast_to(normalized, returns.shape))
        elif self.normalize_advantages:
            # returns that differ by rounding alone are equal, however small the difference that a baseline leaves
            advantage = normalize(advantage, negligible=rounding_error(returns))
        if self.discount_weighting:
            advantage = advantage * flatten_valid(rollout, discount_weights(returns.shape, self.gamma))
        return to_finite_float32(rollout, "advantage", advantage)

    @staticmethod
    def _of_episodes(rollout: Rollout, baseline: Array | float) -> Array:
        """The baseline of each episode [E], from that of each sample [B]."""
        column = np.zeros(rollout.valid.shape)
        column[rollout.valid] = baseline
        return column[0]

    def _check_episodes(self, episodes: int) -> None:
        """Raise ValueError where a single episode is compared with itself alone, so that all advantages are 0."""
        by_episode = self.returns == "episode" and (
            self.baseline in ("mean", "optimal") or (self.baseline == "none" and self.normalize_advantages)
        )
        if episodes == 1 and (by_episode or self.baseline == "time"):
            what = "normalize_advantages" if self.baseline == "none" else f"baseline={self.baseline!r}"
            raise ValueError(
                f"{what} compares episodes, with returns={self.returns!r}, and an update has one: every advantage "
                "would be 0. Raise num_envs or episodes_per_env"
            )

    def loss_coefficients(self, samples: int, episodes: int, progress: float) -> dict[str, float]:
        """Return the coefficients that the loss reads, for an update of so many samples and episodes."""
        scale = samples / episodes if self.average == "episodes" else 1.0
        return self.coefficient_values(progress, policy_scale=scale)

    def _tail(self, rollout: Rollout, engine: Engine) -> F64 | None:
        """V(s_{t+1}) where an episode was cut, 0 elsewhere: [T, N]; None where nothing is bootstrapped."""
        if not (self.uses_value and self.bootstrap_truncated and rollout.truncated.any()):
            return None
        tail = np.zeros(rollout.reward.shape)
        tail[rollout.truncated] = engine.values(Inputs(rollout.successors(rollout.truncated)))
        return tail

    def _baseline(self, returns: F64, rollout: Rollout, engine: Engine) -> F64 | float:
        """What is known without a V(s), for each sample [B]."""
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


__getattr__ = renamed(__name__, {"cotangents": "reinforce_loss, whose derivatives are derived"})
