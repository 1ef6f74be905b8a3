"""REINFORCE: the policy gradient from whole episodes (Williams 1992; Sutton & Barto 2018, chapter 13).

    ∇J(θ) = E_τ[ Σ_t γ^t ∇ log π_θ(a_t|s_t) (G_t − b_t) ]

for any baseline b_t that does not depend on a_t. It is estimated from a batch of E whole episodes with B steps. The
settings decide which return G and which baseline b are used, and what the sum over the batch is divided by.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from policygrad._support.checks import Count, NotNegative, Positive, Unit
from policygrad._support.lookup import renamed
from policygrad.advantages.estimators import Baseline, monte_carlo
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.recipe import Pass, Recipe
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.steps import SQUARED_ERROR
from policygrad.algorithms.with_loss import WithLoss
from policygrad.algorithms.with_recipe import WithRecipe
from policygrad.interfaces import Engine, ScoringEngine
from policygrad.losses import Loss, LossFunction

Returns = Literal["reward-to-go", "episode"]
Average = Literal["steps", "episodes"]


def reinforce_loss(s: Any, k: Any) -> Any:
    """Return −(B/M) (A log π + β H), whose mean over B samples is −1/M Σ (A log π + β H).

    M is the number of steps B or of episodes E, depending on `average`, and `policy_scale` is B/M. The first term is
    from Williams 1992, eq. 11, the second from Williams & Peng 1991.
    """
    return -k.policy_scale * (s.advantage * s.log_prob + k.entropy_coef * s.entropy)


@register("reinforce")
@dataclass(frozen=True, kw_only=True)
class Reinforce(WithRecipe):
    """REINFORCE, with a choice of methods to reduce its variance."""

    loss: LossFunction = reinforce_loss
    gamma: Unit = 0.99
    """Discount factor γ, in [0, 1]."""
    returns: Returns = "reward-to-go"
    """`reward-to-go`: the return G_t that follows each action.
    `episode`: the return of the whole episode, Σ_t γ^t r_t, for each step (unbiased, more variance)."""
    discount_weighting: bool = False
    """Multiply each step's reward-to-go by γ^t, which gives the gradient of the discounted objective.
    Without it, this is the gradient of no objective (Nota & Thomas 2020), but late steps still count.
    It is usually left out. Whole-episode returns are discounted from the start already."""
    baseline: Baseline = "value"
    """What is subtracted from the return.
    `none`: nothing. `mean`: the mean over the batch. `time`: the mean at each time step.
    `leave-one-out`: the mean over the other episodes (unbiased).
    `optimal`: the constant that minimizes the variance of the samples' gradients, which include γ^t with
    `discount_weighting` (Greensmith et al. 2004).
    `value`: a learned V(s) with its own network."""
    bootstrap_truncated: bool = True
    """Use V(s) of the last state in place of the rewards that would have followed a time limit.
    This needs the `value` baseline. With the others, the return ends at the time limit."""
    normalize_advantages: bool = True
    """Normalize advantages to mean 0 and standard deviation 1 over the whole batch.
    (Normalizing each episode separately would hide from the policy which ones were good.)"""
    average: Average = "steps"
    """Divide the sum over the batch by its number of `steps` B or of `episodes` E.
    With `episodes`, the estimate is unbiased if advantages are not normalized."""
    episodes_per_env: Count = 1
    """Number of whole episodes per environment and update."""
    optimizer: Optimizer = "adam"
    """Optimizer of both networks."""
    learning_rate: Positive = 0.01
    """Learning rate of the policy optimizer."""
    learning_rate_end: NotNegative | None = None
    """Learning rate of the policy at the end of the run (linear schedule); None keeps it constant."""
    value_learning_rate: Positive = 0.01
    """Learning rate of V(s)."""
    value_learning_rate_end: NotNegative | None = None
    """Learning rate of V(s) at the end of the run (linear schedule); None keeps it constant."""
    value_steps: Count = 4
    """Number of full-batch steps of V(s) per update. Advantages use V(s) as it was before the first."""
    entropy_coef: NotNegative = 0.0
    """Weight β of the entropy bonus."""
    entropy_coef_end: NotNegative | None = None
    """Weight β at the end of the run (linear schedule); None keeps it constant."""
    max_grad_norm: Positive | None = 0.5
    """Maximum L2 norm of each network's gradient; larger gradients are scaled down. None does not clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.average != "steps" and "policy_scale" not in self.traced_loss.coefficients:
            raise ValueError(
                f"average={self.average!r} would be ignored, because the loss does not read k.policy_scale. Leave it "
                "out, or multiply the policy's terms of the loss by k.policy_scale."
            )
        if self.returns == "episode" and self.discount_weighting:
            raise ValueError(
                "discount_weighting needs returns='reward-to-go': the return of an episode is discounted already"
            )

    computed_coefficients = ("policy_scale",)
    supplied = (*WithLoss.supplied, "episode_length")
    learns_value_by_loss = False

    @property
    def missing_columns(self) -> dict[str, str]:
        """V(s) with the reason why the loss cannot read it, if it is not learned."""
        if self.uses_value:
            return {}
        reason = f"with baseline={self.baseline!r} no V(s) is learned; set baseline='value'"
        return dict.fromkeys(("value", "old_value"), reason)

    @property
    def engine_protocol(self) -> Any:
        """Protocol of the engine: the optimal baseline needs the norm of each sample's gradient."""
        return ScoringEngine if self.baseline == "optimal" else Engine

    @cached_property
    def value_loss(self) -> Loss:
        """Loss that V(s) is trained by: the algorithm's, if it has a term for V(s), else the squared error."""
        own = self.traced_loss
        return own if own.root is not None and "value" in own.outputs else SQUARED_ERROR

    @property
    def uses_value(self) -> bool:
        """True if a value network is learned."""
        return self.baseline == "value"

    @property
    def recipe(self) -> Recipe:
        """Whole episodes, then a step of the policy and `value_steps` steps of V(s), each on all samples."""
        # one return per episode, unless V(s) differs between its steps
        per_episode = self.returns == "episode" and not self.uses_value
        normalization = "none" if not self.normalize_advantages else "episodes" if per_episode else "batch"
        passes = [Pass("policy", self.traced_loss, normalize=normalization)]
        if self.uses_value:
            passes.append(Pass("value", self.value_loss, self.value_steps, normalize=normalization))
        return Recipe(
            monte_carlo(
                self.gamma,
                self.baseline,
                whole_returns=self.returns == "episode",
                weighted=self.discount_weighting,
                bootstrap=self.uses_value and self.bootstrap_truncated,
            ),
            tuple(passes),
            self.gamma,
            linear(*self.schedule("learning_rate")),
            linear(*self.schedule("value_learning_rate")),
            self.max_grad_norm,
            episodes_per_env=self.episodes_per_env,
            discount_weighting=self.discount_weighting,
            per_episode=self.average == "episodes",
        )

    def check_update(self, steps: int, columns: int) -> None:
        """Raise ValueError if a single episode would be compared only with itself, which makes all advantages 0."""
        by_episode = self.returns == "episode" and (
            self.baseline in ("mean", "optimal") or (self.baseline == "none" and self.normalize_advantages)
        )
        if columns == 1 and (by_episode or self.baseline == "time"):
            what = "normalize_advantages" if self.baseline == "none" else f"baseline={self.baseline!r}"
            raise ValueError(
                f"{what} with returns={self.returns!r} compares episodes, but an update has only one, so every "
                "advantage would be 0. Raise num_envs or episodes_per_env."
            )
        if columns == 1 and self.baseline == "leave-one-out":
            raise ValueError(
                "the leave-one-out baseline needs at least two episodes per update: raise num_envs or episodes_per_env"
            )

    def loss_coefficients(self, samples: int, episodes: int, progress: float) -> dict[str, float]:
        """Return the coefficients that the loss reads, for an update with these numbers of samples and episodes."""
        scale = samples / episodes if self.average == "episodes" else 1.0
        return self.coefficient_values(progress, policy_scale=scale)


__getattr__ = renamed(__name__, {"cotangents": "reinforce_loss, which is differentiated automatically"})
