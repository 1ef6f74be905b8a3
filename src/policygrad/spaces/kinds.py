"""Kinds of Gymnasium spaces (choices, boxes and composites) and their components."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
from gymnasium import spaces

from policygrad.types import F64, I64

Space: TypeAlias = spaces.Space[Any]


LARGEST_BOUND = 1e9
"""A larger bound is treated as no bound: some environments use the largest float for "no bound"."""


CHOICES = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
"""Spaces whose actions are one choice between alternatives, or several choices at once."""


def is_composite(space: Space) -> bool:
    """Return whether observations are dicts or tuples, which are flattened to one row of numbers."""
    return isinstance(space, spaces.Dict | spaces.Tuple)


def in_words(space: Space) -> str:
    """Return a short description of a space without its bounds.

    >>> in_words(spaces.Box(-1, 1, (4,))), in_words(spaces.Discrete(2))
    ('Box(4,)', 'Discrete(2)')
    """
    if isinstance(space, spaces.Box):
        return f"Box{space.shape}"
    if isinstance(space, spaces.Dict):
        return f"Dict({', '.join(f'{key}: {in_words(part)}' for key, part in space.spaces.items())})"
    if isinstance(space, spaces.Tuple):
        return f"Tuple({', '.join(map(in_words, space.spaces))})"
    return str(space)


def is_choice(space: Space) -> bool:
    """Return whether actions are choices between alternatives rather than continuous numbers."""
    return isinstance(space, CHOICES)


def choices_of(space: Space) -> tuple[I64, I64]:
    """Return (number of alternatives, first value) of each choice, both [K] int64 with axes flattened."""
    if isinstance(space, spaces.Discrete):
        return np.array([space.n], np.int64), np.array([space.start], np.int64)
    if isinstance(space, spaces.MultiDiscrete):
        sizes, starts = space.nvec, space.start
    else:
        sizes, starts = np.full(int(np.prod(space.shape or ())), 2), 0
    flat = np.asarray(sizes, np.int64).reshape(-1)
    return flat, np.broadcast_to(np.asarray(starts, np.int64).reshape(-1), flat.shape).copy()


def bounds_of(space: Space) -> tuple[F64, F64]:
    """Return (low, high) of a Box, both [K] float64 with axes flattened."""
    box = cast(spaces.Box, space)
    return box.low.astype(np.float64).reshape(-1), box.high.astype(np.float64).reshape(-1)


def interval_units(low: F64, high: F64) -> tuple[F64, F64]:
    """Return (middle, half the width) of each interval [K], or (0, 1) where the width is not finite and positive."""
    finite = (np.abs(low) < LARGEST_BOUND) & (np.abs(high) < LARGEST_BOUND) & (high > low)
    middle, half = np.zeros(low.shape), np.ones(low.shape)
    middle[finite], half[finite] = (low[finite] + high[finite]) / 2, (high[finite] - low[finite]) / 2
    return middle, half
