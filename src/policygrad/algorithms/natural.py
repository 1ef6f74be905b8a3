"""The natural gradient (Kakade 2001) and TRPO (Schulman et al. 2015): steps measured by how the policy changes.

Of all steps d after which the policy is as far from the old one as δ, the best to first order is

    max_d gᵀd  subject to  mean KL(π_θ ‖ π_θ+d) ≈ ½ dᵀF d ≤ δ,     so     d = sqrt(2δ / xᵀF x) x,   x = F⁻¹ g

with g the gradient of the surrogate E[π_θ(a|s)/π_old(a|s) A] and F the Fisher matrix of the policy, the mean
over states. x comes from products F v alone. The natural gradient takes that step; TRPO goes back along it
until the true KL is at most δ and the true surrogate is better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from policygrad.advantages import normalize
from policygrad.algorithms.algorithm import FixedLoss, Optimizer, register
from policygrad.algorithms.conjugate_gradient import conjugate_gradient
from policygrad.algorithms.diagnostics import value_metrics
from policygrad.algorithms.steps import (
    as_learned,
    batch_of,
    check_can_be_normalized,
    gae,
    values_along,
)
from policygrad.checks import check_fields
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Collector, Engine
from policygrad.surroundings import ignored_numpy_errors
from policygrad.types import F32, F64, Batch, Learning, Minibatches, PolicyOutputs, Rollout, Sample


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What the natural gradient and TRPO have in common."""

    gamma: float = 0.99
    """Discount γ, in [0, 1]."""
    gae_lambda: float = 0.97
    """λ of the advantages (Schulman et al. 2016), in [0, 1]: 1 is the return minus V(s), 0 the TD error."""
    horizon: int = 128
    """Steps of each environment for one update."""
    normalize_advantages: bool = True
    """Centre and scale advantages over the whole batch. The step's length does not depend on their scale."""
    max_kl: float = 0.01
    """δ, in nats: how far a step may take the policy."""
    cg_iterations: int = 10
    """Steps of the conjugate gradient, each one product with F."""
    cg_tolerance: float = 1e-4
    """The conjugate gradient ends once its residual is as small a share of the gradient."""
    damping: float = 0.1
    """λ in (F + λ)x = g: directions that hardly change the policy on these states are not followed far."""
    optimizer: Optimizer = "adam"
    """For V(s)."""
    value_learning_rate: float = 0.003
    """Of V(s)."""
    value_epochs: int = 10
    """Times that V(s) sees all samples of an update, after the policy's step."""
    value_minibatches: int = 4
    """Parts of the batch, shuffled anew each time, each of them one step of V(s)."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            choices={"optimizer": Optimizer},
            unit=("gamma", "gae_lambda"),
            counts=("horizon", "cg_iterations", "value_epochs", "value_minibatches"),
            positive=("max_kl", "value_learning_rate"),
            not_negative=("damping", "cg_tolerance"),
        )

    @property
    def uses_value(self) -> bool:
        """Yes: the advantages need it."""
        return True

    def collect(self, collector: Collector) -> Rollout:
        """`horizon` steps of each environment."""
        return collector.steps(self.horizon)


@register("npg")
@dataclass(frozen=True, kw_only=True)
class NaturalGradient(_Settings, FixedLoss):
    """The natural policy gradient, each step as long as its quadratic model of the KL allows.

    Rajeswaran et al. 2017, whose δ is twice ours: the length is given by the KL that it is to bring about and
    not by a rate, which would depend on the rewards' scale, and with which steps would grow without bounds as
    the policy becomes certain and F small.
    """

    def learn(self, engine: Engine, rollout: Rollout, learning: Learning) -> dict[str, float]:
        """One update; returns its metrics."""
        batch, value, start = _prepare(self, engine, rollout)
        step = natural_step(self, engine, batch)
        before = engine.policy_parameters()
        engine.set_policy_parameters((before + step.whole).astype(np.float32))
        taken = _measure(engine, batch, start)
        if not np.isfinite(list(taken.values())).all():
            engine.set_policy_parameters(before)
            raise NonFiniteError(
                f"after a natural step of length {np.linalg.norm(step.whole):.3g} the policy is not finite. The "
                "step was not taken: lower max_kl or raise damping"
            )
        return taken | step.metrics(start) | _fit_value(self, engine, batch, value, learning)


@register("trpo")
@dataclass(frozen=True, kw_only=True)
class TRPO(_Settings, FixedLoss):
    """Trust region policy optimisation: a natural step, shortened until what it promises is true."""

    line_search_steps: int = 10
    """Lengths tried, the whole step first; if none will do the policy stays as it was."""
    backtrack: float = 0.8
    """Each is this share of the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, counts=("line_search_steps",), positive=("backtrack",))
        if self.backtrack >= 1:
            raise ValueError(f"backtrack must be below 1; got {self.backtrack}")

    def learn(self, engine: Engine, rollout: Rollout, learning: Learning) -> dict[str, float]:
        """One update; returns its metrics."""
        batch, value, start = _prepare(self, engine, rollout)
        step = natural_step(self, engine, batch)
        taken = self.line_search(engine, batch, start, step.whole)
        return taken | step.metrics(start) | _fit_value(self, engine, batch, value, learning)

    def line_search(self, engine: Engine, batch: Batch, start: PolicyOutputs, step: F64) -> dict[str, float]:
        """Take the longest of the steps tried that keeps mean KL ≤ δ and improves the surrogate, or none.

        Schulman et al. 2015, eq. 14 and appendix C. `start` is the policy on the batch as it was.
        """
        before = engine.policy_parameters()
        for fraction in self.backtrack ** np.arange(self.line_search_steps):
            engine.set_policy_parameters((before + fraction * step).astype(np.float32))
            found = _measure(engine, batch, start)
            # neither is so of a NaN
            if found["kl"] <= self.max_kl and found["surrogate_improvement"] > 0:
                return found | {"step_fraction": float(fraction)}
        engine.set_policy_parameters(before)
        return {"kl": 0.0, "surrogate_improvement": 0.0, "largest_ratio": 1.0, "step_fraction": 0.0}


class NaturalStep(NamedTuple):
    """A step along the natural gradient, and how it was found."""

    whole: F64
    """[P]: what to add to the policy's parameters."""
    gradient_norm: float
    """‖g‖."""
    residual: float
    """‖g − (F + λ)x‖ / ‖g‖, 0 where g is."""

    def metrics(self, start: PolicyOutputs) -> dict[str, float]:
        """Of the step and of the policy before it."""
        return {
            "entropy": float(start.entropy.mean(dtype=np.float64)),
            "policy_grad_norm": self.gradient_norm,
            "cg_residual": self.residual,
        }


def natural_step(settings: _Settings, engine: Engine, batch: Batch) -> NaturalStep:
    """d = sqrt(2δ / xᵀ(F + λ)x) x with (F + λ)x = g: Schulman et al. 2015, appendix C.

    With λ in the length, as in their code, the KL it predicts is at most δ, and ‖d‖ at most sqrt(2δ/λ) also
    where F is next to nothing.

    Raises:
        NonFiniteError: the gradient, or a product with F, is NaN or infinite.
    """
    loss_gradient, _ = engine.gradient(batch, cotangents, np.array([1 / len(batch), 0.0], np.float32))
    g = -loss_gradient.astype(np.float64)
    fisher = engine.fisher_vector_product(batch.observation)

    def product(v: F64) -> F64:
        found = fisher(v.astype(np.float32))
        # to the conjugate gradient a NaN would look like the end of what can be solved
        _check_finite(found)
        return found + settings.damping * v

    _check_finite(loss_gradient)
    x, residual = conjugate_gradient(
        product, g, iterations=settings.cg_iterations, tolerance=settings.cg_tolerance
    )
    length = float(np.linalg.norm(g))
    curvature = float(x @ (g - residual))
    scale = np.sqrt(2 * settings.max_kl / curvature) if curvature > 0 else 0.0
    return NaturalStep(scale * x, length, float(np.linalg.norm(residual)) / length if length > 0 else 0.0)


def _check_finite(vector: F32) -> None:
    if not np.isfinite(vector).all():
        raise NonFiniteError(
            "the policy's natural gradient is not finite. The step was not taken. Usual causes: a policy that has "
            "become certain, observations that were never scaled"
        )


def cotangents(sample: Sample, coefficients: F32, w: F32, e: F32, c: F32) -> None:
    """The three numbers of the surrogate (Schulman et al. 2015, eq. 14) and of V(s): derivatives of

        L = −k/B Σ_i π(a_i|s_i)/π_old(a_i|s_i) A_i + ν/2B Σ_i (V(s_i) − G_i)²

    A_i and G_i are constants. `coefficients` is [k/B, ν/B]: of the two terms one is 0, for a step of the policy is
    not to follow V(s)'s loss, which it would where they share layers.
    """
    for i in range(len(w)):
        w[i] = -coefficients[0] * np.exp(sample.log_prob[i] - sample.old_log_prob[i]) * sample.advantage[i]
        e[i] = 0.0
        c[i] = coefficients[1] * (sample.value[i] - sample.target[i])


def _measure(engine: Engine, batch: Batch, start: PolicyOutputs) -> dict[str, float]:
    """How far the policy is now from what it was at the start, and what the surrogate makes of it."""
    now = engine.policy_outputs(batch.observation, batch.action, start)
    # the ratio minus 1: of a small step the difference of two surrogates would be mostly rounding
    with ignored_numpy_errors():
        # of a step that goes too far it may be infinite, and such a step is not taken
        gain = np.expm1(now.log_prob.astype(np.float64) - start.log_prob)
    return {
        "kl": float(now.kl.mean(dtype=np.float64)),
        "surrogate_improvement": float((gain * batch.advantage).mean()),
        "largest_ratio": 1 + float(gain.max()),
    }


def _prepare(settings: _Settings, engine: Engine, rollout: Rollout) -> tuple[Batch, F32, PolicyOutputs]:
    """The batch, V(s) [B] before the update, and the policy on it."""
    if settings.normalize_advantages:
        check_can_be_normalized(rollout, off=False)
    value, next_value = values_along(engine, rollout)
    batch = batch_of(rollout, *gae(rollout, value, next_value, settings.gamma, settings.gae_lambda))
    start = engine.policy_outputs(batch.observation, batch.action)
    advantage = normalize(batch.advantage) if settings.normalize_advantages else batch.advantage
    batch = replace(batch, advantage=advantage, old_log_prob=start.log_prob)
    return batch, as_learned(rollout, "V(s)", value), start


def _fit_value(
    settings: _Settings, engine: Engine, batch: Batch, value: F32, learning: Learning
) -> dict[str, float]:
    """Minibatch steps of V(s); returns its metrics, of V(s) as it was."""
    B, epochs = len(batch), settings.value_epochs
    count = min(settings.value_minibatches, B)
    size = B // count
    # all of one size: up to count − 1 samples an epoch, others each time, are left out
    order = np.concatenate([learning.rng.permutation(B)[: count * size] for _ in range(epochs)])
    outputs = engine.update(
        batch,
        cotangents,
        np.array([0.0, 1 / size], np.float32),
        policy_rate=None,
        value_rate=settings.value_learning_rate,
        max_grad_norm=None,
        minibatches=Minibatches(order, size * np.arange(epochs * count + 1)),
    )
    return value_metrics(value, batch.target) | {"value_grad_norm": outputs.value_grad_norm}
