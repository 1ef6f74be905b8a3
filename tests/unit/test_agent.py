"""Agents: learning from data that the caller collects."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad.policies import flat_parameters

BOX = spaces.Box(-np.inf, np.inf, (2,))


def test_an_agent_learns_a_game_that_is_not_an_environment():
    """The game is to guess the sign of the first number; an episode is three guesses."""
    rng = np.random.default_rng(0)
    agent = pg.Agent(BOX, spaces.Discrete(2), pg.Reinforce(learning_rate=0.02), seed=0)
    scores = []
    for _ in range(60):
        for _ in range(8):
            x, total = rng.standard_normal(2), 0.0
            for t in range(3):
                correct = agent.act(x) == (x[0] > 0)
                x = rng.standard_normal(2)
                agent.observe(float(correct), x, terminated=t == 2)
                total += correct
            scores.append(total)
        agent.update()
    assert np.mean(scores[:8]) < 2.2
    assert np.mean(scores[-80:]) > 2.6


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_an_agent_driven_by_hand_learns_as_train_does(env_id: str):
    """With one environment and the same random streams the parameters are bit-identical."""
    algorithm, steps = pg.Reinforce(learning_rate_end=0.001), 500
    run = pg.train(env_id, algorithm, steps=steps, num_envs=1, seed=7, backend="gymnasium")
    env = gym.make(env_id)
    agent = pg.Agent(env.observation_space, env.action_space, algorithm, seed=7, steps=steps)
    seeds = EpisodeSeeds(stream(7, "env"))
    used = 0
    while used < steps:
        observation, _ = env.reset(seed=seeds.take(1)[0])
        done = False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
            agent.observe(reward, observation, terminated, truncated)
            done = terminated or truncated
            used += 1
        assert len(agent._finished) == 1
        agent.update()
    assert torch.equal(flat_parameters(agent.policy), flat_parameters(run.last_policy))


def test_calls_out_of_order_are_refused():
    agent = pg.Agent(BOX, spaces.Discrete(2), seed=0)
    with pytest.raises(RuntimeError, match="call act first"):
        agent.observe(1.0, np.zeros(2))
    agent.act(np.zeros(2))
    with pytest.raises(RuntimeError, match="act was called twice"):
        agent.act(np.zeros(2))
    agent.observe(1.0, np.zeros(2))
    with pytest.raises(RuntimeError, match="no episode has finished"):
        agent.update()


def test_rewards_and_observations_that_are_not_finite_change_nothing():
    agent = pg.Agent(BOX, spaces.Discrete(2), seed=0)
    agent.act(np.zeros(2))
    with pytest.raises(pg.NonFiniteError, match="the reward is nan"):
        agent.observe(float("nan"), np.zeros(2), terminated=True)
    with pytest.raises(pg.NonFiniteError, match="observation has a NaN"):
        agent.observe(1.0, np.array([np.nan, 0]), terminated=True)
    agent.observe(1.0, np.zeros(2), terminated=True)
    assert len(agent._finished) == 1
    agent.update()


def test_observations_are_checked():
    agent = pg.Agent(BOX, spaces.Discrete(2), seed=0)
    with pytest.raises(pg.NonFiniteError, match="observation has a NaN"):
        agent.act(np.array([0, np.nan]))
    with pytest.raises(ValueError, match=r"observation has shape \(3,\); expected \(2,\)"):
        agent.act(np.zeros(3))


def test_unsupported_algorithms_and_policies_are_refused_at_once():
    box = spaces.Box(-1, 1, (3,))
    with pytest.raises(ValueError, match="ActorCritic learns from each step"):
        pg.Agent(box, spaces.Discrete(2), "actor-critic")
    network = pg.DiscretePolicy(3, 2, rng=np.random.default_rng(0))
    both = pg.Normalization(normalize_observations=True)
    policy = pg.Policy(network, box, spaces.Discrete(2), normalization=both)
    with pytest.raises(ValueError, match="keeps running statistics"):
        pg.Agent(box, spaces.Discrete(2), "ppo", policy=policy)


@pytest.mark.parametrize("algorithm", ["a2c", "ppo", "trpo", "npg"])
def test_other_algorithms_learn_from_finished_episodes(algorithm: str):
    agent = pg.Agent(spaces.Discrete(2), spaces.Discrete(2), algorithm, seed=0)
    for _ in range(2):
        for coin in (0, 1, 1, 0, 1):
            action = agent.act(coin)
            agent.observe(float(action == coin), next_observation=0, terminated=True)
        assert np.isfinite(agent.update()["entropy"])
