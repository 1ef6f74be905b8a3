"""Who runs an environment: ours, EnvPool, Gymnasium; the same interface and the same transitions from each."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad.envs import KERNELS, Environments, KernelVectorEnv, make
from policygrad.envs.pool import EnvPoolVectorEnv, pool_ids
from policygrad.policies import Network, flat_parameters, make_policy
from policygrad.rollout import HostCollector
from policygrad.types import Rollout
from tests.conftest import STEP_COLUMNS, Countdown, choosing

needs_envpool = pytest.mark.skipif(not pool_ids(), reason="EnvPool has no wheel for this Python")


def test_auto_is_compiled_then_envpool_then_gymnasium():
    said: list[str] = []
    kinds = [type(make(name, 2, say=said.append).vector) for name in ("CartPole-v1", "FrozenLake-v1")]
    assert kinds[0] is KernelVectorEnv
    assert kinds[1] is (EnvPoolVectorEnv if "FrozenLake-v1" in pool_ids() else SyncVectorEnv)
    assert said[0] == "environment: CartPole-v1, compiled"
    assert type(make("CartPole-v1", 2, backend="gymnasium").vector).__name__ == "CartPoleVectorEnv"


@needs_envpool
def test_envpool_can_be_forced():
    said: list[str] = []
    environments = make("CartPole-v1", 3, backend="envpool", say=said.append)
    assert isinstance(environments.vector, EnvPoolVectorEnv)
    assert said == ["environment: CartPole-v1, by EnvPool"]
    assert environments.reward_threshold == 475


@pytest.mark.parametrize(
    ("env", "backend", "message"),
    [
        ("FrozenLake-v1", "compiled", "has no compiled form; there are CartPole-v1"),
        ("CartPole-v1", "jax", "backend must be one of"),
        ("CartPoll-v1", "auto", "did you mean CartPole-v1"),
        (lambda: gym.make("CartPole-v1"), "gymnasium", "is for ids"),
    ],
)
def test_what_cannot_be_is_refused(env: Any, backend: Any, message: str):
    with pytest.raises(ValueError, match=message):
        make(env, 2, backend=backend)


@needs_envpool
def test_envpool_s_transitions_are_those_of_the_kernel():
    """From the same states and actions, up to float32: a NEXT_STEP reset row is never taken for a transition."""
    environments = make("CartPole-v1", 4, backend="envpool")
    policy = make_policy(
        environments.observation_space, environments.action_space, Network(), stream(0, "init")
    )
    collector = HostCollector(
        environments,
        policy,
        choosing(policy),
        seeds=EpisodeSeeds(stream(0, "env")),
        action_rng=stream(0, "action"),
    )
    rollout = collector.episodes(3)
    kernel = KernelVectorEnv(KERNELS["CartPole-v1"], 1)
    checked = 0
    for t, n in np.argwhere(rollout.valid):
        kernel.reset(seed=0)
        kernel.states[0, :4] = rollout.observation[t, n]
        observation, reward, terminated, _, _ = kernel.step(rollout.action[t, n][None])
        np.testing.assert_allclose(observation[0], rollout.next_observation[t, n], atol=1e-5)
        assert reward[0] == rollout.reward[t, n]
        checked += terminated[0] == rollout.terminated[t, n]
    assert checked == rollout.num_samples


@needs_envpool
@pytest.mark.parametrize("env", ["HalfCheetah-v5", "CartPole-v1"])
def test_envpool_trains_the_same_bits_twice(env: str):
    runs = [
        pg.train(env, pg.Reinforce(), backend="envpool", steps=3000, num_envs=3, seed=2) for _ in range(2)
    ]
    assert torch.equal(*(flat_parameters(run.last_policy.network) for run in runs))
    other = pg.train(env, pg.Reinforce(), backend="envpool", steps=3000, num_envs=3, seed=3)
    assert other.episode_returns.tolist() != runs[0].episode_returns.tolist()
    assert len(set(other.episode_returns[:3])) > 1


def steps_of(environments: Environments, horizons: list[int]) -> list[Rollout]:
    policy = make_policy(
        environments.observation_space, environments.action_space, Network((8,)), stream(0, "init")
    )
    collector = HostCollector(
        environments,
        policy,
        choosing(policy),
        seeds=EpisodeSeeds(stream(0, "env")),
        action_rng=stream(0, "action"),
    )
    return [collector.steps(horizon) for horizon in horizons]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_steps_of_any_mode_are_transitions(mode: AutoresetMode):  # bugs 2, 7
    """Rewards and observations of `Countdown` say which step of which episode they belong to."""
    vector = SyncVectorEnv([lambda: Countdown([2, 3]), lambda: Countdown([4])], autoreset_mode=mode)
    parts = steps_of(Environments(vector, "Countdown", owned=True), [5, 1, 7])
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in STEP_COLUMNS}
    for n, lengths in enumerate(([2, 3], [4])):
        valid = joined["valid"][:, n]
        episode, t = 0, 0
        for row in np.flatnonzero(valid):
            np.testing.assert_array_equal(joined["observation"][row, n], [episode, t])
            np.testing.assert_array_equal(joined["next_observation"][row, n], [episode, t + 1])
            assert joined["reward"][row, n] == t + 1
            ended = t + 1 == lengths[episode % len(lengths)]
            assert joined["terminated"][row, n] == ended
            episode, t = (episode + 1, 0) if ended else (episode, t + 1)
        resets = (~valid).sum()
        assert resets == (joined["terminated"][:-1, n].sum() if mode is AutoresetMode.NEXT_STEP else 0)
