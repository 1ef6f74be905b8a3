"""Random bits of a `numpy.random.Generator` for compiled code, which calls the generator's own C function."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from policygrad._support.compiling import exact
from policygrad._support.function_pointers import ADDRESS

BITS: Any = types.UniTuple(ADDRESS, 2)
"""Numba type of `bits_of` a generator."""


def bits_of(rng: np.random.Generator) -> tuple[int, int]:
    """Return the addresses of a generator's function for 32 random bits and of its state.

    They are valid as long as the generator exists. Compiled code advances the generator, whose state can be saved and
    restored as usual.
    """
    interface: Any = rng.bit_generator.ctypes
    function = ctypes.cast(interface.next_uint32, ctypes.c_void_p).value
    state: int = interface.state_address
    assert function is not None
    return function, state


def _next(_context: Any, bits: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        function, state = (builder.extract_value(arguments[0], i) for i in range(2))
        pointer = ir.FunctionType(ir.IntType(32), [ir.IntType(8).as_pointer()]).as_pointer()
        argument = builder.inttoptr(state, ir.IntType(8).as_pointer())
        return builder.call(builder.inttoptr(function, pointer), [argument])

    return types.uint32(bits), generate


next_bits: Any = intrinsic(_next)
"""For compiled code: returns the next 32 random bits of `bits_of` a generator."""


@exact
def integer_up_to(bits: tuple[int, int], largest: int) -> int:
    """Return a uniform integer in [0, largest], for less than 2^32: random bits until they are at most `largest`."""
    mask = largest
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    number = next_bits(bits) & mask
    while number > largest:
        number = next_bits(bits) & mask
    return number


@exact
def shuffle(bits: tuple[int, int], order: NDArray[np.int64]) -> None:
    """Shuffle an array in place (Fisher & Yates 1938), like `numpy.random.Generator.shuffle`."""
    for i in range(len(order) - 1, 0, -1):
        j = integer_up_to(bits, i)
        order[i], order[j] = order[j], order[i]
