"""How A2C and PPO take samples, advantages and targets from T × N steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import policygrad as pg
from policygrad.engines import make_engine
from tests.helpers import (
    D,
    engine_on_copies,
    learner_state,
    networks,
    parameters,
    rollout_of,
    steps_for,
    with_observations,
)


def test_reset_rows_are_not_learned_from():
    """Rows in which NEXT_STEP autoreset only resets must enter neither the loss nor advantage normalization."""
    policy, value = networks("categorical")
    rollout = steps_for(policy, seed=4)
    poisoned = with_observations(
        replace(rollout, reward=np.where(rollout.valid, rollout.reward, 1e6)),
        np.where(rollout.valid[..., None], rollout.observation, np.float32(50)),
        rollout.next_observation,
    )
    for algorithm in (pg.PPO(epochs=2), pg.A2C(), pg.A2C(estimator="v-trace", updates=2)):
        engines = [engine_on_copies(policy, value, "fused")[0] for _ in range(2)]
        metrics = [
            algorithm.learn(engine, steps, learner_state())
            for engine, steps in zip(engines, (rollout, poisoned), strict=True)
        ]
        np.testing.assert_array_equal(parameters(engines[0]), parameters(engines[1]))
        assert metrics[0] == metrics[1]


def test_gae_with_lambda_1_on_whole_episodes_equals_reinforce_with_a_value_baseline():
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", "fused")
    rollout = rollout_of([[1.0, 2.0, 3.0], [5.0], [1.0, -1.0]], observation_size=D)
    reinforce = pg.Reinforce(gamma=0.9, normalize_advantages=False).batch(rollout, engine)
    ppo = pg.PPO(gamma=0.9, gae_lambda=1.0).batch(rollout, engine)
    for name in ("advantage", "target"):
        np.testing.assert_allclose(ppo.columns[name], reinforce.columns[name], rtol=1e-5, atol=1e-6)
