"""Matrix products of the sizes that perceptrons have: float32, in registers, without a call to BLAS.

For matrices of 8 to 256 rows and columns BLAS spends much of its time on copying them into a better order
and on finding out what to do. These lie in a core's first caches as they are. A tile of C is held in vector
registers while the sum runs,

    C[i, j] = Σ_k A[i, k] · B[k, j],    each step one number of A a row times a vector of B's row k,

which wants B's and C's rows contiguous and takes A in any order: also transposed. The tile's loop is written
in LLVM's own terms, for Numba knows no vectors; everything around it is Numba.
"""

# pyright: basic
# compiled code, and code that writes code: [M, N] arguments are float32 matrices, C-contiguous

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from policygrad.compiled import inlined, inner
from policygrad.pointers import address_of, function_at

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8
"""Numbers in a vector register. Narrower machines split each into two."""
HEIGHT, VECTORS = 6, 2
"""A tile: 12 sums, 2 vectors of B and 1 number of A fill AVX2's 16 registers."""
BYTES = 4
f32 = np.float32

_FLOAT, _INDEX, _LANE = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)


def _spread(builder, number, vector):
    """A vector with the number in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, _LANE(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_LANE, LANES), [0] * LANES))


def _stripe(vectors, masked):
    """A stripe of C, all its rows, `vectors` · LANES columns: C (+)= A B, as an intrinsic.

    Its arguments are (a, a_row, a_column, b, c, width, rows, columns, depth, accumulate): addresses; A's strides,
    and `width` as that of B and C, in numbers; how many k to sum over; whether C's old values are kept. A
    `masked` stripe is a vector wide, of which only the first `columns` numbers count.
    """

    def generate(_context, builder, _signature, arguments):
        a, a_row, a_column, b, c, width, rows, columns, depth, accumulate = arguments
        a, b, c = (builder.inttoptr(address, _FLOAT.as_pointer()) for address in (a, b, c))
        pointer, zero = _VECTOR.as_pointer(), ir.Constant(_VECTOR, [0.0] * LANES)

        def declare(name, result, *operands):
            signature = ir.FunctionType(result, operands)
            return cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}")

        fma = declare(f"fma.v{LANES}f32", _VECTOR, _VECTOR, _VECTOR, _VECTOR)
        if masked:
            masked_load = declare(f"masked.load.v{LANES}f32.p0", _VECTOR, pointer, _LANE, _MASK, _VECTOR)
            masked_store = declare(
                f"masked.store.v{LANES}f32.p0", ir.VoidType(), _VECTOR, pointer, _LANE, _MASK
            )
            lanes = ir.VectorType(_INDEX, LANES)
            numbered = ir.Constant(lanes, list(range(LANES)))
            mask = builder.icmp_signed("<", numbered, _spread(builder, columns, lanes))

        def load(row, v):
            place = builder.bitcast(builder.gep(row, [_INDEX(v * LANES)]), pointer)
            if masked:
                return builder.call(masked_load, [place, _LANE(BYTES), mask, zero])
            return builder.load(place, align=BYTES)

        def store(vector, row, v):
            place = builder.bitcast(builder.gep(row, [_INDEX(v * LANES)]), pointer)
            if masked:
                builder.call(masked_store, [vector, place, _LANE(BYTES), mask])
            else:
                builder.store(vector, place, align=BYTES)

        def row(base, stride, i):
            return builder.gep(base, [builder.mul(stride, i)])

        def tile(first, height):
            """Rows first to first + height."""
            a_first, c_first = row(a, a_row, first), row(c, width, first)
            cells = [(i, v) for i in range(height) for v in range(vectors)]
            # memory to Numba, registers once LLVM has been through
            sums = {cell: cgutils.alloca_once(builder, _VECTOR) for cell in cells}
            for cell in cells:
                builder.store(zero, sums[cell])
            with builder.if_then(builder.icmp_signed("!=", accumulate, _INDEX(0))):
                for i, v in cells:
                    builder.store(load(row(c_first, width, _INDEX(i)), v), sums[i, v])
            with cgutils.for_range(builder, depth) as loop:
                b_k, a_k = row(b, width, loop.index), row(a_first, a_column, loop.index)
                of_b = [load(b_k, v) for v in range(vectors)]
                for i in range(height):
                    of_a = _spread(builder, builder.load(row(a_k, a_row, _INDEX(i))), _VECTOR)
                    for v in range(vectors):
                        builder.store(
                            builder.call(fma, [of_a, of_b[v], builder.load(sums[i, v])]), sums[i, v]
                        )
            for i, v in cells:
                store(builder.load(sums[i, v]), row(c_first, width, _INDEX(i)), v)

        whole = builder.sdiv(rows, _INDEX(HEIGHT))
        # 7 and 8 rows left are two quick tiles, where 1 and 2 after a whole tile are slow ones
        few = builder.icmp_signed("<=", builder.srem(rows, _INDEX(HEIGHT)), _INDEX(2))
        some = builder.icmp_signed(">", whole, _INDEX(0))
        uneven = builder.icmp_signed("!=", builder.srem(rows, _INDEX(HEIGHT)), _INDEX(0))
        spare = builder.and_(builder.and_(few, some), uneven)
        whole = builder.sub(whole, builder.zext(spare, _INDEX))
        with cgutils.for_range(builder, whole) as loop:
            tile(builder.mul(loop.index, _INDEX(HEIGHT)), HEIGHT)
        done = cgutils.alloca_once(builder, _INDEX)
        builder.store(builder.mul(whole, _INDEX(HEIGHT)), done)
        for height in (4, 4, 2, 1):
            first = builder.load(done)
            left = builder.sub(rows, first)
            with builder.if_then(builder.icmp_signed(">=", left, _INDEX(height))):
                tile(first, height)
                builder.store(builder.add(first, _INDEX(height)), done)

    def typing(_context, a, a_row, a_column, b, c, width, rows, columns, depth, accumulate):
        return types.void(*[types.int64] * 10), generate

    return intrinsic(typing)


_wide: Any = _stripe(VECTORS, masked=False)
_edge: Any = _stripe(1, masked=True)


def _product(a, a_row, a_column, b, c, rows, columns, depth, accumulate):
    """C (+)= A B: B is [depth, columns] and C [rows, columns], both without gaps."""
    whole = columns // (LANES * VECTORS) * (LANES * VECTORS)
    for j in range(0, whole, LANES * VECTORS):
        _wide(a, a_row, a_column, b + BYTES * j, c + BYTES * j, columns, rows, columns, depth, accumulate)
    for j in range(whole, columns, LANES):
        _edge(a, a_row, a_column, b + BYTES * j, c + BYTES * j, columns, rows, columns - j, depth, accumulate)


_PRODUCT = types.void(*[types.int64] * 9)
_product_at = function_at(_PRODUCT)


def product_address():
    """Where the product lies, for `multiply`: compiled once, rather than into each function that uses it."""
    return address_of(_product, _PRODUCT)


@inlined
def multiply(product, a, b, c, rows, columns, depth):
    """C = A B: A [rows, depth] by B [depth, columns] into C [rows, columns], each a vector without gaps."""
    _product_at(product)(address(a), depth, 1, address(b), address(c), rows, columns, depth, 0)


@inlined
def multiply_transposed(product, a, b, c, rows, columns, depth, accumulate):
    """C = Aᵀ B, or C += Aᵀ B: A [depth, rows] by B [depth, columns] into C [rows, columns], likewise."""
    keep = 1 if accumulate else 0
    _product_at(product)(address(a), 1, rows, address(b), address(c), rows, columns, depth, keep)


@inlined
def address(vector):
    """Where a vector's numbers lie."""
    return types.int64(vector.ctypes.data)


@inner
def multiply_rows(a, b, c, rows, columns, depth):
    """C = A Bᵀ: B is [columns, depth]. An inner product each: for fewer columns than a vector has lanes."""
    for i in range(rows):
        for j in range(columns):
            total = f32(0)
            for k in range(depth):
                total += a[i * depth + k] * b[j * depth + k]
            c[i * columns + j] = total
