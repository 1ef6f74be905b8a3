"""Compare ways to run environments that wait: in turn, in processes, and as the automatic measurement decides.

Speeds include learning. Usage:

    python benchmarks/slow_environments.py
"""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

import policygrad as pg


class Waiting(gym.Env[Any, Any]):
    """An environment whose steps take 5 ms without computing anything."""

    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> Any:
        time.sleep(0.005)
        self._steps += 1
        return np.zeros(4, np.float32), float(action), False, self._steps == 50, {}


def main() -> None:
    """Print the steps per second of eight environments."""
    for _ in range(3):
        for how in ("sync", "processes", "auto"):
            run = pg.train(
                Waiting, pg.Reinforce(), steps=4000, num_envs=8, vectorize=how, select=False, progress=False
            )
            print(f"{how}: {run.steps / run.seconds:,.0f} steps/s")


if __name__ == "__main__":
    main()
