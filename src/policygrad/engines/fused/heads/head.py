"""The distribution that a network's outputs describe, as compiled code sees it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad._support.function_pointers import ADDRESS
from policygrad.engines.signatures import SIZES
from policygrad.types import I64

NO_CHOICES: I64 = np.zeros(0, np.int64)


class Head(NamedTuple):
    """A distribution over actions. It has only one array, because each array adds 0.3 µs to every call."""

    kind: int
    """`KIND` of the module that has its functions."""
    sizes: I64
    """[K]: number of alternatives of each choice; empty for other distributions."""
    greedy: bool = False
    """True if `sample` returns the mode."""
    per_state: bool = False
    """True if a Gaussian's log σ are outputs after its means, as `middle` + `half` · tanh(output / `half`)."""
    middle: float = 0.0
    half: float = 1.0
    log_volume: float = 0.0
    """Log volume of the map from stored actions to the box.

    It is Σ log((high − low)/2) for tanh, and Σ log(high − low) for a Beta."""
    inverse: int = 0
    """Address of SciPy's `betaincinv`."""


HEAD: Any = types.NamedTuple(
    [
        types.int64, SIZES, types.boolean, types.boolean,
        types.float64, types.float64, types.float64, ADDRESS,
    ],
    Head,
)  # fmt: skip
