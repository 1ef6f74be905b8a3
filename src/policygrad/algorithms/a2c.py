"""A2C: the policy gradient from a few steps of many environments, with V(s) for what follows these steps.

    ∇J(θ) ≈ E[ ∇ log π_θ(a_t|s_t) A_t ],    A_t from the rewards of a few steps and V(s) after them

Mnih et al. 2016 (A3C), with synchronous environments. Unlike in REINFORCE, no episode has to end before an update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from policygrad._support.checks import Count, NotNegative, Positive, Unit, check_in_effect
from policygrad._support.lookup import renamed
from policygrad.advantages import n_step_returns, normalize, vtrace
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.diagnostics import (
    MAX_KL_SAMPLES,
    log_prob_before,
    mean,
    policy_change_metrics,
    value_metrics,
)
from policygrad.algorithms.schedule import scheduled
from policygrad.algorithms.steps import (
    batch_of,
    check_can_be_normalized,
    flatten_valid_float32,
    gae,
)
from policygrad.algorithms.with_loss import WithLoss
from policygrad.interfaces import Collector, Engine, Step, Update
from policygrad.losses import LossFunction
from policygrad.types import F32, F64, Batch, LearnerState, Rollout

Estimator = Literal["gae", "n-step", "v-trace"]


def a2c_loss(s: Any, k: Any) -> Any:
    """Return −A log π − β H + ν/2 (V − G)²: Mnih et al. 2016, section 4 (A3C) and supplementary algorithm S3."""
    value_loss = (s.value - s.target) ** 2 / 2
    return -s.advantage * s.log_prob - k.entropy_coef * s.entropy + k.value_coef * value_loss


@register("a2c")
@dataclass(frozen=True, kw_only=True)
class A2C(WithLoss):
    """Advantage actor-critic (A2C)."""

    loss: LossFunction = a2c_loss
    gamma: Unit = 0.99
    """Discount factor γ, in [0, 1]."""
    horizon: Count = 5
    """Number of steps per environment and update."""
    estimator: Estimator = "gae"
    """Estimator of the advantages.
    `gae`: TD errors weighted by (γλ)^k (Schulman et al. 2016).
    `n-step`: rewards of n steps, then V(s).
    `v-trace`: like `gae`, corrected for changes of the policy since it acted (Espeholt et al. 2018)."""
    gae_lambda: Unit = 1.0
    """λ, in [0, 1]: 1 uses all rewards up to the horizon, as in A3C; 0 uses the TD error alone."""
    n: Count = 5
    """Number of rewards in the `n-step` estimator, limited by the horizon."""
    updates: Count = 1
    """Number of optimizer steps per rollout. More than one needs `v-trace`: the data is then from an older policy."""
    normalize_advantages: bool = False
    """Normalize advantages to mean 0 and standard deviation 1 over the batch."""
    optimizer: Optimizer = "rmsprop"
    """Optimizer of both networks."""
    learning_rate: Positive = 7e-4
    """Learning rate of the policy optimizer."""
    learning_rate_end: NotNegative | None = None
    """Learning rate of the policy at the end of the run (linear schedule); None keeps it constant."""
    value_learning_rate: Positive | None = None
    """Learning rate of V(s), constant; None uses the policy's, with its schedule."""
    entropy_coef: NotNegative = 0.0
    """Weight β of the entropy bonus."""
    entropy_coef_end: NotNegative | None = None
    """Weight β at the end of the run (linear schedule); None keeps it constant."""
    value_coef: Positive = 0.5
    """Weight of the value loss (V(s) − target)²/2, applied before gradient clipping."""
    max_grad_norm: Positive | None = 0.5
    """Maximum L2 norm of each network's gradient; larger gradients are scaled down. None does not clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_in_effect(self, "n", "estimator='n-step'", self.estimator == "n-step")
        if self.updates > 1 and self.estimator != "v-trace":
            raise ValueError(
                f"updates={self.updates} learns from data of an older policy: set estimator='v-trace', or use PPO"
            )

    @property
    def uses_value(self) -> bool:
        """Always True: the advantages are estimated with V(s)."""
        return True

    def collect(self, collector: Collector) -> Rollout:
        """Collect the next `horizon` steps of each environment."""
        return collector.steps(self.horizon)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Take `updates` optimizer steps, each on all samples, and return the metrics."""
        rate = scheduled(self.learning_rate, self.learning_rate_end, learner.progress)
        value_rate = rate if self.value_learning_rate is None else self.value_learning_rate
        step = Step(rate, value_rate, self.max_grad_norm)
        coefficients = self.coefficient_values(learner.progress)
        along, next_value = engine.values_along(rollout)
        value = flatten_valid_float32(rollout, "V(s)", along)
        batch = self._batch(rollout, along, next_value, np.zeros_like(along))
        batch = self.with_read_columns(engine, batch, old_value=value)
        before = log_prob_before(engine, batch)
        first = last = engine.update(Update(batch, self.traced_loss, coefficients, step))
        acted = first.log_prob if before is None else before
        target = batch.columns["target"]
        for _ in range(self.updates - 1):
            corrected = self._corrected(engine, rollout, batch, acted)
            batch = self.with_read_columns(
                engine, batch.with_columns(**corrected.columns), old_log_prob=acted, old_value=value
            )
            last = engine.update(Update(batch, self.traced_loss, coefficients, step))
        metrics = {
            "learning_rate": rate,
            "entropy": mean(first.entropy),
            "policy_grad_norm": first.policy_grad_norm,
            "value_grad_norm": first.value_grad_norm,
            **self.loss_metric(last, coefficients),
        }
        metrics |= policy_change_metrics(engine, batch, acted, at_most=MAX_KL_SAMPLES)
        return metrics | value_metrics(value, target)

    def _corrected(self, engine: Engine, rollout: Rollout, batch: Batch, old_log_prob: F32) -> Batch:
        """Return the batch with advantages and targets for the current policy."""
        log_ratio = np.zeros(rollout.valid.shape)
        log_prob, _ = engine.evaluate(batch.inputs, batch.action)
        log_ratio[rollout.valid] = log_prob.astype(np.float64) - old_log_prob
        return self._batch(rollout, *engine.values_along(rollout), log_ratio)

    def _batch(self, rollout: Rollout, value: F64, next_value: F64, log_ratio: F64) -> Batch:
        batch = batch_of(rollout, *self._estimate(rollout, value, next_value, log_ratio))
        if not self.normalize_advantages:
            return batch
        check_can_be_normalized(rollout, off=False)
        return batch.with_columns(advantage=normalize(batch.columns["advantage"]))

    def _estimate(self, rollout: Rollout, value: F64, next_value: F64, log_ratio: F64) -> tuple[F64, F64]:
        """Return (advantages, targets of V(s)), each [T, N] float64."""
        reward, terminated, done = rollout.reward, rollout.terminated, rollout.done
        if self.estimator == "v-trace":
            target, advantage = vtrace(
                log_ratio, reward, value, next_value, terminated, done, self.gamma, self.gae_lambda
            )
            return advantage, target
        if self.estimator == "n-step":
            target = n_step_returns(reward, next_value, terminated, done, self.gamma, self.n)
            return target - value, target
        return gae(rollout, value, next_value, self.gamma, self.gae_lambda)


__getattr__ = renamed(__name__, {"cotangents": "a2c_loss, which is differentiated automatically"})
