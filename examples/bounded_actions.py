"""Compare four distributions for actions in a box on a small problem: choose the point that is observed."""

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import policygrad as pg


class Aim(gym.Env):
    """An episode of one step. The observation is the target; the reward is minus its distance to the action."""

    observation_space = spaces.Box(-0.8, 0.8, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.target = self.np_random.uniform(-0.8, 0.8, 1).astype(np.float32)
        return self.target, {}

    def step(self, action):
        return self.target, -float(np.abs(action - self.target)[0]), True, False, {}


if __name__ == "__main__":
    algorithm = pg.Reinforce(baseline="mean", learning_rate=0.02, episodes_per_env=8)
    for distribution in ("gaussian", "squashed", "beta", "gsde"):
        network = pg.Network((16,), distribution=distribution, log_std=-0.5)
        run = pg.train(Aim, algorithm, network=network, num_envs=32, steps=40_000)
        result = pg.evaluate(run.last_policy, Aim, episodes=200)
        print(f"{distribution:9} {run.engine} engine: mean return {result.mean:.3f}")
        assert result.mean > -0.15  # an untrained policy reaches -0.4
