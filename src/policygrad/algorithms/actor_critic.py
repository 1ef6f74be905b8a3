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

from policygrad.advantages import td_errors
from policygrad.algorithms.algorithm import FixedLoss, Optimizer, register
from policygrad.algorithms.diagnostics import ENOUGH, distance, log_prob_before, value_metrics
from policygrad.algorithms.reinforce import cotangents
from policygrad.algorithms.schedule import linear
from policygrad.algorithms.steps import as_learned, samples, values_along
from policygrad.checks import check_fields
from policygrad.interfaces import Collector, Engine
from policygrad.types import F32, F64, Array, Batch, Learning, Rollout, Sample

Critic = Literal["v", "q"]
REMEMBERED = 1_000
"""Samples that the explained variance is of: a single step's have hardly a variance. Older ones fade."""


@register("actor-critic")
@dataclass(frozen=True, kw_only=True)
class ActorCritic(FixedLoss):
    """One-step actor-critic, online: an update from each step of the environments."""

    gamma: float = 0.99
    """Discount γ, in [0, 1]."""
    critic: Critic = "v"
    """`v`: V(s), and the TD error is the advantage. `q`: Q(s, a) of Discrete actions, learned towards
    r + γ Σ_a π(a|s′) Q(s′, a); the advantage is Q(s, a) − Σ_a π(a|s) Q(s, a)."""
    policy_trace: float = 0.0
    """λ_θ, in [0, 1]: how long an action is held to account for what comes later."""
    value_trace: float = 0.0
    """λ_w, in [0, 1]: how far back a surprise is felt."""
    discount_weighting: bool = False
    """Multiply a step's gradient by γ^t, as the theorem has it; late steps then have little say."""
    optimizer: Optimizer = "adam"
    """For both networks; `sgd` is the book's."""
    learning_rate: float = 0.0005
    """Of the policy."""
    learning_rate_end: float | None = None
    """Where it ends, linearly over the run; None keeps it constant."""
    value_learning_rate: float = 0.002
    """Of the critic, which should be ahead of the policy."""
    entropy_coef: float = 0.0
    """Weight β of the entropy bonus."""
    max_grad_norm: float | None = 0.5
    """Each network's gradient is scaled down to this L2 norm; None leaves it."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            choices={"critic": Critic, "optimizer": Optimizer},
            unit=("gamma", "policy_trace", "value_trace"),
            positive=("learning_rate", "value_learning_rate", "max_grad_norm"),
            not_negative=("learning_rate_end", "entropy_coef"),
            optional=("learning_rate_end", "max_grad_norm"),
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

    def learn(self, engine: Engine, rollout: Rollout, learning: Learning) -> dict[str, float]:
        """One optimiser step of each network; returns the metrics."""
        rate = linear(self.learning_rate, self.learning_rate_end, learning.progress)
        options: dict[str, Any] = {
            "policy_rate": rate,
            "value_rate": self.value_learning_rate,
            "max_grad_norm": self.max_grad_norm,
        }
        importance = self._importance(rollout, learning)
        error: F64 | None = None
        if self.critic == "q":
            batch, value = self._judged_by_q(engine, rollout, importance)
        else:
            along, next_value = values_along(engine, rollout)
            error = td_errors(rollout.reward, along, next_value, rollout.terminated, self.gamma)
            batch = _batch(rollout, error * importance, along + error)
            value = as_learned(rollout, "V(s)", along)
        if error is not None and (self.policy_trace or self.value_trace):
            log_prob, entropy = engine.evaluate(batch.observation, batch.action)
            norms = self._along_traces(engine, rollout, batch, error, importance, learning, options)
        else:
            scale = 1 / len(batch)
            coefficients = np.array([scale, self.entropy_coef * scale, scale], np.float32)
            before = log_prob_before(engine, batch)
            outputs = engine.update(batch, cotangents, coefficients, **options)
            log_prob, entropy = outputs.log_prob if before is None else before, outputs.entropy
            norms = outputs.policy_grad_norm, outputs.value_grad_norm
        moments = learning.traces.setdefault("moments", np.zeros((2, 3)))
        return {
            "learning_rate": rate,
            "entropy": float(entropy.mean(dtype=np.float64)),
            "policy_grad_norm": norms[0],
            "value_grad_norm": norms[1],
            **value_metrics(value, batch.target, moments, np.exp(-len(batch) / REMEMBERED)),
            **distance(engine, batch, log_prob, at_most=ENOUGH),
        }

    def _importance(self, rollout: Rollout, learning: Learning) -> F64:
        """I_t [1, N] of this step; 1 everywhere without `discount_weighting`."""
        N = rollout.valid.shape[1]
        weight = learning.traces.setdefault("importance", np.ones(N))
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
        learning: Learning,
        options: dict[str, Any],
    ) -> tuple[float, float]:
        """A step along each environment's traces, weighted by its TD error [1, N]."""
        N = rollout.valid.shape[1]
        weight = importance[rollout.valid]
        directions = list(
            engine.gradient(batch, cotangents, np.array([0, self.entropy_coef / len(batch), 0], np.float32))
        )
        for i, n in enumerate(np.flatnonzero(rollout.valid[0])):
            one = Batch(
                batch.observation[i : i + 1],
                batch.action[i : i + 1],
                batch.advantage[i : i + 1],
                batch.target[i : i + 1],
            )
            # apart: where the two share layers neither is to be in the other's trace
            gradients = (
                engine.gradient(one, plain_gradients, np.array([weight[i], 0.0], np.float32))[0],
                engine.gradient(one, plain_gradients, np.array([0.0, 1.0], np.float32))[1],
            )
            for k, (name, decay) in enumerate((("policy", self.policy_trace), ("value", self.value_trace))):
                trace = learning.traces.setdefault(name, np.zeros((N, gradients[k].size), np.float32))
                trace[n] *= self.gamma * decay
                trace[n] += gradients[k]
                directions[k] = directions[k] - trace[n] * np.float32(error[0, n] / len(batch))
                if rollout.done[0, n]:
                    trace[n] = 0.0
        return engine.apply(directions[0], directions[1], **options)

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
        batch = _batch(rollout, (chosen - v).reshape(shape) * importance, target)
        seen = np.concatenate([batch.observation, np.eye(choices, dtype=np.float32)[batch.action]], 1)
        value = as_learned(rollout, "Q(s, a)", chosen.reshape(shape))
        return replace(batch, critic_observation=seen), value


def plain_gradients(sample: Sample, coefficients: F32, w: F32, e: F32, c: F32) -> None:
    """Of I log π(a|s) + ν V(s), as they are: `coefficients` is [I, ν]."""
    for i in range(len(w)):
        w[i] = coefficients[0]
        e[i] = 0.0
        c[i] = coefficients[1]


def _batch(rollout: Rollout, advantage: F64, target: F64) -> Batch:
    return Batch(
        samples(rollout, rollout.observation),
        samples(rollout, rollout.action),
        as_learned(rollout, "advantage", advantage),
        as_learned(rollout, "target of the critic", target),
    )


def _of_all_actions(engine: Engine, observation: F32, choices: int) -> tuple[Array, Array]:
    """(π(a|s), Q(s, a)), each [B, choices] float64, of observations [T, N, D]."""
    x = np.repeat(observation.reshape(-1, observation.shape[-1]), choices, 0)
    action = np.tile(np.arange(choices), len(x) // choices)
    log_prob, _ = engine.evaluate(x, action)
    q = engine.values(np.concatenate([x, np.eye(choices, dtype=np.float32)[action]], 1))
    shape = (-1, choices)
    return np.exp(log_prob.astype(np.float64)).reshape(shape), q.astype(np.float64).reshape(shape)
