"""Compiled environments, EnvPool and Gymnasium: which one is chosen, and that their transitions agree."""

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
from tests.helpers import STEP_COLUMNS, Countdown, act_with

needs_envpool = pytest.mark.skipif(not pool_ids(), reason="EnvPool has no wheel for this Python")


def test_auto_prefers_compiled_then_envpool_then_gymnasium():
    messages: list[str] = []
    kinds = [type(make(name, 2, say=messages.append).vector) for name in ("CartPole-v1", "FrozenLake-v1")]
    assert kinds[0] is KernelVectorEnv
    assert kinds[1] is (EnvPoolVectorEnv if "FrozenLake-v1" in pool_ids() else SyncVectorEnv)
    assert messages[0] == "environment: CartPole-v1 (compiled)"
    assert type(make("CartPole-v1", 2, backend="gymnasium").vector).__name__ == "CartPoleVectorEnv"


@needs_envpool
def test_envpool_can_be_forced():
    messages: list[str] = []
    environments = make("CartPole-v1", 3, backend="envpool", say=messages.append)
    assert isinstance(environments.vector, EnvPoolVectorEnv)
    assert messages == ["environment: CartPole-v1 (EnvPool)"]
    assert environments.reward_threshold == 475


@pytest.mark.parametrize(
    ("env", "backend", "message"),
    [
        ("FrozenLake-v1", "compiled", "has no compiled form. The compiled environments are CartPole-v1"),
        ("CartPole-v1", "jax", "backend must be one of"),
        ("CartPoll-v1", "auto", "did you mean CartPole-v1"),
        (lambda: gym.make("CartPole-v1"), "gymnasium", "is only for ids"),
    ],
)
def test_unavailable_backends_are_refused(env: Any, backend: Any, message: str):
    with pytest.raises(ValueError, match=message):
        make(env, 2, backend=backend)


@needs_envpool
def test_transitions_of_envpool_equal_those_of_the_compiled_environment():
    """They agree up to float32 from the same states and actions, and a reset row is not taken for a transition."""
    environments = make("CartPole-v1", 4, backend="envpool")
    policy = make_policy(
        environments.observation_space, environments.action_space, Network(), stream(0, "init")
    )
    collector = HostCollector(
        environments,
        policy,
        act_with(policy),
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
def test_training_with_envpool_is_reproducible(env: str):
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
        act_with(policy),
        seeds=EpisodeSeeds(stream(0, "env")),
        action_rng=stream(0, "action"),
    )
    return [collector.steps(horizon) for horizon in horizons]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_steps_in_any_autoreset_mode_are_transitions(mode: AutoresetMode):
    """Reset rows must not become transitions, and no transition may join two episodes.

    The numbers of `Countdown` say which step of which episode they belong to.
    """
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
