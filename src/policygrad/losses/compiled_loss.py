"""Compilation of losses and their derivatives to machine code."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from policygrad._support.compiling import NOT_FROM_PYTHON, UNCOUNTED, compile_cached, compiled
from policygrad._support.function_pointers import ADDRESS, address_in, function_at
from policygrad.types import F32, F64

MATRIX: Any = types.float32[:, ::1]
NUMBERS: Any = types.float64[::1]
DERIVATIVES: Any = types.void(MATRIX, MATRIX, types.int64, types.int64, NUMBERS, types.float64, MATRIX)
"""derivatives(outputs [3, B], columns [C, B], start, stop, coefficients, scale, result [3, ≥ stop − start])

Writes `scale` times the derivatives of the losses of samples `start` to `stop` − 1 with respect to log π, H and V into
`result`. Everything is computed in float64 and stored as float32.
"""
VALUE: Any = types.float64(MATRIX, MATRIX, NUMBERS)
"""value(outputs [3, B], columns [C, B], coefficients) -> the mean loss."""

derivatives_at: Any = function_at(DERIVATIVES)
"""For compiled code: returns the derivatives function at an address."""
_value_at: Any = function_at(VALUE)

EXACT: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract", "nsz"},
    **UNCOUNTED,
    **NOT_FROM_PYTHON,
}
"""Compiler options: arithmetic as written, except that a multiplication and an addition may be fused."""


def compile_source(source: str, signature: Any, **globals_: Any) -> int:
    """Compile the source of a function, or load it from the disk cache, and return the address of its machine code.

    Args:
        source: source code of one function, named `derivatives` or `value`.
        signature: DERIVATIVES or VALUE.
        globals_: objects that the source refers to by name, in addition to `math` and `np`.
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
"""Compiled functions, kept alive because their machine code is freed with them."""


@compiled(types.void(ADDRESS, MATRIX, MATRIX, NUMBERS, types.float64, MATRIX), at_first_call=True)
def write_derivatives(
    address: int, outputs: F32, columns: F32, coefficients: F64, scale: float, result: F32
) -> None:
    """Call the compiled derivatives at an address on all samples; see `DERIVATIVES`."""
    derivatives_at(address)(outputs, columns, 0, outputs.shape[1], coefficients, scale, result)


@compiled(types.float64(ADDRESS, MATRIX, MATRIX, NUMBERS), at_first_call=True)
def mean_value(address: int, outputs: F32, columns: F32, coefficients: F64) -> float:
    """Call the compiled loss at an address and return its mean; see `VALUE`."""
    return _value_at(address)(outputs, columns, coefficients)
