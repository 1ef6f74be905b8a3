"""Array types, and a check of shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
"""NumPy array of float32."""
F64: TypeAlias = NDArray[np.float64]
"""NumPy array of float64."""
I64: TypeAlias = NDArray[np.int64]
"""NumPy array of int64."""
Bool: TypeAlias = NDArray[np.bool_]
"""NumPy array of bool."""
Array: TypeAlias = NDArray[Any]
"""NumPy array of any type."""


def check_shape(name: str, array: Array, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless `array` has exactly the expected shape, so that nothing is broadcast by accident."""
    if array.shape != expected:
        raise ValueError(f"{name} has shape {array.shape}; expected {expected}")
