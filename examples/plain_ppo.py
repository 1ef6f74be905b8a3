"""PPO in plain PyTorch, all of it on this page. `plain_reinforce.py` is simpler, and comes first.

    L(θ) = −E[ min(r_t A_t, clip(r_t, 1 − ε, 1 + ε) A_t) ],    r_t = π_θ(a_t|s_t) / π_old(a_t|s_t)
    A_t = δ_t + γλ δ_{t+1} + (γλ)² δ_{t+2} + ...,    δ_t = R_t + γ V(s_{t+1}) − V(s_t), with R_t the reward

Schulman et al. 2017, eq. 7, and for A_t (GAE) Schulman et al. 2016, eq. 16. `tests/unit/test_plain.py` holds `update`
equal to `policygrad.PPO`.
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
    gae_lambda: float = 0.95  # λ: 1 trusts the rewards that were seen, 0 trusts V(s) one step on
    epochs: int = 10  # passes over the same data
    minibatch_size: int = 64
    clip: float = 0.2  # ε: once an action is this share more or less probable, there is no more to gain
    value_clip: float | None = None  # beyond this V(s) gains nothing by moving, in units of the return
    entropy_coef: float = 0.0  # what is paid for choosing at random
    max_grad_norm: float = 0.5  # a longer gradient is shortened to this


@dataclass
class Steps:
    """T steps of N environments side by side; episodes begin and end anywhere within."""

    observation: np.ndarray  # [T, N, D] float32
    action: np.ndarray  # [T, N] int64
    reward: np.ndarray  # [T, N]
    next_observation: np.ndarray  # [T, N, D] float32: what really followed, never a new episode's first
    terminated: np.ndarray  # [T, N] bool: the pole fell
    truncated: np.ndarray  # [T, N] bool: a time limit cut the episode


def make_network(inputs, outputs):
    hidden = [nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(64, outputs))


@torch.no_grad()
def collect(envs, observation, policy, T, scores):
    """Take T steps in each environment from `observation` [N, D] on; also return where they stand then."""
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
    """GAE, and what V(s) is to become: [T, N] each."""
    v = value(torch.as_tensor(data.observation)).squeeze(-1).numpy()
    next_v = value(torch.as_tensor(data.next_observation)).squeeze(-1).numpy()
    # after a fall nothing follows; where only time ran out, V(s) stands for what would have
    delta = data.reward + gamma * np.where(data.terminated, 0.0, next_v) - v
    # but no sum goes on from an episode into the next, whichever way it ended
    goes_on = ~(data.terminated | data.truncated)
    advantage, later = np.empty_like(delta), 0.0
    for t in reversed(range(len(delta))):
        advantage[t] = later = delta[t] + gamma * gae_lambda * goes_on[t] * later
    return advantage, advantage + v


def step(network, optimizer, loss, max_grad_norm):
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), max_grad_norm)
    optimizer.step()


def update(policy, value, optimizers, data, settings, rng):
    """Learn from T × N steps, in several passes over shuffled minibatches."""
    advantage, target = advantages_and_targets(value, data, settings.gamma, settings.gae_lambda)
    observation = torch.as_tensor(data.observation).flatten(0, 1)  # [B, D], B = TN
    action = torch.as_tensor(data.action).flatten()
    advantage, target = (torch.as_tensor(x, dtype=torch.float32).flatten() for x in (advantage, target))
    with torch.no_grad():  # as they were when the data was collected, whatever the steps below do to them
        old_log_prob = Categorical(logits=policy(observation)).log_prob(action)
        old_value = value(observation).squeeze(-1)

    B, eps = len(action), settings.clip
    parts = max(1, round(B / settings.minibatch_size))  # as equal as can be: no small rest with a noisy step
    ends = np.arange(1, parts) * B // parts
    for _ in range(settings.epochs):
        for rows in np.split(rng.permutation(B), ends):
            rows = torch.as_tensor(rows)
            a = advantage[rows]
            a = (a - a.mean()) / (a.std(correction=0) + 1e-8)

            # The first ratio is 1, and its gradient that of REINFORCE. The smaller of the two leaves nothing to gain
            # beyond 1 ± ε; where the ratio has gone the wrong way it still pulls back at full strength.
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
    torch.set_num_threads(1)  # for networks this small more would wait for one another
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
