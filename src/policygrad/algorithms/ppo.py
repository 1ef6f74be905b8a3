"""PPO: several epochs on the same data, with no reason to leave the policy that it came from.

    L(θ) = −E[ min(r_t A_t, clip(r_t, 1 − ε, 1 + ε) A_t) ],    r_t = π_θ(a_t|s_t) / π_old(a_t|s_t)

Schulman et al. 2017, eq. 7; or, with a penalty β KL(π_old ‖ π_θ) whose weight follows the KL, their eq. 8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from policygrad.advantages import normalize, normalize_parts
from policygrad.algorithms.algorithm import FixedLoss, Optimizer, register
from policygrad.algorithms.diagnostics import distance, value_metrics
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.steps import (
    as_learned,
    check_can_be_normalized,
    gae,
    samples,
    values_along,
)
from policygrad.checks import check_fields
from policygrad.interfaces import Collector, Engine
from policygrad.types import F32, F64, I64, Batch, Learning, Minibatches, Rollout, Sample

Normalisation = Literal["minibatch", "batch", "none"]
PENALTY = "kl_penalty"
"""The adapted weight of the penalty, among `Learning.adapted`."""
LARGEST_CHANGE = 2.0**20
"""How many times larger or smaller than at first that weight may become: it can then always come back."""


@register("ppo")
@dataclass(frozen=True, kw_only=True)
class PPO(FixedLoss):
    """Proximal policy optimisation."""

    gamma: float = 0.99
    """Discount γ, in [0, 1]."""
    gae_lambda: float = 0.95
    """λ of the advantages, in [0, 1] (Schulman et al. 2016)."""
    horizon: int = 256
    """Steps of each environment for one update: with 8 environments 2,048 samples, as in Schulman et al. 2017."""
    epochs: int = 10
    """Passes over the data an update."""
    minibatch_size: int = 64
    """Samples an optimiser step; nearly, where they do not divide the batch: parts are as equal as can be."""
    clip: float | None = 0.2
    """ε: beyond a ratio of 1 ± ε there is nothing to gain. None does not clip."""
    clip_end: float | None = None
    """Where ε ends, linearly over the run; None keeps it constant."""
    kl_penalty: float = 0.0
    """Weight β of a penalty on KL(π_old ‖ π), at first."""
    kl_penalty_target: float | None = None
    """After each update β is doubled where the KL was above 1.5 times this, and halved where it was below a
    1.5th of it, and stays within a million times (2^20) of what it was at first; None keeps β. In nats."""
    target_kl: float | None = None
    """As soon as a minibatch's KL from the old policy is above this, before its step, the policy takes no more
    steps in this update; V(s) does. In nats; None is no limit."""
    normalize_advantages: Normalisation = "minibatch"
    """Centre and scale advantages over each `minibatch`, over the whole `batch`, or not at all (`none`)."""
    recompute_advantages: bool = False
    """Estimate advantages and targets anew before each epoch, with V(s) as it then is."""
    optimizer: Optimizer = "adam"
    """For both networks."""
    learning_rate: float = 3e-4
    """Of the policy."""
    learning_rate_end: float | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    value_learning_rate: float | None = None
    """Of V(s), constant; None is the policy's, scheduled with it."""
    value_coef: float = 0.5
    """Weight of (V(s) − target)²/2 before the gradient is clipped."""
    value_clip: float | None = None
    """The value's loss is the larger of its own and that of V(s) moved by at most this; None does not clip."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    entropy_coef_end: float | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    max_grad_norm: float | None = 0.5
    """Each network's gradient is scaled down to this L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        ends = ("clip_end", "learning_rate_end", "entropy_coef_end")
        limits = ("clip", "kl_penalty_target", "target_kl", "value_clip", "max_grad_norm")
        check_fields(
            self,
            choices={"normalize_advantages": Normalisation, "optimizer": Optimizer},
            unit=("gamma", "gae_lambda"),
            counts=("horizon", "epochs", "minibatch_size"),
            positive=(*limits, "learning_rate", "value_learning_rate", "value_coef"),
            not_negative=(*ends, "entropy_coef", "kl_penalty"),
            optional=(*ends, *limits, "value_learning_rate"),
        )
        if self.minibatch_size == 1 and self.normalize_advantages == "minibatch":
            raise ValueError(
                "advantages are normalised over a minibatch, of which one sample is nothing to compare: raise "
                "minibatch_size, or set normalize_advantages to 'batch'"
            )
        for name in ("clip", "clip_end"):
            if (epsilon := getattr(self, name)) is not None and epsilon >= 1:
                raise ValueError(f"{name} must be below 1, or None: a ratio is never below 0; got {epsilon}")
        limits_steps = self.clip is not None or self.kl_penalty > 0 or self.target_kl is not None
        if self.epochs > 1 and not limits_steps:
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

    def learn(self, engine: Engine, rollout: Rollout, learning: Learning) -> dict[str, float]:
        """All epochs on one rollout; returns the metrics."""
        if self.normalize_advantages != "none":
            check_can_be_normalized(rollout, off="none")
        batch, entropy = self.batch(engine, rollout)
        penalty = learning.adapted.get(PENALTY, self.kl_penalty)
        rate: float | None = linear(self.learning_rate, self.learning_rate_end, learning.progress)
        options: dict[str, Any] = {
            "value_rate": rate if self.value_learning_rate is None else self.value_learning_rate,
            "max_grad_norm": self.max_grad_norm,
            "max_kl": self.target_kl,
            "apart": True,
        }
        metrics = {"learning_rate": rate, "entropy": float(entropy.mean(dtype=np.float64))}
        metrics |= value_metrics(_old(batch.old_value), batch.target)
        # what is normalised by itself needs two samples to compare
        most = len(batch) // 2 if self.normalize_advantages == "minibatch" else len(batch)
        count = max(1, min(round(len(batch) / self.minibatch_size), most))
        coefficients = self.coefficients(len(batch) / count, learning.progress, penalty)
        # what a sample's advantage is changes from epoch to epoch, or all epochs are one call
        apiece = self.recompute_advantages or (self.normalize_advantages == "minibatch" and count > 1)
        steps = 0
        for epoch in range(self.epochs if apiece else 1):
            if epoch > 0 and self.recompute_advantages:
                batch = self._estimated_anew(engine, rollout, batch)
            order, bounds = shuffled(learning.rng, len(batch), count, 1 if apiece else self.epochs)
            normalized = replace(batch, advantage=self._normalized(batch.advantage, order, bounds, count))
            outputs = engine.update(
                normalized, cotangents, coefficients,
                policy_rate=rate, minibatches=Minibatches(order, bounds), **options,
            )  # fmt: skip
            if outputs.policy_steps > 0:
                metrics["policy_grad_norm"] = outputs.policy_grad_norm
            metrics["value_grad_norm"] = outputs.value_grad_norm
            steps += outputs.policy_steps
            # the KL went over its target: from here on it is V(s) that learns
            rate = rate if outputs.policy_steps == len(bounds) - 1 else None
        clip = None if self.clip is None else linear(self.clip, self.clip_end, learning.progress)
        metrics |= {"policy_steps": steps, **distance(engine, batch, _old(batch.old_log_prob), clip=clip)}
        if self.kl_penalty > 0:
            metrics[PENALTY] = penalty
            learning.adapted[PENALTY] = self._adapted(penalty, metrics["kl"])
        return metrics

    def batch(self, engine: Engine, rollout: Rollout) -> tuple[Batch, F32]:
        """The samples with what the policy and V(s) said of them when they were collected, and H [B]."""
        observation, action = (samples(rollout, x) for x in (rollout.observation, rollout.action))
        log_prob, entropy = engine.evaluate(observation, action)
        value, next_value = values_along(engine, rollout)
        advantage, target = self._estimate(rollout, value, next_value)
        old_value = as_learned(rollout, "V(s)", value)
        return Batch(observation, action, advantage, target, log_prob, old_value), entropy

    def coefficients(self, samples: float, progress: float, penalty: float) -> F32:
        """What `cotangents` needs beside the samples: [1/B, ε, entropy weight, value weight, ε of V, β]."""
        clip = np.inf if self.clip is None else linear(self.clip, self.clip_end, progress)
        entropy_coef = linear(self.entropy_coef, self.entropy_coef_end, progress)
        value_clip = np.inf if self.value_clip is None else self.value_clip
        return np.array([1 / samples, clip, entropy_coef, self.value_coef, value_clip, penalty], np.float32)

    def _estimate(self, rollout: Rollout, value: F64, next_value: F64) -> tuple[F32, F32]:
        """(advantages, targets of V(s)), each [B]."""
        advantage, target = gae(rollout, value, next_value, self.gamma, self.gae_lambda)
        learned = as_learned(rollout, "target of V(s)", target)
        return as_learned(rollout, "advantage", advantage), learned

    def _estimated_anew(self, engine: Engine, rollout: Rollout, batch: Batch) -> Batch:
        advantage, target = self._estimate(rollout, *values_along(engine, rollout))
        return replace(batch, advantage=advantage, target=target)

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


def cotangents(sample: Sample, coefficients: F32, w: F32, e: F32, c: F32) -> None:
    """The three numbers of PPO: derivatives of the mean over B samples of

        −min(r A, clip(r, 1 − ε, 1 + ε) A) + β (r − 1 − log r) − η H + ν/2 max((V − G)², (V′ − G)²)

    with V′ = V_old + clip(V − V_old, ±ε_V). r − 1 − log r estimates KL(π_old ‖ π); its derivative with respect
    to log π is r − 1. `coefficients` is [1/B, ε, η, ν, ε_V, β].
    """
    scale, clip, value_clip, penalty = coefficients[0], coefficients[1], coefficients[4], coefficients[5]
    for i in range(len(w)):
        advantage = sample.advantage[i]
        ratio = np.exp(sample.log_prob[i] - sample.old_log_prob[i])
        clipped = ratio > 1 + clip if advantage > 0 else ratio < 1 - clip
        pull = penalty * (ratio - 1) if penalty > 0 else 0.0
        w[i] = scale * (pull - (0.0 if clipped else ratio * advantage))
        e[i] = -scale * coefficients[2]
        error = sample.value[i] - sample.target[i]
        moved = sample.value[i] - sample.old_value[i]
        # beyond its range V′ does not move with V, and where its loss is the larger one nothing is to be gained
        held = min(max(moved, -value_clip), value_clip)
        stuck = held != moved and abs(sample.old_value[i] + held - sample.target[i]) > abs(error)
        c[i] = 0.0 if stuck else scale * coefficients[3] * error


def shuffled(rng: np.random.Generator, samples: int, parts: int, epochs: int) -> tuple[I64, I64]:
    """(order, bounds) of `epochs` passes, each over all samples in `parts` as equal as can be; int64."""
    within = np.arange(epochs)[:, None] * samples + np.arange(1, parts + 1) * samples // parts
    bounds = np.concatenate([[0], within.ravel()])
    if parts == 1:
        return np.tile(np.arange(samples), epochs), bounds
    return np.concatenate([rng.permutation(samples) for _ in range(epochs)]), bounds


def _old(column: F32 | None) -> F32:
    assert column is not None, "this batch comes from PPO.batch, which fills it"
    return column
