"""REINFORCE with a learned baseline in plain PyTorch, all of it on this page: a place to begin reading.

    ∇J(θ) ≈ 1/B Σ_t ∇ log π_θ(a_t|s_t) (G_t − V(s_t)),    G_t = r_t + γ r_{t+1} + γ² r_{t+2} + ...

Williams 1992; Sutton & Barto 2018, section 13.4. Their factor γ^t is left out, as nearly everywhere: with it the late
steps of an episode would hardly count. `tests/unit/test_plain.py` holds `update` equal to `policygrad.Reinforce`.
"""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical


@dataclass
class Settings:
    """What `update` can be told."""

    gamma: float = 0.99  # a reward t steps ahead counts γ^t
    value_steps: int = 4  # gradient steps on V(s) for one of the policy
    entropy_coef: float = 0.0  # β: what is paid for choosing at random (Williams & Peng 1991)
    # a longer gradient is shortened to this: one odd batch should not rule the averages that Adam keeps
    max_grad_norm: float = 0.5


@dataclass
class Episode:
    """One episode of T steps."""

    observations: np.ndarray  # [T, D] float32: what the policy saw
    actions: np.ndarray  # [T] int64: what it did there
    rewards: np.ndarray  # [T]: what that brought
    last_observation: np.ndarray  # [D] float32: where it ended
    terminated: bool  # the pole fell; otherwise a time limit cut the episode, which could have gone on


def make_network(inputs, outputs):
    hidden = [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(64, outputs))


@torch.no_grad()
def play(env, policy, seed=None):
    """Play one whole episode: what follows an action is known only once the episode is over."""
    steps, over = [], False
    observation, _ = env.reset(seed=seed)
    while not over:
        # sampled, not the most probable: only what is tried can be learned from
        action = Categorical(logits=policy(torch.as_tensor(observation))).sample().item()
        following, reward, terminated, truncated, _ = env.step(action)
        steps.append((observation, action, reward))
        observation, over = following, terminated or truncated
    return Episode(*map(np.array, zip(*steps, strict=True)), observation, terminated)


@torch.no_grad()
def returns_to_go(episode, value, gamma):
    """Compute G_t [T], from the last step backwards: an action is judged by what came after it, not before."""
    # of what a time limit cut off, V(s) of the state reached is the best guess; after a fall there is nothing
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
    """Learn from whole episodes: one step of the policy, then several of V(s)."""
    observations = torch.as_tensor(np.concatenate([e.observations for e in episodes]))  # [B, D]
    actions = torch.as_tensor(np.concatenate([e.actions for e in episodes]))  # [B]
    returns = [returns_to_go(episode, value, settings.gamma) for episode in episodes]
    returns = torch.as_tensor(np.concatenate(returns))  # [B]

    # The baseline. V(s) knows nothing of the action, so subtracting it does not change the expected gradient; but
    # what is left, how much better it went than usual, varies less than G_t. V(s) is as it was before this data.
    with torch.no_grad():
        advantages = returns - value(observations).squeeze(-1)  # [B] − [B]: [B] − [B, 1] would be [B, B]
    # Over all episodes together: now one learning rate suits returns of 20 and of 500.
    advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)

    # An optimizer goes down, and we want to go up: hence the minus. The advantages carry no gradient.
    distribution = Categorical(logits=policy(observations))
    gain = advantages * distribution.log_prob(actions) + settings.entropy_coef * distribution.entropy()
    step(policy, optimizers[0], -gain.mean(), settings.max_grad_norm)

    # V(s) is an ordinary regression on the returns, and may take more steps: it cannot spoil what the policy does.
    for _ in range(settings.value_steps):
        error = value(observations).squeeze(-1) - returns
        step(value, optimizers[1], error.square().mean() / 2, settings.max_grad_norm)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)  # for networks this small more would wait for one another
    env = gym.make("CartPole-v1")
    policy, value = make_network(4, 2), make_network(4, 1)
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.01) for network in (policy, value)]
    scores, steps = [], 0
    while steps < 30_000:
        # each batch is of the policy as it is now, and is used once: the formula holds for no other
        episodes = [play(env, policy, seed=len(scores) + i) for i in range(8)]
        update(policy, value, optimizers, episodes, Settings())
        scores += [episode.rewards.sum() for episode in episodes]
        steps += sum(len(episode.rewards) for episode in episodes)
    print(f"REINFORCE, {steps:,} steps: mean of the last 100 returns {np.mean(scores[-100:]):.0f}")
