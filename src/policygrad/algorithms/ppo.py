"""PPO: several epochs on the same data, with no reason to leave the policy that it came from.

    L(θ) = −E[ min(r_t A_t, clip(r_t, 1 − ε, 1 + ε) A_t) ],    r_t = π_θ(a_t|s_t) / π_old(a_t|s_t)

Schulman et al. 2017, eq. 7; or, with a penalty β KL(π_old ‖ π_θ) whose weight follows the KL, their eq. 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from policygrad._support.checks import Count, NotNegative, Positive, Unit
from policygrad._support.lookup import renamed
from policygrad.advantages import normalize, normalize_parts
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.diagnostics import mean, policy_change_metrics, value_metrics
from policygrad.algorithms.schedule import scheduled
from policygrad.algorithms.steps import (
    check_can_be_normalized,
    flatten_valid,
    flatten_valid_float32,
    gae,
)
from policygrad.algorithms.with_loss import WithLoss
from policygrad.interfaces import Collector, Engine, Step, Update
from policygrad.losses import LossFunction, clip, exp, maximum, minimum
from policygrad.types import F32, F64, I64, Batch, Inputs, LearnerState, Minibatches, Rollout

Normalisation = Literal["minibatch", "batch", "none"]
PENALTY = "kl_penalty"
"""The adapted weight of the penalty, among `LearnerState.adaptive_coefficients`."""
LARGEST_CHANGE = 2.0**20
"""How many times larger or smaller than at first that weight may become: it can then always come back."""


def ppo_loss(s: Any, k: Any) -> Any:
    """Return −min(r A, clip(r, 1 ± ε) A) + β (r − 1 − log r) − η H + ν/2 max((V − G)², (V′ − G)²).

    V′ = V_old + clip(V − V_old, ±ε_V), and r − 1 − log r estimates KL(π_old ‖ π). Schulman et al. 2017, eq. 7 to 9; V′
    is that of their code.
    """
    log_ratio = s.log_prob - s.old_log_prob
    ratio = exp(log_ratio)
    surrogate = minimum(ratio * s.advantage, clip(ratio, 1 - k.clip, 1 + k.clip) * s.advantage)
    near = s.old_value + clip(s.value - s.old_value, -k.value_clip, k.value_clip)
    value_loss = maximum((s.value - s.target) ** 2, (near - s.target) ** 2) / 2
    # log_ratio, for the ratio of an action that has become next to impossible is 0
    penalty = k.kl_penalty * (ratio - 1 - log_ratio)
    return -surrogate + penalty - k.entropy_coef * s.entropy + k.value_coef * value_loss


@register("ppo")
@dataclass(frozen=True, kw_only=True)
class PPO(WithLoss):
    """Proximal policy optimisation."""

    loss: LossFunction = ppo_loss
    gamma: Unit = 0.99
    """Discount γ, in [0, 1]."""
    gae_lambda: Unit = 0.95
    """λ of the advantages, in [0, 1] (Schulman et al. 2016)."""
    horizon: Count = 256
    """Steps of each environment for one update: with 8 environments 2,048 samples, as in Schulman et al. 2017."""
    epochs: Count = 10
    """Passes over the data an update."""
    minibatch_size: Count = 64
    """Samples an optimiser step; nearly, where they do not divide the batch: parts are as equal as can be."""
    clip: Positive | None = 0.2
    """ε: beyond a ratio of 1 ± ε there is nothing to gain. None does not clip."""
    clip_end: NotNegative | None = None
    """Where ε ends, linearly over the run; None keeps it constant."""
    kl_penalty: NotNegative = 0.0
    """Weight β of a penalty on KL(π_old ‖ π), at first."""
    kl_penalty_target: Positive | None = None
    """After each update β is doubled where the KL was above 1.5 times this, and halved where it was below a
    1.5th of it, and stays within a million times (2^20) of what it was at first; None keeps β. In nats."""
    target_kl: Positive | None = None
    """As soon as a minibatch's KL from the old policy is above this, before its step, the policy takes no more
    steps in this update; V(s) does. In nats; None is no limit."""
    normalize_advantages: Normalisation = "minibatch"
    """Centre and scale advantages over each `minibatch`, over the whole `batch`, or not at all (`none`)."""
    recompute_advantages: bool = False
    """Estimate advantages and targets anew before each epoch, with V(s) as it then is."""
    optimizer: Optimizer = "adam"
    """For both networks."""
    learning_rate: Positive = 3e-4
    """Of the policy."""
    learning_rate_end: NotNegative | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    value_learning_rate: Positive | None = None
    """Of V(s), constant; None is the policy's, scheduled with it."""
    value_coef: Positive = 0.5
    """Weight of (V(s) − target)²/2 before the gradient is clipped."""
    value_clip: Positive | None = None
    """The value's loss is the larger of its own and that of V(s) moved by at most this; None does not clip."""
    entropy_coef: NotNegative = 0.0
    """Weight of the entropy bonus."""
    entropy_coef_end: NotNegative | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    max_grad_norm: Positive | None = 0.5
    """Each network's gradient is scaled down to this L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minibatch_size == 1 and self.normalize_advantages == "minibatch":
            raise ValueError(
                "advantages are normalised over a minibatch, of which one sample is nothing to compare: raise "
                "minibatch_size, or set normalize_advantages to 'batch'"
            )
        for name in ("clip", "clip_end"):
            if (epsilon := getattr(self, name)) is not None and epsilon >= 1:
                raise ValueError(f"{name} must be below 1, or None: a ratio is never below 0; got {epsilon}")
        limits_steps = self.clip is not None or self.kl_penalty > 0 or self.target_kl is not None
        if self.epochs > 1 and not (limits_steps or self.has_own_loss):
            raise ValueError(
                f"nothing would hold the policy near the data's over {self.epochs} epochs: give clip, kl_penalty or "
                "target_kl"
            )
        if self.clip is None and self.clip_end is not None:
            raise ValueError("clip_end is where clip ends, which is None: give both, or neither")
        if self.kl_penalty_target is not None and self.kl_penalty == 0:
            raise ValueError("kl_penalty_target adapts a kl_penalty, which is 0: set it to 1, say")

    @property
    def uses_value(self) -> bool:
        """V(s) is learned."""
        return True

    def collect(self, collector: Collector) -> Rollout:
        """The next `horizon` steps of each environment."""
        return collector.steps(self.horizon)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """All epochs on one rollout; returns the metrics."""
        if self.normalize_advantages != "none":
            check_can_be_normalized(rollout, off="none")
        batch, entropy = self.batch(engine, rollout)
        penalty = learner.adaptive_coefficients.get(PENALTY, self.kl_penalty)
        rate = scheduled(self.learning_rate, self.learning_rate_end, learner.progress)
        value_rate = rate if self.value_learning_rate is None else self.value_learning_rate
        step = Step(rate, value_rate, self.max_grad_norm)
        coefficients = self.coefficient_values(learner.progress, kl_penalty=penalty)
        metrics = {"learning_rate": rate, "entropy": mean(entropy)}
        metrics |= value_metrics(batch.columns["old_value"], batch.columns["target"])
        # what is normalised by itself needs two samples to compare
        most = len(batch) // 2 if self.normalize_advantages == "minibatch" else len(batch)
        count = max(1, min(round(len(batch) / self.minibatch_size), most))
        # what a sample's advantage is changes from epoch to epoch, or all epochs are one call
        apiece = self.recompute_advantages or (self.normalize_advantages == "minibatch" and count > 1)
        steps = 0
        for epoch in range(self.epochs if apiece else 1):
            if epoch > 0 and self.recompute_advantages:
                batch = self._estimated_anew(engine, rollout, batch)
            order, bounds = shuffled(learner.rng, len(batch), count, 1 if apiece else self.epochs)
            advantage = self._normalized(batch.columns["advantage"], order, bounds, count)
            learned = self.with_read_columns(engine, batch.with_columns(advantage=advantage))
            outputs = engine.update(
                Update(
                    learned, self.traced_loss, coefficients, step, Minibatches(order, bounds), self.target_kl
                )
            )
            if outputs.policy_steps > 0:
                metrics["policy_grad_norm"] = outputs.policy_grad_norm
            metrics["value_grad_norm"] = outputs.value_grad_norm
            steps += outputs.policy_steps
            # the KL went over its target: from here on it is V(s) that learns
            step = step if outputs.policy_steps == len(bounds) - 1 else step._replace(policy_rate=None)
            if step.policy_rate is not None:
                metrics |= self.loss_metric(outputs, coefficients)
            elif "loss" not in metrics:
                # the policy stopped at once, and of what it was not asked for the outputs are zeros
                before = (batch.columns["old_log_prob"], entropy, batch.columns["old_value"])
                metrics |= self.loss_metric(outputs._replace(matrix=np.stack(before)), coefficients)
        is_clipped = self.clip is not None and "clip" in self.traced_loss.coefficients
        clip = (
            None
            if self.clip is None or not is_clipped
            else scheduled(self.clip, self.clip_end, learner.progress)
        )
        metrics |= {
            "policy_steps": steps,
            **policy_change_metrics(engine, batch, batch.columns["old_log_prob"], clip=clip),
        }
        if self.kl_penalty > 0:
            metrics[PENALTY] = penalty
            learner.adaptive_coefficients[PENALTY] = self._adapted(penalty, metrics["kl"])
        return metrics

    def batch(self, engine: Engine, rollout: Rollout) -> tuple[Batch, F32]:
        """The samples with what the policy and V(s) said of them when they were collected, and H [B]."""
        inputs, action = (
            Inputs(flatten_valid(rollout, rollout.observation)),
            flatten_valid(rollout, rollout.action),
        )
        log_prob, entropy = engine.evaluate(inputs, action)
        value, next_value = engine.values_along(rollout)
        advantage, target = self._estimate(rollout, value, next_value)
        old_value = flatten_valid_float32(rollout, "V(s)", value)
        columns = {"advantage": advantage, "target": target, "old_log_prob": log_prob, "old_value": old_value}
        return Batch(inputs, action, columns), entropy

    def _estimate(self, rollout: Rollout, value: F64, next_value: F64) -> tuple[F32, F32]:
        """(advantages, targets of V(s)), each [B]."""
        advantage, target = gae(rollout, value, next_value, self.gamma, self.gae_lambda)
        learned = flatten_valid_float32(rollout, "target of V(s)", target)
        return flatten_valid_float32(rollout, "advantage", advantage), learned

    def _estimated_anew(self, engine: Engine, rollout: Rollout, batch: Batch) -> Batch:
        advantage, target = self._estimate(rollout, *engine.values_along(rollout))
        return batch.with_columns(advantage=advantage, target=target)

    def _normalized(self, advantage: F32, order: I64, bounds: I64, count: int) -> F32:
        if self.normalize_advantages == "none":
            return advantage
        if self.normalize_advantages == "batch" or count == 1:
            return normalize(advantage)
        return normalize_parts(advantage, order, bounds)

    def _adapted(self, penalty: float, kl: float) -> float:
        """Schulman et al. 2017, section 4."""
        target, first = self.kl_penalty_target, self.kl_penalty
        if target is None:
            return penalty
        if kl > 1.5 * target:
            return min(2 * penalty, first * LARGEST_CHANGE)
        return max(penalty / 2, first / LARGEST_CHANGE) if kl < target / 1.5 else penalty


def shuffled(rng: np.random.Generator, samples: int, parts: int, epochs: int) -> tuple[I64, I64]:
    """(order, bounds) of `epochs` passes, each over all samples in `parts` as equal as can be; int64."""
    within = np.arange(epochs)[:, None] * samples + np.arange(1, parts + 1) * samples // parts
    bounds = np.concatenate([[0], within.ravel()])
    if parts == 1:
        return np.tile(np.arange(samples), epochs), bounds
    return np.concatenate([rng.permutation(samples) for _ in range(epochs)]), bounds


__getattr__ = renamed(__name__, {"cotangents": "ppo_loss, whose derivatives are derived"})
