"""The natural gradient (Kakade 2001) and TRPO (Schulman et al. 2015): steps measured by how the policy changes.

Of all steps d after which the policy is as far from the old one as δ, the best to first order is

    max_d gᵀd  subject to  mean KL(π_θ ‖ π_θ+d) ≈ ½ dᵀF d ≤ δ,     so     d = sqrt(2δ / xᵀF x) x,   x = F⁻¹ g

with g the gradient of the surrogate E[π_θ(a|s)/π_old(a|s) A] and F the Fisher matrix of the policy, the mean
over states. x comes from products F v alone. The natural gradient takes that step; TRPO goes back along it
until the true KL is at most δ and the true surrogate is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from policygrad._support.checks import Count, NotNegative, Positive, Unit
from policygrad._support.isolation import ignored_numpy_errors
from policygrad._support.lookup import renamed
from policygrad.advantages import normalize
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.conjugate_gradient import conjugate_gradient
from policygrad.algorithms.diagnostics import mean, value_metrics
from policygrad.algorithms.steps import (
    SQUARED_ERROR,
    batch_of,
    check_can_be_normalized,
    flatten_valid_float32,
    gae,
)
from policygrad.algorithms.with_loss import WithLoss
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Collector, Engine, Step, TrustRegionEngine, Update
from policygrad.losses import LossFunction, exp
from policygrad.types import F32, F64, Batch, LearnerState, Minibatches, PolicyOutputs, Rollout


def surrogate_loss(s: Any, _k: Any) -> Any:
    """Return −π(a|s)/π_old(a|s) A: Schulman et al. 2015, eq. 14, with the sign of a loss."""
    return -exp(s.log_prob - s.old_log_prob) * s.advantage


@dataclass(frozen=True, kw_only=True)
class _Settings(WithLoss):
    """What the natural gradient and TRPO have in common."""

    loss: LossFunction = surrogate_loss
    gamma: Unit = 0.99
    """Discount γ, in [0, 1]."""
    gae_lambda: Unit = 0.97
    """λ of the advantages (Schulman et al. 2016), in [0, 1]: 1 is the return minus V(s), 0 the TD error."""
    horizon: Count = 128
    """Steps of each environment for one update."""
    normalize_advantages: bool = True
    """Centre and scale advantages over the whole batch. The step's length does not depend on their scale."""
    max_kl: Positive = 0.01
    """δ, in nats: how far a step may take the policy."""
    cg_iterations: Count = 10
    """Steps of the conjugate gradient, each one product with F."""
    cg_tolerance: NotNegative = 1e-4
    """The conjugate gradient ends once its residual is as small a share of the gradient."""
    damping: NotNegative = 0.1
    """λ in (F + λ)x = g: directions that hardly change the policy on these states are not followed far."""
    optimizer: Optimizer = "adam"
    """For V(s)."""
    value_learning_rate: Positive = 0.003
    """Of V(s)."""
    value_epochs: Count = 10
    """Times that V(s) sees all samples of an update, after the policy's step."""
    value_minibatches: Count = 4
    """Parts of the batch, shuffled anew each time, each of them one step of V(s)."""

    learns_value_by_loss = False
    engine_protocol: ClassVar[Any] = TrustRegionEngine

    @property
    def missing_columns(self) -> dict[str, str]:
        """V(s), which learns by itself after the policy's step."""
        return {
            "value": f"the loss of {type(self).__name__} is the policy's alone; V(s) learns by its squared error"
        }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.derivatives is not None:
            raise ValueError(
                "the line search needs the loss's value, which derivatives by hand lack: write the loss"
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
class NaturalGradient(_Settings):
    """The natural policy gradient, each step as long as its quadratic model of the KL allows.

    Rajeswaran et al. 2017, whose δ is twice ours: the length is given by the KL that it is to bring about and
    not by a rate, which would depend on the rewards' scale, and with which steps would grow without bounds as
    the policy becomes certain and F small.
    """

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """One update; returns its metrics."""
        engine = cast(TrustRegionEngine, engine)
        batch, value, start = _prepare(self, engine, rollout)
        coefficients = self.coefficient_values(learner.progress)
        step = natural_step(self, engine, batch, coefficients)
        before = engine.policy_parameters()
        engine.set_policy_parameters((before + step.whole).astype(np.float32))
        taken = _Measure(self, engine, batch, coefficients, start).of_the_policy()
        if not np.isfinite(list(taken.values())).all():
            engine.set_policy_parameters(before)
            raise NonFiniteError(
                f"after a natural step of length {np.linalg.norm(step.whole):.3g} the policy is not finite. The "
                "step was not taken: lower max_kl or raise damping"
            )
        return taken | step.metrics(start) | _fit_value(self, engine, batch, value, learner)


@register("trpo")
@dataclass(frozen=True, kw_only=True)
class TRPO(_Settings):
    """Trust region policy optimisation: a natural step, shortened until what it promises is true."""

    line_search_steps: Count = 10
    """Lengths tried, the whole step first; if none will do the policy stays as it was."""
    backtrack: Positive = 0.8
    """Each is this share of the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backtrack >= 1:
            raise ValueError(f"backtrack must be below 1; got {self.backtrack}")

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """One update; returns its metrics."""
        engine = cast(TrustRegionEngine, engine)
        batch, value, start = _prepare(self, engine, rollout)
        coefficients = self.coefficient_values(learner.progress)
        step = natural_step(self, engine, batch, coefficients)
        taken = self.line_search(engine, batch, coefficients, start, step.whole)
        return taken | step.metrics(start) | _fit_value(self, engine, batch, value, learner)

    def line_search(
        self,
        engine: TrustRegionEngine,
        batch: Batch,
        coefficients: Mapping[str, float],
        start: PolicyOutputs,
        step: F64,
    ) -> dict[str, float]:
        """Take the longest of the steps tried that keeps mean KL ≤ δ and improves the loss, or none.

        Schulman et al. 2015, eq. 14 and appendix C. `start` is the policy on the batch as it was.
        """
        before, measure = engine.policy_parameters(), _Measure(self, engine, batch, coefficients, start)
        for fraction in self.backtrack ** np.arange(self.line_search_steps):
            engine.set_policy_parameters((before + fraction * step).astype(np.float32))
            found = measure.of_the_policy()
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
            "entropy": mean(start.entropy),
            "policy_grad_norm": self.gradient_norm,
            "cg_residual": self.residual,
        }


def natural_step(
    settings: _Settings, engine: TrustRegionEngine, batch: Batch, coefficients: Mapping[str, float]
) -> NaturalStep:
    """d = sqrt(2δ / xᵀ(F + λ)x) x with (F + λ)x = g: Schulman et al. 2015, appendix C.

    With λ in the length, as in their code, the KL it predicts is at most δ, and ‖d‖ at most sqrt(2δ/λ) also
    where F is next to nothing.

    Raises:
        NonFiniteError: the gradient, or a product with F, is NaN or infinite.
    """
    loss_gradient, _ = engine.gradient(batch, settings.traced_loss, coefficients)
    g = -loss_gradient.astype(np.float64)
    fisher = engine.fisher_vector_product(batch.inputs)

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


class _Measure:
    """How far the policy is from what it was at the start, and what the loss makes of it."""

    def __init__(
        self,
        settings: _Settings,
        engine: TrustRegionEngine,
        batch: Batch,
        coefficients: Mapping[str, float],
        start: PolicyOutputs,
    ) -> None:
        self._loss, self._coefficients = settings.traced_loss, coefficients
        self._engine, self._batch, self._start = engine, batch, start
        self._columns = batch.matrix(self._loss.columns)
        self._loss_at_start = self._loss_of(start)

    def _loss_of(self, outputs: PolicyOutputs) -> float:
        """The mean loss, in float64: of a small step the difference of two would otherwise be mostly rounding."""
        three = np.stack([outputs.log_prob, outputs.entropy, np.zeros_like(outputs.entropy)])
        return self._loss.mean(three, self._columns, self._coefficients)

    def of_the_policy(self) -> dict[str, float]:
        """Measure the policy as it is now; a step that goes too far may have numbers that are not finite."""
        now = self._engine.policy_outputs(self._batch.inputs, self._batch.action, self._start)
        with ignored_numpy_errors():
            largest = np.exp((now.log_prob.astype(np.float64) - self._start.log_prob).max())
        return {
            "kl": float(now.kl.mean(dtype=np.float64)),
            "surrogate_improvement": self._loss_at_start - self._loss_of(now),
            "largest_ratio": float(largest),
        }


def _prepare(
    settings: _Settings, engine: TrustRegionEngine, rollout: Rollout
) -> tuple[Batch, F32, PolicyOutputs]:
    """The batch, V(s) [B] before the update, and the policy on it."""
    if settings.normalize_advantages:
        check_can_be_normalized(rollout, off=False)
    value, next_value = engine.values_along(rollout)
    batch = batch_of(rollout, *gae(rollout, value, next_value, settings.gamma, settings.gae_lambda))
    start = engine.policy_outputs(batch.inputs, batch.action)
    if settings.normalize_advantages:
        batch = batch.with_columns(advantage=normalize(batch.columns["advantage"]))
    old_value = flatten_valid_float32(rollout, "V(s)", value)
    batch = settings.with_read_columns(engine, batch, old_log_prob=start.log_prob, old_value=old_value)
    return batch, old_value, start


def _fit_value(
    settings: _Settings, engine: Engine, batch: Batch, value: F32, learner: LearnerState
) -> dict[str, float]:
    """Minibatch steps of V(s); returns its metrics, of V(s) as it was."""
    B, epochs = len(batch), settings.value_epochs
    count = min(settings.value_minibatches, B)
    size = B // count
    # all of one size: up to count − 1 samples an epoch, others each time, are left out
    order = np.concatenate([learner.rng.permutation(B)[: count * size] for _ in range(epochs)])
    minibatches = Minibatches(order, size * np.arange(epochs * count + 1))
    step = Step(None, settings.value_learning_rate)
    outputs = engine.update(Update(batch, SQUARED_ERROR, {}, step, minibatches))
    return value_metrics(value, batch.columns["target"]) | {"value_grad_norm": outputs.value_grad_norm}


__getattr__ = renamed(__name__, {"cotangents": "surrogate_loss, whose derivatives are derived"})
