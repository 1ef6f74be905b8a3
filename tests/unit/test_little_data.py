"""Updates from a single sample or a single episode: they are learned from, or refused, and never silently neither."""

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
from policygrad.types import LearnerState
from tests.conftest import rollout_of
from tests.unit.test_engines import D, networks

ONE: dict[str, Any] = {"num_envs": 1, "network": pg.Network(hidden=()), "seed": 0}
NORMALIZED = {
    "a2c": pg.A2C(horizon=1, normalize_advantages=True),
    "ppo": pg.PPO(horizon=1),
    "ppo, by the batch": pg.PPO(horizon=1, normalize_advantages="batch"),
    "trpo": pg.TRPO(horizon=1),
    "npg": pg.NaturalGradient(horizon=1),
}


class Bandit(gym.Env[Any, Any]):
    """Episodes of one step, in which action 1 pays 1 and the other nothing; or `always` so much."""

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
def test_what_always_is_a_single_sample_cannot_be_normalised(algorithm: Any):  # bug 8
    with pytest.raises(
        ValueError, match=r"of which there is one: raise horizon or num_envs, or set normalize_adv"
    ):
        pg.train(Bandit, algorithm, steps=100, progress=False, **ONE)
    off: Any = "none" if isinstance(algorithm, pg.PPO) else False
    pg.train(Bandit, replace(algorithm, normalize_advantages=off), steps=100, progress=False, **ONE)


SMALL: dict[str, Any] = {
    # every second row only resets, so that an update is of one sample
    "a2c": pg.A2C(horizon=2, normalize_advantages=True, learning_rate=0.03),
    "ppo": pg.PPO(horizon=2, learning_rate=0.03, epochs=2),
    "trpo": pg.TRPO(horizon=2),
    "npg": pg.NaturalGradient(horizon=2),
    "reinforce": pg.Reinforce(normalize_advantages=True),
}


@pytest.mark.parametrize("algorithm", SMALL.values(), ids=SMALL)
def test_a_sample_that_happens_to_be_alone_is_learned_from(algorithm: Any):
    run = pg.train(Bandit, algorithm, steps=600, progress=False, **ONE)
    # a mean return of 0.5 is what guessing brings
    assert np.mean(run.episode_returns[-100:]) > 0.8


@pytest.mark.parametrize("B", [2, 3, 7])
def test_no_minibatch_of_ppo_is_of_one_sample(B: int, monkeypatch: pytest.MonkeyPatch):
    """Three samples by twos would be parts of one and two, and that one's advantage nothing."""
    policy, value = networks("categorical")
    engine, seen = make_engine(policy, value, "adam", "fused"), list[Any]()
    update = engine.update

    def spy(asked: Update) -> Any:
        assert asked.minibatches is not None
        seen.append((asked.batch.columns["advantage"], np.diff(asked.minibatches.bounds)))
        return update(asked)

    monkeypatch.setattr(engine, "update", spy)
    rollout = rollout_of([list(np.random.default_rng(B).standard_normal(B))], D=D)
    pg.PPO(minibatch_size=2, epochs=2).learn(engine, rollout, LearnerState(np.random.default_rng(0)))
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
    with pytest.raises(
        ValueError, match=r"an update has one: every advantage would be 0\. Raise num_envs or"
    ):
        pg.train("CartPole-v1", algorithm, **options)
    two = pg.train("CartPole-v1", replace(algorithm, episodes_per_env=2), **options)
    assert two.history["policy_grad_norm"].max() > 0


@pytest.mark.parametrize(
    "settings",
    [{"baseline": "none", "returns": "episode", "normalize_advantages": False}, {"returns": "episode"}],
)
def test_one_episode_is_compared_with_what_is_known_of_others(settings: dict[str, Any]):
    run = pg.train("CartPole-v1", pg.Reinforce(**settings), steps=100, progress=False, **ONE)
    assert (run.history["policy_grad_norm"] > 0).all()


def test_a_run_in_which_nothing_was_to_be_learned_says_so(capsys: pytest.CaptureFixture[str]):
    for always, said in ((0.0, True), (None, False)):
        pg.train(partial(Bandit, always), pg.Reinforce(baseline="mean"), steps=200, progress=True, num_envs=4)
        assert ("the policy's gradient was 0 in every update" in capsys.readouterr().err) == said
