"""Matrix products of the sizes that perceptrons have: float32, in registers, without a call to BLAS.

For matrices of 8 to 256 rows and columns, BLAS spends much of its time on copying them into a better order and on
choosing a method. Such matrices fit in a core's first caches as they are. Here a tile of C stays in vector registers
while the sum runs:

    C[i, j] = Σ_k A[i, k] · B[k, j]

Each step multiplies, for every row of the tile, one number of A by a vector from row k of B. The rows of B and C must
be contiguous; A may be in any order, so it may be transposed. The bias and the activation of a perceptron, or the
derivative of the activation, are applied before the sums leave the registers. The loop over a tile is written in LLVM's
intermediate representation, because Numba has no vectors; everything around it is Numba.
"""

# pyright: basic
# compiled code, and code that generates code: [M, N] arguments are C-contiguous float32 matrices

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from policygrad._support.compiling import inlined, inner
from policygrad._support.function_pointers import address_of, function_at
from policygrad.engines.fused.vectors import (
    FLOAT,
    LANE,
    LANES,
    MASK,
    VECTOR,
    at_least,
    constant,
    fma,
    spread,
    tanh,
)

HEIGHT, VECTORS = (8 if LANES == 16 else 6), 2
"""Rows of a tile, and vectors per row. AVX2's 16 registers hold 12 sums, 2 vectors of B and 1 number of A; AVX-512 has
32 registers."""
BYTES = 4
f32 = np.float32
_INDEX = ir.IntType(64)

OVERWRITE, ADD, ACTIVATE, PULL_BACK = 0, 1, 2, 3
"""What is done with A B. `OVERWRITE`: C = A B. `ADD`: C += A B. `ACTIVATE`: C = f(A B + vector), with an entry of the
vector per column of C. `PULL_BACK`: C = (A B) ⊙ f′, where f′ is computed from the values of f in C, and then the sums
of C's columns are added to the vector."""
IDENTITY, RELU, TANH = 0, 1, 2
"""The activation f."""


def _stripe(vectors, masked):
    """Return an intrinsic that computes a stripe of C: all its rows, and `vectors` · LANES columns.

    Its arguments are (a, a_row, a_column, b, c, width, rows, columns, depth, what, f, vector). The addresses are a, b,
    c and vector. The strides are a_row and a_column for A, and `width` for the rows of B and C, in numbers. The sum has
    `depth` terms, and `what` and `f` say what is done with it. A `masked` stripe is one vector wide, and only its first
    `columns` numbers are read and written.
    """

    def generate(_context, builder, _signature, arguments):
        a, a_row, a_column, b, c, width, rows, columns, depth, what, f, vector = arguments
        a, b, c, vector = (builder.inttoptr(address, FLOAT.as_pointer()) for address in (a, b, c, vector))
        pointer, zero = VECTOR.as_pointer(), constant(0)

        def declare(name, result, *operands):
            signature = ir.FunctionType(result, operands)
            return cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}")

        if masked:
            masked_load = declare(f"masked.load.v{LANES}f32.p0", VECTOR, pointer, LANE, MASK, VECTOR)
            masked_store = declare(f"masked.store.v{LANES}f32.p0", ir.VoidType(), VECTOR, pointer, LANE, MASK)
            lanes = ir.VectorType(_INDEX, LANES)
            numbered = ir.Constant(lanes, list(range(LANES)))
            mask = builder.icmp_signed("<", numbered, spread(builder, columns, lanes))

        def load(row, v):
            start = builder.bitcast(builder.gep(row, [_INDEX(v * LANES)]), pointer)
            if masked:
                return builder.call(masked_load, [start, LANE(BYTES), mask, zero])
            return builder.load(start, align=BYTES)

        def store(vector, row, v):
            start = builder.bitcast(builder.gep(row, [_INDEX(v * LANES)]), pointer)
            if masked:
                builder.call(masked_store, [vector, start, LANE(BYTES), mask])
            else:
                builder.store(vector, start, align=BYTES)

        def row(base, stride, i):
            return builder.gep(base, [builder.mul(stride, i)])

        def when(number, value):
            return builder.if_then(builder.icmp_signed("==", number, _INDEX(value)))

        def tile(first, height):
            """Compute the rows from `first` to before `first + height`."""
            a_first, c_first = row(a, a_row, first), row(c, width, first)
            c_rows = [row(c_first, width, _INDEX(i)) for i in range(height)]
            cells = [(i, v) for i in range(height) for v in range(vectors)]
            # variables on the stack, which LLVM turns into registers
            sums = {cell: cgutils.alloca_once(builder, VECTOR) for cell in cells}
            for cell in cells:
                builder.store(zero, sums[cell])
            with when(what, ADD):
                for i, v in cells:
                    builder.store(load(c_rows[i], v), sums[i, v])
            with when(what, ACTIVATE):
                for i, v in cells:
                    builder.store(load(vector, v), sums[i, v])
            with cgutils.for_range(builder, depth) as loop:
                b_k, a_k = row(b, width, loop.index), row(a_first, a_column, loop.index)
                b_vectors = [load(b_k, v) for v in range(vectors)]
                for i in range(height):
                    a_number = spread(builder, builder.load(row(a_k, a_row, _INDEX(i))), VECTOR)
                    for v in range(vectors):
                        builder.store(
                            fma(builder, a_number, b_vectors[v], builder.load(sums[i, v])), sums[i, v]
                        )
            with when(what, ACTIVATE):
                for code, function in (
                    (RELU, lambda x: at_least(builder, x, zero)),
                    (TANH, lambda x: tanh(builder, x)),
                ):
                    with when(f, code):
                        for cell in cells:
                            builder.store(function(builder.load(sums[cell])), sums[cell])
            with when(what, PULL_BACK):
                pull_back(c_rows, sums)
            for i, v in cells:
                store(builder.load(sums[i, v]), c_rows[i], v)

        def pull_back(c_rows, sums):
            """Multiply the sums by the derivative, and add the column sums of the result to the vector."""
            for (i, v), total in sums.items():
                output, pulled = load(c_rows[i], v), builder.load(total)
                with when(f, RELU):
                    positive = builder.fcmp_ordered(">", output, zero)
                    builder.store(builder.select(positive, pulled, zero), total)
                with when(f, TANH):
                    less = builder.fneg(builder.fmul(output, pulled))
                    builder.store(fma(builder, output, less, pulled), total)
            for v in range(vectors):
                column_sum = load(vector, v)
                for i in range(len(c_rows)):
                    column_sum = builder.fadd(column_sum, builder.load(sums[i, v]))
                store(column_sum, vector, v)

        whole = builder.sdiv(rows, _INDEX(HEIGHT))
        if HEIGHT == 6:
            # 7 or 8 remaining rows are faster in smaller tiles than as a whole tile and 1 or 2 rows
            few = builder.icmp_signed("<=", builder.srem(rows, _INDEX(HEIGHT)), _INDEX(2))
            some = builder.icmp_signed(">", whole, _INDEX(0))
            uneven = builder.icmp_signed("!=", builder.srem(rows, _INDEX(HEIGHT)), _INDEX(0))
            spare = builder.and_(builder.and_(few, some), uneven)
            whole = builder.sub(whole, builder.zext(spare, _INDEX))
        with cgutils.for_range(builder, whole) as loop:
            tile(builder.mul(loop.index, _INDEX(HEIGHT)), HEIGHT)
        done = cgutils.alloca_once(builder, _INDEX)
        builder.store(builder.mul(whole, _INDEX(HEIGHT)), done)
        for height in (4, 4, 2, 1) if HEIGHT == 6 else (4, 2, 1):
            first = builder.load(done)
            left = builder.sub(rows, first)
            with builder.if_then(builder.icmp_signed(">=", left, _INDEX(height))):
                tile(first, height)
                builder.store(builder.add(first, _INDEX(height)), done)

    def typing(_context, a, a_row, a_column, b, c, width, rows, columns, depth, what, f, vector):
        return types.void(*[types.int64] * 12), generate

    return intrinsic(typing)


_wide: Any = _stripe(VECTORS, masked=False)
_edge: Any = _stripe(1, masked=True)


def _product(a, a_row, a_column, b, c, rows, columns, depth, what, f, vector):
    """Compute A B and do `what` with it. B is [depth, columns] and C is [rows, columns], both contiguous."""
    whole = columns // (LANES * VECTORS) * (LANES * VECTORS)
    for j in range(0, whole, LANES * VECTORS):
        p = BYTES * j
        _wide(a, a_row, a_column, b + p, c + p, columns, rows, columns, depth, what, f, vector + p)
    for j in range(whole, columns, LANES):
        p = BYTES * j
        _edge(a, a_row, a_column, b + p, c + p, columns, rows, columns - j, depth, what, f, vector + p)


_PRODUCT = types.void(*[types.int64] * 11)
_product_at = function_at(_PRODUCT)


def product_address():
    """Return the address of the product for `multiply`: it is compiled once, not into each function that uses it."""
    return address_of(_product, _PRODUCT)


@inlined
def multiply(product, a, b, c, rows, columns, depth, what, f, vector):
    """Multiply A [rows, depth] by B [depth, columns], and do `what` with it in C [rows, columns], all contiguous."""
    _product_at(product)(
        address(a), depth, 1, address(b), address(c), rows, columns, depth, what, f, address(vector)
    )


@inlined
def multiply_transposed(product, a, b, c, rows, columns, depth, accumulate):
    """Compute C = Aᵀ B, or C += Aᵀ B, with A [depth, rows], B [depth, columns], C [rows, columns], all contiguous."""
    what = ADD if accumulate else OVERWRITE
    _product_at(product)(address(a), 1, rows, address(b), address(c), rows, columns, depth, what, IDENTITY, 0)


@inlined
def address(vector):
    """Return the address of a vector's numbers."""
    return types.int64(vector.ctypes.data)


@inner
def multiply_rows(a, b, bias, c, rows, columns, depth):
    """Compute C = A Bᵀ + bias by inner products, with B [columns, depth]: for fewer columns than a vector has lanes."""
    for i in range(rows):
        for j in range(columns):
            total = f32(0)
            for k in range(depth):
                total += a[i * depth + k] * b[j * depth + k]
            c[i * columns + j] = total + bias[j]
