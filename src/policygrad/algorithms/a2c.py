"""A2C: the policy gradient from a few steps of many environments, with V(s) for what follows these steps.

    ∇J(θ) ≈ E[ ∇ log π_θ(a_t|s_t) A_t ],    A_t from the rewards of a few steps and V(s) after them

Mnih et al. 2016 (A3C), with synchronous environments. Unlike in REINFORCE, no episode has to end before an update.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from policygrad._support.checks import Count, NotNegative, Positive, Unit, check_in_effect
from policygrad._support.lookup import renamed
from policygrad.advantages import Estimator
from policygrad.advantages.estimators import gae, n_step, v_trace
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.recipe import Pass, Recipe
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.steps import check_can_be_normalized
from policygrad.algorithms.with_recipe import WithRecipe
from policygrad.losses import LossFunction

EstimatorName = Literal["gae", "n-step", "v-trace"]


def a2c_loss(s: Any, k: Any) -> Any:
    """Return −A log π − β H + ν/2 (V − G)²: Mnih et al. 2016, section 4 (A3C) and supplementary algorithm S3."""
    value_loss = (s.value - s.target) ** 2 / 2
    return -s.advantage * s.log_prob - k.entropy_coef * s.entropy + k.value_coef * value_loss


@register("a2c")
@dataclass(frozen=True, kw_only=True)
class A2C(WithRecipe):
    """Advantage actor-critic (A2C)."""

    loss: LossFunction = a2c_loss
    gamma: Unit = 0.99
    """Discount factor γ, in [0, 1]."""
    horizon: Count = 5
    """Number of steps per environment and update."""
    estimator: EstimatorName = "gae"
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

    @property
    def recipe(self) -> Recipe:
        """A few steps of each environment, then steps of both networks, each on all samples."""
        normalization = "batch" if self.normalize_advantages else "none"
        one = Pass("both", self.traced_loss, self.updates, normalize=normalization, estimate_again=True)
        return Recipe(
            self._estimator,
            (one,),
            self.gamma,
            linear(*self.schedule("learning_rate")),
            linear(*self.schedule("value_learning_rate")),
            self.max_grad_norm,
            horizon=self.horizon,
        )

    @property
    def _estimator(self) -> Estimator:
        if self.estimator == "v-trace":
            return v_trace(self.gamma, self.gae_lambda)
        return n_step(self.gamma, self.n) if self.estimator == "n-step" else gae(self.gamma, self.gae_lambda)

    def check_update(self, steps: int, columns: int) -> None:
        """Raise ValueError if there would be a single advantage to normalize."""
        if self.normalize_advantages:
            check_can_be_normalized(steps * columns, off=False)


__getattr__ = renamed(__name__, {"cotangents": "a2c_loss, which is differentiated automatically"})
