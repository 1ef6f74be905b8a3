"""The Numba types that compiled code is written for: the contract between engines and algorithms."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import types

from policygrad.compiled import compiled
from policygrad.types import Cotangents

VECTOR: Any = types.float32[::1]
MATRIX: Any = types.float32[:, ::1]
SIZES: Any = types.int64[::1]

COTANGENTS: Any = types.void(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)
"""Of `types.Cotangents`: log_prob, entropy, value, advantage, target, coefficients, then w, e, c written."""

COTANGENTS_POINTER: Any = types.FunctionType(COTANGENTS)
"""As an argument of compiled code: a typed pointer, so that its caller is compiled once for all algorithms."""


@cache
def compiled_cotangents(cotangents: Cotangents) -> Cotangents:
    """An algorithm's cotangent function as machine code, once a process."""
    return compiled(COTANGENTS)(cotangents)
