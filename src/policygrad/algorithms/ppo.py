"""PPO: several epochs on the same data, with no incentive to move far from the policy that collected it.

    L(θ) = −E[ min(r_t A_t, clip(r_t, 1 − ε, 1 + ε) A_t) ],    r_t = π_θ(a_t|s_t) / π_old(a_t|s_t)

Schulman et al. 2017, eq. 7. Alternatively, eq. 8 has a penalty β KL(π_old ‖ π_θ), whose weight adapts to the KL.
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

Normalization = Literal["minibatch", "batch", "none"]
PENALTY = "kl_penalty"
"""Key of the adapted penalty weight in `LearnerState.adaptive_coefficients`."""
LARGEST_CHANGE = 2.0**20
"""Maximum factor between that weight and its initial value, in either direction, so that it can always return."""


def ppo_loss(s: Any, k: Any) -> Any:
    """Return −min(r A, clip(r, 1 ± ε) A) + β (r − 1 − log r) − η H + ν/2 max((V − G)², (V′ − G)²).

    V′ = V_old + clip(V − V_old, ±ε_V), and r − 1 − log r estimates KL(π_old ‖ π). Schulman et al. 2017, eq. 7 to 9; V′
    is taken from their code.
    """
    log_ratio = s.log_prob - s.old_log_prob
    ratio = exp(log_ratio)
    surrogate = minimum(ratio * s.advantage, clip(ratio, 1 - k.clip, 1 + k.clip) * s.advantage)
    near = s.old_value + clip(s.value - s.old_value, -k.value_clip, k.value_clip)
    value_loss = maximum((s.value - s.target) ** 2, (near - s.target) ** 2) / 2
    # log_ratio rather than log(ratio), because the ratio of an action that has become almost impossible is 0
    penalty = k.kl_penalty * (ratio - 1 - log_ratio)
    return -surrogate + penalty - k.entropy_coef * s.entropy + k.value_coef * value_loss


@register("ppo")
@dataclass(frozen=True, kw_only=True)
class PPO(WithLoss):
    """Proximal policy optimization."""

    loss: LossFunction = ppo_loss
    gamma: Unit = 0.99
    """Discount factor γ, in [0, 1]."""
    gae_lambda: Unit = 0.95
    """λ of the advantages, in [0, 1] (Schulman et al. 2016)."""
    horizon: Count = 256
    """Number of steps per environment and update.
    256 steps of 8 environments are 2,048 samples, as in Schulman et al. 2017."""
    epochs: Count = 10
    """Number of passes over the data per update."""
    minibatch_size: Count = 64
    """Number of samples per minibatch; approximate if it does not divide the batch, which is split evenly."""
    clip: Positive | None = 0.2
    """Clip range ε: a ratio π/π_old beyond 1 ± ε gains nothing. None does not clip."""
    clip_end: NotNegative | None = None
    """Clip range ε at the end of the run (linear schedule); None keeps it constant."""
    kl_penalty: NotNegative = 0.0
    """Initial weight β of a penalty on KL(π_old ‖ π)."""
    kl_penalty_target: Positive | None = None
    """Target of KL(π_old ‖ π), in nats, that adapts β; None keeps β constant.
    After an update, β is doubled if the KL was above 1.5 times the target, and halved if it was below target / 1.5.
    It stays within a factor of 2^20 (about a million) of its initial value."""
    target_kl: Positive | None = None
    """Limit on a minibatch's KL from the old policy, in nats, checked before each step; None is no limit.
    Once it is exceeded, the policy takes no more steps in this update. V(s) continues to learn."""
    normalize_advantages: Normalization = "minibatch"
    """Normalize advantages over each `minibatch`, over the whole `batch`, or not at all (`none`)."""
    recompute_advantages: bool = False
    """Estimate advantages and targets again before each epoch, with the current V(s)."""
    optimizer: Optimizer = "adam"
    """Optimizer of both networks."""
    learning_rate: Positive = 3e-4
    """Learning rate of the policy optimizer."""
    learning_rate_end: NotNegative | None = None
    """Learning rate of the policy at the end of the run (linear schedule); None keeps it constant."""
    value_learning_rate: Positive | None = None
    """Learning rate of V(s), constant; None uses the policy's, with its schedule."""
    value_coef: Positive = 0.5
    """Weight of the value loss (V(s) − target)²/2, applied before gradient clipping."""
    value_clip: Positive | None = None
    """Clip range of V(s) around its old value; the value loss is the larger of the clipped and the unclipped one.
    None does not clip."""
    entropy_coef: NotNegative = 0.0
    """Weight of the entropy bonus."""
    entropy_coef_end: NotNegative | None = None
    """Weight of the entropy bonus at the end of the run (linear schedule); None keeps it constant."""
    max_grad_norm: Positive | None = 0.5
    """Maximum L2 norm of each network's gradient; larger gradients are scaled down. None does not clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minibatch_size == 1 and self.normalize_advantages == "minibatch":
            raise ValueError(
                "advantages are normalized over each minibatch, and a minibatch of one sample has nothing to "
                "compare it with: raise minibatch_size, or set normalize_advantages='batch'"
            )
        for name in ("clip", "clip_end"):
            if (epsilon := getattr(self, name)) is not None and epsilon >= 1:
                raise ValueError(
                    f"{name} must be below 1, or None, because a ratio is never below 0; got {epsilon}"
                )
        limits_steps = self.clip is not None or self.kl_penalty > 0 or self.target_kl is not None
        if self.epochs > 1 and not (limits_steps or self.has_own_loss):
            raise ValueError(
                f"nothing would keep the policy near the one that collected the data over {self.epochs} epochs: set "
                "clip, kl_penalty or target_kl"
            )
        if self.clip is None and self.clip_end is not None:
            raise ValueError("clip_end is the final value of clip, which is None: set both, or neither")
        if self.kl_penalty_target is not None and self.kl_penalty == 0:
            raise ValueError(
                "kl_penalty_target adapts kl_penalty, which is 0: set kl_penalty to 1, for example"
            )

    @property
    def uses_value(self) -> bool:
        """Always True: the advantages are estimated with V(s)."""
        return True

    def collect(self, collector: Collector) -> Rollout:
        """Collect the next `horizon` steps of each environment."""
        return collector.steps(self.horizon)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Learn from one rollout for all epochs, and return the metrics."""
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
        # a minibatch that is normalized separately needs at least two samples
        most = len(batch) // 2 if self.normalize_advantages == "minibatch" else len(batch)
        count = max(1, min(round(len(batch) / self.minibatch_size), most))
        # if advantages change between epochs, each epoch needs its own call of the engine
        per_epoch = self.recompute_advantages or (self.normalize_advantages == "minibatch" and count > 1)
        steps = 0
        for epoch in range(self.epochs if per_epoch else 1):
            if epoch > 0 and self.recompute_advantages:
                batch = self._with_new_estimates(engine, rollout, batch)
            order, bounds = shuffled(learner.rng, len(batch), count, 1 if per_epoch else self.epochs)
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
            # once the KL has exceeded its limit, only V(s) learns
            step = step if outputs.policy_steps == len(bounds) - 1 else step._replace(policy_rate=None)
            if step.policy_rate is not None:
                metrics |= self.loss_metric(outputs, coefficients)
            elif "loss" not in metrics:
                # the policy took no step, and the engine returns zeros for outputs that it did not compute
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
        """Return the samples with the outputs of the policy and V(s) that collected them, and the entropy H [B]."""
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
        """Return (advantages, targets of V(s)), each [B]."""
        advantage, target = gae(rollout, value, next_value, self.gamma, self.gae_lambda)
        learned = flatten_valid_float32(rollout, "target of V(s)", target)
        return flatten_valid_float32(rollout, "advantage", advantage), learned

    def _with_new_estimates(self, engine: Engine, rollout: Rollout, batch: Batch) -> Batch:
        advantage, target = self._estimate(rollout, *engine.values_along(rollout))
        return batch.with_columns(advantage=advantage, target=target)

    def _normalized(self, advantage: F32, order: I64, bounds: I64, count: int) -> F32:
        if self.normalize_advantages == "none":
            return advantage
        if self.normalize_advantages == "batch" or count == 1:
            return normalize(advantage)
        return normalize_parts(advantage, order, bounds)

    def _adapted(self, penalty: float, kl: float) -> float:
        """Return the penalty weight after an update with this KL: Schulman et al. 2017, section 4."""
        target, first = self.kl_penalty_target, self.kl_penalty
        if target is None:
            return penalty
        if kl > 1.5 * target:
            return min(2 * penalty, first * LARGEST_CHANGE)
        return max(penalty / 2, first / LARGEST_CHANGE) if kl < target / 1.5 else penalty


def shuffled(rng: np.random.Generator, samples: int, parts: int, epochs: int) -> tuple[I64, I64]:
    """Return int64 (order, bounds) of `epochs` passes over all samples, each in `parts` of nearly equal size."""
    within = np.arange(epochs)[:, None] * samples + np.arange(1, parts + 1) * samples // parts
    bounds = np.concatenate([[0], within.ravel()])
    if parts == 1:
        return np.tile(np.arange(samples), epochs), bounds
    return np.concatenate([rng.permutation(samples) for _ in range(epochs)]), bounds


__getattr__ = renamed(__name__, {"cotangents": "ppo_loss, which is differentiated automatically"})
