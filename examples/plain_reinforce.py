"""REINFORCE with a learned baseline in plain PyTorch, complete in one file: a good place to start reading.

    ∇J(θ) ≈ 1/B Σ_t ∇ log π_θ(a_t|s_t) (G_t − V(s_t)),    G_t = r_t + γ r_{t+1} + γ² r_{t+2} + ...

Williams 1992; Sutton & Barto 2018, section 13.4. Like most implementations, this one leaves out their factor γ^t, with
which the late steps of an episode would hardly count. `tests/unit/test_plain_examples.py` checks that `update` computes
the same as `policygrad.Reinforce`.
"""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical


@dataclass
class Settings:
    """Settings of `update`."""

    gamma: float = 0.99  # discount: a reward t steps later has the weight γ^t
    value_steps: int = 4  # gradient steps on V(s) per step of the policy
    entropy_coef: float = 0.0  # β: weight of the entropy bonus (Williams & Peng 1991)
    # longer gradients are scaled to this norm, so that one unusual batch does not dominate the averages in Adam
    max_grad_norm: float = 0.5


@dataclass
class Episode:
    """One episode of T steps."""

    observations: np.ndarray  # [T, D] float32
    actions: np.ndarray  # [T] int64
    rewards: np.ndarray  # [T]
    last_observation: np.ndarray  # [D] float32: after the last action
    terminated: bool  # True if the pole fell, False if a time limit ended the episode


def make_network(inputs, outputs):
    hidden = [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(64, outputs))


@torch.no_grad()
def play(env, policy, seed=None):
    """Play a whole episode, because the return that follows an action is only known at the end."""
    steps, over = [], False
    observation, _ = env.reset(seed=seed)
    while not over:
        # sample the action: the policy can only learn about actions that it tries
        action = Categorical(logits=policy(torch.as_tensor(observation))).sample().item()
        following, reward, terminated, truncated, _ = env.step(action)
        steps.append((observation, action, reward))
        observation, over = following, terminated or truncated
    return Episode(*map(np.array, zip(*steps, strict=True)), observation, terminated)


@torch.no_grad()
def returns_to_go(episode, value, gamma):
    """Compute G_t [T] from the last step backwards. Rewards before an action do not count towards its return."""
    # no reward follows a fall; after a time limit V(s) estimates the rewards that would have followed
    following = 0.0 if episode.terminated else value(torch.as_tensor(episode.last_observation)).item()
    returns = np.empty(len(episode.rewards), np.float32)
    for t in reversed(range(len(returns))):
        following = returns[t] = episode.rewards[t] + gamma * following
    return returns


def step(network, optimizer, loss, max_grad_norm):
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), max_grad_norm)
    optimizer.step()


def update(policy, value, optimizers, episodes, settings):
    """Learn from whole episodes: take one step of the policy, then several of V(s)."""
    observations = torch.as_tensor(np.concatenate([e.observations for e in episodes]))  # [B, D]
    actions = torch.as_tensor(np.concatenate([e.actions for e in episodes]))  # [B]
    returns = [returns_to_go(episode, value, settings.gamma) for episode in episodes]
    returns = torch.as_tensor(np.concatenate(returns))  # [B]

    # The baseline. V(s) does not depend on the action, so subtracting it does not change the expected gradient, but
    # the difference from the expected return varies less than G_t. V(s) has not been trained on this data yet.
    with torch.no_grad():
        advantages = returns - value(observations).squeeze(-1)  # without squeeze this would be [B, B]
    # Normalize over all episodes together, so that one learning rate suits returns of 20 and of 500.
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)

    # The optimizer minimizes, so the gain gets a minus sign. The advantages are constants without a gradient.
    distribution = Categorical(logits=policy(observations))
    gain = advantages * distribution.log_prob(actions) + settings.entropy_coef * distribution.entropy()
    step(policy, optimizers[0], -gain.mean(), settings.max_grad_norm)

    # V(s) is fitted by ordinary regression on the returns. It may take more steps, as they do not change the policy.
    for _ in range(settings.value_steps):
        error = value(observations).squeeze(-1) - returns
        step(value, optimizers[1], error.square().mean() / 2, settings.max_grad_norm)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)  # networks this small do not gain from more threads
    env = gym.make("CartPole-v1")
    policy, value = make_network(4, 2), make_network(4, 1)
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.01) for network in (policy, value)]
    scores, steps = [], 0
    while steps < 30_000:
        # collect each batch with the current policy and use it once: the formula is only valid for that policy
        episodes = [play(env, policy, seed=len(scores) + i) for i in range(8)]
        update(policy, value, optimizers, episodes, Settings())
        scores += [episode.rewards.sum() for episode in episodes]
        steps += sum(len(episode.rewards) for episode in episodes)
    print(f"REINFORCE, {steps:,} steps: mean of the last 100 returns {np.mean(scores[-100:]):.0f}")
