"""Vectors in LLVM's own terms, which Numba knows none of: the widest the machine has, and arithmetic on them.

A `builder` writes the instructions; x, y, z are float32 vectors.
"""

# pyright: basic
# code that writes code

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
"""Numbers in a vector register. Narrower machines split each into two."""
FLOAT, LANE = ir.FloatType(), ir.IntType(32)
VECTOR = ir.VectorType(FLOAT, LANES)
MASK = ir.VectorType(ir.IntType(1), LANES)

TANH_LIMIT = 7.9
TANH_ABOVE = (1.15236771e-05, 2.959690823e-03, 1.293369339e-01, 1.0)
TANH_BELOW = (2.490017611e-07, 2.399028542e-04, 2.385087548e-02, 4.626693244e-01, 1.0)
"""tanh x = x p(x²) / q(x²) with p(0) = q(0) = 1, of least largest error on ±7.9 (found by Lawson's weights, 1961), and
held there beyond: relative error 1.3e-7, with float32's rounding 4.2e-7, and never more than 1 in size."""


def constant(number):
    """A vector of one number."""
    return ir.Constant(VECTOR, [float(np.float32(number))] * LANES)


def spread(builder, number, vector):
    """A vector with the number in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, LANE(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(LANE, LANES), [0] * LANES))


def fma(builder, x, y, z):
    """x y + z, rounded once."""
    signature = ir.FunctionType(VECTOR, [VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.fma.v{LANES}f32")
    return builder.call(function, [x, y, z])


def at_least(builder, x, low):
    """The larger of two, and NaN of NaN."""
    return builder.select(builder.fcmp_ordered("<", x, low), low, x)


def tanh(builder, x):
    """Relative error below 5e-7, absolute error below 1e-6; NaN of NaN."""
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
