"""The Numba types that compiled code is written for: the contract between engines and algorithms."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import types

from policygrad.compiled import compiled
from policygrad.pointers import ADDRESS, address_of, function_at
from policygrad.types import F32, Cotangents, Sample

VECTOR: Any = types.float32[::1]
MATRIX: Any = types.float32[:, ::1]
SIZES: Any = types.int64[::1]

SAMPLE: Any = types.NamedUniTuple(VECTOR, len(Sample._fields), Sample)
COTANGENTS: Any = types.void(SAMPLE, VECTOR, VECTOR, VECTOR, VECTOR)
"""Of `types.Cotangents`: samples and coefficients, then w, e, c written."""

cotangents_at: Any = function_at(COTANGENTS)


@cache
def cotangents_address(cotangents: Cotangents) -> int:
    """Where an algorithm's cotangent function lies as machine code, its indices checked."""
    return address_of(cotangents, COTANGENTS, exact=True)


@compiled(types.void(ADDRESS, SAMPLE, VECTOR, VECTOR, VECTOR, VECTOR))
def _call(address: int, sample: Sample, coefficients: F32, w: F32, e: F32, c: F32) -> None:
    cotangents_at(address)(sample, coefficients, w, e, c)


def call_cotangents(
    cotangents: Cotangents, sample: Sample, coefficients: F32, w: F32, e: F32, c: F32
) -> None:
    """Call an algorithm's cotangent function from Python: the same machine code that the fused engine runs."""
    _call(cotangents_address(cotangents), sample, coefficients, w, e, c)  # pyright: ignore[reportCallIssue]
