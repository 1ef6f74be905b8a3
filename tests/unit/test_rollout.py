"""Collecting whole episodes from Gymnasium environments, in every form and autoreset mode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.envs import elementwise, make
from policygrad.envs.shaping import as_shaping
from policygrad.errors import EnvironmentFault, NonFiniteError
from policygrad.policies import DiscretePolicy, GaussianPolicy, Policy
from policygrad.rollout import HostCollector
from policygrad.types import F32, F64, Array, Rollout
from tests.helpers import STEP_COLUMNS, Countdown, act_with

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]


def policy_for(environments: Any) -> Policy:
    observation_space, action_space = environments.observation_space, environments.action_space
    rng = np.random.default_rng(0)
    D = spaces.flatdim(observation_space)
    if isinstance(action_space, spaces.Discrete):
        network: Any = DiscretePolicy(D, int(action_space.n), 8, rng=rng)
    else:
        network = GaussianPolicy(D, int(np.prod(action_space.shape)), 8, rng=rng)
    return Policy(network, observation_space, action_space)


def collect(
    env: Any, num_envs: int | None = None, *, seed: int = 0, policy: Policy | None = None, **options: Any
) -> Rollout:
    environments = make(env, num_envs)
    policy = policy or policy_for(environments)
    rngs = {"seeds": EpisodeSeeds(np.random.default_rng(seed)), "action_rng": np.random.default_rng(seed + 1)}
    per_env = options.pop("episodes_per_env", 1)
    rollout = HostCollector(environments, policy, act_with(policy), **rngs, **options).episodes(per_env)
    environments.close()
    return rollout


def assert_same(a: Rollout, b: Rollout) -> None:
    for name in STEP_COLUMNS:
        x, y = getattr(a, name), getattr(b, name)
        mask = a.valid if name != "valid" else slice(None)
        np.testing.assert_array_equal(x[mask], y[mask], err_msg=name)


def lengths_of(rollout: Rollout) -> list[int]:
    return rollout.valid.sum(0).tolist()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_every_autoreset_mode_gives_the_same_transitions(env_id: str):
    """Automatic resets must neither add samples nor join episodes."""
    factories = [lambda: gym.make(env_id, max_episode_steps=30)] * 4
    rollouts = [collect(SyncVectorEnv(factories, autoreset_mode=mode), episodes_per_env=3) for mode in MODES]
    assert len(set(lengths_of(rollouts[0]))) > 1 or env_id == "Pendulum-v1"
    for other in rollouts[1:]:
        assert_same(rollouts[0], other)


def test_sync_async_and_single_environments_give_the_same_transitions():
    factory = lambda: gym.make("CartPole-v1")  # noqa: E731
    one = collect(gym.make("CartPole-v1"), episodes_per_env=3)
    assert_same(one, collect(factory, 1, episodes_per_env=3))
    assert_same(one, collect(AsyncVectorEnv([factory]), episodes_per_env=3))


@pytest.mark.parametrize("mode", MODES)
def test_a_reset_row_is_never_a_sample(mode: AutoresetMode):
    """The row in which NEXT_STEP autoreset only resets must not count as a step."""
    lengths = [2, 5, 1, 3]
    vector = SyncVectorEnv([lambda n=n: Countdown([n]) for n in lengths], autoreset_mode=mode)
    rollout = collect(vector)
    assert lengths_of(rollout) == lengths
    for n, length in enumerate(lengths):
        # the reward of step t is t + 1, the observation before it counts t, the one after it t + 1
        assert rollout.original_reward[:, n].tolist() == [*range(1, length + 1)] + [0] * (5 - length)
        assert rollout.observation[:length, n, 1].tolist() == list(range(length))
        assert rollout.next_observation[:length, n, 1].tolist() == list(range(1, length + 1))
        assert rollout.terminated[:, n].tolist() == [t == length - 1 for t in range(5)]


@pytest.mark.parametrize("mode", MODES)
def test_a_truncated_episode_keeps_its_own_final_observation(mode: AutoresetMode):
    """A truncation must bootstrap from the final observation, and not from that of the reset."""
    vector = SyncVectorEnv([lambda n=n: Countdown([n], truncate=True) for n in (2, 4)], autoreset_mode=mode)
    rollout = collect(vector)
    assert rollout.truncated.sum() == 2
    assert not rollout.terminated.any()
    np.testing.assert_array_equal(rollout.next_observation[rollout.truncated], [[0, 2], [0, 4]])


def test_both_flags_count_as_a_termination():
    """If an environment sets both flags, nothing may be bootstrapped."""

    class Both(Countdown):
        def step(self, action: int):
            observation, reward, terminated, _, info = super().step(action)
            return observation, reward, terminated, terminated, info

    rollout = collect(lambda: Both([3]), 2)
    assert rollout.terminated.sum() == 2
    assert not rollout.truncated.any()


def test_the_number_of_episodes_is_fixed_whatever_their_lengths():
    rollout = collect(lambda: Countdown([1, 7, 2]), 3, episodes_per_env=4)
    assert lengths_of(rollout) == [1] * 3 + [7] * 3 + [2] * 3 + [1] * 3


def test_an_environment_may_reuse_its_observation_array():
    """Observations must be copied before the environment overwrites its array."""
    expected = collect(lambda: Countdown([4]), 1)
    assert_same(expected, collect(Countdown([4], reuse_array=True)))
    reused = SyncVectorEnv([lambda: Countdown([4], reuse_array=True)], copy=False)
    assert_same(expected, collect(reused))


@pytest.mark.parametrize("start", [0, 5, -3])
def test_discrete_actions_may_start_at_any_number(start: int):
    """Stored actions count from 0, and the environment gets them counted from `start`."""
    seen: list[int] = []

    class Counting(Countdown):
        action_space = spaces.Discrete(3, start=start)

        def step(self, action: int):
            assert self.action_space.contains(action)
            seen.append(int(action))
            return super().step(action)

    rollout = collect(lambda: Counting([50]), 1)
    assert rollout.action.dtype == np.int64
    assert set(rollout.action.ravel().tolist()) == {0, 1, 2}
    assert seen == (rollout.action[:, 0] + start).tolist()


@pytest.mark.parametrize("start", [0, 2])
def test_discrete_observations_become_one_hot(start: int):
    class Places(Countdown):
        observation_space = spaces.Discrete(4, start=start)

        def _observation(self):
            return self.t + start

    rollout = collect(lambda: Places([3]), 1)
    np.testing.assert_array_equal(rollout.observation[:, 0], np.eye(4)[:3])


def test_box_observations_of_any_shape_are_flattened():
    class Grid(Countdown):
        observation_space = spaces.Box(0, 255, (2, 3), np.uint8)

        def _observation(self):
            return np.arange(6, dtype=np.uint8).reshape(2, 3) + self.t

    rollout = collect(lambda: Grid([2]), 1)
    np.testing.assert_array_equal(rollout.observation[:, 0], [[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6]])
    assert rollout.observation.dtype == np.float32


def test_the_sampled_action_is_stored_and_the_environment_gets_it_clipped():
    """log π must be that of the sampled action, and not that of the clipped one."""
    got: list[np.ndarray] = []

    class Narrow(Countdown):
        action_space = spaces.Box(np.array([[-0.1, 0.0]]), np.array([[0.1, 0.5]]), dtype=np.float64)

        def step(self, action: np.ndarray):
            assert self.action_space.contains(action)
            got.append(action.copy())
            return super().step(0)

    rollout = collect(lambda: Narrow([40]), 1)
    stored = rollout.action[:, 0]
    assert stored.shape == (40, 2)
    assert np.abs(stored).max() > 1
    in_the_box = np.clip([0.0, 0.25] + [0.1, 0.25] * stored, [-0.1, 0.0], [0.1, 0.5])
    np.testing.assert_allclose(np.stack(got)[:, 0], in_the_box, rtol=1e-6)


def test_environment_seeds_are_distinct_and_disjoint_between_runs():
    """Runs with neighboring seeds must not share episodes, as they would with seed + index."""

    def seeds(seed: int) -> list[int | None]:
        environments = [Countdown([2]) for _ in range(5)]
        collect(SyncVectorEnv([lambda e=e: e for e in environments]), seed=seed, episodes_per_env=4)
        # automatic resets of Gymnasium have no seed, and their episodes are not used
        return [s for e in environments for s in e.seeds if s is not None]

    first, second = seeds(0), seeds(1)
    assert len(first) == len(set(first)) == 20
    assert not set(first) & set(second)
    assert first == seeds(0)


def test_no_seed_repeats_within_a_run():
    seeds = EpisodeSeeds(np.random.default_rng(0))
    taken = [seed for _ in range(2000) for seed in seeds.take(64)]
    assert len(set(taken)) == len(taken)
    assert 0 <= min(taken) <= max(taken) < 2**31


def test_rewards_are_copied_before_a_reset_can_clear_them():
    class Clearing(SyncVectorEnv):
        def step(self, actions: Any):
            observation, self.handed_out, *rest = super().step(actions)
            return observation, self.handed_out, *rest

        def reset(self, **options: Any):
            if hasattr(self, "handed_out"):
                self.handed_out[:] = 0
            return super().reset(**options)

    rollout = collect(Clearing([lambda: Countdown([3])], autoreset_mode=AutoresetMode.DISABLED))
    assert rollout.original_reward[:, 0].tolist() == [1, 2, 3]


def test_a_discrete_observation_outside_its_space_is_refused():
    class Outside(Countdown):
        observation_space = spaces.Discrete(2)

        def _observation(self):
            return -self.t

    with pytest.raises(
        EnvironmentFault, match=r"step 1 of an episode: the observation is -1, which is not in Discrete\(2\)"
    ):
        collect(lambda: Outside([3]), 1)


def test_shaping_is_called_with_samples_only():
    """The second environment waits, and its automatic reset would lead to the logarithm of a negative number."""

    def shaping(reward: F64, s: Array, s2: Array, terminated: Array, truncated: Array) -> F64:
        return np.log((s2 - s)[..., 1])

    rollout = collect(SyncVectorEnv([lambda: Countdown([6]), lambda: Countdown([2])]), shaping=shaping)
    assert (rollout.reward == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_observation_that_is_not_finite_is_named(bad: float):
    class Broken(Countdown):
        def _observation(self):
            return np.array([0, bad if self.t == 3 else 0], np.float32)

    with pytest.raises(NonFiniteError, match="the observation of environment 1 at step 3 has a NaN or"):
        collect(SyncVectorEnv([lambda: Countdown([9]), lambda: Broken([9])]))


def test_a_reward_that_is_not_finite_is_named():
    class Broken(Countdown):
        def step(self, action: int):
            observation, reward, *rest = super().step(action)
            return observation, np.nan if self.t == 2 else reward, *rest

    with pytest.raises(NonFiniteError, match="the reward of environment 0 at step 1 is nan"):
        collect(lambda: Broken([4]), 2)


def test_an_episode_that_never_ends_is_reported():
    with pytest.raises(ValueError, match=r"an episode did not end within 50 steps.*max_episode_steps"):
        collect(lambda: Countdown([10**9]), 2, max_steps=50)


def test_time_limits_are_truncations():
    rollout = collect(lambda: gym.make("Pendulum-v1", max_episode_steps=7), 2)
    assert lengths_of(rollout) == [7, 7]
    assert rollout.truncated.sum() == 2
    assert not rollout.terminated.any()


def test_waiting_environments_do_not_change_the_actions_of_others():
    """The actions of environment 0 are the same whether environment 1 finishes early or not."""
    a = collect(SyncVectorEnv([lambda: Countdown([20]), lambda: Countdown([20])]))
    b = collect(SyncVectorEnv([lambda: Countdown([20]), lambda: Countdown([1])]))
    np.testing.assert_array_equal(a.action[:, 0], b.action[:, 0])


def test_shaped_rewards_are_stored_beside_the_original_ones():
    def shaping(reward: F64, s: Array, s2: Array, terminated: Array, truncated: Array) -> F64:
        return reward + 10 * terminated + (s2 - s)[..., 1]

    rollout = collect(lambda: Countdown([3]), 2, shaping=shaping)
    assert rollout.original_reward[:, 0].tolist() == [1, 2, 3]
    assert rollout.reward[:, 0].tolist() == [2, 3, 14]


def test_elementwise_shaping_equals_vectorized_shaping():
    def vector(reward: F64, s: Array, s2: Array, terminated: Array, truncated: Array) -> F64:
        return reward + 10 * terminated

    def single(reward: float, s: Array, s2: Array, terminated: bool, truncated: bool) -> float:
        return reward + 10 if terminated else reward

    a, b = (collect(lambda: Countdown([3, 5]), 2, shaping=f) for f in (vector, elementwise(single)))
    assert_same(a, b)
    with pytest.raises(ValueError, match=r"wrap the function in policygrad\.elementwise"):
        collect(lambda: Countdown([3]), 2, shaping=single)


def test_functions_of_four_arguments_are_called_for_each_step_and_all_others_as_they_are():
    def four(reward: float, state: Array, next_state: Array, done: bool) -> float:
        return reward + 10 if done else reward

    def five(reward: float, state: Array, next_state: Array, terminated: bool, truncated: bool) -> float:
        return reward + 10 if terminated else reward

    def defaults(reward: F64, s: Array, s2: Array, terminated: Array, truncated: Any = None) -> F64:
        return reward + 10 * terminated

    vector, each = defaults, elementwise(five)
    expected = collect(lambda: Countdown([3, 5]), 2, shaping=vector)
    for function in (vector, each, as_shaping(four), lambda *columns: columns[0] + 10 * columns[3]):
        shaping = as_shaping(function)
        assert as_shaping(shaping) is shaping
        assert_same(expected, collect(lambda: Countdown([3, 5]), 2, shaping=shaping))
    assert as_shaping(four).__name__ == "four"
    run = pg.train("CartPole-v1", shaping=elementwise(lambda r, *_: r + 1.0), steps=200, progress=False)
    assert run.history["shaped_return"][-1] == 2 * run.history["return"][-1]


def test_a_compiled_potential_equals_the_same_function_in_python():
    compiled = pg.PotentialShaping(pg.CompiledPotential(lambda x: 3 * x[0] ** 2 - x[1]), 0.9)
    vector = pg.PotentialShaping(lambda x: 3 * x[..., 0] ** 2 - x[..., 1], 0.9)
    a, b = (collect(lambda: Countdown([3, 5]), 2, shaping=f) for f in (compiled, vector))
    np.testing.assert_allclose(a.reward, b.reward, rtol=1e-12)
    # an image is flat, and an index is the only number
    rng = np.random.default_rng(0)
    image, reward, no = rng.standard_normal((4, 2, 3)), np.zeros(4), np.zeros(4, bool)
    corner = pg.PotentialShaping(pg.CompiledPotential(lambda x: x[5] + x.size), 1.0)
    np.testing.assert_allclose(corner(reward, image, 2 * image, no, no), image[:, 1, 2])
    index = pg.PotentialShaping(pg.CompiledPotential(lambda x: 10.0 * x[0] + x.size), 1.0)
    assert index(reward, np.arange(4), np.arange(4) ** 2, no, no).tolist() == [0, 0, 20, 60]
    assert index(reward[:0], np.arange(0), np.arange(0), no[:0], no[:0]).tolist() == []


def test_a_potential_that_cannot_be_compiled_or_reads_too_far_is_named():
    cannot = pg.PotentialShaping(pg.CompiledPotential(lambda x: x.nothing), 0.9)
    with pytest.raises(TypeError, match=r"lambda.*cannot be compiled for .*Numba says"):
        collect(lambda: Countdown([3]), 2, shaping=cannot)
    with pytest.raises(IndexError):
        pg.PotentialShaping(pg.CompiledPotential(lambda x: x[7]), 0.9)(
            np.zeros(1), np.zeros((1, 2)), np.zeros((1, 2)), np.zeros(1, bool), np.zeros(1, bool)
        )


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "FrozenLake-v1", "CliffWalking-v1"]
)
def test_ids_with_and_without_a_vectorized_form(env_id: str):
    environments = make(env_id, 3)
    policy = policy_for(environments)
    rng = np.random.default_rng(0)
    encoded: F32 = policy.encode(environments.reset(EpisodeSeeds(rng)))
    assert encoded.shape == (3, spaces.flatdim(environments.observation_space))
    observation, reward, _, _ = environments.step(policy.environment_actions(np.zeros(3, np.int64)))
    assert policy.encode(observation).shape == encoded.shape
    assert reward.dtype == np.float64
    environments.close()
