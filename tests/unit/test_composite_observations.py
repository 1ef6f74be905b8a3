"""Observations that are dicts or tuples are flattened, in the order of the space."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.envs import make
from policygrad.spaces import observation_size, observed_part, space_from_json, space_to_json
from tests.helpers import Countdown

MISSION = spaces.Text(10)
NESTED = spaces.Dict(
    {
        "position": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "mission": MISSION,
        "action_mask": spaces.MultiBinary(2),
        "camera": spaces.Box(0, 255, (64, 64, 3), np.uint8),
        "grid": spaces.Box(0, 10, (2, 2), np.uint8),
        "inner": spaces.Dict(
            {"facing": spaces.Discrete(3), "pair": spaces.Tuple([spaces.Discrete(2), MISSION])}
        ),
    }
)


def observation_at(t: int) -> dict[str, Any]:
    return {
        "position": np.array([t, -t], np.float32),
        "mission": "go",
        "action_mask": np.ones(2, np.int8),
        "camera": np.zeros((64, 64, 3), np.uint8),
        "grid": np.full((2, 2), t, np.uint8),
        "inner": {"facing": t % 3, "pair": (t % 2, "go")},
    }


def flat_at(t: int) -> list[float]:
    """Return the numbers in the sorted order of the keys: grid, inner.facing, inner.pair.0, position."""
    return [*[t] * 4, *np.eye(3)[t % 3], *np.eye(2)[t % 2], t, -t]


class Nested(gym.Env):
    observation_space = NESTED
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self.t = 0

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return observation_at(0), {"info": "of any type"}

    def step(self, action: int):
        self.t += 1
        # the types in the info change from step to step
        info = [{"x": 1}, {"x": None}, {"x": [1, 2, 3]}, {"x": np.zeros(self.t)}, {"x": {"y": "z"}}][
            self.t % 5
        ]
        return observation_at(self.t), 1.0, self.t == 4, False, info


def test_unsupported_parts_of_an_observation_are_left_out():
    seen, left_out = observed_part(NESTED)
    assert left_out == [
        "action_mask (action masks are not applied)",
        "camera (an unsupported image of shape (64, 64, 3))",
        "inner.pair.1 (Text is not numeric)",
        "mission (Text is not numeric)",
    ]
    assert observation_size(seen) == 4 + 3 + 2 + 2
    assert space_from_json(space_to_json(seen)) == seen
    # a tuple of which no part is left out stays a tuple
    pair = spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2,))])
    assert observed_part(pair) == (pair, [])
    assert space_from_json(space_to_json(pair)) == pair
    with pytest.raises(ValueError, match=r"no entry that networks can use: mission \(Text is not numeric\)"):
        observed_part(spaces.Dict({"mission": MISSION}))


@pytest.mark.parametrize("kind", ["factory", "vector", "same-step", "disabled"])
def test_factories_and_vector_environments_show_the_same_observations(kind: str):
    modes = {"same-step": AutoresetMode.SAME_STEP, "disabled": AutoresetMode.DISABLED}
    messages: list[str] = []
    env: Any = Nested
    if kind != "factory":
        # Gymnasium's vector environments cannot merge such infos, so there are none
        class Plain(Nested):
            def step(self, action: int):
                return *super().step(action)[:4], {}

        env = SyncVectorEnv([Plain] * 2, autoreset_mode=modes.get(kind, AutoresetMode.NEXT_STEP))
    environments = make(env, 2, vectorize="sync", say=messages.append)
    shown = [environments.reset(EpisodeSeeds(np.random.default_rng(0)))]
    for _ in range(4):
        observation, reward, terminated, truncated = environments.step(np.zeros(2, np.int64))
        shown.append(observation)
        assert reward.tolist() == [1.0, 1.0]
        assert not truncated.any()
    assert terminated.all()
    np.testing.assert_array_equal(np.array(shown), [[flat_at(t)] * 2 for t in range(5)])
    assert sum("ignore these entries of the observation: action_mask" in line for line in messages) == 1
    environments.close()


def test_a_policy_acts_on_unflattened_observations(tmp_path: Any):
    run = pg.train(Nested, pg.PPO(horizon=8, epochs=1), steps=64, num_envs=2, out=tmp_path / "run")
    policy = pg.load(tmp_path / "run")
    env = Nested()
    observation, _ = env.reset()
    assert policy.act(observation, greedy=True) in (0, 1)
    batch = {
        "position": np.zeros((3, 2), np.float32),
        "grid": np.zeros((3, 2, 2), np.uint8),
        "inner": {"facing": np.zeros(3, np.int64), "pair": {"0": np.zeros(3, np.int64)}},
    }
    assert policy.act(batch, greedy=True).shape == (3,)
    encoded, single = policy.encode_checked(observation_at(3))
    assert single
    assert encoded[0].tolist() == flat_at(3)
    assert pg.evaluate(policy, Nested, episodes=3).lengths.tolist() == [4, 4, 4]
    with pytest.raises(ValueError, match="is not one of Dict"):
        policy.act({"position": np.zeros(2)})
    assert run.steps == 64


def test_all_parts_of_an_observation_are_normalized():
    run = pg.train(
        Nested,
        pg.PPO(horizon=10, epochs=1),
        steps=100,
        num_envs=2,
        vectorize="sync",
        normalization=pg.Normalization(normalize_observations=True),
    )
    moments = run.last_policy.observation_moments
    assert moments is not None
    # the observations that were acted on are 0, 1, 2, 3 in every episode
    assert moments.mean[0] == 1.5
    assert float(moments.count) == run.steps


def test_tuple_observations_are_trained_on():
    run = pg.train("Blackjack-v1", pg.Reinforce(), steps=200)
    observation, _ = gym.make("Blackjack-v1").reset(seed=0)
    assert run.policy.act(observation) in (0, 1)


def test_keys_may_be_numbers():
    class Numbered(Countdown):
        observation_space = spaces.Dict({1: spaces.Discrete(2), 2: spaces.Box(0, 9, (1,))})  # type: ignore[assignment, dict-item]

        def _observation(self) -> Any:
            return {2: np.array([self.t], np.float32), 1: self.t % 2}

    environments = make(lambda: Numbered([4]), 1, vectorize="sync")
    assert environments.reset(EpisodeSeeds(np.random.default_rng(0))).tolist() == [[1, 0, 0]]
    assert environments.step(np.zeros(1, np.int64))[0].tolist() == [[0, 1, 1]]
    policy = pg.train(lambda: Numbered([4]), pg.Reinforce(), steps=40).policy
    assert policy.act({1: 0, 2: [3.0]}) in (0, 1)


def test_an_agent_accepts_dicts():
    agent = pg.Agent(
        NESTED, spaces.Discrete(2), pg.Reinforce(baseline="none", normalize_advantages=False), seed=0
    )
    for t in range(3):
        assert agent.act(observation_at(t)) in (0, 1)
        agent.observe(1.0, observation_at(t + 1), terminated=t == 2)
    assert agent.update()["policy_grad_norm"] > 0


def test_too_many_states_are_refused_with_the_memory_they_would_need():
    class Many(Countdown):
        observation_space = spaces.Discrete(100_000)  # type: ignore[assignment]

    with pytest.raises(
        ValueError, match=r"encoded one-hot as 100,000 numbers.*819 MB.*102 MB.*At most 10,000 states"
    ):
        pg.train(lambda: Many([3]), pg.Reinforce(), steps=10)
