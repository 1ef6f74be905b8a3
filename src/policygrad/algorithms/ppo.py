"""PPO: several epochs on the same data, with no incentive to move far from the policy that collected it.

    L(θ) = −E[ min(r_t A_t, clip(r_t, 1 − ε, 1 + ε) A_t) ],    r_t = π_θ(a_t|s_t) / π_old(a_t|s_t)

Schulman et al. 2017, eq. 7. Alternatively, eq. 8 has a penalty β KL(π_old ‖ π_θ), whose weight adapts to the KL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from policygrad._support.checks import Count, NotNegative, Positive, Unit
from policygrad._support.lookup import renamed
from policygrad.advantages.estimators import gae
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.recipe import Pass, Penalty, Recipe
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.steps import check_can_be_normalized
from policygrad.algorithms.with_recipe import WithRecipe
from policygrad.losses import LossFunction, clip, exp, maximum, minimum

Normalization = Literal["minibatch", "batch", "none"]
PENALTY = "kl_penalty"
"""Key of the adapted penalty weight in `LearnerState.adaptive_coefficients`."""


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
class PPO(WithRecipe):
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

    @property
    def recipe(self) -> Recipe:
        """Steps of each environment, then several epochs of minibatch steps of both networks."""
        one = Pass(
            "both",
            self.traced_loss,
            self.epochs,
            self.minibatch_size,
            self.normalize_advantages,
            estimate_again=self.recompute_advantages,
            max_kl=self.target_kl,
        )
        is_clipped = self.clip is not None and "clip" in self.traced_loss.coefficients
        penalty = Penalty(PENALTY, self.kl_penalty, self.kl_penalty_target) if self.kl_penalty > 0 else None
        return Recipe(
            gae(self.gamma, self.gae_lambda),
            (one,),
            self.gamma,
            linear(*self.schedule("learning_rate")),
            linear(*self.schedule("value_learning_rate")),
            self.max_grad_norm,
            horizon=self.horizon,
            penalty=penalty,
            clip=linear(*self.schedule("clip")) if is_clipped else None,
            kl_samples=None,
            counts_steps=True,
        )

    def check_update(self, steps: int, columns: int) -> None:
        """Raise ValueError if there would be a single advantage to normalize."""
        if self.normalize_advantages != "none":
            check_can_be_normalized(steps * columns, off="none")


__getattr__ = renamed(__name__, {"cotangents": "ppo_loss, which is differentiated automatically"})
