"""Train on your own environment by passing a function that creates one."""

import gymnasium as gym
import numpy as np

import policygrad as pg


class Thermostat(gym.Env):
    """Keep a room at 20 degrees for 60 minutes, with a heater between off (0) and full power (1)."""

    observation_space = gym.spaces.Box(-30, 60, (2,))
    action_space = gym.spaces.Box(0, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.inside, self.outside = self.np_random.uniform(5, 25), self.np_random.uniform(-5, 10)
        return np.array([self.inside, self.outside], np.float32), {}

    def step(self, action):
        self.inside += 2.0 * float(action[0]) - 0.05 * (self.inside - self.outside)
        reward = -abs(self.inside - 20) / 10
        return np.array([self.inside, self.outside], np.float32), reward, False, False, {}


def make_my_env():
    return gym.wrappers.TimeLimit(Thermostat(), max_episode_steps=60)


if __name__ == "__main__":
    network = pg.Network(scale_observations=True)
    algorithm = pg.Reinforce(gamma=0.95, learning_rate=0.01)
    run = pg.train(make_my_env, algorithm, network=network, steps=60_000, num_envs=8, seed=0)
    before = run.history["return"][0]
    after = pg.evaluate(run.policy, make_my_env, episodes=50)
    print(f"mean return: {before:.1f} in the first episodes; trained policy: {after}")
    assert after.low > before + 10
