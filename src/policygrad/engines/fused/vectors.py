"""Vectors and their arithmetic in LLVM's intermediate representation, because Numba has no vector types.

Vectors are as wide as the machine's registers. A `builder` writes the instructions; x, y and z are float32 vectors.
"""

# pyright: basic
# code that generates code

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
"""Number of float32 in a vector. A machine with narrower registers splits each vector into two."""
FLOAT, LANE = ir.FloatType(), ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)

TANH_LIMIT = 7.9
TANH_ABOVE = (1.15236771e-05, 2.959690823e-03, 1.293369339e-01, 1.0)
TANH_BELOW = (2.490017611e-07, 2.399028542e-04, 2.385087548e-02, 4.626693244e-01, 1.0)
"""tanh x = x p(x²) / q(x²) with p(0) = q(0) = 1, constant beyond ±7.9.

The coefficients minimize the largest error on ±7.9 (found by Lawson's weights, 1961). The relative error is 1.3e-7, or
4.2e-7 with the rounding of float32, and the magnitude never exceeds 1."""


def constant(number):
    """Return a vector with a constant in every lane."""
    return ir.Constant(VECTOR, [float(np.float32(number))] * LANES)


def spread(builder, number, vector):
    """Return a vector with a variable in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, LANE(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(LANE, LANES), [0] * LANES))


def fma(builder, x, y, z):
    """Return x y + z, rounded once."""
    signature = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [x, y, z])


def at_least(builder, x, low):
    """Return the larger of x and `low`; NaN if x is NaN."""
    return builder.select(builder.fcmp_ordered("<", x, low), low, x)


def tanh(builder, x):
    """Return tanh x with a relative error below 5e-7 and an absolute error below 1e-6; NaN for NaN."""
    low, high = constant(-TANH_LIMIT), constant(TANH_LIMIT)
    x = at_least(builder, x, low)
    x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
    z = builder.fmul(x, x)

    def polynomial(coefficients):
        value = constant(coefficients[0])
        for coefficient in coefficients[1:]:
            value = fma(builder, value, z, constant(coefficient))
        return value

    return builder.fdiv(builder.fmul(x, polynomial(TANH_ABOVE)), polynomial(TANH_BELOW))
