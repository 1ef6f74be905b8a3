"""The Numba types that compiled code is written for: the contract between engines and algorithms."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from policygrad.compiled import compiled, compiled_pointer
from policygrad.types import F32, Cotangents

VECTOR: Any = types.float32[::1]
MATRIX: Any = types.float32[:, ::1]
SIZES: Any = types.int64[::1]

COTANGENTS: Any = types.void(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)
"""Of `types.Cotangents`: log_prob, entropy, value, advantage, target, coefficients, then w, e, c written."""

COTANGENTS_ADDRESS: Any = types.intp
"""As an argument of compiled code: its address, so that its caller is compiled once for all algorithms."""


def cotangents_address(cotangents: Cotangents) -> int:
    """Where an algorithm's cotangent function lies as machine code: see `cotangents_at`."""
    return _pointer(cotangents)._wrapper_address


@cache
def _pointer(cotangents: Cotangents) -> Any:
    """Compiled once a process, and kept: its code must outlive every use of its address."""
    return compiled_pointer(COTANGENTS)(cotangents)


def _cotangents_at(_context: Any, address: Any) -> Any:
    """In compiled code: the cotangent function at an address.

    Numba takes function pointers as arguments by itself, but spends 80 µs on each call in finding out their
    type; an integer costs nothing.
    """
    pointer: Any = types.FunctionType(COTANGENTS)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        function = cgutils.create_struct_proxy(pointer)(context, builder)
        function.c_addr = builder.inttoptr(arguments[0], cgutils.voidptr_t)
        return function._getvalue()

    return pointer(address), generate


cotangents_at: Any = intrinsic(_cotangents_at)


@compiled(types.void(COTANGENTS_ADDRESS, *[VECTOR] * 9))
def _call(
    address: int, log_prob: F32, entropy: F32, value: F32, advantage: F32, target: F32, coefficients: F32,
    w: F32, e: F32, c: F32,
) -> None:  # fmt: skip
    cotangents_at(address)(log_prob, entropy, value, advantage, target, coefficients, w, e, c)


def call_cotangents(cotangents: Cotangents, *arrays: F32) -> None:
    """Call an algorithm's cotangent function from Python: the same machine code that the fused engine runs."""
    _call(cotangents_address(cotangents), *arrays)  # pyright: ignore[reportCallIssue]
