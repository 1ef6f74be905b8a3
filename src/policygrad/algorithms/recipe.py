"""Recipes: an algorithm as data, which says what is collected, estimated and optimized in each update.

`learning.learn` executes a recipe in Python, with either engine. Where everything is compiled, machine code executes
the same recipe for many updates per call, with bit-identical results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from policygrad.advantages import ROUNDING, Estimator
from policygrad.algorithms.diagnostics import MAX_KL_SAMPLES
from policygrad.algorithms.schedule import linear
from policygrad.interfaces import Networks
from policygrad.losses import Loss
from policygrad.types import LearnerState

FLOAT32_ROUNDING, FLOAT64_ROUNDING = (
    ROUNDING * float(np.finfo(kind).eps) for kind in (np.float32, np.float64)
)
"""Relative differences that rounding alone may cause."""

Normalization = Literal["none", "batch", "minibatch", "episodes"]


@dataclass(frozen=True)
class Traces:
    """Eligibility traces z ← γλz + ∇ of both networks, one for each environment (Sutton & Barto 2018, section 13.5)."""

    policy: float
    """Decay λ of the traces of ∇log π."""
    value: float
    """Decay λ of the traces of ∇V."""


@dataclass(frozen=True)
class Pass:
    """Optimizer steps on the samples of an update."""

    networks: Networks
    """The networks that take the steps."""
    loss: Loss
    """The loss that they minimize."""
    epochs: int = 1
    """Number of times that all samples are used."""
    minibatch_size: int | None = None
    """Approximate number of samples per step; None takes one step per epoch on all samples."""
    normalize: Normalization = "none"
    """What advantages are normalized over: all samples, each minibatch, or the episodes, which count once each."""
    estimate_again: bool = False
    """Evaluate V(s), and log π(a|s) if the estimator reads it, and estimate again before each epoch but the first."""
    max_kl: float | None = None
    """Limit on a minibatch's KL from the policy that acted, in nats. Once it is exceeded, the policy takes no more
    steps in this update, and V(s) continues. None is no limit."""
    traces: Traces | None = None
    """Step along the advantages times these traces, in addition to the loss. It requires `horizon=1`."""

    @property
    def steps_policy(self) -> bool:
        """True if the policy takes steps."""
        return self.networks != "value"

    @property
    def steps_value(self) -> bool:
        """True if V(s) takes steps."""
        return self.networks != "policy"

    @property
    def least_samples(self) -> int:
        """Smallest number of samples of a minibatch: two if it is normalized by itself."""
        return 2 if self.normalize == "minibatch" else 1


@dataclass(frozen=True)
class Penalty:
    """The weight of a penalty on the KL from the policy that acted, which adapts to the KL (PPO)."""

    coefficient: str
    """Name of the coefficient of the loss."""
    initial: float
    """Weight at the start of the run."""
    target: float | None
    """Target of the KL, in nats; None keeps the weight constant."""

    def weight(self, learner: LearnerState) -> float:
        """Return the current weight."""
        return learner.adaptive_coefficients.get(self.coefficient, self.initial)


@dataclass(frozen=True)
class Recipe:
    """What an algorithm does in each update. Exactly one of `episodes_per_env` and `horizon` is set."""

    estimator: Estimator
    """How advantages and targets of V(s) are computed."""
    passes: tuple[Pass, ...]
    """The optimizer steps, in order."""
    gamma: float
    """Discount factor γ."""
    policy_rate: linear
    """Learning rate of the policy over the run."""
    value_rate: linear
    """Learning rate of V(s) over the run."""
    max_grad_norm: float | None
    """Maximum L2 norm of each network's gradient; None does not clip."""
    episodes_per_env: int | None = None
    """Number of whole episodes that each environment runs per update."""
    horizon: int | None = None
    """Number of steps that each environment takes per update."""
    discount_weighting: bool = False
    """Multiply advantages, after normalization, by γ^t, where t counts from the start of the episode."""
    per_episode: bool = False
    """The coefficient `policy_scale` is the number of samples per episode of the update, rather than 1."""
    penalty: Penalty | None = None
    """A coefficient that adapts to the KL."""
    clip: linear | None = None
    """Clip range ε over the run, if the share of clipped samples is to be measured."""
    kl_samples: int | None = MAX_KL_SAMPLES
    """Maximum number of samples on which the change of the policy is measured; None is all."""
    counts_steps: bool = False
    """Log the number of steps that the policy took as `policy_steps`."""
    remembered: int | None = None
    """Number of recent samples that the explained variance covers, of which older ones fade; None is one update's."""

    @property
    def uses_value(self) -> bool:
        """True if V(s) is learned."""
        return any(one.steps_value for one in self.passes)

    @property
    def has_traces(self) -> bool:
        """True if a pass steps along eligibility traces."""
        return any(one.traces is not None for one in self.passes)

    def evaluates_policy_first(self, loss: Loss) -> bool:
        """Return True if log π(a|s) must be known before the first step, and not only before the second one."""
        first = next(one for one in self.passes if one.steps_policy)
        return "old_log_prob" in loss.columns or first.max_kl is not None or first.minibatch_size is not None

    @property
    def name_of_targets(self) -> str:
        """What messages call the targets of V(s)."""
        return "target of V(s)" if self.estimator.bootstrap == "everywhere" else "return"

    @property
    def relative_rounding(self) -> float:
        """Relative difference below which advantages count as equal. V(s) has the precision of float32."""
        return FLOAT32_ROUNDING if self.estimator.reads_value else FLOAT64_ROUNDING

    @property
    def early_pass(self) -> int | None:
        """Index of the pass whose first step may come first, which returns V(s) without a separate evaluation.

        It steps only V(s), with networks that share no parameters, toward targets that do not depend on V(s).
        """
        if self.estimator.bootstrap == "everywhere" or not self.estimator.reads_value:
            return None
        for i, one in enumerate(self.passes):
            alone = one.networks == "value" and one.minibatch_size is None
            if alone and set(one.loss.columns) <= {"target"}:
                return i
        return None
