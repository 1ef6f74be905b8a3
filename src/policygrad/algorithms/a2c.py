"""A2C: the policy gradient from a few steps of many environments, V(s) for what lies beyond them.

    ∇J(θ) ≈ E[ ∇ log π_θ(a_t|s_t) A_t ],    A_t from rewards of some steps and V(s) after them

Mnih et al. 2016 (A3C), with all environments in step. The three numbers are those of REINFORCE; what is new
is where A_t comes from, and that no episode has to end first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from policygrad.advantages import n_step_returns, normalize, vtrace
from policygrad.algorithms.algorithm import FixedLoss, Optimizer, register
from policygrad.algorithms.diagnostics import ENOUGH, distance, log_prob_before, value_metrics
from policygrad.algorithms.reinforce import cotangents
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.steps import (
    as_learned,
    batch_of,
    check_can_be_normalized,
    gae,
    values_along,
)
from policygrad.checks import check_fields, check_in_effect
from policygrad.interfaces import Collector, Engine
from policygrad.types import F32, F64, Batch, Learning, Outputs, Rollout

Estimator = Literal["gae", "n-step", "v-trace"]


@register("a2c")
@dataclass(frozen=True, kw_only=True)
class A2C(FixedLoss):
    """Advantage actor-critic."""

    gamma: float = 0.99
    """Discount γ, in [0, 1]."""
    horizon: int = 5
    """Steps of each environment for one update."""
    estimator: Estimator = "gae"
    """`gae`: TD errors weighted by (γλ)^k (Schulman et al. 2016). `n-step`: rewards of n steps, then V(s).
    `v-trace`: as gae, corrected for the policy having moved since it acted (Espeholt et al. 2018)."""
    gae_lambda: float = 1.0
    """λ, in [0, 1]: 1 counts rewards to the horizon, which is A3C's way; 0 is the TD error alone."""
    n: int = 5
    """Rewards of the `n-step` estimator, up to the horizon."""
    updates: int = 1
    """Optimiser steps from the same data. From the second on the data is of an older policy: that needs `v-trace`."""
    normalize_advantages: bool = False
    """Centre and scale advantages over the batch."""
    optimizer: Optimizer = "rmsprop"
    """For both networks."""
    learning_rate: float = 7e-4
    """Of the policy."""
    learning_rate_end: float | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    value_learning_rate: float | None = None
    """Of V(s); None is the policy's."""
    entropy_coef: float = 0.0
    """Weight β of the entropy bonus."""
    entropy_coef_end: float | None = None
    """Where β ends, linearly over the run; None keeps it constant."""
    value_coef: float = 0.5
    """Weight of (V(s) − target)²/2 before the gradient is clipped."""
    max_grad_norm: float | None = 0.5
    """Each network's gradient is scaled down to this L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            choices={"estimator": Estimator, "optimizer": Optimizer},
            unit=("gamma", "gae_lambda"),
            counts=("horizon", "n", "updates"),
            positive=("learning_rate", "value_learning_rate", "value_coef", "max_grad_norm"),
            not_negative=("learning_rate_end", "entropy_coef", "entropy_coef_end"),
            optional=("learning_rate_end", "value_learning_rate", "entropy_coef_end", "max_grad_norm"),
        )
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

    def learn(self, engine: Engine, rollout: Rollout, learning: Learning) -> dict[str, float]:
        """One optimiser step, or `updates` of them, from all samples; returns its metrics."""
        rate = linear(self.learning_rate, self.learning_rate_end, learning.progress)
        value_rate = rate if self.value_learning_rate is None else self.value_learning_rate
        value, next_value = values_along(engine, rollout)
        batch = self._batch(rollout, value, next_value, np.zeros_like(value))
        options: dict[str, Any] = {"policy_rate": rate, "value_rate": value_rate}
        options |= {"max_grad_norm": self.max_grad_norm, "apart": True}
        entropy_coef = linear(self.entropy_coef, self.entropy_coef_end, learning.progress)
        scale = 1 / len(batch)
        coefficients = np.array([scale, entropy_coef * scale, self.value_coef * scale], np.float32)
        before = log_prob_before(engine, batch)
        first = last = engine.update(batch, cotangents, coefficients, **options)
        acted = first.log_prob if before is None else before
        target = batch.target
        for _ in range(self.updates - 1):
            batch = self._corrected(engine, rollout, batch, acted)
            last = engine.update(batch, cotangents, coefficients, **options)
        metrics = _metrics(first, last, batch) | {"learning_rate": rate}
        metrics |= distance(engine, batch, acted, at_most=ENOUGH)
        return metrics | value_metrics(as_learned(rollout, "V(s)", value), target)

    def _corrected(self, engine: Engine, rollout: Rollout, batch: Batch, old_log_prob: F32) -> Batch:
        """The batch again, with advantages and targets for the policy as it is now."""
        log_ratio = np.zeros(rollout.valid.shape)
        log_prob, _ = engine.evaluate(batch.observation, batch.action)
        log_ratio[rollout.valid] = log_prob.astype(np.float64) - old_log_prob
        return self._batch(rollout, *values_along(engine, rollout), log_ratio)

    def _batch(self, rollout: Rollout, value: F64, next_value: F64, log_ratio: F64) -> Batch:
        batch = batch_of(rollout, *self._estimate(rollout, value, next_value, log_ratio))
        if not self.normalize_advantages:
            return batch
        check_can_be_normalized(rollout, off=False)
        return replace(batch, advantage=normalize(batch.advantage))

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


def _metrics(first: Outputs, last: Outputs, batch: Batch) -> dict[str, float]:
    return {
        "policy_loss": -float(np.mean(last.log_prob * batch.advantage, dtype=np.float64)),
        "entropy": float(first.entropy.mean(dtype=np.float64)),
        "policy_grad_norm": first.policy_grad_norm,
        "value_grad_norm": first.value_grad_norm,
    }
