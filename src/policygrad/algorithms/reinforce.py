"""REINFORCE: the policy gradient from whole episodes (Williams 1992; Sutton & Barto 2018, chapter 13).

    ∇J(θ) = E_τ[ Σ_t γ^t ∇ log π_θ(a_t|s_t) (G_t − b_t) ]

for any baseline b_t that does not depend on a_t. A batch of E whole episodes with B steps estimates it.
Everything on this page is about which G, which b, and what one divides by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

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
from policygrad.algorithms.diagnostics import ENOUGH, distance, log_prob_before, value_metrics
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.steps import as_finite, as_learned, samples
from policygrad.checks import check_fields
from policygrad.interfaces import Collector, Engine
from policygrad.types import F32, F64, Array, Batch, Cotangents, Learning, Outputs, Rollout, Sample

Returns = Literal["reward-to-go", "episode"]
Baseline = Literal["none", "mean", "leave-one-out", "time", "optimal", "value"]
Average = Literal["steps", "episodes"]


@register("reinforce")
@dataclass(frozen=True, kw_only=True)
class Reinforce:
    """REINFORCE and its variance reductions, one field a choice."""

    gamma: float = 0.99
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
    episodes_per_env: int = 1
    """Whole episodes from each environment for one update."""
    optimizer: Optimizer = "adam"
    """For both networks."""
    learning_rate: float = 0.01
    """Of the policy."""
    learning_rate_end: float | None = None
    """Where the policy's rate ends, linearly over the run; None keeps it constant."""
    value_learning_rate: float = 0.01
    """Of V(s)."""
    value_learning_rate_end: float | None = None
    """Where V(s)'s rate ends, linearly over the run; None keeps it constant."""
    value_steps: int = 4
    """Full-batch gradient steps on V(s) an update; advantages come from V(s) as it was before the first."""
    entropy_coef: float = 0.0
    """Weight β of the entropy bonus."""
    entropy_coef_end: float | None = None
    """Where β ends, linearly over the run; None keeps it constant."""
    max_grad_norm: float | None = 0.5
    """Each network's gradient is scaled down to this global L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            choices={
                "returns": Returns,
                "baseline": Baseline,
                "average": Average,
                "optimizer": Optimizer,
            },
            unit=("gamma",),
            counts=("episodes_per_env", "value_steps"),
            positive=("learning_rate", "value_learning_rate", "max_grad_norm"),
            not_negative=(
                "learning_rate_end",
                "value_learning_rate_end",
                "entropy_coef",
                "entropy_coef_end",
            ),
            optional=("max_grad_norm", "learning_rate_end", "value_learning_rate_end", "entropy_coef_end"),
        )
        if self.returns == "episode" and self.discount_weighting:
            raise ValueError(
                "discount_weighting is for returns='reward-to-go': an episode's return is discounted already"
            )

    @property
    def cotangents(self) -> Cotangents:
        """The three numbers a sample. A subclass may have its own, with more `coefficients`."""
        return cotangents

    @property
    def uses_value(self) -> bool:
        """Whether a value network is learned."""
        return self.baseline == "value"

    def collect(self, collector: Collector) -> Rollout:
        """Whole episodes."""
        return collector.episodes(self.episodes_per_env)

    def learn(self, engine: Engine, rollout: Rollout, learning: Learning) -> dict[str, float]:
        """One update from whole episodes; returns its metrics."""
        progress = learning.progress
        batch, returns = self.targets(rollout, engine)
        coefficients = self.coefficients(len(batch), rollout.valid.shape[1], progress)
        update = partial(
            engine.update,
            cotangents=self.cotangents,
            coefficients=coefficients,
            max_grad_norm=self.max_grad_norm,
        )
        value_rate = linear(self.value_learning_rate, self.value_learning_rate_end, progress)
        value, fits = None, list[Outputs]()
        if self.uses_value and self.cotangents is cotangents and engine.networks_are_apart:
            # a step on V(s) says what V(s) was before it: there is no need to ask for that first
            fits.append(update(batch, policy_rate=None, value_rate=value_rate))
            value = fits[0].value
        elif self.uses_value:
            value = engine.values(batch.observation)
        batch = replace(batch, advantage=self.advantages(rollout, engine, returns, value))
        rate = linear(self.learning_rate, self.learning_rate_end, progress)
        before = log_prob_before(engine, batch)
        outputs = update(batch, policy_rate=rate, value_rate=None)
        metrics = {
            "policy_loss": -float(np.mean(outputs.log_prob * batch.advantage, dtype=np.float64)),
            "entropy": float(outputs.entropy.mean(dtype=np.float64)),
            "policy_grad_norm": outputs.policy_grad_norm,
            "learning_rate": rate,
        }
        if value is not None:
            while len(fits) < self.value_steps:
                fits.append(update(batch, policy_rate=None, value_rate=value_rate))
            metrics |= value_metrics(value, batch.target) | {"value_grad_norm": fits[0].value_grad_norm}
        acted = outputs.log_prob if before is None else before
        return metrics | distance(engine, batch, acted, at_most=ENOUGH)

    def batch(self, rollout: Rollout, engine: Engine) -> Batch:
        """The rollout's samples with advantages and value targets, nothing being learned on the way.

        `learn` goes by `targets` and `advantages`: a subclass that wants others has to change those.

        Raises:
            ValueError: the columns are not whole episodes.
            NonFiniteError: an advantage or a return is NaN or infinite.
        """
        batch, returns = self.targets(rollout, engine)
        value = engine.values(batch.observation) if self.uses_value else None
        return replace(batch, advantage=self.advantages(rollout, engine, returns, value))

    def targets(self, rollout: Rollout, engine: Engine) -> tuple[Batch, F64]:
        """The samples with value targets, their advantages still NaN; and the returns [T, N] from each step on.

        Raises:
            ValueError: the columns are not whole episodes.
            NonFiniteError: a return is NaN or infinite.
        """
        check_whole_episodes(rollout)
        returns = returns_to_go(rollout.reward, rollout.done, self.gamma, self._tail(rollout, engine))
        target = as_learned(rollout, "return", returns)
        observation, action = samples(rollout, rollout.observation), samples(rollout, rollout.action)
        return Batch(observation, action, np.full_like(target, np.nan), target), returns

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
        advantage = samples(rollout, returns) - baseline
        if self.normalize_advantages:
            # returns that differ by rounding alone are equal, however small the difference that a baseline leaves
            advantage = normalize(advantage, negligible=rounding_error(returns))
        if self.discount_weighting:
            advantage = advantage * samples(rollout, discount_weights(returns.shape, self.gamma))
        return as_finite(rollout, "advantage", advantage)

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

    def coefficients(self, samples: int, episodes: int, progress: float) -> F32:
        """What `cotangents` needs beside the samples: [1/M, β/M, 1/B], M = B or E as `average` says."""
        scale = 1 / (samples if self.average == "steps" else episodes)
        entropy_coef = linear(self.entropy_coef, self.entropy_coef_end, progress)
        return np.array([scale, entropy_coef * scale, 1 / samples], np.float32)

    def _tail(self, rollout: Rollout, engine: Engine) -> F64 | None:
        """V(s_{t+1}) where an episode was cut, 0 elsewhere: [T, N]; None where nothing is bootstrapped."""
        if not (self.uses_value and self.bootstrap_truncated and rollout.truncated.any()):
            return None
        tail = np.zeros(rollout.reward.shape)
        tail[rollout.truncated] = engine.values(rollout.next_observation[rollout.truncated])
        return tail

    def _baseline(self, returns: F64, rollout: Rollout, engine: Engine) -> F64 | float:
        """What is known without a V(s), for each sample [B]."""
        if self.baseline == "none":
            return 0.0
        valid = rollout.valid
        if self.baseline == "optimal":
            squared = np.zeros_like(returns)
            squared[valid] = engine.squared_scores(rollout.observation[valid], rollout.action[valid])
            if self.discount_weighting:
                squared *= discount_weights(returns.shape, self.gamma) ** 2
            return optimal_baseline(returns, valid, squared)[valid]
        rows = valid[:1] if self.returns == "episode" else valid
        simple = {"mean": mean_baseline, "leave-one-out": leave_one_out_baseline, "time": time_baseline}
        return np.broadcast_to(simple[self.baseline](returns[: len(rows)], rows), returns.shape)[valid]


def cotangents(sample: Sample, coefficients: F32, w: F32, e: F32, c: F32) -> None:
    """The three numbers of REINFORCE: derivatives of

        L = −1/M Σ_i A_i log π(a_i|s_i) − β/M Σ_i H(π(·|s_i)) + 1/2B Σ_i (V(s_i) − G_i)²

    Williams 1992, eq. 11 for the first term; Williams & Peng 1991 for the second. A_i and G_i are constants.
    `coefficients` is [1/M, β/M, 1/B].
    """
    for i in range(len(w)):
        w[i] = -coefficients[0] * sample.advantage[i]
        e[i] = -coefficients[1]
        c[i] = coefficients[2] * (sample.value[i] - sample.target[i])
