"""A2C: the policy gradient from a few steps of many environments, V(s) for what lies beyond them.

    ∇J(θ) ≈ E[ ∇ log π_θ(a_t|s_t) A_t ],    A_t from rewards of some steps and V(s) after them

Mnih et al. 2016 (A3C), with all environments in step. Unlike REINFORCE, no episode has to end before an update.
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
    """Advantage actor-critic."""

    loss: LossFunction = a2c_loss
    gamma: Unit = 0.99
    """Discount γ, in [0, 1]."""
    horizon: Count = 5
    """Steps of each environment for one update."""
    estimator: Estimator = "gae"
    """`gae`: TD errors weighted by (γλ)^k (Schulman et al. 2016). `n-step`: rewards of n steps, then V(s).
    `v-trace`: as gae, corrected for the policy having moved since it acted (Espeholt et al. 2018)."""
    gae_lambda: Unit = 1.0
    """λ, in [0, 1]: 1 counts rewards to the horizon, which is A3C's way; 0 is the TD error alone."""
    n: Count = 5
    """Rewards of the `n-step` estimator, up to the horizon."""
    updates: Count = 1
    """Optimiser steps from the same data. From the second on the data is of an older policy: that needs `v-trace`."""
    normalize_advantages: bool = False
    """Centre and scale advantages over the batch."""
    optimizer: Optimizer = "rmsprop"
    """For both networks."""
    learning_rate: Positive = 7e-4
    """Of the policy."""
    learning_rate_end: NotNegative | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    value_learning_rate: Positive | None = None
    """Of V(s); None is the policy's."""
    entropy_coef: NotNegative = 0.0
    """Weight β of the entropy bonus."""
    entropy_coef_end: NotNegative | None = None
    """Where β ends, linearly over the run; None keeps it constant."""
    value_coef: Positive = 0.5
    """Weight of (V(s) − target)²/2 before the gradient is clipped."""
    max_grad_norm: Positive | None = 0.5
    """Each network's gradient is scaled down to this L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_in_effect(self, "n", "estimator='n-step'", self.estimator == "n-step")
        if self.updates > 1 and self.estimator != "v-trace":
            raise ValueError(
                f"updates={self.updates} uses data of an older policy: set estimator='v-trace', or take PPO"
            )

    @property
    def uses_value(self) -> bool:
        """V(s) is learned."""
        return True

    def collect(self, collector: Collector) -> Rollout:
        """The next `horizon` steps of each environment."""
        return collector.steps(self.horizon)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """One optimiser step, or `updates` of them, from all samples; returns its metrics."""
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
            anew = self._corrected(engine, rollout, batch, acted)
            batch = self.with_read_columns(
                engine, batch.with_columns(**anew.columns), old_log_prob=acted, old_value=value
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
        """The batch again, with advantages and targets for the policy as it is now."""
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
        """(advantages, targets of V(s)), each [T, N] float64."""
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


__getattr__ = renamed(__name__, {"cotangents": "a2c_loss, whose derivatives are derived"})
