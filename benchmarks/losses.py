"""Measure the cost of losses: `python benchmarks/losses.py` derives and times the losses of all algorithms.

It also trains a variant of PPO and PPO itself in turns, with both engines.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from ours import zoo_ppo

import policygrad as pg
from policygrad.algorithms import ALGORITHMS
from policygrad.losses import clip, exp, minimum, traced

B = 4096
ROUNDS = 5


def variant(s: Any, k: Any) -> Any:
    """PPO with an asymmetric clip range."""
    ratio = exp(s.log_prob - s.old_log_prob)
    surrogate = minimum(ratio * s.advantage, clip(ratio, 1 - k.clip_low, 1 + k.clip_high) * s.advantage)
    value_loss = (s.value - s.target) ** 2 / 2
    return -surrogate - k.entropy_coef * s.entropy + k.value_coef * value_loss


def nanoseconds(algorithm: Any) -> tuple[float, float]:
    """Return the milliseconds to trace and differentiate a loss, and the nanoseconds per sample of its derivatives."""
    start = time.perf_counter()
    loss = traced(algorithm.loss)
    loss.source  # noqa: B018  # accessing it generates the code of the derivatives
    derived = time.perf_counter() - start
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(3, B)).astype(np.float32)
    columns = rng.normal(size=(len(loss.columns), B)).astype(np.float32)
    coefficients = dict.fromkeys(loss.coefficients, 0.2)
    loss.differentiated(outputs, columns, coefficients)
    seconds = []
    for _ in range(300):
        start = time.perf_counter()
        loss.differentiated(outputs, columns, coefficients)
        seconds.append(time.perf_counter() - start)
    return 1e3 * derived, 1e9 * min(seconds) / B


def speed(algorithm: Any, engine: Any, steps: int, seed: int) -> float:
    run = pg.train("CartPole-v1", algorithm, engine=engine, steps=steps, seed=seed, num_envs=8, select=False)
    return run.steps / run.seconds


if __name__ == "__main__":
    for name, kind in ALGORITHMS.items():
        derived, each = nanoseconds(kind())
        print(f"{name:13} derived in {derived:5.2f} ms, {each:5.2f} ns per sample")
    ppo = zoo_ppo()
    settings: dict[str, Any] = {"loss": variant, "coefficients": {"clip_low": 0.2, "clip_high": 0.28}}
    kept = {
        f: getattr(ppo, f)
        for f in ("gamma", "gae_lambda", "horizon", "epochs", "minibatch_size", "learning_rate")
    }
    builtin, own = pg.PPO(**kept), pg.PPO(**kept, **settings)
    for engine, steps in (("fused", 60_000), ("autograd", 4_000)):
        speed(own, engine, 500, 0)
        pairs = [(speed(builtin, engine, steps, i), speed(own, engine, steps, i)) for i in range(ROUNDS)]
        ratio = statistics.median(theirs / ours for ours, theirs in pairs)
        print(
            f"{engine:9} PPO {statistics.median(a for a, _ in pairs):9,.0f} steps/s, variant {ratio:.3f} times that"
        )
