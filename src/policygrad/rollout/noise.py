"""The randomness of actions, drawn ahead of the steps that use it."""

from __future__ import annotations

import math

import numpy as np

from policygrad._support.state import restore_rng, rng_state, unpack
from policygrad.policies import Policy
from policygrad.types import F64, State

BLOCK = 16384
"""Numbers of noise that are drawn at once, roughly."""


class ActionNoise:
    """A row [N, ...] of noise for each step of N environments, the same ones however many are taken at a time.

    Args:
        policy: says what noise an action needs, and for how many steps it is held (gSDE's).
        rng: where it comes from.
        num_envs: N. Idle environments have their share too, so that the stream does not depend on who is.
    """

    def __init__(self, policy: Policy, rng: np.random.Generator, num_envs: int) -> None:
        self._policy = policy
        self._rng = rng
        self._num_envs = num_envs
        self._period = policy.distribution.noise_period
        self._rows = self._draw(0)
        row = num_envs * math.prod(self._rows.shape[2:]) * self._period
        self._block = max(1, BLOCK // row)

    def peek(self, steps: int) -> F64:
        """The next rows, at least one and up to `steps`: [rows, N] or [rows, N, ·] float64."""
        if not len(self._rows):
            # where it is held, for whole periods; the stream does not depend on the size of the block
            self._rows = np.repeat(self._draw(self._block), self._period, axis=0)
        return self._rows[:steps]

    def advance(self, steps: int) -> None:
        """The first `steps` rows have been used."""
        self._rows = self._rows[steps:]

    def state(self) -> State:
        """What has been drawn and not used, and where the generator stands."""
        return {"rows": self._rows.copy(), "rng": rng_state(self._rng)}

    def restore(self, state: State) -> None:
        """Give the rows that would have followed."""
        self._rows, rng = unpack(state, "rows", "rng")
        restore_rng(self._rng, rng)

    def _draw(self, steps: int) -> F64:
        drawn = self._policy.draw_noise(self._rng, steps * self._num_envs)
        return drawn.reshape(steps, self._num_envs, *drawn.shape[1:])
