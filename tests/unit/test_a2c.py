"""A2C: its estimators, the correction by V-trace, and what it reports about an update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.policies import kl_estimate
from policygrad.types import Inputs
from tests.helpers import (
    A2C_VARIANTS,
    HEADS,
    check_that_engines_agree,
    engine_on_copies,
    learner_state,
    networks,
    steps_for,
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("algorithm", A2C_VARIANTS.values(), ids=A2C_VARIANTS)
def test_engines_agree_after_20_updates(algorithm: Any, head: str):
    check_that_engines_agree(algorithm, head, steps_for, moved=1e-2)


@pytest.mark.parametrize("engine_name", ["fused", "autograd"])
def test_v_trace_corrects_by_the_ratio_of_the_current_policy_to_the_one_that_acted(engine_name: Any):
    """With λ = 0 the advantage is min(1, π_now/π_acted) δ, and the target of V(s) is V(s) plus the advantage."""
    policy, value = networks("categorical")
    engine, _ = engine_on_copies(policy, value, engine_name)
    rollout = steps_for(policy, 2)
    algorithm = pg.A2C(gamma=0.9, gae_lambda=0.0, estimator="v-trace", updates=2)
    x, action = rollout.observation[rollout.valid], rollout.action[rollout.valid]
    now, _ = engine.evaluate(Inputs(x), action)
    acted = now + np.random.default_rng(0).normal(0, 0.5, len(now)).astype(np.float32)
    log_ratio = np.zeros(rollout.valid.shape)
    log_ratio[rollout.valid] = now.astype(np.float64) - acted
    advantage, target = algorithm.recipe.estimator(
        rollout.reward, *engine.values_along(rollout), rollout.terminated, rollout.done, extra=log_ratio
    )
    with torch.no_grad():
        v, after = (
            value(torch.from_numpy(seen[rollout.valid])).numpy().astype(np.float64)
            for seen in (rollout.observation, rollout.next_observation)
        )
    over = rollout.terminated[rollout.valid]
    error = rollout.reward[rollout.valid] + 0.9 * np.where(over, 0, after) - v
    expected = np.minimum(1, np.exp(now.astype(np.float64) - acted)) * error
    np.testing.assert_allclose(advantage[rollout.valid], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(target[rollout.valid], v + expected, rtol=1e-4, atol=1e-5)
    assert np.abs(advantage[rollout.valid] - error).max() > 0.1


def test_several_updates_from_the_same_data_need_v_trace():
    with pytest.raises(ValueError, match="set estimator='v-trace', or use PPO"):
        pg.A2C(updates=2)


@pytest.mark.parametrize("settings", [{}, {"estimator": "v-trace", "updates": 3}], ids=["one", "three"])
def test_the_reported_kl_and_ratio_are_those_of_the_whole_update(settings: dict[str, Any]):
    algorithm = pg.A2C(learning_rate=0.01, **settings)
    policy, value = networks("categorical")
    engine, rollout = make_engine(policy, value, "rmsprop"), steps_for(policy, 0)
    x, action = rollout.observation[rollout.valid], rollout.action[rollout.valid]
    old, _ = engine.evaluate(Inputs(x), action)
    metrics = algorithm.learn(engine, rollout, learner_state())
    new, _ = engine.evaluate(Inputs(x), action)
    assert metrics["kl"] == pytest.approx(float(kl_estimate(new, old).mean()), rel=1e-6)
    assert metrics["largest_ratio"] == pytest.approx(float(np.exp(new - old).max()), rel=1e-5)
    assert metrics["kl"] > 0
