"""The classes of the lesson, in loops as a student would write them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad import lesson
from policygrad.policies import flat_parameters
from policygrad.types import Inputs

pytestmark = pytest.mark.draws_globally


def typed_loop(agent, env, episodes: int, *, append: bool = False) -> list[float]:
    totals = []
    for episode in range(episodes):
        state, _ = env.reset(seed=0 if episode == 0 else None)
        total, done = 0.0, False
        while not done:
            action = agent.choose_action(state)
            if isinstance(env.action_space, gym.spaces.Box):
                action = np.clip(action, env.action_space.low, env.action_space.high)
            state, reward, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
            if append:
                agent.rewards.append(reward)
            else:
                agent.store_reward(reward)
            total += reward
        result = agent.update()
        totals.append(total)
        assert agent.rewards == []
        if isinstance(agent, lesson.REINFORCE):
            assert isinstance(result, float)
        elif isinstance(agent, lesson.REINFORCEWithBaseline):
            assert all(isinstance(x, float) for x in result)
            assert len(result) == 2
        else:
            assert result is None
    return totals


@pytest.mark.parametrize("kind", [lesson.REINFORCE, lesson.REINFORCEWithBaseline])
@pytest.mark.parametrize("append", [False, True])
def test_discrete_agents_learn(kind: type, append: bool):
    torch.manual_seed(0)
    returns = typed_loop(kind(4, 2), gym.make("CartPole-v1"), 200, append=append)
    assert np.mean(returns[-50:]) > 2 * np.mean(returns[:50])


def test_the_continuous_agent_runs_and_changes():
    torch.manual_seed(0)
    agent = lesson.ContinuousREINFORCE(2, 1, lr=1e-3, gamma=0.99)
    before = flat_parameters(agent.policy).clone()
    state = np.zeros(2, np.float32)
    assert agent.choose_action(state).shape == (1,)
    agent.rewards.append(1.0)
    agent.update()
    typed_loop(agent, gym.make("MountainCarContinuous-v0"), 2, append=True)
    assert not torch.equal(flat_parameters(agent.policy), before)


def test_returns_are_normalized_over_recent_episodes():
    torch.manual_seed(0)
    agent = lesson.REINFORCE(2, 2, gamma=1.0)

    def episode(rewards: list[float]) -> torch.Tensor:
        for reward in rewards:
            agent.choose_action([0.0, 0.0])
            agent.store_reward(reward)
        return agent.compute_returns()

    first = episode([1.0, 1.0])
    torch.testing.assert_close(first, torch.tensor([1.0, -1.0]))
    agent.update()
    # the second episode is better than the first at each step, and its normalized returns show it
    second = episode([5.0, 5.0])
    pooled = np.array([2.0, 1.0, 10.0, 5.0])
    expected = (np.array([10.0, 5.0]) - pooled.mean()) / pooled.std()
    np.testing.assert_allclose(second, expected, rtol=1e-5)
    assert second.dtype == torch.float32


def test_reinforce_steps_along_the_gradient_of_the_textbook_loss():
    torch.manual_seed(0)
    agent = lesson.REINFORCE(3, 2, lr=0.01)
    twin = lesson.DiscretePolicy(3, 2)
    twin.load_state_dict(agent.policy.state_dict())
    states = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    actions = []
    for state in states:
        actions.append(agent.choose_action(state))
        agent.store_reward(float(actions[-1]))
    returns = agent.compute_returns()
    log_prob = torch.distributions.Categorical(twin(torch.from_numpy(states))).log_prob(torch.tensor(actions))
    loss = -(log_prob * returns).sum()
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.01)
    loss.backward()
    optimizer.step()
    assert agent.update() == pytest.approx(loss.item(), rel=1e-5)
    difference = flat_parameters(agent.policy) - flat_parameters(twin)
    # the first step of Adam is ±lr wherever the gradient is not 0, which rounding may decide
    assert (difference.abs() < 1e-4).float().mean() > 0.999


def test_baseline_losses_are_those_of_the_textbook():
    torch.manual_seed(0)
    agent = lesson.REINFORCEWithBaseline(3, 2)
    states = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    actions = [agent.choose_action(state) for state in states]
    for _ in states:
        agent.store_reward(1.0)
    returns, x = agent.compute_returns(), torch.from_numpy(states)
    values = agent.value(x).detach()
    log_prob = torch.log(agent.policy(x))[torch.arange(5), torch.tensor(actions)].detach()
    policy_loss, value_loss = agent.update()
    assert policy_loss == pytest.approx(-(log_prob * (returns - values)).mean().item(), rel=1e-4)
    assert value_loss == pytest.approx(((values - returns) ** 2).mean().item(), rel=1e-4)


def test_train_reinforce_is_reproducible_and_prints_progress(capsys: pytest.CaptureFixture[str]):
    agent, scores = lesson.train_reinforce("CartPole-v1", 100, seed=0)
    assert len(scores) == 100
    assert isinstance(agent, lesson.REINFORCE)
    assert "episode 100: mean score" in capsys.readouterr().out
    _, repeated = lesson.train_reinforce("CartPole-v1", 20, seed=0)
    assert repeated == scores[:20]
    with pytest.raises(ValueError, match="use train_continuous"):
        lesson.train_reinforce("Pendulum-v1", 1)


def test_train_continuous_returns_scores(capsys: pytest.CaptureFixture[str]):
    _, scores = lesson.train_continuous(n_episodes=3, seed=0)
    assert len(scores) == 3
    with pytest.raises(ValueError, match="use train_reinforce"):
        lesson.train_continuous("CartPole-v1", 1)


def test_an_episode_with_a_nan_is_dropped():
    agent = lesson.REINFORCE(2, 2)
    with pytest.raises(ArithmeticError, match="observation has a NaN"):
        agent.choose_action([np.nan, 0.0])
    agent.choose_action([0.0, 0.0])
    agent.store_reward(float("nan"))
    with pytest.raises(ArithmeticError, match="was discarded"):
        agent.update()
    agent.choose_action([0.0, 0.0])
    agent.store_reward(1.0)
    agent.update()


def test_updates_without_matching_rewards_are_refused():
    agent = lesson.REINFORCE(2, 2)
    with pytest.raises(RuntimeError, match="no rewards yet"):
        agent.update()
    agent.choose_action([0.0, 0.0])
    agent.choose_action([0.0, 0.0])
    agent.store_reward(1.0)
    with pytest.raises(RuntimeError, match="2 actions but 1 rewards"):
        agent.update()


def test_shape_reward_adds_speed_and_the_goal():
    assert lesson.shape_reward(0.0, [1.0], [0.0], False) == pytest.approx(0.1)
    assert lesson.shape_reward(1.0, [0.0], [0.0], True) == 101
    assert lesson.shape_reward(-1.0, [0.0], [0.0], True) == -1


def test_compute_entropy_has_a_gradient_of_0_at_the_uniform():
    assert lesson.compute_entropy(torch.full((3, 4), 0.25)).item() == pytest.approx(np.log(4))
    logits = torch.zeros(4, requires_grad=True)
    lesson.compute_entropy(torch.softmax(logits, -1)).backward()
    assert torch.allclose(logits.grad, torch.zeros(4), atol=1e-7)


@pytest.mark.parametrize("kind", ["softmax", "gaussian", "baseline"])
def test_the_entropy_term_is_subtracted_from_the_loss(kind: str):
    """Without rewards, the agent only follows the gradient of its entropy."""
    torch.manual_seed(0)
    agents: dict[str, Any] = {
        "softmax": lambda beta: lesson.REINFORCE(2, 3, lr=0.01, entropy_coef=beta),
        "gaussian": lambda beta: lesson.ContinuousREINFORCE(2, 1, lr=0.01, entropy_coef=beta),
        "baseline": lambda beta: lesson.REINFORCEWithBaseline(2, 3, lr_policy=0.01, entropy_coef=beta),
    }
    changes = []
    for beta in (0.0, 0.5):
        torch.manual_seed(0)
        agent = agents[kind](beta)
        with torch.no_grad():
            # far from uniform, so that the entropy can rise
            for p in agent.policy.parameters():
                p.add_(0.1 * torch.randn_like(p))
        state = np.array([0.5, -1.0], np.float32)
        entropies = []
        for _ in range(30):
            entropies.append(float(agent._engine.evaluate(Inputs(state[None]), np.zeros((1, 1)))[1][0]))
            for _ in range(4):
                agent.choose_action(state)
                agent.store_reward(0.0)
            agent.update()
        changes.append(entropies[-1] - entropies[0])
    assert changes[1] > changes[0] + 0.05


def test_the_lessons_own_shaping_works_as_shaping():
    """It has four arguments, and is a function of a single step with an `if`."""
    run = pg.train(
        "MountainCar-v0", pg.Reinforce(), shaping=lesson.shape_reward, steps=400, num_envs=2, progress=False
    )
    shaped = run.history["shaped_return"]
    assert np.isfinite(shaped).any()
    # moving is rewarded
    assert (shaped > run.history["return"]).all()
