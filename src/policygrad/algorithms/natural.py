"""The natural gradient (Kakade 2001) and TRPO (Schulman et al. 2015): steps measured by the change of the policy.

Among all steps d that move the policy by a KL divergence of at most δ, the best to first order is

    max_d gᵀd  subject to  mean KL(π_θ ‖ π_θ+d) ≈ ½ dᵀF d ≤ δ,     so     d = sqrt(2δ / xᵀF x) x,   x = F⁻¹ g

where g is the gradient of the surrogate E[π_θ(a|s)/π_old(a|s) A], and F is the Fisher matrix of the policy, averaged
over states. Computing x takes only products F v. The natural gradient takes this step; TRPO shortens it until the true
KL is at most δ and the true surrogate has improved.
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
    """Return −π(a|s)/π_old(a|s) A: Schulman et al. 2015, eq. 14, negated to make it a loss."""
    return -exp(s.log_prob - s.old_log_prob) * s.advantage


@dataclass(frozen=True, kw_only=True)
class _Settings(WithLoss):
    """Settings and methods that the natural gradient and TRPO share."""

    loss: LossFunction = surrogate_loss
    gamma: Unit = 0.99
    """Discount factor γ, in [0, 1]."""
    gae_lambda: Unit = 0.97
    """λ of the advantages (Schulman et al. 2016), in [0, 1]: 1 is the return minus V(s), 0 is the TD error."""
    horizon: Count = 128
    """Number of steps per environment and update."""
    normalize_advantages: bool = True
    """Normalize advantages over the whole batch. The length of the step does not depend on their scale."""
    max_kl: Positive = 0.01
    """Limit δ on the mean KL divergence between the old policy and the new one, in nats."""
    cg_iterations: Count = 10
    """Maximum number of conjugate gradient steps; each computes one product with the Fisher matrix F."""
    cg_tolerance: NotNegative = 1e-4
    """The conjugate gradient stops once its residual is at most this fraction of the gradient, in L2 norm."""
    damping: NotNegative = 0.1
    """Damping λ in (F + λ)x = g: limits the step in directions that hardly change the policy on these states."""
    optimizer: Optimizer = "adam"
    """Optimizer of V(s)."""
    value_learning_rate: Positive = 0.003
    """Learning rate of V(s)."""
    value_epochs: Count = 10
    """Number of passes of V(s) over the batch per update, after the policy's step."""
    value_minibatches: Count = 4
    """Number of minibatches per pass, shuffled each time; V(s) takes one step on each."""

    learns_value_by_loss = False
    engine_protocol: ClassVar[Any] = TrustRegionEngine

    @property
    def missing_columns(self) -> dict[str, str]:
        """V(s), which the loss cannot read, with the reason: it is trained separately."""
        name = type(self).__name__
        return {"value": f"the loss of {name} is for the policy only; V(s) is trained by its squared error"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.derivatives is not None:
            name = type(self).__name__
            raise ValueError(f"{name} needs the value of the loss: pass loss=... instead of derivatives=...")

    @property
    def uses_value(self) -> bool:
        """Always True: the advantages are estimated with V(s)."""
        return True

    def collect(self, collector: Collector) -> Rollout:
        """Collect the next `horizon` steps of each environment."""
        return collector.steps(self.horizon)


@register("npg")
@dataclass(frozen=True, kw_only=True)
class NaturalGradient(_Settings):
    """Natural policy gradient, with steps as long as the quadratic model of the KL allows.

    Rajeswaran et al. 2017, whose δ is twice ours. The length of a step follows from the KL that it should cause, not
    from a learning rate. A learning rate would depend on the scale of the rewards, and steps would grow without bound
    as the policy becomes deterministic and F small.
    """

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Perform one update and return its metrics."""
        engine = cast(TrustRegionEngine, engine)
        batch, value, start = _prepare(self, engine, rollout)
        coefficients = self.coefficient_values(learner.progress)
        step = natural_step(self, engine, batch, coefficients)
        before = engine.policy_parameters()
        engine.set_policy_parameters((before + step.whole).astype(np.float32))
        taken = _Measure(self, engine, batch, coefficients, start).metrics()
        if not np.isfinite(list(taken.values())).all():
            engine.set_policy_parameters(before)
            raise NonFiniteError(
                f"a natural step of length {np.linalg.norm(step.whole):.3g} made the policy's outputs NaN or infinite. "
                "The step was undone: lower max_kl or raise damping."
            )
        return taken | step.metrics(start) | _fit_value(self, engine, batch, value, learner)


@register("trpo")
@dataclass(frozen=True, kw_only=True)
class TRPO(_Settings):
    """Trust region policy optimization: a natural step, shortened until its KL and its improvement are confirmed."""

    line_search_steps: Count = 10
    """Number of step lengths to try, the full step first. If none is accepted, the policy stays unchanged."""
    backtrack: Positive = 0.8
    """Ratio of each step length to the one before; less than 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backtrack >= 1:
            raise ValueError(f"backtrack must be below 1; got {self.backtrack}")

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Perform one update and return its metrics."""
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
        """Take the longest of the steps that keeps the mean KL ≤ δ and improves the loss, or no step if there is none.

        Schulman et al. 2015, eq. 14 and appendix C. `start` contains the outputs of the old policy on the batch.
        """
        before, measure = engine.policy_parameters(), _Measure(self, engine, batch, coefficients, start)
        for fraction in self.backtrack ** np.arange(self.line_search_steps):
            engine.set_policy_parameters((before + fraction * step).astype(np.float32))
            metrics = measure.metrics()
            # both comparisons are False for NaN
            if metrics["kl"] <= self.max_kl and metrics["surrogate_improvement"] > 0:
                return metrics | {"step_fraction": float(fraction)}
        engine.set_policy_parameters(before)
        return {"kl": 0.0, "surrogate_improvement": 0.0, "largest_ratio": 1.0, "step_fraction": 0.0}


class NaturalStep(NamedTuple):
    """A step along the natural gradient, with diagnostics."""

    whole: F64
    """[P] float64: the full step, to be added to the policy's parameters."""
    gradient_norm: float
    """‖g‖, the L2 norm of the gradient."""
    residual: float
    """‖g − (F + λ)x‖ / ‖g‖, or 0 if g is 0."""

    def metrics(self, start: PolicyOutputs) -> dict[str, float]:
        """Return metrics of the step and of the policy before it."""
        return {
            "entropy": mean(start.entropy),
            "policy_grad_norm": self.gradient_norm,
            "cg_residual": self.residual,
        }


def natural_step(
    settings: _Settings, engine: TrustRegionEngine, batch: Batch, coefficients: Mapping[str, float]
) -> NaturalStep:
    """Return d = sqrt(2δ / xᵀ(F + λ)x) x with (F + λ)x = g: Schulman et al. 2015, appendix C.

    The length includes λ, as in their code. The predicted KL is therefore at most δ, and ‖d‖ is at most sqrt(2δ/λ) even
    where F is almost 0.

    Raises:
        NonFiniteError: the gradient, or a product with F, is NaN or infinite.
    """
    loss_gradient, _ = engine.gradient(batch, settings.traced_loss, coefficients)
    g = -loss_gradient.astype(np.float64)
    if (noise := getattr(engine, "gradient_noise", None)) is not None:
        noise.add(lambda: loss_gradient, len(batch))
    fisher = engine.fisher_vector_product(batch.inputs)

    def product(v: F64) -> F64:
        fv = fisher(v.astype(np.float32))
        # the conjugate gradient would stop at a NaN as if it had converged
        _check_finite(fv)
        return fv + settings.damping * v

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
            "the policy's natural gradient is not finite, so the step was not taken. Usual causes: a policy that "
            "has become almost deterministic, or observations that are not scaled."
        )


class _Measure:
    """Measures how far the policy is from its start, and how much the loss has improved."""

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
        """Return the mean loss in float64: after a small step the change in float32 would be mostly rounding."""
        three = np.stack([outputs.log_prob, outputs.entropy, np.zeros_like(outputs.entropy)])
        return self._loss.mean(three, self._columns, self._coefficients)

    def metrics(self) -> dict[str, float]:
        """Return metrics of the current policy. They may be NaN or infinite after a step that is too long."""
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
    """Return the batch, V(s) [B] before the update, and the policy's outputs on the batch."""
    if settings.normalize_advantages:
        check_can_be_normalized(rollout.valid.size, off=False)
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
    """Take the minibatch steps of V(s), and return metrics of V(s) as it was before them."""
    B, epochs = len(batch), settings.value_epochs
    count = min(settings.value_minibatches, B)
    size = B // count
    # minibatches have equal sizes, so each epoch leaves out up to count − 1 samples, which differ between epochs
    order = np.concatenate([learner.rng.permutation(B)[: count * size] for _ in range(epochs)])
    minibatches = Minibatches(order, size * np.arange(epochs * count + 1))
    step = Step(None, settings.value_learning_rate)
    outputs = engine.update(Update(batch, SQUARED_ERROR, {}, step, minibatches))
    return value_metrics(value, batch.columns["target"]) | {"value_grad_norm": outputs.value_grad_norm}


__getattr__ = renamed(__name__, {"cotangents": "surrogate_loss, which is differentiated automatically"})
