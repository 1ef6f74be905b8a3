"""Which distribution a network's outputs are, as compiled code sees it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad._support.function_pointers import ADDRESS
from policygrad.engines.signatures import SIZES
from policygrad.types import I64

NO_CHOICES: I64 = np.zeros(0, np.int64)


class Head(NamedTuple):
    """A distribution over actions; one array alone, for each costs every call 0.3 µs."""

    kind: int
    """`KIND` of the file that has its functions."""
    sizes: I64
    """[K]: the alternatives of each choice; empty of the others."""
    greedy: bool = False
    """`sample` gives the mode."""
    per_state: bool = False
    """A Gaussian's log σ stand beside its means, as `middle` + `half` · tanh(output / `half`)."""
    middle: float = 0.0
    half: float = 1.0
    log_volume: float = 0.0
    """Of the map from what is stored to the box: Σ log((high − low)/2) of tanh, Σ log(high − low) of a Beta."""
    inverse: int = 0
    """Where SciPy's `betaincinv` lies."""


HEAD: Any = types.NamedTuple(
    [
        types.int64, SIZES, types.boolean, types.boolean,
        types.float64, types.float64, types.float64, ADDRESS,
    ],
    Head,
)  # fmt: skip
