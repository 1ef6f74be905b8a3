"""All randomness, from one seed: named streams that never meet.

The stream of a purpose is `SeedSequence(seed, spawn_key=(purpose,))`, so drawing more from one changes no
other, neighbouring seeds have nothing to do with each other, and no global generator is ever touched.
"""

from __future__ import annotations

import operator
from typing import Literal, get_args

import numpy as np

Purpose = Literal["env", "action", "shuffle", "init", "evaluation", "selection"]


def stream(seed: int, purpose: Purpose) -> np.random.Generator:
    """The generator of one purpose.

    Raises:
        ValueError: `seed` is negative.
        TypeError: `seed` is no integer.
    """
    if operator.index(seed) < 0:
        raise ValueError(f"seed must be 0 or more; got {seed}")
    return np.random.default_rng(
        np.random.SeedSequence(operator.index(seed), spawn_key=(get_args(Purpose).index(purpose),))
    )


class EpisodeSeeds:
    """Seeds for environments, one an episode: in [0, 2^31), which every environment accepts, and all distinct.

    They step through the range by an odd stride, so none repeats before all have been; start and stride come
    from the stream, so two runs share a seed by chance only.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._next = int(rng.integers(2**31))
        self._stride = 2 * int(rng.integers(2**30)) + 1

    def take(self, n: int) -> list[int]:
        """The next n seeds."""
        seeds = [(self._next + i * self._stride) % 2**31 for i in range(n)]
        self._next = (self._next + n * self._stride) % 2**31
        return seeds

    def state(self) -> dict[str, int]:
        """Where they stand."""
        return {"next": self._next, "stride": self._stride}

    def restore(self, state: dict[str, int]) -> None:
        """Stand there again."""
        self._next, self._stride = state["next"], state["stride"]
