"""The randomness of actions, drawn ahead of the steps that use it."""

from __future__ import annotations

import numpy as np

from policygrad.policies import Policy
from policygrad.types import F64

BLOCK = 16384
"""Actions whose noise is drawn at once, roughly."""


class ActionNoise:
    """A row [N, ...] of noise for each step of N environments, the same ones however many are taken at a time.

    Args:
        policy: says what noise an action needs.
        rng: where it comes from.
        num_envs: N. Idle environments have their share too, so that the stream does not depend on who is.
    """

    def __init__(self, policy: Policy, rng: np.random.Generator, num_envs: int) -> None:
        self._policy = policy
        self._rng = rng
        self._num_envs = num_envs
        self._rows = self._draw(0)

    def peek(self, steps: int) -> F64:
        """The next rows, at least one and up to `steps`: [rows, N] uniforms or [rows, N, K] normals, float64."""
        if not len(self._rows):
            self._rows = self._draw(max(1, BLOCK // self._num_envs))
        return self._rows[:steps]

    def advance(self, steps: int) -> None:
        """The first `steps` rows have been used."""
        self._rows = self._rows[steps:]

    def _draw(self, steps: int) -> F64:
        drawn = self._policy.draw_noise(self._rng, steps * self._num_envs)
        return drawn.reshape(steps, self._num_envs, *drawn.shape[1:])
