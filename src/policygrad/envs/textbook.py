"""Finite Markov decision processes whose every probability is written down, so that results can be exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from policygrad.types import F64, check_shape


@dataclass(frozen=True)
class FiniteMDP:
    """S states, A actions, an episode of at most `horizon` steps."""

    transition: F64
    """[S, A, S] float64: p(s'|s, a)."""
    reward: F64
    """[S, A, S] float64: what the step from s by a to s' pays."""
    start: F64
    """[S] float64: where episodes begin."""
    terminal: tuple[int, ...]
    """States in which an episode terminates when it reaches them."""
    horizon: int
    """After so many steps an episode is truncated."""

    def __post_init__(self) -> None:
        S, A = self.transition.shape[:2]
        check_shape("transition", self.transition, (S, A, S))
        check_shape("reward", self.reward, (S, A, S))
        check_shape("start", self.start, (S,))
        if not (np.allclose(self.transition.sum(-1), 1) and np.isclose(self.start.sum(), 1)):
            raise ValueError("transition and start must sum to 1 over the states they lead to")


class FiniteEnv(gym.Env[Any, Any]):
    """A `FiniteMDP` as a Gymnasium environment: observations are Discrete(S), actions Discrete(A)."""

    def __init__(self, mdp: FiniteMDP) -> None:
        self.mdp = mdp
        S, A = mdp.transition.shape[:2]
        self.observation_space = spaces.Discrete(S)
        self.action_space = spaces.Discrete(A)
        self._state = 0
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._state = self._draw(self.mdp.start)
        self._steps = 0
        return self._state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """One transition."""
        before, self._steps = self._state, self._steps + 1
        self._state = self._draw(self.mdp.transition[before, action])
        terminated = self._state in self.mdp.terminal
        truncated = not terminated and self._steps >= self.mdp.horizon
        return self._state, float(self.mdp.reward[before, action, self._state]), terminated, truncated, {}

    def _draw(self, probabilities: F64) -> int:
        return int(np.searchsorted(np.cumsum(probabilities), self.np_random.random(), side="right"))


def three_states(horizon: int = 4) -> FiniteMDP:
    """Two states to move between and one that ends the episode; noisy moves, and an early end pays less.

    Small enough to enumerate every trajectory, and no variant of REINFORCE coincides with another on it:
    episodes differ in length, rewards in sign, and most actions in what they lead to.
    """
    transition = np.zeros((3, 2, 3))
    transition[0] = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]
    transition[1] = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    transition[2] = [[0, 0, 1], [0, 0, 1]]
    reward = np.zeros((3, 2, 3))
    reward[0] = [[1.0, 0.0, -2.0], [0.0, 0.5, -1.0]]
    reward[1] = [[-1.0, 2.0, 0.0], [0.0, 1.0, 4.0]]
    return FiniteMDP(transition, reward, np.array([0.6, 0.4, 0.0]), terminal=(2,), horizon=horizon)
