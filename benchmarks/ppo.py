"""PPO as an algorithm of one's own, for the benchmarks: what stable-baselines3's zoo runs on CartPole-v1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import policygrad as pg
from policygrad.advantages import generalized_advantages, normalize
from policygrad.algorithms.schedule import linear
from policygrad.types import Batch, Collector, Engine, Learning, Minibatches, Rollout, Sample


def first_cotangents(sample: Sample, coefficients: Any, w: Any, e: Any, c: Any) -> None:
    """Before the first step the ratio is 1, and nothing is clipped."""
    for i in range(len(w)):
        w[i] = -coefficients[0] * sample.advantage[i]
        e[i] = 0.0
        c[i] = coefficients[0] * (sample.value[i] - sample.target[i])


def cotangents(sample: Sample, coefficients: Any, w: Any, e: Any, c: Any) -> None:
    """Derivatives of −min(r A, clip(r) A) and ½ (V − G)²: Schulman et al. 2017, eq. 7. [1/B, ε]."""
    for i in range(len(w)):
        ratio = np.exp(sample.log_prob[i] - sample.old_log_prob[i])
        rising = sample.advantage[i] > 0
        clipped = ratio > 1 + coefficients[1] if rising else ratio < 1 - coefficients[1]
        w[i] = 0.0 if clipped else -coefficients[0] * ratio * sample.advantage[i]
        e[i] = 0.0
        c[i] = coefficients[0] * (sample.value[i] - sample.target[i])


@pg.register("zoo-ppo")
@dataclass(frozen=True, kw_only=True)
class ZooPPO:
    """8 × 32 steps, 20 epochs on all of them, rate and clip range falling to 0."""

    gamma: float = 0.98
    lam: float = 0.8
    horizon: int = 32
    epochs: int = 20
    learning_rate: float = 0.001
    clip: float = 0.2
    optimizer: str = "adam"
    uses_value: bool = True

    def collect(self, collector: Collector) -> Rollout:
        return collector.steps(self.horizon)

    def learn(self, engine: Engine, rollout: Rollout, learning: Learning) -> dict[str, float]:
        T, N, D = rollout.observation.shape
        progress = learning.progress
        flat = rollout.observation.reshape(T * N, D)
        value = engine.values(flat).astype(np.float64).reshape(T, N)
        following = engine.values(rollout.next_observation.reshape(T * N, D)).reshape(T, N).astype(np.float64)
        advantage = generalized_advantages(
            rollout.reward, value, following, rollout.terminated, rollout.done, self.gamma, self.lam
        )
        target = (advantage + value).reshape(-1).astype(np.float32)
        advantage = normalize(advantage.reshape(-1)).astype(np.float32)
        batch = Batch(flat, rollout.action.reshape(T * N, *rollout.action.shape[2:]), advantage, target)
        rate = linear(self.learning_rate, 0.0, progress)
        coefficients = np.array([1 / len(batch), linear(self.clip, 0.0, progress)], np.float32)
        options: dict[str, Any] = {"policy_rate": rate, "value_rate": rate, "max_grad_norm": 0.5}
        first = engine.update(batch, first_cotangents, coefficients, **options)
        again = Batch(flat, batch.action, advantage, target, old_log_prob=first.log_prob)
        rows = np.tile(np.arange(len(batch)), self.epochs - 1)
        steps = Minibatches(rows, np.arange(self.epochs) * len(batch))
        last = engine.update(again, cotangents, coefficients, **options, minibatches=steps)
        return {"entropy": float(last.entropy.mean()), "learning_rate": rate}
