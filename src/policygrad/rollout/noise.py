"""Random numbers for actions, drawn ahead of the steps that use them."""

from __future__ import annotations

import math

import numpy as np

from policygrad._support.seeding import EnvShare
from policygrad._support.state import restore_rng, rng_state, unpack
from policygrad.policies import Policy
from policygrad.types import F64, State

BLOCK = 16384
"""Approximate number of random numbers that are drawn at once."""


class ActionNoise:
    """Draws a row [N, ...] of noise for each step of N environments.

    The rows do not depend on how many of them are taken at a time.

    Args:
        policy: determines what noise an action needs, and for how many steps it is kept (in gSDE).
        rng: random generator of the noise.
        num_envs: N. Idle environments get noise too, so that the stream does not depend on which ones are idle.
        share: the environments that the noise is for, if the run has others. Noise is drawn for all of them, so that
            each gets the same as if they were together.
    """

    def __init__(
        self, policy: Policy, rng: np.random.Generator, num_envs: int, share: EnvShare | None = None
    ) -> None:
        self._share = share or EnvShare(0, num_envs)
        self._policy = policy
        self._rng = rng
        self._num_envs = num_envs
        self._period = policy.distribution.noise_period
        self._rows = self._draw(0)
        self.numbers = math.prod(self._rows.shape[2:])
        """Number of random numbers of an action."""
        self._block = max(1, BLOCK // (self._share.total * self.numbers * self._period))

    def peek(self, steps: int) -> F64:
        """Return the next rows, at least one and at most `steps`: [rows, N] or [rows, N, ·] float64."""
        if not len(self._rows):
            # noise that is kept fills whole periods, so the stream does not depend on the size of the block
            self._rows = np.repeat(self._draw(self._block), self._period, axis=0)
        return self._rows[:steps]

    def advance(self, steps: int) -> None:
        """Discard the next `steps` rows, which have been used."""
        while steps > len(self._rows):
            steps -= len(self._rows)
            self._rows = self._rows[:0]
            self.peek(1)
        self._rows = self._rows[steps:]

    def state(self) -> State:
        """Return the rows that are drawn but not used, and the state of the generator."""
        return {"rows": self._rows.copy(), "rng": rng_state(self._rng)}

    def restore(self, state: State) -> None:
        """Restore a state, so that the same rows follow."""
        self._rows, rng = unpack(state, "rows", "rng")
        restore_rng(self._rng, rng)

    def _draw(self, steps: int) -> F64:
        first, total = self._share
        drawn = self._policy.draw_noise(self._rng, steps * total)
        drawn = drawn.reshape(steps, total, *drawn.shape[1:])
        return np.ascontiguousarray(drawn[:, first : first + self._num_envs])
