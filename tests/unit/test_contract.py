"""Environments that violate the interface of Gymnasium: each violation is named at the first steps."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.envs import make
from policygrad.envs.contract import as_flag, as_reward
from tests.helpers import Countdown


def with_step(result: Any) -> Any:
    """Return a factory of an environment whose step returns this."""

    class Odd(Countdown):
        def step(self, action: int):
            return result

    return lambda: Odd([3])


def with_reset(result: Any) -> Any:
    class Odd(Countdown):
        def reset(self, *, seed: int | None = None, options: Any = None):
            return result

    return lambda: Odd([3])


ZEROS = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            with_reset(ZEROS),
            r"Countdown|Odd: reset returned an array of shape \(2,\).*expected \(observation, dict\)",
        ),
        (with_reset(None), r"Odd: reset returned None; expected \(observation, dict\)"),
        (with_reset((None, {})), r"Odd: reset: the observation is None; expected numbers in Box"),
        (
            with_reset((np.zeros(3), {})),
            r"the observation has shape \(3,\); expected \(2,\), the shape of its space Box",
        ),
        (with_step(None), r"Odd: step 1 of an episode returned None; expected \(observation, reward"),
        (
            with_step((ZEROS, 0.0, False, {})),
            r"step 1 of an episode returned a tuple of 4 .*before Gym 0\.26",
        ),
        (with_step((ZEROS, None, False, False, {})), "the reward is None; expected a number"),
        (with_step((ZEROS, "1", False, False, {})), r"the reward is '1'; expected a number"),
        (with_step((ZEROS, np.ones(3), False, False, {})), "which has 3 elements.*LinearReward"),
        (
            with_step((ZEROS, 0.0, [False], False, {})),
            r"terminated is \[False\], of type list; expected True or False",
        ),
        (
            with_step((ZEROS, 0.0, False, "False", {})),
            r"truncated is 'False', of type str; expected True or False",
        ),
        (with_step((ZEROS, 0.0, 0, False, {})), "terminated is 0, of type int; expected True or False"),
        (with_step((None, 0.0, False, False, {})), "Odd: step 1 of an episode: the observation is None"),
        (
            with_step((np.zeros(2, complex), 0.0, False, False, {})),
            "has dtype complex128, which cannot be converted to float32",
        ),
    ],
)
def test_a_violation_is_named(env: Any, message: str):
    with pytest.raises(pg.EnvironmentFault, match=message):
        pg.train(env, pg.Reinforce(), steps=10, num_envs=1)


def test_a_float_observation_of_a_discrete_space_is_refused():
    class Odd(Countdown):
        observation_space = spaces.Discrete(3)  # type: ignore[assignment]

        def _observation(self) -> Any:
            return np.float32(1.5)

    with pytest.raises(
        pg.EnvironmentFault, match=r"has dtype float32, which cannot be converted.*Discrete\(3\)"
    ):
        pg.train(lambda: Odd([3]), pg.Reinforce(), steps=10)


def test_reset_must_accept_a_seed():
    class Old(Countdown):
        def reset(self):  # type: ignore[override]
            return ZEROS, {}

    with pytest.raises(
        pg.EnvironmentFault, match="Old: reset does not accept options and seed; declare it as reset"
    ):
        pg.train(lambda: Old([3]), pg.Reinforce(), steps=10)


def test_an_environment_must_have_spaces():
    class Bare(gym.Env):
        pass

    with pytest.raises(
        pg.EnvironmentFault, match=r"Bare: observation_space is None; expected a gymnasium\.spaces"
    ):
        pg.train(Bare, pg.Reinforce(), steps=10)


def test_nan_names_the_environment_and_the_step():
    with pytest.raises(pg.NonFiniteError, match=r"Odd: the observation of environment 0 at step 1 has a NaN"):
        pg.train(with_step((np.full(2, np.nan), 0.0, False, False, {})), pg.Reinforce(), steps=10, num_envs=1)
    with pytest.raises(pg.NonFiniteError, match="Odd: the reward of environment 0 at step 0 is nan"):
        pg.train(with_step((ZEROS, np.nan, True, False, {})), pg.Reinforce(), steps=10, num_envs=1)


@pytest.mark.parametrize("reward", [2, 2.0, np.float32(2), np.int8(2), np.array(2.0), np.array([2.0]), [2.0]])
def test_anything_that_is_one_number_is_a_reward(reward: Any):
    value = as_reward(reward, "here")
    assert value == 2.0
    assert type(value) is float


def test_true_is_a_reward_of_one():
    assert as_reward(True, "here") == 1.0


@pytest.mark.parametrize("flag", [True, np.True_, np.array(True)])
def test_anything_that_is_one_bool_is_a_flag(flag: Any):
    assert as_flag(flag, "terminated", "here") is True


@pytest.mark.parametrize("flag", [[True], "True", 1, 1.0, None, np.array([True]), np.int64(1)])
def test_anything_else_is_not_a_flag(flag: Any):
    with pytest.raises(pg.EnvironmentFault, match=r"here: truncated is .*expected True or False"):
        as_flag(flag, "truncated", "here")


def test_an_agent_checks_rewards_and_flags_too():
    agent = pg.Agent(spaces.Discrete(2), spaces.Discrete(2), seed=0)
    agent.act(0)
    with pytest.raises(pg.EnvironmentFault, match=r"observe: terminated is \[False\], of type list"):
        agent.observe(1.0, 1, terminated=[False])  # type: ignore[arg-type]
    with pytest.raises(pg.EnvironmentFault, match="observe: the reward is 'much'"):
        agent.observe("much", 1)  # type: ignore[arg-type]
    agent.observe(1.0, 1, terminated=np.True_)  # type: ignore[arg-type]
    assert len(agent._finished) == 1


def test_infos_are_never_merged_nor_stacked():
    """The types in the infos change from step to step; some are None, lists or arrays of any length."""

    class Talkative(Countdown):
        def step(self, action: int):
            values: list[Any] = [1, None, "text", [1, 2], np.zeros(self.t), {"a": self.t}, lambda: 0]
            return *super().step(action)[:4], {"x": values[(self.t + self.episode) % 7], str(self.t): values}

    environments = make(lambda: Talkative([20, 3]), 3, vectorize="sync")
    environments.reset(EpisodeSeeds(np.random.default_rng(0)))
    for _ in range(50):
        environments.step(np.zeros(3, np.int64))
    environments.close()


def test_a_float64_observation_of_a_float32_space_is_accepted():
    class Wide(Countdown):
        def _observation(self) -> np.ndarray:
            return super()._observation().astype(np.float64)

    runs = [
        pg.train(lambda kind=kind: kind([3]), pg.Reinforce(), steps=60, num_envs=2, vectorize="sync")
        for kind in (Countdown, Wide)
    ]
    np.testing.assert_array_equal(runs[0].history["policy_grad_norm"], runs[1].history["policy_grad_norm"])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            2,
            np.array(["False", "False"]),
            r"terminated has shape \(2,\) and dtype <U5; expected bools of shape \(2,\)",
        ),
        (3, np.zeros(2), r"truncated has shape \(2,\) and dtype float64; expected bools"),
        (
            1,
            np.zeros((2, 3)),
            r"reward has shape \(2, 3\) and dtype float64; expected numbers of shape \(2,\)",
        ),
    ],
)
def test_rewards_and_flags_of_a_vector_environment_are_checked(column: int, value: Any, message: str):
    class Odd(SyncVectorEnv):
        def step(self, actions: Any) -> Any:
            result = list(super().step(actions))
            result[column] = value
            return tuple(result)

    with pytest.raises(pg.EnvironmentFault, match=message):
        pg.train(Odd([lambda: Countdown([3])] * 2), pg.Reinforce(), steps=10)
