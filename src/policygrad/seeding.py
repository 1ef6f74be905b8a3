"""All randomness, from one seed: named streams that never meet.

The stream of a purpose is `SeedSequence(seed, spawn_key=(purpose,))`, so drawing more from one changes no
other, neighbouring seeds share nothing, and no global generator is ever touched.
"""

from __future__ import annotations

import operator
from typing import Literal, get_args

import numpy as np

Purpose = Literal["env", "action", "shuffle", "init", "evaluation"]


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


def environment_seeds(rng: np.random.Generator, n: int) -> list[int]:
    """`n` distinct seeds for environments, in [0, 2^31): the range every environment accepts."""
    seeds: list[int] = []
    while len(seeds) < n:
        drawn = [int(x) for x in rng.integers(2**31, size=n)]
        seeds = list(dict.fromkeys(seeds + drawn))[:n]
    return seeds
