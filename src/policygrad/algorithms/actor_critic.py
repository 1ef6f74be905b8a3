"""The actor-critic: a policy that learns at every step, from the judgment of a critic.

    δ_t = r_t + γ V(s_{t+1}) − V(s_t),    θ ← θ + α_θ δ_t z^θ,    w ← w + α_w δ_t z^w
    z^θ ← γ λ_θ z^θ + I_t ∇ log π_θ(a_t|s_t),    z^w ← γ λ_w z^w + ∇V_w(s_t)

Sutton & Barto 2018, section 13.5, boxes "One-step Actor-Critic" (both λ are 0) and "Actor-Critic with Eligibility
Traces (episodic)". There I_t is γ^t; here it is 1 unless `discount_weighting` is set. With several environments, each
has its own traces, and their updates are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from policygrad._support.checks import NotNegative, Positive, Unit
from policygrad._support.lookup import renamed
from policygrad.advantages import continue_discount_weights
from policygrad.advantages.estimators import gae
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.along_traces import ENTROPY_BONUS
from policygrad.algorithms.diagnostics import (
    MAX_KL_SAMPLES,
    log_prob_before,
    mean,
    policy_change_metrics,
    value_metrics,
)
from policygrad.algorithms.recipe import Pass, Recipe, Traces
from policygrad.algorithms.schedule import linear, scheduled
from policygrad.algorithms.steps import batch_of, flatten_valid_float32
from policygrad.algorithms.with_recipe import WithRecipe
from policygrad.interfaces import Collector, Engine, Step, Update
from policygrad.losses import LossFunction
from policygrad.types import F32, F64, Array, Batch, Inputs, LearnerState, Rollout

Critic = Literal["v", "q"]
REMEMBERED = 1_000
"""Number of recent samples that the explained variance covers; older ones fade. A single step has too few."""


def actor_critic_loss(s: Any, k: Any) -> Any:
    """Return −A log π − β H + ½ (V − G)²: Sutton & Barto 2018, section 13.5, with the entropy of Mnih et al. 2016.

    A is the TD error δ, or the advantage according to Q(s, a). G is r + γ V(s′).
    """
    return -s.advantage * s.log_prob - k.entropy_coef * s.entropy + (s.value - s.target) ** 2 / 2


@register("actor-critic")
@dataclass(frozen=True, kw_only=True)
class ActorCritic(WithRecipe):
    """Online actor-critic, which learns from each step of the environments as it happens."""

    loss: LossFunction = actor_critic_loss
    gamma: Unit = 0.99
    """Discount factor γ, in [0, 1]."""
    critic: Critic = "v"
    """`v`: the critic is V(s), and its TD error is the advantage.
    `q`: the critic is Q(s, a), for Discrete actions; its target is r + γ Σ_a π(a|s′) Q(s′, a).
    The advantage is then Q(s, a) − Σ_a π(a|s) Q(s, a)."""
    policy_trace: Unit = 0.0
    """Decay λ_θ of the policy's eligibility trace, in [0, 1]: how long actions get credit for later TD errors."""
    value_trace: Unit = 0.0
    """Decay λ_w of the critic's eligibility trace, in [0, 1]: how far back a TD error changes V(s)."""
    discount_weighting: bool = False
    """Multiply the gradient of step t by γ^t, as in the policy gradient theorem; late steps then count little."""
    optimizer: Optimizer = "adam"
    """Optimizer of both networks; `sgd` is that of Sutton & Barto."""
    learning_rate: Positive = 0.0005
    """Learning rate of the policy optimizer."""
    learning_rate_end: NotNegative | None = None
    """Learning rate of the policy at the end of the run (linear schedule); None keeps it constant."""
    value_learning_rate: Positive = 0.002
    """Learning rate of the critic, which should learn faster than the policy."""
    entropy_coef: NotNegative = 0.0
    """Weight β of the entropy bonus."""
    max_grad_norm: Positive | None = 0.5
    """Maximum L2 norm of each network's gradient; larger gradients are scaled down. None does not clip."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.has_own_loss and (self.policy_trace or self.value_trace):
            raise ValueError(
                "an update with eligibility traces is not the gradient of a per-sample loss: leave out policy_trace "
                "and value_trace, or your loss"
            )
        if self.critic == "q" and (self.policy_trace or self.value_trace):
            raise ValueError(
                "eligibility traces need critic='v': leave out policy_trace and value_trace, or set critic='v'"
            )

    @property
    def uses_value(self) -> bool:
        """Always True: the critic is learned."""
        return True

    @property
    def critic_sees_action(self) -> bool:
        """True if the critic is Q(s, a)."""
        return self.critic == "q"

    @property
    def learns_online(self) -> bool:
        """Always True: traces are carried from each step to the next."""
        return True

    @property
    def recipe(self) -> Recipe | None:
        """One step of each environment, then a step of both networks; None for Q(s, a)."""
        if self.critic == "q":
            return None
        step = Pass("both", self.traced_loss)
        if self.policy_trace or self.value_trace:
            step = Pass("both", ENTROPY_BONUS, traces=Traces(self.policy_trace, self.value_trace))
        return Recipe(
            # TD errors are advantages with λ = 0
            gae(self.gamma, 0.0),
            (step,),
            self.gamma,
            linear(*self.schedule("learning_rate")),
            linear(*self.schedule("value_learning_rate")),
            self.max_grad_norm,
            horizon=1,
            discount_weighting=self.discount_weighting,
            remembered=REMEMBERED,
        )

    def collect(self, collector: Collector) -> Rollout:
        """Collect one step of each environment."""
        return collector.steps(1)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Take one optimizer step of each network and return the metrics."""
        if self.recipe is not None:
            return super().learn(engine, rollout, learner)
        rate = scheduled(self.learning_rate, self.learning_rate_end, learner.progress)
        step = Step(rate, self.value_learning_rate, self.max_grad_norm)
        batch, value = self._judged_by_q(engine, rollout, self._importance(rollout, learner))
        batch = self.with_read_columns(engine, batch, old_value=value)
        coefficients = self.coefficient_values(learner.progress)
        before = log_prob_before(engine, batch)
        outputs = engine.update(Update(batch, self.traced_loss, coefficients, step))
        log_prob = outputs.log_prob if before is None else before
        moments = learner.traces.setdefault("moments", np.zeros((2, 3)))
        return {
            "learning_rate": rate,
            "entropy": mean(outputs.entropy),
            "policy_grad_norm": outputs.policy_grad_norm,
            "value_grad_norm": outputs.value_grad_norm,
            **self.loss_metric(outputs, coefficients),
            **value_metrics(value, batch.columns["target"], moments, REMEMBERED),
            **policy_change_metrics(engine, batch, log_prob, at_most=MAX_KL_SAMPLES),
        }

    def _importance(self, rollout: Rollout, learner: LearnerState) -> F64:
        """Return I_t [1, N] of this step, and prepare the next; it is 1 everywhere without `discount_weighting`."""
        N = rollout.valid.shape[1]
        importance = np.ones((1, N))
        if self.discount_weighting:
            weight = learner.traces.setdefault("importance", np.ones(N))
            continue_discount_weights(rollout.done, rollout.valid, self.gamma, weight, importance)
        return importance

    def _judged_by_q(self, engine: Engine, rollout: Rollout, importance: F64) -> tuple[Batch, F32]:
        """Return the samples with advantages and targets according to Q, and Q(s, a) [B]."""
        choices = engine.num_choices
        assert choices is not None, "make_value accepts Q(s, a) only with Discrete actions"
        shape = rollout.valid.shape
        probability, q = evaluate_all_actions(engine, rollout.observation, choices)
        v = (probability * q).sum(-1)
        later_probability, later_q = evaluate_all_actions(engine, rollout.next_observation, choices)
        later = (later_probability * later_q).sum(-1)
        chosen = np.take_along_axis(q, rollout.action.reshape(-1, 1), -1)[:, 0]
        target = rollout.reward + self.gamma * np.where(rollout.terminated, 0.0, later.reshape(shape))
        batch = batch_of(rollout, (chosen - v).reshape(shape) * importance, target, "the critic")
        seen = np.concatenate([batch.inputs.observation, np.eye(choices, dtype=np.float32)[batch.action]], 1)
        value = flatten_valid_float32(rollout, "Q(s, a)", chosen.reshape(shape))
        return replace(batch, inputs=replace(batch.inputs, critic_observation=seen)), value


def evaluate_all_actions(engine: Engine, observation: F32, choices: int) -> tuple[Array, Array]:
    """Return (π(a|s), Q(s, a)), each [B, choices] float64, for observations [T, N, D]."""
    x = np.repeat(observation.reshape(-1, observation.shape[-1]), choices, 0)
    action = np.tile(np.arange(choices), len(x) // choices)
    inputs = Inputs(x, critic_observation=np.concatenate([x, np.eye(choices, dtype=np.float32)[action]], 1))
    log_prob, _ = engine.evaluate(inputs, action)
    q = engine.values(inputs)
    shape = (-1, choices)
    return np.exp(log_prob.astype(np.float64)).reshape(shape), q.astype(np.float64).reshape(shape)


__getattr__ = renamed(__name__, {"cotangents": "actor_critic_loss, which is differentiated automatically"})
