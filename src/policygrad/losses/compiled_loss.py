"""Derived losses as machine code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from policygrad._support.compiling import UNCOUNTED, compile_cached, compiled
from policygrad._support.function_pointers import ADDRESS, address_in, function_at
from policygrad.types import F32, F64

MATRIX: Any = types.float32[:, ::1]
NUMBERS: Any = types.float64[::1]
DERIVATIVES: Any = types.void(MATRIX, MATRIX, types.int64, types.int64, NUMBERS, types.float64, MATRIX)
"""derivatives(outputs [3, B], columns [C, B], start, stop, coefficients, scale, result [3, ≥ stop − start])

Writes `scale` times the derivatives of the losses of the samples from `start` to before `stop` with respect to log π, H
and V. Everything is computed in float64, and written as float32.
"""
VALUE: Any = types.float64(MATRIX, MATRIX, NUMBERS)
"""value(outputs [3, B], columns [C, B], coefficients) -> the mean loss."""

derivatives_at: Any = function_at(DERIVATIVES)
"""For compiled code: from an address to the derivatives that lie there."""
_value_at: Any = function_at(VALUE)

EXACT: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}, **UNCOUNTED}
"""Arithmetic as it is written, but for fused multiplications and additions."""


def compile_source(source: str, signature: Any, **globals_: Any) -> int:
    """Compile the source of a function, or take it from the cache on disk; returns the address of its machine code.

    Args:
        source: of one function.
        signature: DERIVATIVES or VALUE.
        globals_: what it refers to, beside math and NumPy.
    """
    namespace: dict[str, Any] = {"__name__": __name__, "math": math, "np": np, **globals_}
    exec(compile(source, "<derived>", "exec"), namespace)
    function: Callable[..., Any] = next(
        namespace[name] for name in ("derivatives", "value") if name in namespace
    )
    dispatcher = compile_cached(function, [signature], **EXACT)
    _kept.append(dispatcher)
    return address_in(dispatcher, signature)


_kept: list[Any] = []
"""Compiled functions: their machine code goes when they go."""


@compiled(types.void(ADDRESS, MATRIX, MATRIX, NUMBERS, types.float64, MATRIX))
def write_derivatives(
    address: int, outputs: F32, columns: F32, coefficients: F64, scale: float, result: F32
) -> None:
    """Call compiled derivatives on all samples: see `DERIVATIVES`."""
    derivatives_at(address)(outputs, columns, 0, outputs.shape[1], coefficients, scale, result)


@compiled(types.float64(ADDRESS, MATRIX, MATRIX, NUMBERS))
def mean_value(address: int, outputs: F32, columns: F32, coefficients: F64) -> float:
    """Call a compiled value: see `VALUE`."""
    return _value_at(address)(outputs, columns, coefficients)
