"""The Numba types of the arrays that compiled code takes."""

from __future__ import annotations

from typing import Any

from numba import types

from policygrad.losses.compiled_loss import MATRIX, NUMBERS

__all__ = ["MATRIX", "NUMBERS", "SIZES", "VECTOR"]

VECTOR: Any = types.float32[::1]
SIZES: Any = types.int64[::1]
