"""PPO in plain PyTorch, complete in one file. Read `plain_reinforce.py` first; it is simpler.

    L(θ) = −E[ min(r_t A_t, clip(r_t, 1 − ε, 1 + ε) A_t) ],    r_t = π_θ(a_t|s_t) / π_old(a_t|s_t)
    A_t = δ_t + γλ δ_{t+1} + (γλ)² δ_{t+2} + ...,    δ_t = R_t + γ V(s_{t+1}) − V(s_t), where R_t is the reward

The loss is eq. 7 of Schulman et al. 2017, and A_t (GAE) is eq. 16 of Schulman et al. 2016.
`tests/unit/test_plain_examples.py` checks that `update` computes the same as `policygrad.PPO`.
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
    gae_lambda: float = 0.95  # λ: 1 uses only the observed rewards, 0 relies on V(s) after one step
    epochs: int = 10  # number of passes over the same data
    minibatch_size: int = 64
    clip: float = 0.2  # ε: changing the probability ratio beyond 1 ± ε gains nothing
    value_clip: float | None = None  # changing V(s) by more than this gains nothing; in units of the return
    entropy_coef: float = 0.0  # weight of the entropy bonus
    max_grad_norm: float = 0.5  # longer gradients are scaled to this norm


@dataclass
class Steps:
    """T steps of N parallel environments. Episodes may begin and end at any step."""

    observation: np.ndarray  # [T, N, D] float32
    action: np.ndarray  # [T, N] int64
    reward: np.ndarray  # [T, N]
    next_observation: np.ndarray  # [T, N, D] float32: after the step, before any reset
    terminated: np.ndarray  # [T, N] bool: the pole fell
    truncated: np.ndarray  # [T, N] bool: a time limit ended the episode


def make_network(inputs, outputs):
    hidden = [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(64, outputs))


@torch.no_grad()
def collect(envs, observation, policy, T, scores):
    """Take T steps in each environment, starting at `observation` [N, D]; also return the next observations."""
    rows = []
    for _ in range(T):
        action = Categorical(logits=policy(torch.as_tensor(observation))).sample().numpy()
        results = [env.step(a) for env, a in zip(envs, action, strict=True)]
        following, reward, terminated, truncated, infos = map(np.array, zip(*results, strict=True))
        rows.append((observation, action, reward, following, terminated, truncated))
        scores += [info["episode"]["r"] for info in infos if "episode" in info]
        observation = following.copy()
        for n in np.flatnonzero(terminated | truncated):
            observation[n], _ = envs[n].reset()
    return Steps(*map(np.array, zip(*rows, strict=True))), observation


@torch.no_grad()
def advantages_and_targets(value, data, gamma, gae_lambda):
    """Return the advantages by GAE and the targets of V(s), each [T, N]."""
    v = value(torch.as_tensor(data.observation)).squeeze(-1).numpy()
    next_v = value(torch.as_tensor(data.next_observation)).squeeze(-1).numpy()
    # no reward follows a fall; after a time limit V(s) estimates the rewards that would have followed
    delta = data.reward + gamma * np.where(data.terminated, 0.0, next_v) - v
    # either way, the sum must not continue into the next episode
    continues = ~(data.terminated | data.truncated)
    advantage, later = np.empty_like(delta), 0.0
    for t in reversed(range(len(delta))):
        advantage[t] = later = delta[t] + gamma * gae_lambda * continues[t] * later
    return advantage, advantage + v


def step(network, optimizer, loss, max_grad_norm):
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), max_grad_norm)
    optimizer.step()


def update(policy, value, optimizers, data, settings, rng):
    """Learn from T × N steps in several passes over shuffled minibatches."""
    advantage, target = advantages_and_targets(value, data, settings.gamma, settings.gae_lambda)
    observation = torch.as_tensor(data.observation).flatten(0, 1)  # [B, D], B = TN
    action = torch.as_tensor(data.action).flatten()
    advantage, target = (torch.as_tensor(x, dtype=torch.float32).flatten() for x in (advantage, target))
    with torch.no_grad():  # the values from when the data was collected; the steps below change the networks
        old_log_prob = Categorical(logits=policy(observation)).log_prob(action)
        old_value = value(observation).squeeze(-1)

    B, eps = len(action), settings.clip
    # minibatches of nearly equal size: a small remainder would give a noisy step
    parts = max(1, round(B / settings.minibatch_size))
    ends = np.arange(1, parts) * B // parts
    for _ in range(settings.epochs):
        for rows in np.split(rng.permutation(B), ends):
            rows = torch.as_tensor(rows)
            a = advantage[rows]
            a = (a - a.mean()) / (a.std(correction=0) + 1e-8)

            # At first the ratio is 1, and the gradient is that of REINFORCE. The minimum removes any gain beyond
            # 1 ± ε. A ratio that has moved in the wrong direction is still pulled back at full strength.
            distribution = Categorical(logits=policy(observation[rows]))
            ratio = torch.exp(distribution.log_prob(action[rows]) - old_log_prob[rows])
            gain = torch.minimum(ratio * a, ratio.clamp(1 - eps, 1 + eps) * a)
            gain = gain + settings.entropy_coef * distribution.entropy()
            step(policy, optimizers[0], -gain.mean(), settings.max_grad_norm)

            v, old, goal = value(observation[rows]).squeeze(-1), old_value[rows], target[rows]
            error = (v - goal).square()
            if settings.value_clip is not None:
                near = old + (v - old).clamp(-settings.value_clip, settings.value_clip)
                error = torch.maximum(error, (near - goal).square())
            step(value, optimizers[1], error.mean() / 2, settings.max_grad_norm)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)  # networks this small do not gain from more threads
    rng, scores = np.random.default_rng(0), []
    N, T, updates = 8, 128, 30
    envs = [gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1")) for _ in range(N)]
    observation = np.stack([env.reset(seed=i)[0] for i, env in enumerate(envs)])
    policy, value = make_network(4, 2), make_network(4, 1)
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.001) for network in (policy, value)]
    for _ in range(updates):
        data, observation = collect(envs, observation, policy, T, scores)
        update(policy, value, optimizers, data, Settings(), rng)
    print(f"PPO, {updates * T * N:,} steps: mean of the last 100 returns {np.mean(scores[-100:]):.0f}")
