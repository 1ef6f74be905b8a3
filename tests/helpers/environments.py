"""An environment in which every number says which step of which episode it belongs to."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Countdown(gym.Env):
    """Episode n lasts `lengths[n]` steps; the observation is (episode, step) and step t pays a reward of t + 1."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, lengths: list[int], *, truncate: bool = False, reuse_array: bool = False) -> None:
        self.lengths, self.truncate, self.reuse_array = lengths, truncate, reuse_array
        self.episode, self.t = -1, 0
        self.seeds: list[int | None] = []
        self._shared = np.zeros(2, np.float32)

    def _observation(self) -> np.ndarray:
        values = np.array([self.episode, self.t], np.float32)
        if not self.reuse_array:
            return values
        self._shared[:] = values
        return self._shared

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode, self.t = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action: int):
        self.t += 1
        over = self.t >= self.lengths[self.episode % len(self.lengths)]
        ends = (False, over) if self.truncate else (over, False)
        return self._observation(), float(self.t), *ends, {}
