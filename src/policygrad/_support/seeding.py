"""Random streams: all randomness comes from one seed, in independent streams for different purposes.

The stream of a purpose is `SeedSequence(seed, spawn_key=(purpose,))`. Drawing more from one stream therefore changes
no other, neighboring seeds are unrelated, and no global generator is ever used.
"""

from __future__ import annotations

import operator
from typing import Literal, NamedTuple, get_args

import numpy as np

Purpose = Literal["env", "action", "shuffle", "init", "evaluation", "selection"]


def stream(seed: int, purpose: Purpose) -> np.random.Generator:
    """Return the random generator of one purpose.

    Raises:
        ValueError: `seed` is negative.
        TypeError: `seed` is not an integer.
    """
    if operator.index(seed) < 0:
        raise ValueError(f"seed must be 0 or more; got {seed}")
    return np.random.default_rng(
        np.random.SeedSequence(operator.index(seed), spawn_key=(get_args(Purpose).index(purpose),))
    )


class EnvShare(NamedTuple):
    """Consecutive environments of a run, if each actor of the run has only some of them."""

    first: int
    """Index of the first one."""
    total: int
    """Number of environments of the whole run."""


class EpisodeSeeds:
    """Distinct seeds for environments, one per episode, in [0, 2^31), which every environment accepts.

    They step through the range with an odd stride, so none repeats before all have been used. The start and the stride
    come from the stream, so two runs share a seed only by chance.

    Args:
        rng: random generator of the start and of the stride.
        share: the environments that the seeds are for; None is all of them.
    """

    def __init__(self, rng: np.random.Generator, share: EnvShare | None = None) -> None:
        self._share = share
        self._next = int(rng.integers(2**31))
        self._stride = 2 * int(rng.integers(2**30)) + 1

    def take(self, n: int) -> list[int]:
        """Return the next n seeds. Those of the environments outside of the share are left out."""
        first, total = (0, n) if self._share is None else (self._share.first, self._share.total)
        seeds = [(self._next + (first + i) * self._stride) % 2**31 for i in range(n)]
        self._next = (self._next + total * self._stride) % 2**31
        return seeds

    def state(self) -> dict[str, int]:
        """Return the serializable state."""
        return {"next": self._next, "stride": self._stride}

    def restore(self, state: dict[str, int]) -> None:
        """Continue from that state."""
        self._next, self._stride = state["next"], state["stride"]
