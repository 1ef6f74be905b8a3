"""A step along eligibility traces, with any engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from policygrad.interfaces import AlongTraces, Engine, TracingEngine
from policygrad.losses import traced
from policygrad.types import F32, Batch


def log_policy(s: Any, _k: Any) -> Any:
    """Return I log π, whose gradient each step adds to the policy's trace."""
    return s.importance * s.log_prob


def critic(s: Any, _k: Any) -> Any:
    """Return V, whose gradient each step adds to the critic's trace."""
    return s.value


def entropy_bonus(s: Any, k: Any) -> Any:
    """Return −β H, whose gradient is applied without a trace."""
    return -k.entropy_coef * s.entropy


LOG_POLICY, CRITIC, ENTROPY_BONUS = traced(log_policy), traced(critic), traced(entropy_bonus)


def step_along_traces(engine: Engine, along: AlongTraces) -> tuple[float, float]:
    """Take the step, and return the norms of both gradients before clipping: see `AlongTraces`."""
    if isinstance(engine, TracingEngine):
        return engine.step_along_traces(along)
    batch, N = along.batch, along.num_envs
    along.outputs[:2] = engine.evaluate(batch.inputs, batch.action)
    directions = list(engine.gradient(batch, ENTROPY_BONUS, {"entropy_coef": along.entropy_coef}))
    for i, n in enumerate(along.env):
        gradients = _gradients(engine, along, i)
        for k, name in enumerate(("policy", "value")):
            trace = along.traces.setdefault(name, np.zeros((N, gradients[k].size), np.float32))
            trace[n] *= along.decays[k]
            trace[n] += gradients[k]
            directions[k] = directions[k] - trace[n] * np.float32(along.error[i] / len(batch))
            if along.over[i]:
                trace[n] = 0.0
    return engine.apply(directions[0], directions[1], along.step)


def _gradients(engine: Engine, along: AlongTraces, i: int) -> tuple[F32, F32]:
    """Return I ∇log π and ∇V of one sample, each for its own network."""
    batch, row = along.batch, slice(i, i + 1)
    importance = along.importance[row].astype(np.float32)
    sample = Batch(batch.inputs.rows(row), batch.action[row], {"importance": importance})
    # computed separately: if the networks share layers, neither gradient may enter the other's trace
    return engine.gradient(sample, LOG_POLICY, {})[0], engine.gradient(sample, CRITIC, {})[1]
