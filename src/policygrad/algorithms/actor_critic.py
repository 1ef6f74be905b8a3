"""The actor-critic: a policy that learns at each step from what a critic makes of it.

    δ_t = r_t + γ V(s_{t+1}) − V(s_t),    θ ← θ + α_θ δ_t z^θ,    w ← w + α_w δ_t z^w
    z^θ ← γ λ_θ z^θ + I_t ∇ log π_θ(a_t|s_t),    z^w ← γ λ_w z^w + ∇V_w(s_t)

Sutton & Barto 2018, section 13.5, boxes "One-step Actor-Critic" (both λ are 0) and "Actor-Critic with Eligibility
Traces (episodic)"; I_t is γ^t there, and 1 here unless asked for. With several environments each has its own
traces, and their steps are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from policygrad._support.checks import NotNegative, Positive, Unit
from policygrad._support.lookup import renamed
from policygrad.advantages import td_errors
from policygrad.algorithms.algorithm import Optimizer, register
from policygrad.algorithms.diagnostics import (
    MAX_KL_SAMPLES,
    log_prob_before,
    mean,
    policy_change_metrics,
    value_metrics,
)
from policygrad.algorithms.schedule import scheduled
from policygrad.algorithms.steps import batch_of, flatten_valid_float32
from policygrad.algorithms.with_loss import WithLoss
from policygrad.interfaces import Collector, Engine, Step, Update
from policygrad.losses import LossFunction, traced
from policygrad.types import F32, F64, Array, Batch, Inputs, LearnerState, Rollout

Critic = Literal["v", "q"]
REMEMBERED = 1_000
"""Samples that the explained variance is of: a single step's have hardly a variance. Older ones fade."""


def actor_critic_loss(s: Any, k: Any) -> Any:
    """Return −A log π − β H + ½ (V − G)²: Sutton & Barto 2018, section 13.5, with the entropy of Mnih et al. 2016.

    A is the TD error δ, or what Q(s, a) says; G is r + γ V(s′).
    """
    return -s.advantage * s.log_prob - k.entropy_coef * s.entropy + (s.value - s.target) ** 2 / 2


@register("actor-critic")
@dataclass(frozen=True, kw_only=True)
class ActorCritic(WithLoss):
    """One-step actor-critic, online: an update from each step of the environments."""

    loss: LossFunction = actor_critic_loss
    gamma: Unit = 0.99
    """Discount γ, in [0, 1]."""
    critic: Critic = "v"
    """`v`: V(s), and the TD error is the advantage. `q`: Q(s, a) of Discrete actions, learned towards
    r + γ Σ_a π(a|s′) Q(s′, a); the advantage is Q(s, a) − Σ_a π(a|s) Q(s, a)."""
    policy_trace: Unit = 0.0
    """λ_θ, in [0, 1]: how long an action is held to account for what comes later."""
    value_trace: Unit = 0.0
    """λ_w, in [0, 1]: how far back a surprise is felt."""
    discount_weighting: bool = False
    """Multiply a step's gradient by γ^t, as the theorem has it; late steps then have little say."""
    optimizer: Optimizer = "adam"
    """For both networks; `sgd` is the book's."""
    learning_rate: Positive = 0.0005
    """Of the policy."""
    learning_rate_end: NotNegative | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    value_learning_rate: Positive = 0.002
    """Of the critic, which should be ahead of the policy."""
    entropy_coef: NotNegative = 0.0
    """Weight β of the entropy bonus."""
    max_grad_norm: Positive | None = 0.5
    """Each network's gradient is scaled down to this L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.has_own_loss and (self.policy_trace or self.value_trace):
            raise ValueError(
                "with traces an update is not the gradient of a loss per sample: leave out policy_trace and "
                "value_trace, or the loss"
            )
        if self.critic == "q" and (self.policy_trace or self.value_trace):
            raise ValueError("traces are for critic='v': leave out policy_trace and value_trace, or the q")

    @property
    def uses_value(self) -> bool:
        """The critic."""
        return True

    @property
    def critic_sees_action(self) -> bool:
        """Q(s, a) does."""
        return self.critic == "q"

    @property
    def learns_online(self) -> bool:
        """It carries traces from each step to the next."""
        return True

    def collect(self, collector: Collector) -> Rollout:
        """One step of each environment."""
        return collector.steps(1)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """One optimiser step of each network; returns the metrics."""
        rate = scheduled(self.learning_rate, self.learning_rate_end, learner.progress)
        step = Step(rate, self.value_learning_rate, self.max_grad_norm)
        importance = self._importance(rollout, learner)
        error: F64 | None = None
        if self.critic == "q":
            batch, value = self._judged_by_q(engine, rollout, importance)
        else:
            along, next_value = engine.values_along(rollout)
            error = td_errors(rollout.reward, along, next_value, rollout.terminated, self.gamma)
            batch = batch_of(rollout, error * importance, along + error, "the critic")
            value = flatten_valid_float32(rollout, "V(s)", along)
        batch = self.with_read_columns(engine, batch, old_value=value)
        coefficients = self.coefficient_values(learner.progress)
        if error is not None and (self.policy_trace or self.value_trace):
            log_prob, entropy = engine.evaluate(batch.inputs, batch.action)
            metrics = dict[str, float]()
            norms = self._along_traces(engine, rollout, batch, error, importance, learner, step)
        else:
            before = log_prob_before(engine, batch)
            outputs = engine.update(Update(batch, self.traced_loss, coefficients, step))
            log_prob, entropy = outputs.log_prob if before is None else before, outputs.entropy
            norms = outputs.policy_grad_norm, outputs.value_grad_norm
            metrics = self.loss_metric(outputs, coefficients)
        moments = learner.traces.setdefault("moments", np.zeros((2, 3)))
        return {
            "learning_rate": rate,
            "entropy": mean(entropy),
            "policy_grad_norm": norms[0],
            "value_grad_norm": norms[1],
            **metrics,
            **value_metrics(value, batch.columns["target"], moments, np.exp(-len(batch) / REMEMBERED)),
            **policy_change_metrics(engine, batch, log_prob, at_most=MAX_KL_SAMPLES),
        }

    def _importance(self, rollout: Rollout, learner: LearnerState) -> F64:
        """I_t [1, N] of this step; 1 everywhere without `discount_weighting`."""
        N = rollout.valid.shape[1]
        weight = learner.traces.setdefault("importance", np.ones(N))
        now = weight[None].copy()
        if self.discount_weighting:
            weight *= np.where(rollout.valid[0], self.gamma, 1.0)
            weight[rollout.done[0]] = 1.0
        return now

    def _along_traces(
        self,
        engine: Engine,
        rollout: Rollout,
        batch: Batch,
        error: F64,
        importance: F64,
        learner: LearnerState,
        step: Step,
    ) -> tuple[float, float]:
        """A step along each environment's traces, weighted by its TD error [1, N]."""
        N = rollout.valid.shape[1]
        weight = importance[rollout.valid].astype(np.float32)
        directions = list(engine.gradient(batch, ENTROPY_BONUS, {"entropy_coef": self.entropy_coef}))
        for i, n in enumerate(np.flatnonzero(rollout.valid[0])):
            row = slice(i, i + 1)
            one = Batch(batch.inputs.rows(row), batch.action[row], {"importance": weight[row]})
            # apart: where the two share layers neither is to be in the other's trace
            gradients = engine.gradient(one, LOG_POLICY, {})[0], engine.gradient(one, CRITIC, {})[1]
            for k, (name, decay) in enumerate((("policy", self.policy_trace), ("value", self.value_trace))):
                trace = learner.traces.setdefault(name, np.zeros((N, gradients[k].size), np.float32))
                trace[n] *= self.gamma * decay
                trace[n] += gradients[k]
                directions[k] = directions[k] - trace[n] * np.float32(error[0, n] / len(batch))
                if rollout.done[0, n]:
                    trace[n] = 0.0
        return engine.apply(directions[0], directions[1], step)

    def _judged_by_q(self, engine: Engine, rollout: Rollout, importance: F64) -> tuple[Batch, F32]:
        """The samples with Q's opinion of them, and Q(s, a) [B]."""
        choices = engine.num_choices
        assert choices is not None, "make_value has looked at this"
        shape = rollout.valid.shape
        probability, q = _of_all_actions(engine, rollout.observation, choices)
        v = (probability * q).sum(-1)
        later_probability, later_q = _of_all_actions(engine, rollout.next_observation, choices)
        later = (later_probability * later_q).sum(-1)
        chosen = np.take_along_axis(q, rollout.action.reshape(-1, 1), -1)[:, 0]
        target = rollout.reward + self.gamma * np.where(rollout.terminated, 0.0, later.reshape(shape))
        batch = batch_of(rollout, (chosen - v).reshape(shape) * importance, target, "the critic")
        seen = np.concatenate([batch.inputs.observation, np.eye(choices, dtype=np.float32)[batch.action]], 1)
        value = flatten_valid_float32(rollout, "Q(s, a)", chosen.reshape(shape))
        return replace(batch, inputs=replace(batch.inputs, critic_observation=seen)), value


def log_policy(s: Any, _k: Any) -> Any:
    """Return I log π, whose gradient is what a step adds to the policy's trace."""
    return s.importance * s.log_prob


def critic(s: Any, _k: Any) -> Any:
    """Return V, whose gradient is what a step adds to the critic's trace."""
    return s.value


def entropy_bonus(s: Any, k: Any) -> Any:
    """Return −β H, which has no trace."""
    return -k.entropy_coef * s.entropy


LOG_POLICY, CRITIC, ENTROPY_BONUS = traced(log_policy), traced(critic), traced(entropy_bonus)


def _of_all_actions(engine: Engine, observation: F32, choices: int) -> tuple[Array, Array]:
    """(π(a|s), Q(s, a)), each [B, choices] float64, of observations [T, N, D]."""
    x = np.repeat(observation.reshape(-1, observation.shape[-1]), choices, 0)
    action = np.tile(np.arange(choices), len(x) // choices)
    inputs = Inputs(x, critic_observation=np.concatenate([x, np.eye(choices, dtype=np.float32)[action]], 1))
    log_prob, _ = engine.evaluate(inputs, action)
    q = engine.values(inputs)
    shape = (-1, choices)
    return np.exp(log_prob.astype(np.float64)).reshape(shape), q.astype(np.float64).reshape(shape)


__getattr__ = renamed(__name__, {"cotangents": "actor_critic_loss, whose derivatives are derived"})
