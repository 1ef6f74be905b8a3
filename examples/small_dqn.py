"""Learn CartPole-v1 with a small deep Q-network (DQN) in plain PyTorch, for comparison with REINFORCE.

    Q(s, a) ← r + γ max_a' Q'(s', a'),    the action is argmax_a Q(s, a), or with probability ε any action

Mnih et al. 2015. Value-based methods are not part of the library. The network learns from a memory of past steps, and
Q' is an older copy of Q, so that the target does not move with every step. The settings follow those of
stable-baselines3's zoo. The test at the end of each round is the library's, with the same rule as for REINFORCE.
"""

import copy
import time

import gymnasium as gym
import numpy as np
import torch
from torch import nn

import policygrad as pg


def make_network(inputs, outputs):
    hidden = [nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(64, outputs))


class Memory:
    """The last steps, in arrays that are filled again from the start when they are full."""

    def __init__(self, size, inputs):
        self.observation, self.following = (np.zeros((size, inputs), np.float32) for _ in range(2))
        self.action, self.reward = np.zeros(size, np.int64), np.zeros(size, np.float32)
        self.terminated = np.zeros(size, np.float32)
        self.count = 0

    def add(self, observation, action, reward, following, terminated):
        i = self.count % len(self.reward)
        self.observation[i], self.action[i], self.reward[i] = observation, action, reward
        self.following[i], self.terminated[i] = following, terminated
        self.count += 1

    def draw(self, rng, n):
        i = rng.integers(min(self.count, len(self.reward)), size=n)
        columns = (self.observation, self.action, self.reward, self.following, self.terminated)
        return [torch.from_numpy(column[i]) for column in columns]


def learn(network, older, optimizer, batch, gamma):
    """Take one gradient step towards the targets r + γ max Q'(s', ·)."""
    observation, action, reward, following, terminated = batch
    with torch.no_grad():
        # no reward follows a fall; after a time limit the value of the last state still counts
        target = reward + gamma * (1 - terminated) * older(following).max(1).values
    predicted = network(observation).gather(1, action[:, None]).squeeze(1)
    loss = nn.functional.smooth_l1_loss(predicted, target)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()


def train(seed, steps=40_000, gamma=0.99, round_length=256, updates=128, copy_every=128, test_every=2_000):
    """Return the network and the tests: rows of environment steps, seconds of one core, mean greedy return.

    A round is some steps in the environment and then some updates. Q' is copied from Q every `copy_every` updates. If
    that is more often than once per round, Q chases its own target and may grow without bound.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # networks this small do not gain from more threads
    rng, env = np.random.default_rng(seed), gym.make("CartPole-v1")
    network = make_network(4, 2)
    older = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0023, fused=True)
    memory, tests, seconds = Memory(100_000, 4), [], 0.0
    observation, _ = env.reset(seed=seed)
    begin = time.process_time()
    for step in range(1, steps + 1):
        epsilon = max(0.04, 1 - step / 8_000)  # explore much at first, and little later
        if rng.random() < epsilon:
            action = int(rng.integers(2))
        else:
            with torch.no_grad():
                action = int(network(torch.from_numpy(observation)).argmax())
        following, reward, terminated, truncated, _ = env.step(action)
        memory.add(observation, action, reward, following, terminated)
        observation = env.reset()[0] if terminated or truncated else following
        if step % round_length == 0 and step >= 1_000:
            for update in range(updates):
                if update % copy_every == 0:
                    older.load_state_dict(network.state_dict())
                learn(network, older, optimizer, memory.draw(rng, 64), gamma)
        if step % test_every == 0:
            seconds += time.process_time() - begin  # the test itself does not count
            # the library takes the network's outputs for logits; the most probable action is the argmax of Q
            policy = pg.Policy(network, env.observation_space, env.action_space)
            result = pg.evaluate(policy, "CartPole-v1", episodes=20, greedy=True, seed=step)
            tests.append((step, seconds, result.mean))
            begin = time.process_time()
    return network, np.array(tests)


if __name__ == "__main__":
    for seed in range(3):
        _, tests = train(seed)
        solved = tests[tests[:, 2] >= 475]
        if len(solved):
            print(f"seed {seed}: mean return 475 after {solved[0, 0]:,.0f} steps and {solved[0, 1]:.1f} s")
        else:
            print(f"seed {seed}: not solved; best mean return {tests[:, 2].max():.0f}")
