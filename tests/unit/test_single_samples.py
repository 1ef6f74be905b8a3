"""Updates from a single sample or a single episode are either learned from or refused, and never ignored in silence."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.interfaces import Update
from tests.helpers import D, learner_state, networks, rollout_of

ONE: dict[str, Any] = {"num_envs": 1, "network": pg.Network(hidden=()), "seed": 0}
NORMALIZED = {
    "a2c": pg.A2C(horizon=1, normalize_advantages=True),
    "ppo": pg.PPO(horizon=1),
    "ppo, by the batch": pg.PPO(horizon=1, normalize_advantages="batch"),
    "trpo": pg.TRPO(horizon=1),
    "npg": pg.NaturalGradient(horizon=1),
}


class Bandit(gym.Env[Any, Any]):
    """Episodes of one step, in which action 1 pays 1 and action 0 pays 0, or every action pays `always`."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, always: float | None = None) -> None:
        self.always = always

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return np.ones(1, np.float32), {}

    def step(self, action: int):
        reward = float(action) if self.always is None else self.always
        return np.ones(1, np.float32), reward, True, False, {}


@pytest.mark.parametrize("algorithm", NORMALIZED.values(), ids=NORMALIZED)
def test_normalization_is_refused_if_every_update_has_a_single_sample(algorithm: Any):
    """Normalizing a single sample would always give an advantage of 0, so nothing would be learned."""
    with pytest.raises(ValueError, match=r"has only one: raise horizon or num_envs, or set normalize_adv"):
        pg.train(Bandit, algorithm, steps=100, progress=False, **ONE)
    off: Any = "none" if isinstance(algorithm, pg.PPO) else False
    pg.train(Bandit, replace(algorithm, normalize_advantages=off), steps=100, progress=False, **ONE)


SMALL: dict[str, Any] = {
    # every second row is a reset, so that each update has one sample
    "a2c": pg.A2C(horizon=2, normalize_advantages=True, learning_rate=0.03),
    "ppo": pg.PPO(horizon=2, learning_rate=0.03, epochs=2),
    "trpo": pg.TRPO(horizon=2),
    "npg": pg.NaturalGradient(horizon=2),
    "reinforce": pg.Reinforce(normalize_advantages=True),
}


@pytest.mark.parametrize("algorithm", SMALL.values(), ids=SMALL)
def test_an_update_that_happens_to_have_one_sample_is_learned_from(algorithm: Any):
    run = pg.train(Bandit, algorithm, steps=600, progress=False, **ONE)
    # guessing has a mean return of 0.5
    assert np.mean(run.episode_returns[-100:]) > 0.8


@pytest.mark.parametrize("B", [2, 3, 7])
def test_no_minibatch_of_ppo_has_a_single_sample(B: int, monkeypatch: pytest.MonkeyPatch):
    """Three samples in minibatches of two would leave one alone, with an advantage of 0."""
    policy, value = networks("categorical")
    engine, seen = make_engine(policy, value, "adam", "fused"), list[Any]()
    update = engine.update

    def spy(asked: Update) -> Any:
        sizes = np.array([B]) if asked.minibatches is None else np.diff(asked.minibatches.bounds)
        seen.append((asked.batch.columns["advantage"], sizes))
        return update(asked)

    monkeypatch.setattr(engine, "update", spy)
    rollout = rollout_of([list(np.random.default_rng(B).standard_normal(B))], observation_size=D)
    pg.PPO(minibatch_size=2, epochs=2).learn(engine, rollout, learner_state())
    for advantage, sizes in seen:
        assert (sizes >= 2).all()
        assert sizes.sum() % B == 0
        assert (advantage != 0).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"baseline": "time"},
        {"baseline": "mean", "returns": "episode"},
        {"baseline": "optimal", "returns": "episode"},
        {"baseline": "none", "returns": "episode"},
    ],
    ids=str,
)
def test_one_episode_is_not_compared_with_itself(settings: dict[str, Any]):
    algorithm = pg.Reinforce(**settings)
    options: dict[str, Any] = ONE | {"steps": 100, "progress": False}
    with pytest.raises(ValueError, match=r"has only one, so every advantage would be 0\. Raise num_envs or"):
        pg.train("CartPole-v1", algorithm, **options)
    two = pg.train("CartPole-v1", replace(algorithm, episodes_per_env=2), **options)
    assert two.history["policy_grad_norm"].max() > 0


@pytest.mark.parametrize(
    "settings",
    [{"baseline": "none", "returns": "episode", "normalize_advantages": False}, {"returns": "episode"}],
)
def test_one_episode_is_compared_with_earlier_knowledge(settings: dict[str, Any]):
    run = pg.train("CartPole-v1", pg.Reinforce(**settings), steps=100, progress=False, **ONE)
    assert (run.history["policy_grad_norm"] > 0).all()


def test_a_run_whose_gradients_are_all_0_says_why(capsys: pytest.CaptureFixture[str]):
    for always, reported in ((0.0, True), (None, False)):
        pg.train(partial(Bandit, always), pg.Reinforce(baseline="mean"), steps=200, progress=True, num_envs=4)
        # that all rewards are equal explains the gradients
        assert ("no reward that depends on the actions was seen" in capsys.readouterr().err) == reported
